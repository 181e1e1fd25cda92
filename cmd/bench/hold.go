package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// probeEvent and probeRegister are the kinds of what is written while it is
// measured.
var (
	probeEvent    = records.NewKind(identity.LaneDetail, roster.ClassAny, 4001)
	probeRegister = records.NewKind(identity.LaneProgress, roster.ClassAny, 4002)
)

// A body that is written while it is measured is as large as that of an answer,
// and differs in as many bytes from the one before.
const (
	probeBytes  = 60
	probeRandom = 12
)

// compareEvery is how often open sessions compare here, when there was news.
const compareEvery = 600 * time.Millisecond

// hold is the process that has the records. Lines from in say "write N": half of
// them are new events, half new versions of the same registers. "memory" asks
// for the peaks so far.
func hold(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := watchHeap(ctx)
	r, closeStore, err := open(ctx, args[0])
	if err != nil {
		return err
	}
	defer closeStore()
	key, err := readKey(args[0])
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
	p.timing = exchange.Timing{Compare: compareEvery}
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
	random := rand.NewChaCha8([32]byte{})
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if lines.Text() == "memory" {
			if err := answers.Encode(memory{peakMemory(), float64(watched.peak.Load())}); err != nil {
				return err
			}
			continue
		}
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "write %d", &n); err != nil {
			return err
		}
		began := time.Now()
		if err := writeProbes(ctx, r, n, random); err != nil {
			return err
		}
		if err := answers.Encode(written{n, began.UnixNano()}); err != nil {
			return err
		}
	}
	return nil
}

// written is what a holder answers to "write N"; Nanos is when it began.
type written struct {
	Written int
	Nanos   int64
}

// memory is the most that a process had, in bytes.
type memory struct{ All, Heap float64 }

// writeProbes writes n records in one commit.
func writeProbes(ctx context.Context, r *records.Replica, n int, random io.Reader) error {
	return r.Write(ctx, func(d *records.Draft) error {
		for i := range n {
			body := make([]byte, probeBytes)
			if _, err := io.ReadFull(random, body[:probeRandom]); err != nil {
				return err
			}
			record := records.Record{Kind: probeEvent, Learner: identity.UserID{1}, Body: body}
			if i%2 == 1 {
				record.Kind, record.Register, record.Key = probeRegister, true, binary.BigEndian.AppendUint16(nil, uint16(i))
			}
			if _, err := d.Put(record); err != nil {
				return err
			}
		}
		return nil
	})
}
