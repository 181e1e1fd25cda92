package gossip

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/records/identity"
)

// Config is what a [Gossip] is made of. Device, Port, Address and Join are
// required.
type Config struct {
	// Device is this device, and Start tells this start of it from others.
	Device identity.DeviceID
	Start  identity.StartID
	// Port is where this device can be called, which is told to others.
	Port uint16

	// Address returns where to listen for membership, over UDP and TCP: one
	// address that others on the network can reach, and no other. It is asked
	// every few seconds; when it changes, this device leaves and begins anew
	// there. An error means that there is no network.
	Address func() (netip.AddrPort, error)
	// Join returns where others may listen for membership: those in the address
	// book, of which the ones that are not there are called. At most some are
	// called at a time, chosen at random.
	Join func() []netip.AddrPort

	// Found is told where a device can be called, again now and then while it
	// is there. Hint is told what somebody has broadcast. Conflict is told of a
	// device that is at two addresses, once a minute for each. They are called
	// by Run, one at a time, and must return soon; nil: nobody is told.
	Found    func(discovery.Sighting)
	Hint     func(message []byte)
	Conflict func(Conflict)

	Random io.Reader    // for waits; nil: the system's
	Logger *slog.Logger // nil: nothing is logged

	network network // nil: the machine's
}

const (
	// look is how often it is looked whether the address changed.
	look = 3 * time.Second
	// rejoin is the time between two calls to those who are not there, give or
	// take a fifth; firstRejoin that after the first while nobody is there yet.
	rejoin      = 20 * time.Second
	firstRejoin = time.Second
	// maxJoins is how many are called each time, and joinsAtOnce at once.
	maxJoins    = 16
	joinsAtOnce = 8
	// settled is when all others have this device where it is now: until then
	// some may hold it to be where it was, and refuse its new address.
	settled = 2 * time.Minute
	// updateTimeout bounds how long it is waited for word of a change to go out.
	updateTimeout = time.Second
	// leaveTimeout bounds the goodbye.
	leaveTimeout = time.Second

	maxEvents = 512

	// protocol is the version of memberlist's protocol. All devices of a zone
	// speak the same: one that did not would be refused by all.
	protocol   = memberlist.ProtocolVersion2Compatible
	retransmit = 4
)

// Gossip is the membership of this device. All methods are safe for concurrent
// use.
type Gossip struct {
	cfg    Config
	events chan event
	rejoin chan struct{} // has a token when there is reason to call again
	random sync.Mutex    // guards cfg.Random

	mu      sync.Mutex // guards what follows
	keys    []key
	changed chan struct{} // closed when keys were set
	uplink  bool          // what this device says of itself
	now     *life         // nil: none
}

// life is a memberlist from its beginning to its end.
type life struct {
	list      *memberlist.Memberlist
	ring      *memberlist.Keyring
	transport *transport
	delegate  *delegate
	crowded   bool // the ring holds too many old keys
	began     time.Time
	restate   chan struct{} // has a token when this device says something else of itself
}

// New checks the configuration. Nothing happens before [Gossip.Run], nor
// without keys: see [Gossip.SetKeys].
func New(cfg Config) (*Gossip, error) {
	switch {
	case cfg.Device.IsZero():
		return nil, errors.New("make membership: no device")
	case cfg.Port == 0:
		return nil, errors.New("make membership: no port at which the device can be called")
	case cfg.Address == nil || cfg.Join == nil:
		return nil, errors.New("make membership: Address and Join are required")
	}
	if cfg.Found == nil {
		cfg.Found = func(discovery.Sighting) {}
	}
	if cfg.Hint == nil {
		cfg.Hint = func([]byte) {}
	}
	if cfg.Conflict == nil {
		cfg.Conflict = func(Conflict) {}
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.network == nil {
		cfg.network = system{}
	}
	return &Gossip{cfg: cfg, events: make(chan event, maxEvents), rejoin: make(chan struct{}, 1), changed: make(chan struct{})}, nil
}

// SetKeys says which zone keys there are, in any order: the newest seals what
// is sent, and all of them open what arrives, so old ones are to be given as
// long as somebody may come back who holds no other. It may be called at any
// time; without keys this device takes no part.
func (g *Gossip) SetKeys(zone []discovery.ZoneKey) {
	keys := deriveKeys(zone)
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.EqualFunc(keys, g.keys, func(a, b key) bool { return a.secret == b.secret }) {
		return
	}
	g.keys = keys
	close(g.changed)
	g.changed = make(chan struct{})
	if g.now != nil && len(keys) > 0 {
		g.now.use(keys)
	}
}

// maxRing is how many keys a memberlist may have held before it is begun anew.
const maxRing = 4 * maxKeys

// use gives memberlist the keys. It cannot be made to drop one while it reads
// with it; the transport opens everything first and does that.
func (l *life) use(keys []key) {
	for _, k := range keys {
		l.ring.AddKey(k.secret[:])
	}
	l.ring.UseKey(keys[0].secret[:])
	l.crowded = len(l.ring.GetKeys()) > maxRing
}

// SetUplink says whether this device reaches the coordinator, which others are
// told within seconds. It may be called at any time and does not wait.
func (g *Gossip) SetUplink(up bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.uplink = up
	if g.now != nil && g.now.delegate.setUplink(up) {
		select {
		case g.now.restate <- struct{}{}:
		default:
		}
	}
}

// HasUplink reports whether a member says of itself that it reaches the
// coordinator.
func (g *Gossip) HasUplink(d identity.DeviceID) bool {
	g.mu.Lock()
	l := g.now
	g.mu.Unlock()
	return l != nil && l.delegate.hasUplink(d)
}

func (g *Gossip) saysUplink() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.uplink
}

func (g *Gossip) currentKeys() []key {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.keys
}

// Members returns who others say is there, by device, without this device.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	l := g.now
	g.mu.Unlock()
	if l == nil {
		return nil
	}
	list := l.delegate.members()
	slices.SortFunc(list, func(a, b Member) int { return a.Device.Compare(b.Device) })
	return list
}

// Address returns where this device listens; false: it does not.
func (g *Gossip) Address() (netip.AddrPort, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == nil {
		return netip.AddrPort{}, false
	}
	return g.now.transport.at, true
}

// Broadcast sends a hint to everybody who is there: at most [MaxHintBytes] that
// say something complete about a topic of 1 to [MaxTopicBytes], such as the
// head of a log. It takes the place of an earlier hint on the topic that has
// not gone out. The same may be broadcast again, for who did not hear it: all hear
// it again. It does not wait; hints get lost, and without anybody there nothing is
// sent. Errors wrap [ErrHint].
func (g *Gossip) Broadcast(topic, message []byte) error {
	h := hint{uint32(g.upTo(math.MaxUint32)), topic, message}
	if err := h.check(); err != nil {
		return err
	}
	g.mu.Lock()
	l := g.now
	g.mu.Unlock()
	if l != nil {
		l.delegate.broadcast(h)
	}
	return nil
}

// Rejoin says that somebody was reached who may not be there yet: those who are
// not are called soon instead of in a while. It does not wait.
func (g *Gossip) Rejoin() {
	select {
	case g.rejoin <- struct{}{}:
	default:
	}
}

// Run takes part until ctx ends, and then says goodbye, which takes a second at
// most. What goes wrong with the network is logged and tried again. It returns
// nil. Goroutines of memberlist that wait for an answer to a probe end up to
// sixteen seconds later, and do nothing any more.
func (g *Gossip) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		g.deliver(ctx)
		return nil
	})
	group.Go(func() error {
		told := ""
		for ctx.Err() == nil {
			err := g.live(ctx)
			if text := fmt.Sprint(err); err != nil && text != told {
				told = text
				g.cfg.Logger.Warn("no membership on the network", "error", err)
			}
		}
		return nil
	})
	return group.Wait()
}

// deliver tells the owner what happened.
func (g *Gossip) deliver(ctx context.Context) {
	type place struct {
		device identity.DeviceID
		at     netip.AddrPort
	}
	told := map[place]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-g.events:
			switch {
			case e.sighting != nil:
				g.cfg.Found(*e.sighting)
			case e.conflict != nil:
				at := place{e.conflict.Other.Device, e.conflict.Other.Gossip}
				if last, ok := told[at]; ok && time.Since(last) < time.Minute {
					continue
				}
				if len(told) >= maxMembers {
					clear(told)
				}
				told[at] = time.Now()
				g.cfg.Conflict(*e.conflict)
			default:
				g.cfg.Hint(e.hint)
			}
		}
	}
}

// live is one life at one address. It returns when that has changed, when it
// cannot go on, or when ctx ends.
func (g *Gossip) live(ctx context.Context) error {
	g.mu.Lock()
	keys, changed := g.keys, g.changed
	g.mu.Unlock()
	if len(keys) == 0 {
		select {
		case <-changed:
		case <-ctx.Done():
		}
		return nil
	}
	at, err := g.cfg.Address()
	if err != nil {
		pause(ctx, look)
		return err
	}
	l, err := g.begin(at)
	if err != nil {
		pause(ctx, look)
		return err
	}
	work, stop := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error {
		g.joinAgain(work, l)
		return nil
	})
	clean := g.attend(ctx, l, at)
	stop()
	l.transport.stopDials()
	group.Wait()
	g.end(l, clean)
	if !clean {
		pause(ctx, look)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// begin makes a memberlist at an address.
func (g *Gossip) begin(at netip.AddrPort) (*life, error) {
	if !callable(at.Addr()) {
		return nil, fmt.Errorf("begin membership: %s is not one address of this device", at)
	}
	keys := g.currentKeys()
	if len(keys) == 0 {
		return nil, errors.New("begin membership: no zone key any more")
	}
	ring, err := memberlist.NewKeyring(nil, keys[0].secret[:])
	if err != nil {
		return nil, fmt.Errorf("begin membership: %w", err)
	}
	t, err := newTransport(g.cfg.network, at, g.currentKeys)
	if err != nil {
		return nil, err
	}
	own := Member{
		Device: g.cfg.Device,
		Gossip: t.at,
		Call:   netip.AddrPortFrom(t.at.Addr(), g.cfg.Port),
		Start:  g.cfg.Start,
		Uplink: g.saysUplink(),
	}
	l := &life{ring: ring, transport: t, delegate: newDelegate(own, g.events), began: time.Now(), restate: make(chan struct{}, 1)}

	conf := memberlist.DefaultLANConfig()
	conf.Name = own.name()
	conf.Transport = t
	conf.BindAddr, conf.BindPort = t.at.Addr().String(), int(t.at.Port())
	conf.Logger = newLogger(g.cfg.Logger)
	conf.Keyring = ring
	conf.ProtocolVersion = protocol
	conf.EnableCompression = false
	// A card can stall a device for two seconds; that is no reason to bury it.
	conf.ProbeInterval, conf.ProbeTimeout = 2*time.Second, time.Second
	conf.SuspicionMult = 6
	conf.IndirectChecks = 3
	conf.GossipInterval, conf.GossipNodes = 500*time.Millisecond, 3
	conf.PushPullInterval = time.Minute
	conf.RetransmitMult = retransmit
	conf.AwarenessMaxMultiplier = 8
	// A device comes back with another lease.
	conf.DeadNodeReclaimTime = 10 * time.Second
	conf.Delegate, conf.Events, conf.Alive, conf.Conflict = l.delegate, l.delegate, l.delegate, l.delegate

	if l.list, err = memberlist.Create(conf); err != nil {
		l.delegate.end()
		t.Shutdown()
		return nil, fmt.Errorf("begin membership at %s: %w", at, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = l
	if len(g.keys) > 0 {
		l.use(g.keys)
	}
	if l.delegate.setUplink(g.uplink) {
		l.restate <- struct{}{} // it changed meanwhile
	}
	return l, nil
}

// attend waits until a life must end. It reports whether a goodbye is of use.
func (g *Gossip) attend(ctx context.Context, l *life, at netip.AddrPort) bool {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-l.transport.broken:
			return false
		case <-l.restate:
			l.list.UpdateNode(updateTimeout) // an error says that it goes out later
		case <-ticker.C:
			now, err := g.cfg.Address()
			if err != nil || now != at {
				return err == nil
			}
			g.mu.Lock()
			over := len(g.keys) == 0 || l.crowded
			g.mu.Unlock()
			if over {
				return true
			}
		}
	}
}

// end ends a life. Leave comes before Shutdown, and neither twice.
func (g *Gossip) end(l *life, clean bool) {
	if clean {
		l.list.Leave(leaveTimeout) // an error says that nobody took notice
	}
	g.mu.Lock()
	g.now = nil
	g.mu.Unlock()
	l.delegate.end()
	l.list.Shutdown() // never fails
}

// joinAgain calls those who are not there, again and again.
func (g *Gossip) joinAgain(ctx context.Context, l *life) {
	wait := firstRejoin
	for {
		for _, m := range l.delegate.members() {
			if s, ok := l.delegate.sighting(m); ok {
				l.delegate.tell(event{sighting: &s})
			}
		}
		g.join(ctx, l)
		next := wait
		if len(l.delegate.members()) > 0 || wait >= rejoin {
			next = rejoin*4/5 + time.Duration(g.upTo(uint64(rejoin*2/5)))
		}
		wait = min(2*wait, rejoin)
		if g.asked(ctx, next) {
			wait = firstRejoin
			pause(ctx, firstRejoin) // others may be reached in the same moment
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// asked waits, and reports whether somebody wanted less of it.
func (g *Gossip) asked(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-g.rejoin:
		return true
	}
	return false
}

// join calls some of those who are not there, and in the beginning also one who
// is.
func (g *Gossip) join(ctx context.Context, l *life) {
	own := l.transport.at
	there := map[netip.AddrPort]bool{netip.AddrPortFrom(own.Addr().WithZone(""), own.Port()): true}
	for _, m := range l.delegate.members() {
		there[m.Gossip] = true
	}
	var missing []netip.AddrPort
	if members := l.delegate.members(); len(members) > 0 && time.Since(l.began) < settled {
		m := members[g.upTo(uint64(len(members)-1))]
		missing = append(missing, m.Gossip)
	}
	for _, at := range g.cfg.Join() {
		at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		if ip := at.Addr(); ip.Is6() && ip.IsLinkLocalUnicast() {
			if ip.Zone() != "" && ip.Zone() != own.Addr().Zone() {
				continue // on another network
			}
			at = netip.AddrPortFrom(ip.WithZone(""), at.Port())
		}
		if callable(at.Addr()) && at.Port() != 0 && !there[at] {
			there[at] = true
			missing = append(missing, at)
		}
	}
	var group errgroup.Group
	group.SetLimit(joinsAtOnce)
	for n := range min(len(missing), maxJoins) {
		i := n + int(g.upTo(uint64(len(missing)-n-1)))
		missing[n], missing[i] = missing[i], missing[n]
		group.Go(func() error {
			if ctx.Err() == nil {
				l.list.Join([]string{missing[n].String()}) // it logs what fails
			}
			return nil
		})
	}
	group.Wait()
}

// upTo draws a number from 0 to n.
func (g *Gossip) upTo(n uint64) uint64 {
	g.random.Lock()
	defer g.random.Unlock()
	var drawn [8]byte
	if _, err := io.ReadFull(g.cfg.Random, drawn[:]); err != nil {
		return n / 2
	}
	return binary.BigEndian.Uint64(drawn[:]) % (n + 1)
}

// discoveryZone gives a link-local address the zone of ours.
func discoveryZone(a, ours netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(ours.Addr().Zone()), a.Port())
}

// Neighbour returns where a device that can be called at call listens for
// membership, by convention: at the next port of the same address. After the
// last port there is none, and 0 is not called.
func Neighbour(call netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(call.Addr(), call.Port()+1)
}
