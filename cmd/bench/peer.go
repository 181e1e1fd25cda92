package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// probe is the kind of the records that are written while it is measured.
var probe = records.NewKind(identity.LaneDetail, roster.ClassAny, 4001)

// hold is the process that has the records. Lines from in say "write N".
func hold(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, closeStore, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer closeStore()
	key, err := readKey(dir)
	if err != nil {
		return err
	}
	listener, err := link.Listen(link.Config{Key: key, Address: "127.0.0.1:0", Protocols: []string{link.ProtocolExchange}})
	if err != nil {
		return err
	}
	defer listener.Close()
	go listener.Run(ctx)
	p, err := newPeer(r)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept(ctx)
			if err != nil {
				return
			}
			go p.session(ctx, conn, false)
		}
	}()
	answers := json.NewEncoder(out)
	if err := answers.Encode(map[string]any{"Address": "quic://" + listener.Addr().String()}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "write %d", &n); err != nil {
			return err
		}
		began := time.Now()
		err := r.Write(ctx, func(d *records.Draft) error {
			for range n {
				if _, err := d.Put(records.Record{Kind: probe, Learner: identity.UserID{1}, Body: make([]byte, 60)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := answers.Encode(map[string]any{"Written": n, "Nanos": began.UnixNano()}); err != nil {
			return err
		}
	}
	return nil
}

// received is what a receiver says of an exchange.
type received struct {
	Records int
	Seconds float64
	Bytes   uint64 // on the link, both directions
}

// receive is the process that gets the records: all that there are, or, live,
// each as it is written, until in ends.
func receive(ctx context.Context, dir, address, mode string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, closeStore, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer closeStore()
	key, err := readKey(dir)
	if err != nil {
		return err
	}
	p, err := newPeer(r)
	if err != nil {
		return err
	}
	answers := json.NewEncoder(out)
	began := time.Now()
	conn, err := link.Dial(ctx, link.DialConfig{Key: key, Addresses: []string{address}, Protocol: link.ProtocolExchange, Expect: anybody})
	if err != nil {
		return err
	}
	if mode == "live" {
		stop := r.Watch(func(c records.Change) {
			if c.Commit != nil && !c.Commit.Own {
				answers.Encode(map[string]any{"Nanos": time.Now().UnixNano()})
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
		io.Copy(io.Discard, in)
		cancel()
		return <-ended
	}
	report, err := p.session(ctx, conn, true)
	if err != nil {
		return err
	}
	if !report.Equal {
		return errors.New("the two do not hold the same afterwards")
	}
	if err := query(ctx, r); err != nil {
		return err
	}
	took := time.Since(began)
	counts := conn.Counts()
	return answers.Encode(received{int(report.RecordsReceived), took.Seconds(), counts.Sent + counts.Received})
}

// query asks for what is known of a learner.
func query(ctx context.Context, r *records.Replica) error {
	return r.Read(ctx, func(v *records.View) error {
		return v.Events(identity.UserID{1}, identity.LaneDetail, func(records.EventRow) error { return nil })
	})
}

// peer is one side of sessions.
type peer struct {
	replica *records.Replica
	codec   *wire.Codec
	limits  *exchange.Limits
	live    *exchange.Session
	began   chan struct{}
}

func newPeer(r *records.Replica) (*peer, error) {
	codec, err := wire.NewCodec(2)
	return &peer{replica: r, codec: codec, limits: exchange.NewLimits(0), began: make(chan struct{})}, err
}

func (p *peer) session(ctx context.Context, conn *link.Conn, once bool) (exchange.Report, error) {
	s, err := exchange.NewSession(exchange.SessionConfig{
		Config: exchange.Config{
			Peer: conn.Peer(), Codec: p.codec, Software: "bench", OneShot: once,
			Admission: func(k identity.DevicePublic) exchange.Standing {
				return exchange.Judge(p.replica.Roster(), k, time.Now().UnixMilli())
			},
		},
		Replica: p.replica, Stream: conn, Limits: p.limits,
	})
	if err != nil {
		return exchange.Report{}, err
	}
	select {
	case <-p.began:
	default:
		p.live = s
		close(p.began)
	}
	err = s.Run(ctx)
	return s.Report(), err
}

// settled waits until both sides of the live session hold the same.
func (p *peer) settled(ctx context.Context) error {
	<-p.began
	for !p.live.Report().Equal {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
		if r := p.live.Report(); r.Over {
			return fmt.Errorf("the session ended: %s", r.Words)
		}
	}
	return nil
}

// anybody takes any peer: that it holds the zone's records is what is measured.
func anybody(identity.DevicePublic) error { return nil }
