package records_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/storetest"
)

// held is a store of which the next commit waits, so that what follows meets in
// one transaction.
type held struct {
	*storetest.Faulty
	next chan struct{} // that the coming commit waits for, or nil
}

func newHeld(m *storetest.Memory) *held {
	h := &held{Faulty: &storetest.Faulty{Store: m}}
	h.Sync = func(context.Context) error {
		if next := h.next; next != nil {
			h.next = nil
			<-next
		}
		return nil
	}
	return h
}

// together lets operations of r meet in one transaction, in their order: with the
// one that they wait for, and what they do by themselves, there are at most most. It
// is for a test within a bubble.
func (h *held) together(t *testing.T, z *zone, r *records.Replica, most int, ops ...func()) {
	t.Helper()
	release := make(chan struct{})
	h.next = release
	nothing := z.receipt(1, records.ReceiptItem{Log: identity.LogID{1}, Counter: 1})
	first := func() {
		if err := r.AcceptReceipt(context.Background(), nothing); !errors.Is(err, records.ErrStale) {
			t.Error(err)
		}
	}
	before := h.Counts().Commits
	var wg sync.WaitGroup
	for _, op := range append([]func(){first}, ops...) {
		wg.Go(op)
		synctest.Wait()
	}
	close(release)
	wg.Wait()
	if n := h.Counts().Commits - before; n > most {
		t.Errorf("%d transactions, at most %d", n, most)
	}
}

// A segment that was verified before its target was reached, or gave way, and
// whose turn to be stored comes afterwards, is not stored.
func TestSegmentThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, further := range []bool{false, true} {
			z := newZone(t, 2)
			memory := storetest.NewMemory()
			store := newHeld(memory)
			a, b := short(t, z, 0, storetest.NewMemory()), z.found(t, 1, store)
			ref := stageLog(a)
			rewrite(t, a, 9, 12)
			l, p := list(t, b, a, ref)
			s := segment(t, a, ref, l, p.Needs[len(p.Needs)-1])
			rewrite(t, a, 9, 9)
			d, err := a.Difference(t.Context(), ref, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			next, err := a.SegmentList(t.Context(), ref, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			store.together(t, z, b, 3, func() {
				if further {
					_, err = b.AcceptSegmentList(context.Background(), next)
				} else {
					err = b.AcceptDifference(context.Background(), d)
				}
				if err != nil {
					t.Error(err)
				}
			}, func() {
				want := records.ErrStale
				if further {
					want = records.ErrGap
				}
				if err := b.AcceptSegmentData(context.Background(), s); !errors.Is(err, want) {
					t.Errorf("further %v: %v", further, err)
				}
			})
			if entries, _, _ := stored(t, memory); further != (entries == 0) || !further && entries != 9 {
				t.Errorf("further %v: %d entries are stored", further, entries)
			}
		}
	})
}

// Who is about to commit what came from others waits for what is being verified: two
// differences that come together are one commit. It does not wait for ever, and a
// person's write does not wait at all.
func TestDifferencesThatComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const commit = 3 * time.Millisecond // of the disk, in the time of the bubble
		z := newZone(t, 3)
		store := &storetest.Faulty{Store: storetest.NewMemory()}
		store.Sync = func(context.Context) error { time.Sleep(commit); return nil }
		authors := []*records.Replica{z.found(t, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory())}
		c := z.found(t, 2, store)
		accept := func(author *records.Replica) {
			ref := stageLog(author)
			base, starts := c.Frontier(ref)
			d, err := author.Difference(context.Background(), ref, base, starts)
			if err == nil {
				err = c.AcceptDifference(context.Background(), d)
			}
			if err != nil {
				t.Error(err)
			}
		}
		for _, a := range authors {
			rewrite(t, a, 2, 2)
			accept(a) // knows how long a commit takes
			rewrite(t, a, 2, 2)
		}
		// took says how long something took, and how many commits it was.
		took := func(what func()) (time.Duration, int) {
			began, before := time.Now(), store.Counts().Commits
			what()
			return time.Since(began), store.Counts().Commits - before
		}

		expected := c.Expect(false)
		elapsed, commits := took(func() {
			var wg sync.WaitGroup
			for _, a := range authors {
				wg.Go(func() { accept(a) })
				synctest.Wait()
			}
			wg.Wait()
		})
		if elapsed != commit || commits != 1 {
			t.Errorf("two that come together: %d commits in %v", commits, elapsed)
		}
		expected.Withdraw()

		expected = c.Expect(false)
		rewrite(t, authors[0], 2, 2)
		if elapsed, commits = took(func() { accept(authors[0]) }); elapsed != commit+commit/2 || commits != 1 {
			t.Errorf("where nothing comes: %d commits in %v", commits, elapsed)
		}
		if elapsed, commits = took(func() {
			if err := put(c, ev("an answer")); err != nil {
				t.Error(err)
			}
		}); elapsed != commit || commits != 1 {
			t.Errorf("a person's write: %d commits in %v", commits, elapsed)
		}
		expected.Withdraw()

		// Nor does it wait for who waits already.
		expected = c.Expect(false)
		rewrite(t, authors[1], 2, 2)
		if elapsed, commits = took(func() {
			var wg sync.WaitGroup
			wg.Go(func() { accept(authors[1]) })
			synctest.Wait()
			if err := put(c, ev("an answer")); err != nil {
				t.Error(err)
			}
			wg.Wait()
		}); elapsed != commit || commits != 1 {
			t.Errorf("a person's write, where another waits: %d commits in %v", commits, elapsed)
		}

		// Who hears that nothing comes waits no longer, and what does not verify does
		// not come either.
		rewrite(t, authors[1], 2, 2)
		if elapsed, commits = took(func() {
			var wg sync.WaitGroup
			wg.Go(func() { accept(authors[1]) })
			synctest.Wait()
			expected.Withdraw()
			wg.Wait()
		}); elapsed != commit || commits != 1 {
			t.Errorf("where nothing comes after all: %d commits in %v", commits, elapsed)
		}
		rewrite(t, authors[0], 2, 2)
		d, err := authors[0].Difference(t.Context(), stageLog(authors[0]), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		d.Head.Signature[0]++
		if err := c.AcceptDifference(t.Context(), d); err == nil {
			t.Error("a head that nobody signed was taken")
		}
		if elapsed, commits = took(func() { accept(authors[0]) }); elapsed != commit || commits != 1 {
			t.Errorf("after one that did not verify: %d commits in %v", commits, elapsed)
		}

		// Bulk is waited for by bulk alone.
		expected = c.Expect(true)
		rewrite(t, authors[0], 2, 2)
		if elapsed, commits = took(func() { accept(authors[0]) }); elapsed != commit || commits != 1 {
			t.Errorf("where bulk is expected: %d commits in %v", commits, elapsed)
		}
		expected.Withdraw()
	})
}

// On a slow disk, answers that are given at nearly the same moment are one commit. What
// came from others waits for nobody if nothing more is expected, however long the disk
// takes. How long it takes is what people have waited for it: a commit of much that came
// from others says nothing of that.
func TestAnswersThatComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commit := 40 * time.Millisecond // of the disk, in the time of the bubble
		z := newZone(t, 2)
		store := &storetest.Faulty{Store: storetest.NewMemory()}
		store.Sync = func(context.Context) error { time.Sleep(commit); return nil }
		author, r := z.found(t, 0, storetest.NewMemory()), z.found(t, 1, store)
		answer := func() {
			if err := put(r, ev("an answer")); err != nil {
				t.Error(err)
			}
		}
		answer() // knows how long a commit takes

		began, before := time.Now(), store.Counts().Commits
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(answer)
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		elapsed, commits := time.Since(began), store.Counts().Commits-before
		if elapsed <= commit || elapsed > commit+commit/4 || commits != 1 {
			t.Errorf("three answers: %d commits in %v", commits, elapsed)
		}

		rewrite(t, author, 2, 2)
		d, err := author.Difference(t.Context(), stageLog(author), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		if err := r.AcceptDifference(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if elapsed := time.Since(began); elapsed != commit {
			t.Errorf("what came from another: %v", elapsed)
		}
		began = time.Now()
		if err := r.AcceptReceipt(t.Context(), z.receipt(1, records.ReceiptItem{Log: d.Head.Log, Start: d.Starts[0].ID, Counter: d.Head.Counter, Fingerprint: d.Head.Fingerprint})); err != nil {
			t.Fatal(err)
		}
		if elapsed := time.Since(began); elapsed != commit {
			t.Errorf("a receipt: %v", elapsed)
		}

		commit = 2 * time.Millisecond
		answer()
		commit = 40 * time.Millisecond
		rewrite(t, author, 2, 2)
		if d, err = author.Difference(t.Context(), stageLog(author), 0, 0); err == nil {
			err = r.AcceptDifference(t.Context(), d)
		}
		if err != nil {
			t.Fatal(err)
		}
		commit = 2 * time.Millisecond
		began = time.Now()
		answer()
		if elapsed := time.Since(began); elapsed != commit {
			t.Errorf("an answer, after much that came from another: %v", elapsed)
		}
	})
}

// What waits behind the news that the store is an old backup is written by the
// new incarnation, and the former log stays as it was.
func TestWriteBehindRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 3)
		peer, _, memory, logs := restored(t, z)
		store := newHeld(memory)
		back, err := records.Open(t.Context(), z.config(0, store))
		if err != nil {
			t.Fatal(err)
		}
		h, _ := peer.Head(logs[0])
		// The new incarnation ends the transaction. What it brings with it is noted in
		// another, before the write or behind it, or with it.
		store.together(t, z, back, 4, func() {
			if renewed, err := back.Behind(context.Background(), &h, identity.DeviceID{}); !renewed || err != nil {
				t.Errorf("renewed %v: %v", renewed, err)
			}
		}, func() {
			if err := put(back, ev("after"), reg("r1", "after")); err != nil {
				t.Error(err)
			}
		})
		for _, ref := range logs {
			if c, _ := back.Frontier(ref); c != 3 {
				t.Errorf("the former log stands at %d", c)
			}
		}
		pull(t, back, peer)
		pull(t, peer, back)
		if back.State().Fingerprint != peer.State().Fingerprint || len(back.State().Rows) != 4 {
			t.Errorf("replicas differ: %v and %v", back.State().Rows, peer.State().Rows)
		}
	})
}

// What is accepted moves the clock, so that what is written afterwards is later;
// a clock too far ahead does not.
func TestAcceptMovesClock(t *testing.T) {
	z := newZone(t, 3)
	clock := func(r *records.Replica) (c records.Clock) {
		t.Helper()
		err := r.Write(t.Context(), func(d *records.Draft) error {
			c = d.Clock()
			_, err := d.Put(ev("now"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b, c := short(t, z, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory()), z.found(t, 2, storetest.NewMemory())
	ref := stageLog(a)
	rewrite(t, a, 9, 30)
	pull(t, b, a)
	if got := clock(b); got.Count() <= 30 {
		t.Errorf("after a difference the clock is %v", got)
	}
	l, p := list(t, c, a, ref)
	finish(t, c, a, ref, l, p)
	if got := clock(c); got.Count() <= 30 {
		t.Errorf("after a transfer the clock is %v", got)
	}
	insane := storetest.NewMemory()
	z.found(t, 0, insane)
	err := insane.Update(t.Context(), func(tx records.WriteTx) error {
		return tx.SetValue("clock", []byte{0, 0, 0x7f, 0, 0, 0, 0, 0})
	})
	if err != nil {
		t.Fatal(err)
	}
	far, err := records.Open(t.Context(), z.config(0, insane))
	if err != nil {
		t.Fatal(err)
	}
	if err := put(far, reg("x", "1")); err != nil {
		t.Fatal(err)
	}
	pull(t, b, far)
	if got := clock(b); got.Count() > 100 {
		t.Errorf("an insane clock moved the own one to %v", got)
	}
}
