package mesh

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records/identity"
)

// runUplink keeps a session with the coordinator open until ctx is done.
func (n *Node) runUplink(ctx context.Context) {
	wait := backoff{random: n.cfg.Random}
	refilled := make(chan struct{}, 1)
	allowed := newAllowance(n.cfg.Clock, func() {
		select {
		case refilled <- struct{}{}:
		default:
		}
	})
	defer allowed.stop()
	for {
		steady, err := n.attempt(ctx)
		if ctx.Err() != nil {
			n.setUplink(outcome{reason: Stopping}, nil)
			return
		}
		if steady {
			wait.reset()
		}
		o := judge(err)
		n.setUplink(o, err)
		if !n.pause(ctx, wait.next(o.refused), allowed, refilled) {
			return
		}
	}
}

// passes waits until d has passed and reports whether ctx was not done before.
func (n *Node) passes(ctx context.Context, d time.Duration) bool {
	over := make(chan struct{})
	stop := n.cfg.Clock.AfterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-ctx.Done():
		return false
	case <-over:
		return true
	}
}

// pause waits until d has passed or Poke is called and heeded; it reports
// whether to go on. It does not look at the clock.
func (n *Node) pause(ctx context.Context, d time.Duration, allowed *allowance, refilled <-chan struct{}) bool {
	over := make(chan struct{})
	stop := n.cfg.Clock.AfterFunc(d, func() { close(over) })
	defer stop()
	pokes := n.pokes
	var again <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-over:
			return true
		case <-pokes:
		case <-again:
		}
		if allowed.take() {
			n.expectUplink()
			return true
		}
		pokes, again = nil, refilled // heeded as soon as may be
	}
}

// attempt dials the coordinator and runs a session until it ends. It reports
// whether the coordinator accepted this device and the session lasted.
func (n *Node) attempt(ctx context.Context) (steady bool, err error) {
	conn, err := n.dial(ctx)
	if err != nil {
		return false, err
	}
	var lasted atomic.Bool
	stop := n.cfg.Clock.AfterFunc(steadyAfter, func() { lasted.Store(true) })
	defer stop()
	r, err := n.converse(ctx, conn, "", false, n.uplinkBegan)
	if accepted(r) {
		n.uplinkWas()
		select {
		case <-n.pokes: // there was a connection
		default:
		}
	}
	return accepted(r) && lasted.Load(), err
}

func (n *Node) dial(ctx context.Context) (Conn, error) {
	want := n.cfg.Uplink.Coordinator
	return n.cfg.Dial(ctx, link.DialConfig{
		Key: n.cfg.Identity, Addresses: n.cfg.Uplink.Addresses, Protocol: link.ProtocolExchange,
		Expect: func(p identity.DevicePublic) error {
			if p != want {
				return fmt.Errorf("device %s answers, not the coordinator %s", p.ID().Short(), want.ID().Short())
			}
			return nil
		},
		Timing: link.TimingInternet(), Proxy: n.cfg.Uplink.Proxy,
	})
}
