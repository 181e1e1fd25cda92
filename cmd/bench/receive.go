package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
)

// received is what a receiver says of an exchange.
type received struct {
	Records int
	Seconds float64
	Bytes   uint64 // on the link, both directions
	Found   int    // by the query that stopped the clock
	Memory  memory
}

// arrival is what a receiver says of a record that came live.
type arrival struct{ Nanos int64 }

// sessionBytes is what a receiver answers to any line while its session is open:
// how many bytes of messages both sides have sent.
type sessionBytes struct{ Bytes uint64 }

// receive is the process that gets the records: all that there are, in a session of
// its own for each line from in, or, live, each as it is written, until in ends.
// Arguments: the folder, the address, "sync" or "live", and the learner to ask for.
func receive(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	dir, address, mode := args[0], args[1], args[2]
	var learner identity.UserID
	if _, err := hex.Decode(learner[:], []byte(args[3])); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := watchHeap(ctx)
	p, err := openPeer(ctx, dir)
	if err != nil {
		return err
	}
	defer p.close()
	answers := json.NewEncoder(out)
	if mode == "live" {
		p.timing = exchange.Timing{Compare: compareEvery}
		return receiveLive(ctx, p, address, in, answers)
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		got, err := receiveAll(ctx, p, address, learner)
		if err != nil {
			return err
		}
		got.Memory = watched.memory()
		if err := answers.Encode(got); err != nil {
			return err
		}
	}
	return nil
}

// receiveAll is one session, and the query that stops the clock.
func receiveAll(ctx context.Context, p *peer, address string, learner identity.UserID) (received, error) {
	began := time.Now()
	conn, err := p.dial(ctx, address)
	if err != nil {
		return received{}, err
	}
	report, err := p.session(ctx, conn, true)
	if err != nil {
		return received{}, err
	}
	if !report.Equal {
		return received{}, errors.New("the two do not hold the same afterwards")
	}
	found, err := query(ctx, p.replica, learner)
	if err != nil {
		return received{}, err
	}
	took := time.Since(began)
	counts := conn.Counts()
	return received{
		Records: int(report.RecordsReceived), Seconds: took.Seconds(), Bytes: counts.Sent + counts.Received, Found: found,
	}, nil
}

func receiveLive(ctx context.Context, p *peer, address string, in io.Reader, answers *json.Encoder) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := p.dial(ctx, address)
	if err != nil {
		return err
	}
	stop := p.replica.Watch(func(c records.Change) {
		if c.Commit != nil && !c.Commit.Own {
			answers.Encode(arrival{time.Now().UnixNano()})
		}
	})
	defer stop()
	ended := make(chan error, 1)
	go func() { _, err := p.session(ctx, conn, false); ended <- err }()
	if err := p.settled(ctx); err != nil {
		return err
	}
	if err := answers.Encode(map[string]any{"Open": true}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		r := p.live.Report()
		if err := answers.Encode(sessionBytes{r.BytesSent + r.BytesReceived}); err != nil {
			return err
		}
	}
	cancel()
	return <-ended
}

// query asks for what a page shows of a learner, and for every answer. It
// returns how many records it found; none is an error.
func query(ctx context.Context, r *records.Replica, learner identity.UserID) (found int, err error) {
	err = r.Read(ctx, func(v *records.View) error {
		for _, kind := range []records.Kind{classroom.KindExerciseProgress, classroom.KindVideoProgress, probeRegister} {
			err := v.Registers(records.RegisterPrefix{Kind: kind, Learner: &learner}, func(records.RegisterRow) error { found++; return nil })
			if err != nil {
				return err
			}
		}
		return v.Events(learner, identity.LaneDetail, func(records.EventRow) error { found++; return nil })
	})
	if err == nil && found == 0 {
		err = fmt.Errorf("nothing is known of learner %v", learner)
	}
	return found, err
}

// anybody takes any peer: that it holds the zone's records is what is measured.
func anybody(identity.DevicePublic) error { return nil }
