package exchange_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/roster"
)

// locked makes a model safe for concurrent use, as a session needs it. Models
// of one world share the lock.
type locked struct {
	mu *sync.Mutex
	*replica
}

func under[T any](l locked, f func() T) T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f()
}

func under2[T, U any](l locked, f func() (T, U)) (T, U) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f()
}

func (l locked) Roster() *roster.Roster    { return under(l, l.replica.Roster) }
func (l locked) RosterBytes() []byte       { return under(l, l.replica.RosterBytes) }
func (l locked) RosterHash() identity.Hash { return under(l, l.replica.RosterHash) }
func (l locked) State() *records.State     { return under(l, l.replica.State) }

func (l locked) Relation(h *records.Head) records.Relation {
	return under(l, func() records.Relation { return l.replica.Relation(h) })
}

func (l locked) Passed(log identity.LogID, start []byte, n uint64) bool {
	return under(l, func() bool { return l.replica.Passed(log, start, n) })
}

func (l locked) Frontier(r records.BranchRef) (uint64, int) {
	return under2(l, func() (uint64, int) { return l.replica.Frontier(r) })
}

func (l locked) Head(r records.BranchRef) (records.Head, bool) {
	return under2(l, func() (records.Head, bool) { return l.replica.Head(r) })
}

func (l locked) AuthorOf(id identity.LogID) (identity.Certificate, bool) {
	return under2(l, func() (identity.Certificate, bool) { return l.replica.AuthorOf(id) })
}

func (l locked) HeadsOf(d identity.DeviceID) []records.Head {
	return under(l, func() []records.Head { return l.replica.HeadsOf(d) })
}

func (l locked) Receipted(id identity.LogID) uint64 {
	return under(l, func() uint64 { return l.replica.Receipted(id) })
}

func (l locked) Difference(ctx context.Context, r records.BranchRef, base uint64, starts int) (*records.Difference, error) {
	return under2(l, func() (*records.Difference, error) { return l.replica.Difference(ctx, r, base, starts) })
}

func (l locked) SegmentList(ctx context.Context, r records.BranchRef, base uint64, starts int) (*records.SegmentList, error) {
	return under2(l, func() (*records.SegmentList, error) { return l.replica.SegmentList(ctx, r, base, starts) })
}

func (l locked) SegmentData(ctx context.Context, r records.BranchRef, head uint64, n records.Need) (*records.SegmentData, error) {
	return under2(l, func() (*records.SegmentData, error) { return l.replica.SegmentData(ctx, r, head, n) })
}

func (l locked) AcceptDifference(ctx context.Context, d *records.Difference) error {
	return under(l, func() error { return l.replica.AcceptDifference(ctx, d) })
}

func (l locked) AcceptSegmentList(ctx context.Context, s *records.SegmentList) (exchange.Plan, error) {
	return under2(l, func() (exchange.Plan, error) { return l.replica.AcceptSegmentList(ctx, s) })
}

func (l locked) AcceptSegmentData(ctx context.Context, s *records.SegmentData) error {
	return under(l, func() error { return l.replica.AcceptSegmentData(ctx, s) })
}

func (l locked) Promote(ctx context.Context, r records.BranchRef, head uint64) (exchange.Plan, error) {
	return under2(l, func() (exchange.Plan, error) { return l.replica.Promote(ctx, r, head) })
}

func (l locked) AcceptRoster(ctx context.Context, b []byte) error {
	return under(l, func() error { return l.replica.AcceptRoster(ctx, b) })
}

func (l locked) AcceptReceipt(ctx context.Context, b []byte) error {
	return under(l, func() error { return l.replica.AcceptReceipt(ctx, b) })
}

func (l locked) AcceptKey(ctx context.Context, b []byte) error {
	return under(l, func() error { return l.replica.AcceptKey(ctx, b) })
}

func (l locked) Keys() []roster.ZoneKey { return under(l, l.replica.Keys) }

func (l locked) Receipts(ctx context.Context, beyond []exchange.Mark) ([][]byte, error) {
	return under2(l, func() ([][]byte, error) { return l.replica.Receipts(ctx, beyond) })
}

func (l locked) Watch(f func(exchange.Change)) func() {
	stop := under(l, func() func() { return l.replica.Watch(f) })
	return func() { under(l, func() int { stop(); return 0 }) }
}

// pair is two devices of one zone and the two ends of a stream.
func pair(t testing.TB) (a, b locked, left, right net.Conn) {
	w := newWorld(t, 2, 2)
	var mu sync.Mutex
	left, right = net.Pipe()
	return locked{&mu, newReplica(w, 0, w.rosters[0])}, locked{&mu, newReplica(w, 1, w.rosters[0])}, left, right
}

func session(t testing.TB, l locked, peer int, stream net.Conn, oneShot bool) *exchange.Session {
	t.Helper()
	codec, err := packing.NewCodec(1)
	if err != nil {
		t.Fatal(err)
	}
	key := l.keys[peer].Public()
	s, err := exchange.NewSession(exchange.SessionConfig{
		Config: exchange.Config{
			Peer: key, Codec: codec, OneShot: oneShot,
			Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(l.Roster(), p, 1) },
		},
		Replica: l, Stream: stream, Limits: exchange.NewLimits(0),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (l locked) add(lane identity.Lane, n int) {
	under(l, func() int {
		for i := range n {
			l.write(lane, records.Entry{Envelope: []byte{0}, Body: []byte{byte(i)}})
		}
		return 0
	})
}

// Two real sessions over a stream bring two replicas together, small
// differences and staged logs with their receipts, both ways at once, and end
// by themselves.
func TestSessionsExchange(t *testing.T) {
	a, b, left, right := pair(t)
	a.add(identity.LaneZone, 2)
	a.add(identity.LaneDetail, 60)
	b.add(identity.LaneProgress, 3)
	// What a has is safe with the coordinator; b is to know that too.
	a.issueReceipts()
	one, two := session(t, a, 1, left, true), session(t, b, 0, right, true)
	var wg sync.WaitGroup
	for _, s := range []*exchange.Session{one, two} {
		wg.Go(func() {
			if err := s.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a.State().Fingerprint != b.State().Fingerprint || len(a.State().Rows) != 3 {
		t.Errorf("a holds %v\nb holds %v", a.State().Rows, b.State().Rows)
	}
	r := two.Report()
	for _, row := range b.State().Rows {
		if want := a.Receipted(row.Log); b.Receipted(row.Log) != want {
			t.Errorf("of %s receipted up to %d, want %d", row.Log.Short(), b.Receipted(row.Log), want)
		}
	}
	if r.RecordsReceived != 62 || r.SegmentsTaken == 0 || r.BytesReceived == 0 || !r.Equal || r.Blame != "" {
		t.Errorf("report: %+v", r)
	}
}

// An open session passes a commit on as it happens, and ends when it is told.
func TestSessionPushes(t *testing.T) {
	a, b, left, right := pair(t)
	ctx, stop := context.WithCancel(t.Context())
	arrived := make(chan uint64, 8)
	defer b.Watch(func(c exchange.Change) {
		if c.Commit != nil && !c.Commit.Own {
			arrived <- c.Commit.Head.Counter
		}
	})()
	var wg sync.WaitGroup
	for _, s := range []*exchange.Session{session(t, a, 1, left, false), session(t, b, 0, right, false)} {
		wg.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	for n := range uint64(3) {
		a.add(identity.LaneDetail, 1)
		if got := <-arrived; got != n+1 {
			t.Errorf("commit %d arrived, want %d", got, n+1)
		}
	}
	stop()
	wg.Wait()
}

// A commit that falls between the announcement and the peer's Hello is not
// forgotten: the session says anew what is held.
func TestCommitDuringGreeting(t *testing.T) {
	a, b, _, _ := pair(t)
	codec, err := packing.NewCodec(1)
	if err != nil {
		t.Fatal(err)
	}
	machine := func(l locked, peer int) *exchange.Machine {
		return exchange.New(exchange.Config{
			Local: l, Peer: l.keys[peer].Public(), Codec: codec,
			Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(l.Roster(), p, 1) },
		})
	}
	one, two := machine(a, 1), machine(b, 0)
	var told identity.Hash
	step := func(e exchange.Event) {
		for _, effect := range one.Step(e) {
			if s, ok := effect.(exchange.Send); ok {
				if c, ok := s.Message.(*wire.Counters); ok {
					told = c.Fingerprint
				}
			}
		}
	}
	step(exchange.Started{})
	var commits []exchange.Change
	defer a.Watch(func(c exchange.Change) { commits = append(commits, c) })()
	a.add(identity.LaneDetail, 1)
	for _, c := range commits {
		step(exchange.Changed{Change: c})
	}
	for _, effect := range two.Step(exchange.Started{}) {
		if s, ok := effect.(exchange.Send); ok {
			step(exchange.Received{Message: s.Message})
		}
	}
	if told != a.State().Fingerprint {
		t.Error("the peer was not told of the commit")
	}
}

// A peer that says anything at all ends its session and nothing else.
func TestSessionSurvivesNoise(t *testing.T) {
	for seed := range byte(20) {
		a, _, left, right := pair(t)
		a.add(identity.LaneZone, 2)
		before := a.State().Fingerprint
		var wg sync.WaitGroup
		wg.Go(func() { // the peer reads, and sends noise until it is cut off
			noise := rand.NewChaCha8([32]byte{seed})
			var b [512]byte
			for {
				noise.Read(b[:])
				if _, err := right.Write(b[:]); err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			var b [4096]byte
			for {
				if _, err := right.Read(b[:]); err != nil {
					return
				}
			}
		})
		var end *exchange.EndError
		if err := session(t, a, 1, left, false).Run(t.Context()); !errors.As(err, &end) {
			t.Errorf("seed %d: %v", seed, err)
		}
		right.Close()
		wg.Wait()
		if a.State().Fingerprint != before {
			t.Errorf("seed %d: noise changed the replica", seed)
		}
	}
}

// A stranger's key is told so, and learns nothing.
func TestSessionRefusesStranger(t *testing.T) {
	w := newWorld(t, 2, 1) // the second is not listed
	var mu sync.Mutex
	a, b := locked{&mu, newReplica(w, 0, w.rosters[0])}, locked{&mu, newReplica(w, 1, w.rosters[0])}
	a.add(identity.LaneZone, 2)
	left, right := net.Pipe()
	refused := session(t, b, 0, right, true)
	var wg sync.WaitGroup
	for _, s := range []*exchange.Session{session(t, a, 1, left, false), refused} {
		wg.Go(func() {
			var end *exchange.EndError
			if err := s.Run(t.Context()); !errors.As(err, &end) || end.Code != wire.CodeUnknown {
				t.Errorf("ended with %v, want %v", err, wire.CodeUnknown)
			}
		})
	}
	wg.Wait()
	if n := len(b.State().Rows); n != 0 || refused.Report().RecordsReceived != 0 {
		t.Errorf("the stranger got %d logs", n)
	}
}
