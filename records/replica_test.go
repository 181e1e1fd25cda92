package records_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

var (
	register = records.NewKind(identity.LaneProgress, roster.ClassAny, 1)
	event    = records.NewKind(identity.LaneDetail, roster.ClassAny, 2)
	role     = records.NewKind(identity.LaneZone, roster.ClassAdministrates, 3)
	zoneID   = identity.ZoneID{1}
	pupil    = identity.UserID{7}
)

// lockedSource is randomness that several goroutines may draw.
type lockedSource struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (s *lockedSource) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(p)
}

// zone is a coordinator's signed roster and the devices in it.
type zone struct {
	coordinator identity.DeviceKey
	roster      []byte
	keys        []identity.DeviceKey
	random      io.Reader
}

func newZone(t testing.TB, devices int) *zone {
	z := &zone{random: &lockedSource{r: rand.NewChaCha8([32]byte{42})}}
	var err error
	if z.coordinator, err = identity.GenerateDeviceKey(z.random); err != nil {
		t.Fatal(err)
	}
	r, err := roster.New(zoneID, "zone", z.coordinator.Public(), 1)
	for n := range devices {
		k, _ := identity.GenerateDeviceKey(z.random)
		z.keys = append(z.keys, k)
		if err == nil {
			r, err = r.AddDevice(k.Public(), fmt.Sprint("device ", n), roster.RoleClassroom, 1)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	z.roster = r.Sign(z.coordinator, 2).Encode()
	return z
}

func (z *zone) config(n int, s records.Store) records.Config {
	return records.Config{
		Store: s, Identity: z.keys[n], Random: z.random, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.UnixMilli(1000) },
	}
}

func (z *zone) found(t testing.TB, n int, s records.Store) *records.Replica {
	t.Helper()
	r, err := records.Found(t.Context(), z.config(n, s), records.Founding{Zone: zoneID, Coordinator: z.coordinator.Public(), Roster: z.roster})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func put(r *records.Replica, recs ...records.Record) error {
	return r.Write(context.Background(), func(d *records.Draft) error {
		for _, rec := range recs {
			if _, err := d.Put(rec); err != nil {
				return err
			}
		}
		return nil
	})
}

func reg(key, body string) records.Record {
	return records.Record{Kind: register, Register: true, Key: []byte(key), Learner: pupil, Body: []byte(body)}
}

func ev(body string) records.Record {
	return records.Record{Kind: event, Learner: pupil, Body: []byte(body)}
}

// seen is what a page would read: registers and events of the pupil.
func seen(t testing.TB, r *records.Replica) (list []string) {
	t.Helper()
	err := r.Read(t.Context(), func(v *records.View) error {
		err := v.Registers(records.RegisterPrefix{Kind: register}, func(row records.RegisterRow) error {
			list = append(list, fmt.Sprint(row.Log.Short(), " ", row.Counter, " ", row.Key.Key, "=", string(row.Body)))
			return nil
		})
		if err != nil {
			return err
		}
		return v.Events(pupil, identity.LaneDetail, func(row records.EventRow) error {
			list = append(list, fmt.Sprint(row.Log.Short(), " ", row.Counter, " ", string(row.Body)))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// pull gives to what from has beyond it, as a session does.
func pull(t testing.TB, to, from *records.Replica) {
	t.Helper()
	for _, row := range from.State().Rows {
		base, starts := to.Frontier(row.BranchRef)
		if base >= row.Counter {
			continue
		}
		d, err := from.Difference(t.Context(), row.BranchRef, base, starts)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.AcceptDifference(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteReadReopen(t *testing.T) {
	z, store := newZone(t, 1), storetest.NewMemory()
	if _, err := records.Open(t.Context(), z.config(0, store)); !errors.Is(err, records.ErrNotFounded) {
		t.Errorf("opening an empty store: %v", err)
	}
	r := z.found(t, 0, store)
	if err := put(r, reg("a", "1"), ev("x"), reg("a", "2"), reg("b", "1")); err != nil {
		t.Fatal(err)
	}
	if err := put(r, reg("a", "3")); err != nil {
		t.Fatal(err)
	}
	want := seen(t, r)
	if len(want) != 3 {
		t.Fatalf("seen %q", want)
	}
	state := *r.State()
	again, err := records.Open(t.Context(), z.config(0, store))
	if err != nil {
		t.Fatal(err)
	}
	if got := seen(t, again); !slices.Equal(got, want) || again.State().Fingerprint != state.Fingerprint {
		t.Errorf("after reopening: %q, want %q", got, want)
	}
	if err := put(again, reg("a", "4")); err != nil {
		t.Fatal(err)
	}
	if c, starts := again.Frontier(records.BranchRef{Log: again.Certificate().Log(identity.LaneProgress)}); c != 5 || starts != 2 {
		t.Errorf("counter %d, %d starts; want 5, 2", c, starts)
	}
	if _, err := records.Found(t.Context(), z.config(0, store), records.Founding{Zone: zoneID, Coordinator: z.coordinator.Public(), Roster: z.roster}); !errors.Is(err, records.ErrFounded) {
		t.Errorf("founding twice: %v", err)
	}
}

func TestFailedDraftLeavesNothing(t *testing.T) {
	z := newZone(t, 1)
	r := z.found(t, 0, storetest.NewMemory())
	if err := put(r, reg("a", "1")); err != nil {
		t.Fatal(err)
	}
	want, state := seen(t, r), *r.State()
	refuse := errors.New("refused")
	err := r.Write(t.Context(), func(d *records.Draft) error {
		if _, err := d.Put(reg("a", "2")); err != nil {
			return err
		}
		if _, err := d.Put(ev("x")); err != nil {
			return err
		}
		if own, ok, err := d.Own(records.RegisterKey{Kind: register, Learner: pupil, Key: "a"}); err != nil || !ok || string(own.Body) != "2" {
			t.Errorf("own register in the draft: %q %v %v", own.Body, ok, err)
		}
		return refuse
	})
	if !errors.Is(err, refuse) {
		t.Fatal(err)
	}
	if err := put(r, records.Record{Kind: event, Body: make([]byte, records.MaxBodyBytes+1)}); !errors.Is(err, records.ErrEntry) {
		t.Errorf("too large a body: %v", err)
	}
	if got := seen(t, r); !slices.Equal(got, want) || r.State().Fingerprint != state.Fingerprint {
		t.Errorf("left behind: %q", got)
	}
	if err := put(r, reg("a", "3")); err != nil {
		t.Fatal(err)
	}
}

// A lane whose very first draft fails can be written to afterwards, and so can
// one in which a failed draft had begun a segment.
func TestLaneAfterFailedDraft(t *testing.T) {
	z := newZone(t, 2)
	r, other := z.found(t, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory())
	refuse := errors.New("refused")
	fail := func(n int) {
		t.Helper()
		err := r.Write(t.Context(), func(d *records.Draft) error {
			for range n {
				if _, err := d.Put(ev("taken back")); err != nil {
					return err
				}
			}
			return refuse
		})
		if !errors.Is(err, refuse) {
			t.Fatal(err)
		}
	}
	fail(1)
	fail(2)
	for range 2 {
		if err := put(r, ev("kept")); err != nil {
			t.Fatal(err)
		}
		fail(records.SegmentCounters)
	}
	pull(t, other, r)
	if got := len(seen(t, other)); got != 2 {
		t.Errorf("%d events of 2", got)
	}
}

// A draft that panics fails, and the replica goes on.
func TestDraftThatPanics(t *testing.T) {
	z := newZone(t, 1)
	r := z.found(t, 0, storetest.NewMemory())
	err := r.Write(t.Context(), func(d *records.Draft) error {
		if _, err := d.Put(ev("lost")); err != nil {
			return err
		}
		panic("a bug")
	})
	if err == nil {
		t.Error("the write did not fail")
	}
	if err := put(r, ev("kept")); err != nil {
		t.Fatal(err)
	}
	if got := seen(t, r); len(got) != 1 {
		t.Errorf("seen %q", got)
	}
}

// An insane clock, right below the end of its era, never carries records into
// an era that the roster does not have, in which they would not count.
func TestExhaustedClock(t *testing.T) {
	z, store := newZone(t, 1), storetest.NewMemory()
	z.found(t, 0, store)
	err := store.Update(t.Context(), func(tx records.WriteTx) error {
		return tx.SetValue("clock", binary.BigEndian.AppendUint64(nil, uint64(records.NewClock(0, 1<<48-2))))
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := records.Open(t.Context(), z.config(0, store))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := put(r, ev("counts")); err != nil {
			t.Fatal(err)
		}
	}
	if got := seen(t, r); len(got) != 3 {
		t.Errorf("seen %q", got)
	}
}

// Concurrent writers get distinct counters and nothing is lost.
func TestConcurrentWrites(t *testing.T) {
	z := newZone(t, 1)
	r := z.found(t, 0, storetest.NewMemory())
	var commits []uint64
	defer r.Watch(func(c records.Change) { commits = append(commits, c.Commit.Head.Counter) })()
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			for i := range 5 {
				if err := put(r, ev(fmt.Sprint(n, "/", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(seen(t, r)); got != 200 {
		t.Errorf("%d events of 200", got)
	}
	if err := r.Close(); err != nil || !slices.IsSorted(commits) || commits[len(commits)-1] != 200 {
		t.Errorf("commits told: %v", commits)
	}
	if err := put(r, ev("late")); !errors.Is(err, records.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}

// Whatever is written where, in whatever order replicas meet, restart and
// lose their stores' answers, all that was acknowledged arrives everywhere
// and equal vectors mean equal fingerprints and equal pages.
func TestReplicasConverge(t *testing.T) {
	for seed := range histories(30) {
		random := rand.New(rand.NewPCG(seed, 30))
		z := newZone(t, 3)
		var stores [3]*storetest.Memory
		var reps [3]*records.Replica
		acknowledged := map[string]bool{}
		for n := range reps {
			stores[n] = storetest.NewMemory()
			reps[n] = z.found(t, n, stores[n])
		}
		for step := range 120 {
			n := random.IntN(3)
			switch random.IntN(6) {
			case 0:
				pull(t, reps[n], reps[(n+1+random.IntN(2))%3])
			case 1: // a restart, with a commit before it whose answer is perhaps lost
				fault := storetest.Fault(random.IntN(3))
				r, err := records.Open(t.Context(), z.config(n, &storetest.Faulty{Store: stores[n], Next: func() storetest.Fault { return fault }}))
				if err != nil {
					t.Fatal(err)
				}
				if err := put(r, ev(fmt.Sprint("fault", step))); (err == nil) != (fault == storetest.None) {
					t.Fatalf("fault %d: %v", fault, err)
				}
				if reps[n], err = records.Open(t.Context(), z.config(n, stores[n])); err != nil {
					t.Fatal(err)
				}
			default:
				body := fmt.Sprint(seed, ".", step)
				recs := []records.Record{ev(body)}
				for range random.IntN(8) {
					recs = append(recs, reg(fmt.Sprint("k", random.IntN(5)), body))
				}
				if err := put(reps[n], recs...); err != nil {
					t.Fatal(err)
				}
				acknowledged[body] = true
			}
		}
		for _, pair := range [][2]int{{0, 1}, {1, 2}, {2, 0}, {0, 1}, {1, 2}} {
			pull(t, reps[pair[1]], reps[pair[0]])
			pull(t, reps[pair[0]], reps[pair[1]])
		}
		want := seen(t, reps[0])
		for n, r := range reps {
			if r.State().Fingerprint != reps[0].State().Fingerprint || !slices.Equal(seen(t, r), want) {
				t.Fatalf("seed %d: replica %d differs", seed, n)
			}
		}
		for body := range acknowledged {
			if !slices.ContainsFunc(want, func(s string) bool { return len(s) > len(body) && s[len(s)-len(body):] == body }) {
				t.Fatalf("seed %d: %s was acknowledged and is lost", seed, body)
			}
		}
	}
}

// A peer that lies is refused, and nothing of what it sent is stored.
func TestLyingPeer(t *testing.T) {
	z := newZone(t, 2)
	a, b := z.found(t, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory())
	if err := put(a, reg("a", "1"), reg("b", "1"), reg("c", "1")); err != nil {
		t.Fatal(err)
	}
	log := a.Certificate().Log(identity.LaneProgress)
	fresh := func() *records.Difference {
		d, err := a.Difference(t.Context(), records.BranchRef{Log: log}, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	stranger, _ := identity.GenerateDeviceKey(z.random)
	strangersAuthor, _ := identity.GenerateAuthorKey(z.random)
	for _, c := range []struct {
		name string
		lie  func(*records.Difference)
		want error
	}{
		{"an altered body", func(d *records.Difference) { d.Entries[1].Body = []byte("9") }, records.ErrMismatch},
		{"a withheld entry", func(d *records.Difference) { d.Entries = d.Entries[:2] }, records.ErrMismatch},
		{"a counter used twice", func(d *records.Difference) { d.Entries[2].Counter = 2 }, records.ErrMismatch},
		{"a counter above the head", func(d *records.Difference) { d.Entries[2].Counter = 4 }, records.ErrMismatch},
		{"a register twice", func(d *records.Difference) { d.Entries[1].Envelope = d.Entries[0].Envelope }, records.ErrMismatch},
		{"a stub without its erasure", func(d *records.Difference) { d.Entries[0] = d.Entries[0].ToStub() }, records.ErrMismatch},
		{"no segment", func(d *records.Difference) { d.Firsts = nil }, records.ErrMismatch},
		{"a broken envelope", func(d *records.Difference) { d.Entries[0].Envelope = []byte{1} }, records.ErrEnvelope},
		{"an altered head", func(d *records.Difference) { d.Head.Counter++ }, records.ErrHead},
		{"a head of another log", func(d *records.Difference) { d.Lane = identity.LaneZone }, records.ErrHead},
		{"starts left out", func(d *records.Difference) { d.Starts = nil }, records.ErrStarts},
		{"a gap", func(d *records.Difference) { d.Base, d.Entries, d.Firsts = 1, d.Entries[1:], nil }, records.ErrGap},
		{"a certificate of nobody", func(d *records.Difference) { d.Certificate.Sequence++ }, identity.ErrCertificate},
		{"a stranger", func(d *records.Difference) {
			d.Certificate = identity.IssueCertificate(stranger, zoneID, strangersAuthor, 1)
			d.Head.Log = d.Certificate.Log(d.Lane)
			d.Head.Sign(strangersAuthor)
		}, records.ErrNotAdmitted},
	} {
		d := fresh()
		c.lie(d)
		if err := b.AcceptDifference(t.Context(), d); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if n := len(b.State().Rows); n != 0 {
			t.Errorf("%s: %d logs stored", c.name, n)
		}
	}
	if err := b.AcceptDifference(t.Context(), fresh()); err != nil {
		t.Error(err)
	}
	if err := b.AcceptDifference(t.Context(), fresh()); !errors.Is(err, records.ErrStale) {
		t.Errorf("the same again: %v", err)
	}
}

// Two continuations of one log, as a copied card makes them, are noticed by
// those who hold either, and by the copies themselves; nothing is overwritten.
func TestForkIsNoticed(t *testing.T) {
	z := newZone(t, 2)
	store := storetest.NewMemory()
	a, b := z.found(t, 0, store), z.found(t, 1, storetest.NewMemory())
	if err := put(a, reg("a", "1")); err != nil {
		t.Fatal(err)
	}
	pull(t, b, a)
	copied, err := records.Open(t.Context(), z.config(0, store.Clone()))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*records.Replica{a, copied} {
		if err := put(r, reg("a", "2")); err != nil {
			t.Fatal(err)
		}
	}
	pull(t, b, a)
	log := a.Certificate().Log(identity.LaneProgress)
	other, err := copied.Difference(t.Context(), records.BranchRef{Log: log}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*records.Replica{"a third device": b, "the other copy": a} {
		want, state := seen(t, r), *r.State()
		if err := r.AcceptDifference(t.Context(), other); !errors.Is(err, records.ErrForked) {
			t.Errorf("%s: %v", name, err)
		}
		if got := seen(t, r); !slices.Equal(got, want) || r.State().Fingerprint != state.Fingerprint {
			t.Errorf("%s: overwritten: %q", name, got)
		}
	}
}

// A classroom device cannot promote anybody: what it writes of such kinds is
// stored and relayed, and counts for nothing.
func TestTableOfAuthors(t *testing.T) {
	z := newZone(t, 1)
	r := z.found(t, 0, storetest.NewMemory())
	if err := put(r, records.Record{Kind: role, Register: true, Learner: pupil, Body: []byte("administrator")}); err != nil {
		t.Fatal(err)
	}
	err := r.Read(t.Context(), func(v *records.View) error {
		return v.Registers(records.RegisterPrefix{Kind: role}, func(records.RegisterRow) error {
			return errors.New("a classroom device's role counts")
		})
	})
	if err != nil {
		t.Error(err)
	}
	if len(r.State().Rows) != 1 {
		t.Error("the entry is not held")
	}
}
