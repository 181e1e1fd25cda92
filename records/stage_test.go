package records_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/storetest"
)

// stageLog is the log that these tests write.
func stageLog(author *records.Replica) records.BranchRef {
	return records.BranchRef{Log: author.Certificate().Log(identity.LaneProgress)}
}

// short is a replica whose segments end after four counters.
func short(t testing.TB, z *zone, n int, s records.Store) *records.Replica {
	t.Helper()
	r := z.found(t, n, s)
	r.EndSegmentsAfter(4)
	return r
}

// rewrite writes registers k0, k1 … in turn, one commit each.
func rewrite(t testing.TB, r *records.Replica, keys, times int) {
	t.Helper()
	for i := range times {
		if err := put(r, reg(fmt.Sprint("k", i%keys), fmt.Sprint("body ", i))); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t testing.TB, to, from *records.Replica, ref records.BranchRef) (*records.SegmentList, records.Plan) {
	t.Helper()
	base, starts := to.Frontier(ref)
	l, err := from.SegmentList(t.Context(), ref, base, starts)
	if err != nil {
		t.Fatal(err)
	}
	p, err := to.AcceptSegmentList(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return l, p
}

func segment(t testing.TB, from *records.Replica, ref records.BranchRef, l *records.SegmentList, n records.Need) *records.SegmentData {
	t.Helper()
	s, err := from.SegmentData(t.Context(), ref, l.Head.Counter, n)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// finish takes what a plan asks for until the list's head is promoted.
func finish(t testing.TB, to, from *records.Replica, ref records.BranchRef, l *records.SegmentList, p records.Plan) {
	t.Helper()
	for range 3 * len(l.Rows) {
		for _, n := range p.Needs {
			if err := to.AcceptSegmentData(t.Context(), segment(t, from, ref, l, n)); err != nil && !(n.From > 0 && errors.Is(err, records.ErrMismatch)) {
				t.Fatal(err)
			}
		}
		var err error
		if p, err = to.Promote(t.Context(), ref, l.Head.Counter); err != nil {
			t.Fatal(err)
		}
		if p.Done {
			return
		}
	}
	t.Fatalf("the transfer does not end: %v", p)
}

// A head below the target may be offered while nothing below it is stored.
func TestLowerListBeforeAnySegment(t *testing.T) {
	z := newZone(t, 3)
	a, old, b := short(t, z, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory()), z.found(t, 2, storetest.NewMemory())
	ref := stageLog(a)
	rewrite(t, a, 5, 7)
	pull(t, old, a)
	rewrite(t, a, 5, 9)
	l, p := list(t, b, a, ref)
	if err := b.AcceptSegmentData(t.Context(), segment(t, a, ref, l, p.Needs[0])); err != nil {
		t.Fatal(err)
	}
	lower, p := list(t, b, old, ref)
	finish(t, b, old, ref, lower, p)
	if c, _ := b.Frontier(ref); c != 7 {
		t.Errorf("stands at %d, want 7", c)
	}
	finish(t, b, a, ref, l, records.Plan{})
	if b.State().Fingerprint != a.State().Fingerprint {
		t.Error("the replicas differ")
	}
}

// Who holds a part of a head only serves a segment as it is at that head, even
// if entries stand behind it in a segment that is empty there.
func TestPartialHolderServesWhatItHas(t *testing.T) {
	z := newZone(t, 3)
	a, part, b := short(t, z, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory()), z.found(t, 2, storetest.NewMemory())
	ref := stageLog(a)
	stays := records.Record{Kind: note, Learner: pupil, Body: []byte("stays")}
	if err := put(a, stays, stays, stays, stays); err != nil {
		t.Fatal(err)
	}
	rewrite(t, a, 4, 4)
	l, p := list(t, part, a, ref)
	for _, n := range p.Needs {
		if err := part.AcceptSegmentData(t.Context(), segment(t, a, ref, l, n)); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(t, a, 4, 4)
	list(t, part, a, ref) // of which nothing more is fetched
	l, p = list(t, b, part, ref)
	if !slices.Equal(l.Held, []bool{true, false}) {
		t.Fatalf("held are %v of %v", l.Held, l.Rows)
	}
	if err := b.AcceptSegmentData(t.Context(), segment(t, part, ref, l, p.Needs[1])); err != nil {
		t.Error(err)
	}
}

// Who holds a part of a head, and stores what makes a segment of it another
// again, does not serve that, even if it does not know of its list any more.
func TestPartialHolderForgetsItsList(t *testing.T) {
	z, store := newZone(t, 4), storetest.NewMemory()
	a, part, old, b := short(t, z, 0, storetest.NewMemory()), z.found(t, 1, store), z.found(t, 2, storetest.NewMemory()), z.found(t, 3, storetest.NewMemory())
	ref := stageLog(a)
	rewrite(t, a, 6, 6)
	pull(t, old, a)
	rewrite(t, a, 2, 2)
	rewrite(t, a, 6, 1)
	l, _ := list(t, part, a, ref)
	for _, first := range []uint64{9, 1} {
		if err := part.AcceptSegmentData(t.Context(), segment(t, a, ref, l, records.Need{First: first})); err != nil {
			t.Fatal(err)
		}
	}
	l, _ = list(t, b, part, ref)
	lower, _ := list(t, part, old, ref)
	if err := part.AcceptSegmentData(t.Context(), segment(t, old, ref, lower, records.Need{First: 1})); err != nil {
		t.Fatal(err)
	}
	again, err := records.Open(t.Context(), z.config(1, store))
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*records.Replica{"before a restart": part, "afterwards": again} {
		if _, err := r.SegmentData(t.Context(), ref, l.Head.Counter, records.Need{First: 1}); !errors.Is(err, records.ErrMoved) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l, _ = list(t, b, again, ref); l.Held[0] {
		t.Error("the segment is offered nevertheless")
	}
}

// A peer that lies about entries that are held already makes no evidence of a
// fork: what it sends is not signed by itself.
func TestLieIsNoFork(t *testing.T) {
	z := newZone(t, 2)
	a, b := short(t, z, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory())
	ref := stageLog(a)
	rewrite(t, a, 9, 6)
	l, p := list(t, b, a, ref)
	if err := b.AcceptSegmentData(t.Context(), segment(t, a, ref, l, p.Needs[0])); err != nil {
		t.Fatal(err)
	}
	tail := segment(t, a, ref, l, records.Need{First: 5, From: 5})
	tail.Entries[0].Body = []byte("a lie")
	if err := b.AcceptSegmentData(t.Context(), tail); !errors.Is(err, records.ErrMismatch) {
		t.Errorf("a tail: %v", err)
	}
	d, err := a.Difference(t.Context(), ref, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	d.Entries[4].Body = []byte("a lie")
	if err := b.AcceptDifference(t.Context(), d); !errors.Is(err, records.ErrMismatch) {
		t.Errorf("a difference: %v", err)
	}
	if forks, err := b.Forks(t.Context()); err != nil || len(forks) > 0 || b.Logs()[0].Trouble != "" {
		t.Errorf("%d forks, trouble %q: %v", len(forks), b.Logs()[0].Trouble, err)
	}
	finish(t, b, a, ref, l, p)
}

// A segment that could not be stored is asked for again, and nobody is
// suspected.
func TestSegmentOnFullDisk(t *testing.T) {
	z := newZone(t, 2)
	full := false
	store := &storetest.Faulty{Store: storetest.NewMemory(), Next: func() storetest.Fault {
		if full {
			return storetest.Full
		}
		return storetest.None
	}}
	a, b := short(t, z, 0, storetest.NewMemory()), z.found(t, 1, store)
	ref := stageLog(a)
	rewrite(t, a, 9, 2)
	pull(t, b, a)
	rewrite(t, a, 9, 2)
	l, _ := list(t, b, a, ref)
	whole := segment(t, a, ref, l, records.Need{First: 1})
	full = true
	if err := b.AcceptSegmentData(t.Context(), whole); !errors.Is(err, records.ErrFull) {
		t.Fatal(err)
	}
	full = false
	p, err := b.Promote(t.Context(), ref, l.Head.Counter)
	if err != nil {
		t.Fatal(err)
	}
	finish(t, b, a, ref, l, p)
}

// An author that commits whenever anybody is asked for anything does not keep
// receivers from finishing, whether they fetch from it or from one that follows
// it.
func TestBusyAuthor(t *testing.T) {
	for _, relayed := range []bool{false, true} {
		const receivers = 10
		z := newZone(t, 2+receivers)
		a, relay := short(t, z, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory())
		ref := stageLog(a)
		rewrite(t, a, 80, 120)
		from, busy := a, func() { rewrite(t, a, 5, 3) }
		if relayed {
			from, busy = relay, func() {
				rewrite(t, a, 5, 3)
				pull(t, relay, a)
			}
		}
		type transfer struct {
			to   *records.Replica
			list *records.SegmentList
			plan records.Plan
			done int
		}
		var all [receivers]transfer
		for n := range all {
			all[n].to = z.found(t, 2+n, storetest.NewMemory())
		}
		for step := 0; slices.ContainsFunc(all[:], func(x transfer) bool { return x.done < 2 }); step++ {
			if step > 8000 {
				t.Fatalf("relayed %v: no end", relayed)
			}
			x := &all[step%receivers]
			busy()
			switch {
			case x.list == nil:
				x.list, x.plan = list(t, x.to, from, ref)
			case len(x.plan.Needs) > 0:
				n := x.plan.Needs[0]
				x.plan.Needs = x.plan.Needs[1:]
				err := x.to.AcceptSegmentData(t.Context(), segment(t, from, ref, x.list, n))
				if err != nil && !(n.From > 0 && errors.Is(err, records.ErrMismatch)) {
					t.Fatal(err)
				}
			default:
				var err error
				if x.plan, err = x.to.Promote(t.Context(), ref, x.list.Head.Counter); err != nil {
					t.Fatal(err)
				}
				if x.plan.Done {
					x.list = nil
					x.done++
				}
			}
		}
	}
}

// Several transfers of one log at once, from several peers at different heads,
// beside the differences that the author pushes, come to the same end.
func TestConcurrentTransfers(t *testing.T) {
	for range 5 {
		z := newZone(t, 4)
		store := storetest.NewMemory()
		a, one, two, to := short(t, z, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory()), z.found(t, 2, storetest.NewMemory()), z.found(t, 3, store)
		ref := stageLog(a)
		rewrite(t, a, 40, 60)
		pull(t, one, a)
		rewrite(t, a, 30, 40)
		pull(t, two, a)
		rewrite(t, a, 20, 30)
		expected := func(err error) bool {
			return err == nil || errors.Is(err, records.ErrStale) || errors.Is(err, records.ErrGap) || errors.Is(err, records.ErrMoved) || errors.Is(err, records.ErrUnknownBranch)
		}
		// fetch makes one attempt, and reports whether it was in vain.
		fetch := func(from *records.Replica) error {
			base, starts := to.Frontier(ref)
			l, err := from.SegmentList(t.Context(), ref, base, starts)
			if err != nil {
				return err
			}
			p, err := to.AcceptSegmentList(t.Context(), l)
			for err == nil && !p.Done {
				for _, n := range p.Needs {
					s, err := from.SegmentData(t.Context(), ref, l.Head.Counter, n)
					if err == nil {
						err = to.AcceptSegmentData(t.Context(), s)
					}
					if err != nil && !(n.From > 0 && errors.Is(err, records.ErrMismatch)) {
						return err
					}
				}
				p, err = to.Promote(t.Context(), ref, l.Head.Counter)
				if err == nil && p.Target != l.Head.Counter {
					return nil
				}
			}
			return err
		}
		var wg sync.WaitGroup
		for _, from := range []*records.Replica{a, one, two, a} {
			wg.Go(func() {
				for range 20 {
					if err := fetch(from); !expected(err) {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			for range 40 {
				rewrite(t, a, 15, 4)
				base, starts := to.Frontier(ref)
				d, err := a.Difference(t.Context(), ref, base, starts)
				if err == nil && base%3 == 0 {
					err = to.AcceptDifference(t.Context(), d)
				}
				if !expected(err) {
					t.Error(err)
				}
			}
		})
		wg.Wait()
		if base, _ := to.Frontier(ref); base < a.State().Rows[0].Counter {
			l, p := list(t, to, a, ref)
			finish(t, to, a, ref, l, p)
		}
		if to.State().Fingerprint != a.State().Fingerprint || !slices.Equal(seen(t, to), seen(t, a)) {
			t.Error("the replicas differ")
		}
		if forks, err := to.Forks(t.Context()); err != nil || len(forks) > 0 {
			t.Errorf("%d forks: %v", len(forks), err)
		}
		if _, err := records.Check(t.Context(), store, func(f records.Finding) { t.Error(f) }); err != nil {
			t.Error(err)
		}
	}
}

// stored counts what a store has of the first branch: entries, accounts of
// segments, drops.
func stored(t testing.TB, s records.Store) (entries, segments, drops int) {
	t.Helper()
	err := s.View(t.Context(), func(tx records.Tx) error {
		return errors.Join(
			tx.Entries(1, 0, ^uint64(0), func(records.Entry) error { entries++; return nil }),
			tx.Segments(1, 0, func(records.Segment) error { segments++; return nil }),
			tx.Drops(1, 0, ^uint64(0), func(uint64, uint64) error { drops++; return nil }))
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries, segments, drops
}

// Registers that are rewritten for ever take no more room than once, at their
// author and at those that follow, even while somebody always fetches.
func TestRewritingTakesNoRoom(t *testing.T) {
	z := newZone(t, 3)
	var stores [3]*storetest.Memory
	var reps [3]*records.Replica
	now := time.UnixMilli(1000)
	for n := range reps {
		stores[n] = storetest.NewMemory()
		z.found(t, n, stores[n])
		c := z.config(n, stores[n])
		c.Now = func() time.Time { return now }
		var err error
		if reps[n], err = records.Open(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		reps[n].EndSegmentsAfter(16)
	}
	a, b, c := reps[0], reps[1], reps[2]
	ref := stageLog(a)
	for i := range 500 {
		now = now.Add(time.Second)
		rewrite(t, a, 5, 5)
		pull(t, b, a)
		if i%10 == 0 { // a transfer from each, which begins before the last pins have ended
			for _, from := range []*records.Replica{a, b} {
				if base, _ := c.Frontier(ref); base < from.State().Rows[0].Counter {
					l, p := list(t, c, from, ref)
					finish(t, c, from, ref, l, p)
				}
			}
		}
	}
	for n, s := range stores {
		// What four pins of two minutes hold back, a little more until it is swept.
		if e, segments, d := stored(t, s); e > 1200 || d > 1200 || segments > 90 {
			t.Errorf("replica %d has %d entries, %d segments, %d drops", n, e, segments, d)
		}
	}
}

// A peer cannot slip in a version that never was, even one that is superseded
// by what is there already and so is in no sum.
func TestVersionThatNeverWas(t *testing.T) {
	z := newZone(t, 2)
	a, store := short(t, z, 0, storetest.NewMemory()), storetest.NewMemory()
	b := z.found(t, 1, store)
	ref := stageLog(a)
	rewrite(t, a, 3, 7)
	l, p := list(t, b, a, ref)
	for _, n := range p.Needs {
		if err := b.AcceptSegmentData(t.Context(), segment(t, a, ref, l, n)); err != nil {
			t.Fatal(err)
		}
	}
	before, _, _ := stored(t, store)
	newest := segment(t, a, ref, l, records.Need{First: 5}).Entries[0]
	false2 := newest.Clone()
	false2.Counter, false2.Body = 2, []byte("never was")
	tail := &records.SegmentData{Ref: ref, Head: 7, First: l.Rows[0].First, From: 2, Entries: []records.Entry{false2}}
	if err := b.AcceptSegmentData(t.Context(), tail); !errors.Is(err, records.ErrMismatch) {
		t.Errorf("a tail: %v", err)
	}
	d, err := a.Difference(t.Context(), ref, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	d.Entries = slices.Insert(d.Entries, 0, false2)
	if err := b.AcceptDifference(t.Context(), d); !errors.Is(err, records.ErrMismatch) {
		t.Errorf("a difference: %v", err)
	}
	if n, _, _ := stored(t, store); n != before {
		t.Errorf("%d entries are stored, were %d", n, before)
	}
	finish(t, b, a, ref, l, records.Plan{})
}

// What makes a difference small is what is live at the head, however much was written
// and is staged above it.
func TestSmallIsWhatIsLive(t *testing.T) {
	z := newZone(t, 2)
	a, b := z.found(t, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory())
	ref := stageLog(a)
	all := make([]records.Record, records.SmallEntries+1)
	for i := range all {
		all[i] = reg(fmt.Sprint("k", i), "b")
	}
	for _, some := range [][]records.Record{all[1:], all[1:100]} {
		if err := put(a, some...); err != nil {
			t.Fatal(err)
		}
	}
	small := func(r *records.Replica) *records.Difference {
		t.Helper()
		d, err := r.Difference(t.Context(), ref, 0, 0)
		if err != nil || len(d.Entries) != records.SmallEntries {
			t.Fatalf("%d are live: %v", records.SmallEntries, err)
		}
		return d
	}
	if err := b.AcceptDifference(t.Context(), small(a)); err != nil {
		t.Fatal(err)
	}
	if err := put(a, all[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Difference(t.Context(), ref, 0, 0); !errors.Is(err, records.ErrLarge) {
		t.Errorf("one more is live: %v", err)
	}
	l, p := list(t, b, a, ref)
	for _, n := range p.Needs {
		if err := b.AcceptSegmentData(t.Context(), segment(t, a, ref, l, n)); err != nil {
			t.Fatal(err)
		}
	}
	small(b) // at its head, beyond which there is more
}

// The limits of a segment hold at both ends, and what is larger than a small
// difference is not given at once.
func TestLimitsOfStaging(t *testing.T) {
	z := newZone(t, 2)
	a, b := z.found(t, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory())
	ref := stageLog(a)
	large := records.Record{Kind: note, Learner: pupil, Body: make([]byte, records.MaxBodyBytes)}
	for range 10 {
		if err := put(a, slices.Repeat([]records.Record{large}, 4)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(a, slices.Repeat([]records.Record{{Kind: note, Learner: pupil}}, records.SegmentCounters+100)...); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Difference(t.Context(), ref, 0, 0); !errors.Is(err, records.ErrLarge) {
		t.Errorf("difference: %v", err)
	}
	l, p := list(t, b, a, ref)
	if len(l.Rows) < 3 {
		t.Fatalf("segments %v", l.Rows)
	}
	s := segment(t, a, ref, l, p.Needs[0])
	for name, entries := range map[string][]records.Entry{
		"entries": slices.Repeat(s.Entries, records.SegmentCounters/len(s.Entries)+1),
		"bytes":   slices.Repeat([]records.Entry{{Envelope: s.Entries[0].Envelope, Body: large.Body}}, records.MaxSegmentBytes/records.MaxBodyBytes+1),
	} {
		many := *s
		many.Entries = slices.Clone(entries)
		for i := range many.Entries {
			many.Entries[i].Counter = s.First + uint64(i)
		}
		if err := b.AcceptSegmentData(t.Context(), &many); !errors.Is(err, records.ErrMismatch) && !errors.Is(err, records.ErrLarge) {
			t.Errorf("too many %s: %v", name, err)
		}
	}
	finish(t, b, a, ref, l, p)
	if b.State().Fingerprint != a.State().Fingerprint {
		t.Error("the replicas differ")
	}
}

// A list is served for a while. Then what it promised is forgotten, the author
// says so, and a new list leads on.
func TestListIsForgotten(t *testing.T) {
	z, store := newZone(t, 2), storetest.NewMemory()
	z.found(t, 0, store)
	now := time.UnixMilli(1000)
	c := z.config(0, store)
	c.Now = func() time.Time { return now }
	a, err := records.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	a.EndSegmentsAfter(4)
	b := z.found(t, 1, storetest.NewMemory())
	ref := stageLog(a)
	rewrite(t, a, 20, 20)
	l, p := list(t, b, a, ref)
	if err := b.AcceptSegmentData(t.Context(), segment(t, a, ref, l, p.Needs[0])); err != nil {
		t.Fatal(err)
	}
	rewrite(t, a, 20, 20)
	now = now.Add(90 * time.Second)
	if err := b.AcceptSegmentData(t.Context(), segment(t, a, ref, l, p.Needs[1])); err != nil {
		t.Fatal(err)
	}
	now = now.Add(3 * time.Minute)
	rewrite(t, a, 20, 5)
	if _, err := a.SegmentData(t.Context(), ref, l.Head.Counter, p.Needs[2]); !errors.Is(err, records.ErrMoved) {
		t.Errorf("a segment of long ago: %v", err)
	}
	rewrite(t, a, 20, 5)
	if entries, _, drops := stored(t, store); entries != 20 || drops != 0 {
		t.Errorf("%d entries, %d drops are left", entries, drops)
	}
	l, p = list(t, b, a, ref)
	finish(t, b, a, ref, l, p)
	if b.State().Fingerprint != a.State().Fingerprint {
		t.Error("the replicas differ")
	}
}

// What an author has stored of one continuation, and in which segments, does not
// get into the account of a segment of another.
func TestSegmentAroundAnother(t *testing.T) {
	z := newZone(t, 2)
	store := storetest.NewMemory()
	b := z.found(t, 1, store)
	key, err := identity.GenerateAuthorKey(z.random)
	if err != nil {
		t.Fatal(err)
	}
	account := records.Account{Certificate: identity.IssueCertificate(z.keys[0], zoneID, key, 1), Lane: identity.LaneProgress}
	account.Starts = records.StartList{{First: 1, ID: identity.StartID{1}}}
	log := account.Certificate.Log(account.Lane)
	segment := func(first uint64, counters ...uint64) (records.Row, *records.SegmentData) {
		s := &records.SegmentData{First: first}
		var sum records.Sum
		for _, c := range counters {
			env := records.Envelope{Kind: note, Learner: pupil, Clock: 1}
			e := records.Entry{Counter: c, Envelope: env.Append(nil)}
			sum.Add(e.Leaf(log))
			s.Entries = append(s.Entries, e)
		}
		return records.Row{First: first, Live: uint32(len(counters)), Checksum: sum.Checksum()}, s
	}
	aim := func(counter uint64, rows ...records.Row) (h records.Head) {
		h = records.Head{Log: log, Counter: counter, Fingerprint: records.Fingerprint(rows), Clock: 1}
		h.SetStarts(account.Starts)
		h.Sign(key)
		a := account
		a.Head = h
		if _, err := b.AcceptSegmentList(t.Context(), &records.SegmentList{Account: a, Rows: rows}); err != nil {
			t.Fatal(err)
		}
		return h
	}
	take := func(h records.Head, s *records.SegmentData) error {
		s.Ref, s.Head = records.BranchRef{Log: log, Start: identity.StartID{1}}, h.Counter
		return b.AcceptSegmentData(t.Context(), s)
	}
	one, s := segment(250, 300, 301)
	if err := take(aim(400, one), s); err != nil {
		t.Fatal(err)
	}
	above, _ := segment(550, 550)
	around, s := segment(201, 240, 255, 260)
	if err := take(aim(600, around, above), s); err != nil {
		t.Fatal(err)
	}
	within, s := segment(301, 310, 320)
	above, _ = segment(650, 650)
	if err := take(aim(700, within, above), s); !errors.Is(err, records.ErrForked) {
		t.Errorf("a segment within another: %v", err)
	}
	if _, err := records.Check(t.Context(), store, func(f records.Finding) { t.Error(f) }); err != nil {
		t.Error(err)
	}
}

// A peer that tells of a segment that never began, above what is staged, gets
// nothing stored: who holds the rest must find the log as the author has it.
func TestSegmentThatNeverBegan(t *testing.T) {
	z := newZone(t, 2)
	a, store := short(t, z, 0, storetest.NewMemory()), storetest.NewMemory()
	b := z.found(t, 1, store)
	ref := stageLog(a)
	rewrite(t, a, 11, 11)
	l, p := list(t, b, a, ref)
	for _, n := range p.Needs {
		if err := b.AcceptSegmentData(t.Context(), segment(t, a, ref, l, n)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := a.Difference(t.Context(), ref, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	d.Firsts = append(d.Firsts, 11)
	if err := b.AcceptDifference(t.Context(), d); !errors.Is(err, records.ErrMismatch) {
		t.Errorf("it was accepted: %v", err)
	}
	finish(t, b, a, ref, l, records.Plan{})
	rewrite(t, a, 11, 3)
	base, starts := b.Frontier(ref)
	if d, err = a.Difference(t.Context(), ref, base, starts); err == nil {
		err = b.AcceptDifference(t.Context(), d)
	}
	if err != nil {
		t.Errorf("what follows: %v", err)
	}
	if _, err := records.Check(t.Context(), store, func(f records.Finding) { t.Error(f) }); err != nil {
		t.Error(err)
	}
}

// A small difference may begin few segments or many.
func TestDifferenceOfManySegments(t *testing.T) {
	for _, n := range []int{100, 1000} {
		z := newZone(t, 2)
		a, store := short(t, z, 0, storetest.NewMemory()), storetest.NewMemory()
		b := z.found(t, 1, store)
		rewrite(t, a, 1, n)
		for i := range n {
			if err := put(a, reg(fmt.Sprint("more ", i), "")); err != nil {
				t.Fatal(err)
			}
		}
		d, err := a.Difference(t.Context(), stageLog(a), 0, 0)
		if err == nil {
			err = b.AcceptDifference(t.Context(), d)
		}
		if err != nil || len(d.Firsts) < n/5 || b.State().Fingerprint != a.State().Fingerprint {
			t.Errorf("%d segments: %v", len(d.Firsts), err)
		}
		if _, err := records.Check(t.Context(), store, func(f records.Finding) { t.Error(f) }); err != nil {
			t.Error(err)
		}
	}
}
