package mesh_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/roster"
)

// codec and limits are those of the test's process. They are made outside of
// all bubbles of virtual time.
var (
	codec  = newCodec()
	limits = exchange.NewLimits(0)
)

func newCodec() *packing.Codec {
	c, err := packing.NewCodec(1)
	if err != nil {
		panic(err)
	}
	return c
}

// still is a replica that holds nothing and changes by hand only: enough for
// sessions that find both sides equal, and so never come to what it has not got.
type still struct {
	exchange.Replica // nil
	cert             identity.Certificate

	mu        sync.Mutex
	roster    *roster.Roster
	heads     map[identity.DeviceID][]records.Head
	receipted map[identity.LogID]uint64
	watchers  map[int]func(exchange.Change)
	last      int
}

func (s *still) Zone() identity.ZoneID     { return s.cert.Zone }
func (s *still) StartID() identity.StartID { return identity.StartID(s.cert.Author[:8]) }

func (s *still) Certificate() identity.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cert
}

func (s *still) Roster() *roster.Roster {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roster
}

func (s *still) RosterBytes() []byte       { return s.Roster().Encode() }
func (s *still) RosterHash() identity.Hash { return s.Roster().Hash() }

func (s *still) State() *records.State {
	return &records.State{Zone: s.Zone(), Epoch: s.Roster().Epoch}
}

func (s *still) Frontier(records.BranchRef) (uint64, int)        { return 0, 0 }
func (s *still) Relation(*records.Head) records.Relation         { return records.Continues }
func (s *still) Passed(identity.LogID, []byte, uint64) bool      { return true }
func (s *still) Head(records.BranchRef) (h records.Head, _ bool) { return h, false }
func (s *still) AuthorOf(identity.LogID) (c identity.Certificate, _ bool) {
	return c, false
}

func (s *still) HeadsOf(d identity.DeviceID) []records.Head {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heads[d]
}

func (s *still) Receipted(log identity.LogID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.receipted[log]
}

func (s *still) Keys() []roster.ZoneKey { return nil }

func (s *still) AcceptRoster(_ context.Context, encoded []byte) error {
	r, err := roster.Accept(s.Roster(), encoded, s.roster.Coordinator, s.Zone())
	if err == nil {
		s.setRoster(r)
	}
	return err
}

func (s *still) setRoster(r *roster.Roster) {
	s.mu.Lock()
	s.roster = r
	told := make([]func(exchange.Change), 0, len(s.watchers))
	for _, f := range s.watchers {
		told = append(told, f)
	}
	s.mu.Unlock()
	for _, f := range told {
		f(exchange.Change{Roster: true})
	}
}

func (s *still) Watch(f func(exchange.Change)) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	id := s.last
	s.watchers[id] = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, id)
	}
}

// zone is a coordinator, devices, and the ways between them.
type zone struct {
	t       testing.TB
	random  *rand.ChaCha8
	roster  *roster.Roster
	keys    []identity.DeviceKey // the first is the coordinator's
	authors []identity.AuthorKey
	all     []*still

	mu    sync.Mutex
	dials []time.Time
	// answer is what happens to who dials the coordinator.
	answer func(context.Context, *pipeEnd) error
	ctx    context.Context // of the coordinator's process
	served sync.WaitGroup  // connections that answer has taken
}

func seed(role, n int) []byte {
	return bytes.Repeat([]byte{byte(role), byte(n)}, identity.SeedBytes/2)
}

// newZone makes a zone of n devices, of which the last is not listed if
// stranger.
func newZone(t testing.TB, n int, stranger bool) *zone {
	z := &zone{t: t, random: rand.NewChaCha8([32]byte{1}), ctx: t.Context()}
	id := identity.ZoneID{7}
	for i := range n + 1 {
		key, err := identity.DeviceKeyFromSeed(seed(1, i))
		if err != nil {
			t.Fatal(err)
		}
		author, err := identity.AuthorKeyFromSeed(seed(2, i))
		if err != nil {
			t.Fatal(err)
		}
		z.keys, z.authors = append(z.keys, key), append(z.authors, author)
	}
	r, err := roster.New(id, "zone", z.keys[0].Public(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range z.keys[1:] {
		if stranger && i == n-1 {
			break
		}
		if r, err = r.AddDevice(key.Public(), fmt.Sprintf("room %d", i+1), roster.RoleClassroom, 1); err != nil {
			t.Fatal(err)
		}
	}
	z.roster = r.Sign(z.keys[0], 1)
	for i, key := range z.keys {
		z.all = append(z.all, &still{
			cert: identity.IssueCertificate(key, id, z.authors[i], 1), roster: z.roster,
			heads: map[identity.DeviceID][]records.Head{}, receipted: map[identity.LogID]uint64{},
			watchers: map[int]func(exchange.Change){},
		})
	}
	z.answer = z.unreachable
	return z
}

// admitLast has the coordinator list the last device.
func (z *zone) admitLast() {
	r, err := z.roster.AddDevice(z.keys[len(z.keys)-1].Public(), "late", roster.RoleClassroom, 1)
	if err != nil {
		z.t.Fatal(err)
	}
	z.roster = r.Sign(z.keys[0], 1)
	z.all[0].setRoster(z.roster)
}

// head is one that device n signed of its log for details.
func (z *zone) head(n int, counter uint64) records.Head {
	cert := z.all[n].cert
	h := records.Head{Log: cert.Log(identity.LaneDetail), Counter: counter}
	h.SetStarts(records.StartList{{First: 1, ID: identity.StartID{1}}})
	h.Sign(z.authors[n])
	return h
}

// config is that of device n, or for 0 of the coordinator as a node.
func (z *zone) config(n int) mesh.Config {
	cfg := mesh.Config{
		Replica: z.all[n], Identity: z.keys[n], Codec: codec, Limits: limits, Software: "test", Random: z.random,
		Logger: slog.New(slog.NewTextHandler(z.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if n > 0 {
		cfg.Uplink = mesh.Uplink{Addresses: []string{"coordinator:1"}, Coordinator: z.keys[0].Public()}
		cfg.Dial = func(ctx context.Context, d link.DialConfig) (mesh.Conn, error) { return z.dial(ctx, n, d) }
	}
	return cfg
}

func (z *zone) node(cfg mesh.Config) *mesh.Node {
	n, err := mesh.New(cfg)
	if err != nil {
		z.t.Fatal(err)
	}
	return n
}

// pipeEnd is one end of a connection in memory.
type pipeEnd struct {
	net.Conn
	peer    identity.DevicePublic
	dialled bool
}

func (p *pipeEnd) Peer() identity.DevicePublic                { return p.peer }
func (p *pipeEnd) Transport() link.Transport                  { return "memory" }
func (p *pipeEnd) RTT() time.Duration                         { return 0 }
func (p *pipeEnd) Dialled() bool                              { return p.dialled }
func (p *pipeEnd) CloseWithError(c link.Code, _ string) error { return p.Close() }

// pipe connects two devices; the first has dialled.
func (z *zone) pipe(from, to int) (dialled, called *pipeEnd) {
	a, b := net.Pipe()
	return &pipeEnd{a, z.keys[to].Public(), true}, &pipeEnd{b, z.keys[from].Public(), false}
}

// dial is how device n dials the coordinator.
func (z *zone) dial(ctx context.Context, n int, d link.DialConfig) (mesh.Conn, error) {
	z.mu.Lock()
	z.dials = append(z.dials, time.Now())
	answer := z.answer
	z.mu.Unlock()
	if err := d.Expect(z.keys[0].Public()); err != nil {
		return nil, fmt.Errorf("%w: %w", link.ErrWrongPeer, err)
	}
	dialled, called := z.pipe(n, 0)
	if err := answer(ctx, called); err != nil {
		return nil, err
	}
	return dialled, nil
}

// dialled returns when the coordinator was dialled since the last call.
func (z *zone) dialled() []time.Time {
	z.mu.Lock()
	defer z.mu.Unlock()
	times := z.dials
	z.dials = nil
	return times
}

func (z *zone) setAnswer(f func(context.Context, *pipeEnd) error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.answer = f
}

func (z *zone) unreachable(context.Context, *pipeEnd) error {
	return fmt.Errorf("dial: %w", link.ErrUnreachable)
}

// serve answers with a session of the coordinator.
func (z *zone) serve(c *mesh.Node) func(context.Context, *pipeEnd) error {
	return func(_ context.Context, called *pipeEnd) error {
		z.served.Go(func() { c.Serve(z.ctx, called) })
		return nil
	}
}

// run runs a node until the function that it returns is called, which returns
// when everything has ended.
func (z *zone) run(n *mesh.Node) (stop func()) {
	ctx, cancel := context.WithCancel(z.t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return func() {
		z.t.Helper()
		cancel()
		if err := <-done; err != nil {
			z.t.Errorf("run: %v", err)
		}
	}
}

// gaps returns the shortest and the longest time between dials.
func gaps(times []time.Time) (shortest, longest time.Duration) {
	var all []time.Duration
	for i := 1; i < len(times); i++ {
		all = append(all, times[i].Sub(times[i-1]))
	}
	if len(all) == 0 {
		return 0, 0
	}
	return slices.Min(all), slices.Max(all)
}
