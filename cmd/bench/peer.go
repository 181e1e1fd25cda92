package main

import (
	"context"
	"fmt"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// peer is one side of sessions.
type peer struct {
	replica *records.Replica
	codec   *packing.Codec
	limits  *exchange.Limits
	timing  exchange.Timing
	live    *exchange.Session
	began   chan struct{}
}

func newPeer(r *records.Replica) (*peer, error) {
	codec, err := packing.NewCodec(2)
	return &peer{replica: r, codec: codec, limits: exchange.NewLimits(0), began: make(chan struct{})}, err
}

func (p *peer) session(ctx context.Context, conn *link.Conn, once bool) (exchange.Report, error) {
	s, err := exchange.NewSession(exchange.SessionConfig{
		Config: exchange.Config{
			Peer: conn.Peer(), Codec: p.codec, Software: "bench", OneShot: once, Timing: p.timing,
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
