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

// peer is one side of sessions: the replica in a folder.
type peer struct {
	replica *records.Replica
	key     identity.DeviceKey
	close   func() error
	codec   *packing.Codec
	limits  *exchange.Limits
	timing  exchange.Timing
	live    *exchange.Session
	began   chan struct{}
}

func openPeer(ctx context.Context, dir string) (*peer, error) {
	key, err := readKey(dir)
	if err != nil {
		return nil, err
	}
	codec, err := packing.Shared()
	if err != nil {
		return nil, err
	}
	r, closeStore, err := open(ctx, dir)
	if err != nil {
		return nil, err
	}
	p := &peer{replica: r, key: key, close: closeStore, codec: codec, limits: exchange.NewLimits(0)}
	return p.again(), nil
}

// again is the same side for a session of which the live one is not known yet.
func (p *peer) again() *peer {
	next := *p
	next.live, next.began = nil, make(chan struct{})
	return &next
}

// dial connects to a holder.
func (p *peer) dial(ctx context.Context, address string) (*link.Conn, error) {
	return link.Dial(ctx, link.DialConfig{Key: p.key, Addresses: []string{address}, Protocol: link.ProtocolExchange, Expect: anybody})
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
