package mesh_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/storetest"
)

// network joins nodes in memory and in virtual time: number 0 is the
// coordinator, the others are devices of one LAN.
type network struct {
	t    *testing.T
	zone *zone
	// codec and limits are made in the bubble, because they have channels.
	codec  *packing.Codec
	limits *exchange.Limits

	mu      sync.Mutex
	random  *rand.Rand
	cut     func(a, b int) bool // whether there is no way between two
	devices []*device           // by number
	conns   map[*memPair]bool
	dials   int
	traffic atomic.Int64 // bytes written
	writes  atomic.Int64
	uplinks atomic.Int64  // bytes written between devices and the coordinator
	bodies  atomic.Int64  // those of them that are of messages with records
	latency time.Duration // of a way; 0: none, and writers wait for readers
	sockets atomic.Bool   // connections that are made are WebSockets
	// lose says which frames between devices of the LAN get lost; nil: none.
	lose    func(c *memConn, typ wire.Type) bool
	tally   tally // of the frames between devices of the LAN, once it is reset
	running sync.WaitGroup
}

// device is what there is of a device: its records stay when its process ends.
type device struct {
	net     *network
	number  int
	replica *records.Replica
	book    *discovery.Book
	node    *mesh.Node
	change  func(*mesh.Config)

	mu   sync.Mutex
	ctx  context.Context // of its process; nil: it is off
	stop func()
}

// newNetwork makes a coordinator and n devices, all switched off.
func newNetwork(t *testing.T, n int, seed uint64) *network {
	w := &network{
		t: t, zone: newZone(t, n, false), random: rand.New(rand.NewPCG(seed, 11)),
		cut: func(int, int) bool { return false }, conns: map[*memPair]bool{}, codec: newCodec(), limits: exchange.NewLimits(0),
	}
	for i := range n + 1 {
		d := &device{net: w, number: i, replica: w.replica(i)}
		w.devices = append(w.devices, d)
	}
	return w
}

// replica is like zone.replica, without the cleanup that would run outside of
// the bubble.
func (w *network) replica(i int) *records.Replica {
	r, err := records.Found(w.t.Context(), records.Config{
		Store: storetest.NewMemory(), Identity: w.zone.keys[i], Now: time.Now, Random: w.source(uint64(i)), Logger: slog.New(slog.DiscardHandler),
	}, records.Founding{Zone: w.zone.roster.Zone, Coordinator: w.zone.roster.Coordinator, Roster: w.zone.roster.Encode()})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// source is chance for one purpose.
func (w *network) source(n uint64) io.Reader {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], n)
	w.mu.Lock()
	defer w.mu.Unlock()
	binary.BigEndian.PutUint64(seed[8:], w.random.Uint64())
	return &lockedReader{in: rand.NewChaCha8(seed)}
}

type lockedReader struct {
	mu sync.Mutex
	in io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.in.Read(p)
}

func addressOf(i int) discovery.Address {
	a, err := discovery.AddressOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 7000))
	if err != nil {
		panic(err)
	}
	return a
}

func numberOf(a string) int {
	ap, err := netip.ParseAddrPort(a)
	if err != nil {
		return -1
	}
	b := ap.Addr().As4()
	return int(b[2])<<8 | int(b[3])
}

// start switches a device on.
func (d *device) start() {
	w := d.net
	book, err := discovery.New(discovery.Config{Own: w.zone.keys[d.number].Public().ID(), Random: w.source(1000 + uint64(d.number))})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := w.zone.config(d.number)
	cfg.Codec, cfg.Limits = w.codec, w.limits
	cfg.Replica, cfg.Random = d.replica, w.source(2000+uint64(d.number))
	cfg.Dial = func(ctx context.Context, c link.DialConfig) (mesh.Conn, error) { return w.dial(ctx, d.number, c) }
	if cfg.Uplink.Addresses = []string{string(addressOf(0))}; d.number == 0 {
		cfg.Uplink = mesh.Uplink{}
	} else {
		d.book, cfg.Book = book, book
	}
	if d.change != nil {
		d.change(&cfg)
	}
	d.node = w.zone.node(cfg)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	w.running.Go(func() { done <- d.node.Run(ctx) })
	d.mu.Lock()
	defer d.mu.Unlock()
	var watched func()
	if d.number == 0 {
		watched = d.issueReceipts(ctx)
	}
	d.ctx = ctx
	d.stop = func() {
		d.mu.Lock()
		d.ctx = nil
		d.mu.Unlock()
		cancel()
		if watched != nil {
			watched()
		}
		if err := <-done; err != nil {
			w.t.Errorf("run: %v", err)
		}
	}
}

// issueReceipts does what a coordinator does besides.
func (d *device) issueReceipts(ctx context.Context) (stop func()) {
	w := d.net
	commits := make(chan records.Commit, 10000)
	w.running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case k := <-commits:
				r := records.IssueReceipt(w.zone.keys[0], w.zone.roster.Zone, 1, 1, []records.ReceiptItem{
					{Log: k.Ref.Log, Start: k.Ref.Start, Counter: k.Head.Counter, Fingerprint: k.Head.Fingerprint},
				})
				if err := d.replica.AcceptReceipt(ctx, r.Encode()); err != nil && ctx.Err() == nil {
					w.t.Error(err)
				}
			}
		}
	})
	return d.replica.Watch(func(ch records.Change) {
		if ch.Commit != nil {
			commits <- *ch.Commit
		}
	})
}

func (d *device) on() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ctx != nil
}

// kill switches a device off without a word; it can be started again.
func (d *device) kill() {
	d.net.breakConns(func(a, b int) bool { return a == d.number || b == d.number }, true)
	d.stop()
}

func (w *network) start(numbers ...int) {
	for _, i := range numbers {
		w.devices[i].start()
	}
}

// stopAll ends the test's world.
func (w *network) stopAll() {
	for _, d := range w.devices {
		if d.on() {
			d.stop()
		}
	}
	w.breakConns(func(int, int) bool { return true }, true)
	w.running.Wait()
	for _, d := range w.devices {
		d.replica.Close()
	}
}

// announce has every device that is on hear where those are that it can reach,
// by name or not: as by mDNS, which names nobody, and by membership.
func (w *network) announce(named bool) {
	for i, d := range w.devices[1:] {
		if !d.on() {
			continue
		}
		for j, other := range w.devices[1:] {
			if i == j || !other.on() || w.isCut(i+1, j+1) {
				continue
			}
			s := discovery.Sighting{Address: addressOf(j + 1), Source: discovery.MDNS}
			if named {
				s.Device, s.Source = w.zone.keys[j+1].Public().ID(), discovery.Gossip
			}
			d.book.Learn(s)
		}
	}
}

// after lets time pass, with announcements every 20 s.
func (w *network) after(d time.Duration) {
	for d > 0 {
		w.announce(true)
		step := min(d, 20*time.Second)
		time.Sleep(step)
		d -= step
	}
}

func (w *network) isCut(a, b int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut(a, b)
}

// setCut says between whom there is no way. Connections there break at once,
// or, if it is a silent cut, when nothing was heard for half a minute.
func (w *network) setCut(cut func(a, b int) bool, silent bool) {
	w.mu.Lock()
	w.cut = cut
	w.mu.Unlock()
	w.breakConns(cut, !silent)
}

func (w *network) breakConns(which func(a, b int) bool, now bool) {
	w.mu.Lock()
	var broken []*memPair
	for p := range w.conns {
		if which(p.numbers[0], p.numbers[1]) {
			broken = append(broken, p)
		}
	}
	w.mu.Unlock()
	for _, p := range broken {
		p.stall()
		if now {
			p.finish(link.ErrBroken, link.ErrBroken)
		} else {
			time.AfterFunc(30*time.Second, func() { p.finish(link.ErrTimeout, link.ErrTimeout) })
		}
	}
}

// dial is how device from dials.
func (w *network) dial(ctx context.Context, from int, c link.DialConfig) (mesh.Conn, error) {
	w.mu.Lock()
	w.dials++
	w.mu.Unlock()
	var failures []error
	for _, a := range c.Addresses {
		conn, err := w.dialOne(ctx, from, numberOf(a), c)
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// transport is what a connection is that is made now.
func (w *network) transport() link.Transport {
	if w.sockets.Load() {
		return link.WebSocket
	}
	return "memory"
}

func (w *network) dialOne(ctx context.Context, from, to int, c link.DialConfig) (mesh.Conn, error) {
	if to < 0 || to >= len(w.devices) || w.isCut(from, to) || !w.devices[to].on() {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		<-ctx.Done()
		return nil, fmt.Errorf("dial: %w", link.ErrTimeout)
	}
	time.Sleep(5 * time.Millisecond)
	if err := c.Expect(w.zone.keys[to].Public()); err != nil {
		return nil, fmt.Errorf("%w: %w", link.ErrWrongPeer, err)
	}
	d := w.devices[to]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx == nil {
		return nil, fmt.Errorf("dial: %w", link.ErrUnreachable)
	}
	p := &memPair{net: w, transport: w.transport(), numbers: [2]int{from, to}, stalled: make(chan struct{}), over: make(chan struct{})}
	p.left = [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	a, b := net.Pipe()
	if w.latency > 0 {
		a, b = slowPipe(w.latency)
	}
	ends := [2]*memConn{{Conn: a, pair: p, side: 0}, {Conn: b, pair: p, side: 1}}
	p.pipes = [2]net.Conn{a, b}
	w.mu.Lock()
	w.conns[p] = true
	w.mu.Unlock()
	node, ctx := d.node, d.ctx
	w.running.Go(func() { node.Serve(ctx, ends[1]) })
	return ends[0], nil
}

// memPair is a connection in memory.
type memPair struct {
	net       *network
	transport link.Transport
	numbers   [2]int // who has dialled, and whom
	pipes     [2]net.Conn
	stalled   chan struct{}
	over      chan struct{}

	mu    sync.Mutex
	still bool
	ended bool
	gone  [2]bool          // the side has closed it while it was still: the other does not know
	left  [2]chan struct{} // closed with that
	why   [2]error         // what each side reads at the end
}

func (p *memPair) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.still {
		p.still = true
		close(p.stalled)
	}
}

func (p *memPair) finish(first, second error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	for side, why := range [2]error{first, second} {
		if !p.gone[side] {
			p.why[side] = why
		}
	}
	p.ended = true
	close(p.over)
	p.pipes[0].Close()
	p.pipes[1].Close()
	p.net.mu.Lock()
	delete(p.net.conns, p)
	p.net.mu.Unlock()
}

// closeUnheard closes one side of a connection over which nothing gets through.
func (p *memPair) closeUnheard(side int, why error) bool {
	p.mu.Lock()
	if !p.still || p.ended {
		p.mu.Unlock()
		return false
	}
	if !p.gone[side] {
		p.gone[side], p.why[side] = true, why
		close(p.left[side])
		p.pipes[side].Close()
	}
	both := p.gone[1-side]
	p.mu.Unlock()
	if both {
		p.finish(nil, nil)
	}
	return true
}

// memConn is one end of it.
type memConn struct {
	net.Conn
	pair  *memPair
	side  int
	meter meter // of what this side writes
	sieve sieve // for what of it gets lost
}

func (c *memConn) other() int                  { return c.pair.numbers[1-c.side] }
func (c *memConn) Peer() identity.DevicePublic { return c.pair.net.zone.keys[c.other()].Public() }
func (c *memConn) Transport() link.Transport   { return c.pair.transport }
func (c *memConn) RTT() time.Duration          { return time.Millisecond }
func (c *memConn) Dialled() bool               { return c.side == 0 }
func (c *memConn) Close() error                { return c.CloseWithError(link.CodeDone, "") }
func (c *memConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(string(addressOf(c.other()))))
}

func (c *memConn) CloseWithError(code link.Code, reason string) error {
	why := [2]error{}
	why[c.side] = &link.CloseError{Code: code, Reason: reason}
	why[1-c.side] = &link.CloseError{Code: code, Reason: reason, Remote: true}
	if code == link.CodeDone {
		why[1-c.side] = io.EOF
	}
	if c.pair.closeUnheard(c.side, why[c.side]) {
		return nil
	}
	c.pair.finish(why[0], why[1])
	return nil
}

func (c *memConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.mend(err)
}

func (c *memConn) Write(p []byte) (int, error) {
	select {
	case <-c.pair.stalled:
		return 0, c.mend(io.ErrClosedPipe)
	default:
	}
	c.pair.net.traffic.Add(int64(len(p)))
	c.pair.net.writes.Add(1)
	if c.pair.numbers[1] == 0 || c.pair.numbers[0] == 0 {
		c.pair.net.uplinks.Add(int64(len(p)))
		c.meter.bodies = &c.pair.net.bodies
	} else {
		c.meter.tally = &c.pair.net.tally
	}
	c.meter.add(p)
	kept := p
	if c.pair.net.lose != nil && c.meter.tally != nil {
		kept = c.sieve.pass(p, func(typ wire.Type) bool { return c.pair.net.lose(c, typ) })
	}
	if len(kept) > 0 {
		if _, err := c.Conn.Write(kept); err != nil {
			return 0, c.mend(err)
		}
	}
	return len(p), nil
}

// mend says how the connection ended, in the words of package link.
func (c *memConn) mend(err error) error {
	if err == nil {
		return nil
	}
	c.pair.mu.Lock()
	still := c.pair.still && !c.pair.gone[c.side]
	c.pair.mu.Unlock()
	if still {
		select {
		case <-c.pair.over:
		case <-c.pair.left[c.side]:
		}
	}
	c.pair.mu.Lock()
	defer c.pair.mu.Unlock()
	if c.pair.ended || c.pair.gone[c.side] {
		return c.pair.why[c.side]
	}
	return err
}

// linked reports whether two devices have a session.
func (w *network) linked(a, b int) bool {
	for _, p := range w.devices[a].node.Status().Peers {
		if p.Device == w.zone.keys[b].Public().ID() && p.State == mesh.PeerConnected {
			return true
		}
	}
	return false
}

// equal reports whether devices hold the same.
func (w *network) equal(numbers ...int) bool {
	for _, i := range numbers[1:] {
		if w.devices[i].replica.State().Fingerprint != w.devices[numbers[0]].replica.State().Fingerprint {
			return false
		}
	}
	return true
}

// write has a device write some records in one commit.
func (w *network) write(i, n int) { write(w.t, w.devices[i].replica, n) }

// safe reports whether a device knows that all that it holds is safe.
func (w *network) safe(i int) bool {
	for _, row := range w.devices[i].replica.State().Rows {
		if w.devices[i].replica.Receipted(row.Log) < row.Counter {
			return false
		}
	}
	return true
}

func upTo(n int) (numbers []int) {
	for i := 1; i <= n; i++ {
		numbers = append(numbers, i)
	}
	return numbers
}
