package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
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
	p, err := openPeer(ctx, args[0])
	if err != nil {
		return err
	}
	defer p.close()
	listener, err := link.Listen(link.Config{Key: p.key, Address: "127.0.0.1:0", Protocols: []string{link.ProtocolExchange}})
	if err != nil {
		return err
	}
	defer listener.Close()
	go listener.Run(ctx)
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
	probes := newProbeWriter(p.replica)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if lines.Text() == "memory" {
			if err := answers.Encode(watched.memory()); err != nil {
				return err
			}
			continue
		}
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "write %d", &n); err != nil {
			return err
		}
		began := time.Now()
		if err := probes.mixed(ctx, n); err != nil {
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
