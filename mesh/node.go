package mesh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records/identity"
)

// Node is a device at work with others. Its methods may be called concurrently.
type Node struct {
	cfg    Config
	links  *links
	alarms *alarmLog
	lan    *lan          // nil without an address book
	hints  *hints        // likewise
	pokes  chan struct{} // has a token when somebody wants an attempt now

	mu     sync.Mutex
	uplink uplinkState
	sharer *sharer
	meter  *meter // nil: the uplink has no limit
	past   map[identity.DeviceID]memory
	routes *exchange.Routes // nil without an address book

	moved   Traffic                // by sessions that have ended
	counted map[*peerLink]struct{} // sessions that go on
}

// New returns a node that [Node.Run] runs, once.
func New(cfg Config) (*Node, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("new node: %w", err)
	}
	n := &Node{
		cfg:    cfg,
		links:  newLinks(cfg.Identity.Public().ID(), cfg.MaxPeers),
		alarms: newAlarmLog(cfg.Clock),
		pokes:  make(chan struct{}, 1),

		counted: map[*peerLink]struct{}{},
		past:    map[identity.DeviceID]memory{},
	}
	if cfg.Book != nil {
		n.lan = newLAN(n)
		n.hints = newHints(n)
		n.routes = exchange.NewRoutes(cfg.Clock)
		n.sharer = newSharer(n.lan.choice.draw)
	}
	if !cfg.UplinkLimit.IsZero() {
		n.meter = &meter{limit: cfg.UplinkLimit, spent: cfg.Spent, saved: cfg.Spent}
	}
	n.uplink = uplinkState{state: Connecting, reason: IsConnecting, since: cfg.Clock.Now()}
	if len(cfg.Uplink.Addresses) == 0 {
		n.uplink.state, n.uplink.reason = Offline, NoCoordinator
	}
	return n, nil
}

// Run keeps the device connected until ctx is done, and returns nil when
// everything that it has started has ended: some seconds later if a peer does
// not hang up. Connections that were given to Serve end with their own context.
func (n *Node) Run(ctx context.Context) error {
	defer n.alarms.stop()
	var group errgroup.Group
	if len(n.cfg.Uplink.Addresses) > 0 {
		group.Go(func() error { n.runUplink(ctx); return nil })
		if n.lan != nil {
			group.Go(func() error { n.runSharing(ctx); return nil })
		}
		if n.meter != nil {
			group.Go(func() error { n.runMeter(ctx); return nil })
		}
	}
	if n.lan != nil {
		group.Go(func() error { n.lan.run(ctx); return nil })
		group.Go(func() error { n.hints.run(ctx); return nil })
	}
	if n.cfg.Listener != nil {
		group.Go(func() error { return n.accept(ctx, &group) })
	}
	err := group.Wait()
	if n.meter != nil {
		n.saveSpent()
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// accept gives each connection of the listener a session.
func (n *Node) accept(ctx context.Context, group *errgroup.Group) error {
	for {
		conn, err := n.cfg.Listener.Accept(ctx)
		if err != nil {
			return fmt.Errorf("accept peers: %w", err)
		}
		group.Go(func() error {
			if p := conn.Protocol(); p != link.ProtocolExchange {
				return conn.CloseWithError(link.CodeFault, "no "+p+" here")
			}
			n.Serve(ctx, conn) // how it ended is in the log
			return nil
		})
	}
}

// Serve runs a session over a connection that a peer has dialled, until it ends
// or ctx is done, and closes the connection. The error is nil if the session
// ended in good order, otherwise an [*exchange.EndError], or says why the
// connection got no session: there are too many, or another one to the same
// device is kept.
func (n *Node) Serve(ctx context.Context, conn Conn) (err error) {
	session := func() (r exchange.Report, _ error) {
		r, err = n.converse(ctx, conn, "", false, func(*peerLink) {
			if n.lan != nil {
				n.lan.look()
			}
		})
		return r, err
	}
	switch {
	case n.lan == nil:
		session()
	case !n.lan.admits(conn.Peer()):
		err = errBusy
		turnAway(conn, n.cfg.Clock, err)
	default:
		n.lan.talk(session, conn.Peer().ID())
	}
	return err
}

// self is this device.
func (n *Node) self() identity.DeviceID { return n.cfg.Identity.Public().ID() }

// isCoordinator reports whether a device is the coordinator, which is not a
// peer on the LAN.
func (n *Node) isCoordinator(d identity.DeviceID) bool {
	return d == n.cfg.Replica.Roster().Coordinator.ID()
}

// Poke asks for an attempt to reach the coordinator now instead of after the
// wait, because something was written, a person wants it, or the network has
// changed. It has no effect while there is a connection, and returns at once.
// When it is called many times in a row, only some calls are heeded.
func (n *Node) Poke() {
	select {
	case n.pokes <- struct{}{}:
	default:
	}
}

// AddressLost tells that this device does not have an address any more that it
// had. Connections may belong to it: all of them end, and are made anew. It
// returns at once.
func (n *Node) AddressLost() {
	for _, l := range n.links.all() {
		n.links.end(l.peer, &exchange.EndError{Code: wire.CodeReplaced, Words: "this device has another address now"})
	}
	n.Poke()
}

// RenewUplink tells that the way to the coordinator may be gone: the connection,
// if there is one, ends, and another attempt begins. It returns at once.
func (n *Node) RenewUplink() {
	coordinator := n.cfg.Replica.Roster().Coordinator.ID()
	n.links.end(coordinator, &exchange.EndError{Code: wire.CodeReplaced, Words: "this device has another network now"})
	n.Poke()
}

// ErrIncomplete means that an exchange ended in good order before both sides
// held the same, or before everything that this device has written was known to
// be safe with the coordinator. The next exchange goes on from there.
var ErrIncomplete = errors.New("not everything was exchanged: try again")

// receiptWait is how long Sync waits for receipts when both sides hold the
// same: the coordinator has to sign and store them, perhaps on a busy disk.
const receiptWait = 10 * time.Second

// Sync does one exchange with the coordinator and returns what there is to say
// about it. The error is nil if both sides hold the same and everything that
// this device has written is safe with the coordinator; otherwise it says why
// there was no connection, how the session ended, or that it was
// [ErrIncomplete].
func Sync(ctx context.Context, cfg Config) (exchange.Report, error) {
	cfg.Listener, cfg.Book = nil, nil
	if cfg.Timing.Linger == 0 {
		cfg.Timing.Linger = receiptWait
	}
	n, err := New(cfg)
	if err != nil {
		return exchange.Report{}, fmt.Errorf("sync: %w", err)
	}
	defer n.alarms.stop()
	if len(cfg.Uplink.Addresses) == 0 {
		return exchange.Report{}, errors.New("sync: this device has no coordinator")
	}
	conn, err := n.dial(ctx)
	if err != nil {
		return exchange.Report{}, fmt.Errorf("sync: %w", err)
	}
	r, err := n.converse(ctx, conn, "", true, nil)
	switch {
	case err != nil:
		return r, fmt.Errorf("sync: %w", err)
	case ctx.Err() != nil:
		return r, fmt.Errorf("sync: %w", context.Cause(ctx))
	case !r.Equal || !n.receipted():
		return r, fmt.Errorf("sync: %w", ErrIncomplete)
	}
	return r, nil
}
