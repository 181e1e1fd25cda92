package mesh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records/identity"
)

// Bounds of dialling on the LAN.
const (
	maxCalls  = 8 // that have not been answered yet
	maxProbes = 4 // at a time, of those that will hardly answer
	// settle is how long a change is waited for to be followed by others.
	settle = 50 * time.Millisecond
	// lookEvery is the longest time between two looks at the book.
	lookEvery = time.Minute
	// freshFor is how long word of a device says something about now.
	freshFor = 10 * time.Minute
	// retryQUIC is for how long a link is kept that this side has dialled, if it goes
	// over WebSocket. Then it is dialled anew, QUIC first: what was slow to answer for a
	// moment, or was shut, is not to mean the slower way for ever.
	retryQUIC = 10 * time.Minute
)

// lan keeps links to peers that the address book knows: it asks choice whom to
// call, the book where, and tells both what came of it.
type lan struct {
	n    *Node
	book *discovery.Book
	wake chan struct{} // has a token when there is reason to look again

	mu      sync.Mutex
	choice  *choice
	dialing int                            // calls that have not been answered yet
	calls   map[identity.DeviceID]*call    // to devices that are known, answered or not
	waits   map[identity.DeviceID]*backoff // of devices whose sessions came to nothing

	workMu sync.Mutex
	worked map[identity.LogID]time.Time // when something of a log came by the coordinator
}

// call is a connection that is being made, or was made, by this side.
type call struct {
	target discovery.Target
	probe  bool // there is to be a link only if one is lacking

	mu       sync.Mutex
	answered *identity.DevicePublic // by whom
}

func (c *call) setAnswered(by *identity.DevicePublic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = by
}

func (c *call) answeredBy() *identity.DevicePublic {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered
}

func newLAN(n *Node) *lan {
	return &lan{
		n: n, book: n.cfg.Book, wake: make(chan struct{}, 1),
		choice: newChoice(n.self(), func(most int) int { return draw(n.cfg.Random, most) }),
		calls:  map[identity.DeviceID]*call{}, waits: map[identity.DeviceID]*backoff{},
		worked: map[identity.LogID]time.Time{},
	}
}

// draw returns a number from 0 up to most, each equally likely.
func draw(random io.Reader, most int) int {
	var drawn [8]byte
	if _, err := io.ReadFull(random, drawn[:]); err != nil {
		return 0
	}
	return int(binary.BigEndian.Uint64(drawn[:]) % uint64(most))
}

// look asks for a look at what is to be done.
func (l *lan) look() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// seek wants links to devices, and has what is known of others looked at.
func (l *lan) seek(devices []identity.DeviceID) {
	l.mu.Lock()
	for _, d := range devices {
		l.choice.seek(d)
	}
	l.mu.Unlock()
	l.look()
}

// run calls peers until ctx is done and all its sessions have ended.
func (l *lan) run(ctx context.Context) {
	var calls sync.WaitGroup
	defer calls.Wait()
	defer l.book.Watch(l.look)()
	defer l.n.cfg.Replica.Watch(func(c exchange.Change) {
		if c.Roster {
			l.look()
		}
		if c.Commit != nil && !c.Commit.Own {
			l.sawWork(c.Commit.Ref.Log)
		}
	})()
	for {
		again := l.pass(ctx, &calls)
		timer := l.n.cfg.Clock.AfterFunc(again, l.look)
		select {
		case <-ctx.Done():
		case <-l.wake:
		}
		timer()
		calm := make(chan struct{})
		timer = l.n.cfg.Clock.AfterFunc(settle, func() { close(calm) })
		select {
		case <-ctx.Done():
			timer()
			return
		case <-calm:
		}
	}
}

// pass begins the calls that are due, ends the links that are too many, and
// returns when to look again.
func (l *lan) pass(ctx context.Context, calls *sync.WaitGroup) time.Duration {
	now := l.n.cfg.Clock.Now()
	links := l.linked()
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.choice.step(now, l.candidates(now), links)
	for _, d := range p.shut {
		l.n.links.end(d, &exchange.EndError{Code: wire.CodeReplaced, Words: "links enough"})
	}
	begin := func(targets []discovery.Target, probe bool) {
		for _, t := range targets {
			c := &call{target: t, probe: probe}
			if !t.Device.IsZero() {
				l.calls[t.Device] = c
			}
			l.dialing++
			calls.Go(func() { l.call(ctx, c) })
		}
	}
	again := l.retry(now)
	if free := maxCalls - l.dialing; free > 0 {
		targets, next := l.book.Next(free, func(d identity.DeviceID) bool {
			return d.IsZero() && p.unknown || p.dial[d] && l.calls[d] == nil
		})
		if len(targets) < free { // else who is done looks again
			again = sooner(again, next)
		}
		begin(targets, false)
	}
	if free := min(maxCalls-l.dialing, maxProbes); free > 0 && (len(p.probes) > 0 || p.probeUnknown) {
		targets, _ := l.book.Next(free, func(d identity.DeviceID) bool {
			return d.IsZero() && p.probeUnknown || p.probes[d] && l.calls[d] == nil
		})
		begin(targets, true)
	}
	wait := lookEvery
	if t := sooner(again, p.again); !t.IsZero() {
		wait = min(wait, t.Sub(now))
	}
	return max(wait, settle)
}

// retry ends links that are to be dialled anew, unless something is under way there, and
// returns when the next is due.
func (l *lan) retry(now time.Time) (next time.Time) {
	for _, p := range l.n.links.all() {
		if p.address == "" || p.conn.Transport() != link.WebSocket {
			continue
		}
		if until := p.since.Add(retryQUIC); until.After(now) {
			next = sooner(next, until)
		} else if p.session.Report().Equal {
			l.n.links.end(p.peer, &exchange.EndError{Code: wire.CodeReplaced, Words: "dialled anew, QUIC first"})
		}
	}
	return next
}

// sawWork notes that work of another device has come by the coordinator, if it
// did: there is no other way.
func (l *lan) sawWork(log identity.LogID) {
	for _, p := range l.n.links.all() {
		if !l.n.isCoordinator(p.peer) {
			return
		}
	}
	l.workMu.Lock()
	defer l.workMu.Unlock()
	l.worked[log] = l.n.cfg.Clock.Now()
}

// atWork returns the devices that have worked lately, as far as the coordinator
// told of it.
func (l *lan) atWork(now time.Time) map[identity.DeviceID]bool {
	l.workMu.Lock()
	defer l.workMu.Unlock()
	list := map[identity.DeviceID]bool{}
	for log, t := range l.worked {
		if now.Sub(t).Abs() > freshFor {
			delete(l.worked, log)
		} else if author, ok := l.n.cfg.Replica.AuthorOf(log); ok {
			list[author.Device.ID()] = true
		}
	}
	return list
}

// linked returns the peers that have a link.
func (l *lan) linked() (devices []identity.DeviceID) {
	for _, p := range l.n.links.all() {
		if !l.n.isCoordinator(p.peer) && l.n.admission(p.conn.Peer()).Admits() {
			devices = append(devices, p.peer)
		}
	}
	return devices
}

// candidates returns the devices of the zone that the book knows of.
func (l *lan) candidates(now time.Time) (all []candidate) {
	roster := l.n.cfg.Replica.Roster()
	for _, e := range l.book.All() { // by device
		if e.Device.IsZero() || e.Device == l.n.self() || l.n.isCoordinator(e.Device) || roster.MayConnect(e.Device) != nil {
			continue
		}
		if len(all) == 0 || all[len(all)-1].device != e.Device {
			all = append(all, candidate{device: e.Device, stale: true, uplink: l.n.cfg.HasUplink(e.Device)})
		}
		c := &all[len(all)-1]
		// An address that is announced again and again, and never answers, says
		// nothing of who is there.
		c.likely = c.likely || e.InUse || e.Failures == 0 || e.Failures < 3 && e.LastSeen.After(e.LastFailure)
		for _, t := range []time.Time{e.Heard[discovery.MDNS], e.Heard[discovery.Gossip], e.LastSuccess} {
			c.stale = c.stale && now.Sub(t).Abs() > freshFor
		}
		c.stale = c.stale && !e.InUse
	}
	return all
}

// admits reports whether a peer that has called may have a link.
func (l *lan) admits(peer identity.DevicePublic) bool {
	d := peer.ID()
	if l.n.links.has(d) || l.n.isCoordinator(d) || !l.n.admission(peer).Admits() {
		return true // decided elsewhere
	}
	now, links := l.n.cfg.Clock.Now(), l.linked()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.choice.admits(l.candidates(now), links, d)
}

// Why a peer that answers is not talked to.
var (
	errSelf     = errors.New("this device itself")
	errElse     = errors.New("another device")
	errNoMember = errors.New("not of this zone, as far as this device knows")
	errUnneeded = errors.New("no other link to it is needed")
)

// expect decides about who answers a call, before anything is said.
func (l *lan) expect(c *call, peer identity.DevicePublic) error {
	c.setAnswered(&peer)
	d, named := peer.ID(), !c.target.Device.IsZero()
	switch {
	case d == l.n.self():
		return errSelf
	case named && d != c.target.Device:
		return fmt.Errorf("%w: %s", errElse, d.Short())
	case l.n.isCoordinator(d) || l.n.links.has(d):
		return errUnneeded
	case !l.n.admission(peer).Admits():
		if named {
			return errNoMember
		}
		return nil // it may show a roster that lists it, as whoever calls may
	}
	now, links := l.n.cfg.Clock.Now(), l.linked()
	l.mu.Lock()
	defer l.mu.Unlock()
	if other := l.calls[d]; other != nil && other != c || (c.probe || !named) && !l.choice.wants(l.candidates(now), links, d) {
		return errUnneeded
	}
	l.calls[d] = c
	return nil
}

// call dials a target and runs a session with who answers.
func (l *lan) call(ctx context.Context, c *call) {
	defer l.look()
	conn, address := l.dial(ctx, c)
	l.mu.Lock()
	l.dialing--
	if conn == nil {
		l.choice.failed(c.target.Device)
		l.forget(c)
	}
	l.mu.Unlock()
	if conn == nil {
		return
	}
	l.look() // there is room for another call
	d := conn.Peer().ID()
	stranger := !l.n.admission(conn.Peer()).Admits()
	if !stranger {
		l.book.Succeeded(d, address)
	}
	var err error
	r := l.talk(func() (exchange.Report, error) {
		var r exchange.Report
		r, err = l.n.converse(ctx, conn, address, false, func(*peerLink) { l.look() })
		return r, err
	}, d)
	switch {
	case !stranger:
		l.book.Ended(d, address)
	case accepted(r):
		l.book.Wrong(c.target.Device, address, d) // is known now
	default:
		l.book.Wrong(c.target.Device, address, identity.DeviceID{})
	}
	l.mu.Lock()
	l.forget(c)
	l.mu.Unlock()
}

func (l *lan) forget(c *call) {
	for d, other := range l.calls {
		if other == c {
			delete(l.calls, d)
		}
	}
}

// talk runs a session, whoever has dialled, and decides when its peer may be
// called again.
func (l *lan) talk(session func() (exchange.Report, error), d identity.DeviceID) exchange.Report {
	var lasted atomic.Bool
	stop := l.n.cfg.Clock.AfterFunc(steadyAfter, func() { lasted.Store(true) })
	defer stop()
	r, err := session()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.n.cfg.Clock.Now()
	switch {
	case l.n.links.has(d), r.Code == wire.CodeReplaced && r.Over && !r.Remote:
		// Another connection goes on, or there are links enough.
	case errors.Is(err, errBusy), r.Code == wire.CodeReplaced && r.Over && accepted(r):
		l.choice.rest(d, now.Add(l.choice.about(restAfter))) // it has links enough
	case accepted(r) && lasted.Load():
		delete(l.waits, d)
	case l.n.cfg.Replica.Roster().MayConnect(d) != nil: // is not called
	default:
		wait := l.waits[d]
		if wait == nil {
			wait = &backoff{random: l.n.cfg.Random}
			l.waits[d] = wait
		}
		l.choice.rest(d, now.Add(wait.next(judge(err).refused)))
	}
	l.look()
	return r
}

// dial makes the connection of a call, and tells the book what became of each
// address that was tried. It returns nil if there is none.
func (l *lan) dial(ctx context.Context, c *call) (Conn, discovery.Address) {
	conn, address, answered := l.dialAt(ctx, c, c.target.Addresses)
	if conn == nil && answered && len(c.target.Addresses) > 1 {
		// Somebody else is at one of them. Who is where shows one by one.
		for _, a := range c.target.Addresses {
			if conn, address, _ = l.dialAt(ctx, c, []discovery.Address{a}); conn != nil {
				break
			}
		}
	}
	return conn, address
}

// dialAt dials at some addresses. answered: there is no connection, although
// somebody has answered, at one of several addresses.
func (l *lan) dialAt(ctx context.Context, c *call, at []discovery.Address) (conn Conn, address discovery.Address, answered bool) {
	c.setAnswered(nil)
	texts := make([]string, len(at))
	for i, a := range at {
		texts[i] = string(a)
	}
	conn, err := l.n.cfg.Dial(ctx, link.DialConfig{
		Key: l.n.cfg.Identity, Addresses: texts, Protocol: link.ProtocolExchange, Timing: link.TimingLAN(),
		Expect:    func(p identity.DevicePublic) error { return l.expect(c, p) },
		OneAnswer: len(at) == 1, // over both transports it is the same device
	})
	by := c.answeredBy()
	switch {
	case err == nil:
		return conn, answeredAt(conn, at), false
	case ctx.Err() != nil:
	case by == nil:
		l.n.cfg.Logger.Debug("no answer", "device", c.target.Device.Short(), "error", err)
		for _, a := range at {
			l.book.Failed(c.target.Device, a)
		}
	case len(at) > 1:
		return nil, "", true
	default:
		actual := by.ID()
		if actual != l.n.self() && (l.n.isCoordinator(actual) || !l.n.admission(*by).Admits()) {
			actual = identity.DeviceID{}
		}
		l.book.Wrong(c.target.Device, at[0], actual)
		l.book.Ended(actual, at[0]) // it is there, but there is no connection
	}
	return nil, "", false
}

// answeredAt returns the address at which a connection was made.
func answeredAt(conn Conn, at []discovery.Address) discovery.Address {
	remote := conn.RemoteAddr().String()
	for _, a := range at {
		if string(a) == remote {
			return a
		}
	}
	for _, a := range at {
		if a.Family() == discovery.FamilyName {
			return a
		}
	}
	return at[0]
}

// via returns how the address of a link came to be known: the one that was
// dialled, or where the peer has called from.
func (l *lan) via(p *peerLink) []discovery.Source {
	remote, _ := netip.ParseAddrPort(p.conn.RemoteAddr().String())
	for _, e := range l.book.All() {
		if e.Device != p.peer {
			continue
		}
		at, ok := e.Address.AddrPort()
		if e.Address == p.address || p.address == "" && ok && at.Addr().Unmap() == remote.Addr().Unmap() {
			return e.Sources()
		}
	}
	return nil
}

// peers returns what is known of devices of the zone, connected or not.
func (l *lan) peers() map[identity.DeviceID]*Peer {
	now := l.n.cfg.Clock.Now()
	peers := map[identity.DeviceID]*Peer{}
	for _, e := range l.book.All() { // by device, the likeliest address first
		if p := peers[e.Device]; p == nil && !e.Device.IsZero() {
			peers[e.Device] = &Peer{Device: e.Device, State: PeerAway, Address: string(e.Address), Via: e.Sources()}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known := map[identity.DeviceID]*Peer{}
	for _, c := range l.candidates(now) {
		p := peers[c.device]
		if p == nil {
			continue // heard of this moment
		}
		switch call := l.calls[c.device]; {
		case call != nil:
			p.State = PeerConnecting
		case c.likely:
			p.State = PeerKnown
		}
		known[c.device] = p
	}
	return known
}
