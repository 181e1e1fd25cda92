package records_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/storetest"
)

// item is what the coordinator confirms when it holds what r does.
func item(t testing.TB, r *records.Replica, ref records.BranchRef) records.ReceiptItem {
	t.Helper()
	h, ok := r.Head(ref)
	if !ok {
		t.Fatal("nothing is held")
	}
	return records.ReceiptItem{Log: h.Log, Start: h.Start(), Counter: h.Counter, Fingerprint: h.Fingerprint}
}

func (z *zone) receipt(life uint32, items ...records.ReceiptItem) []byte {
	r := records.IssueReceipt(z.coordinator, zoneID, life, 5, items)
	return r.Encode()
}

// receiptOf returns the name under which the receipt of a log is stored, and
// whether that is there.
func receiptOf(t testing.TB, s records.Store, log identity.LogID) (hash identity.Hash) {
	t.Helper()
	err := s.View(t.Context(), func(tx records.Tx) error {
		return tx.Branches(func(b records.Branch) error {
			if b.Log() == log {
				hash = b.Receipt
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func hasReceipt(t testing.TB, s records.Store, hash identity.Hash) bool {
	t.Helper()
	err := s.View(t.Context(), func(tx records.Tx) error { _, err := tx.Receipt(hash); return err })
	if err != nil && !errors.Is(err, records.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// Receipts of the coordinator raise what is safe; nobody else's do, and what
// they say is as good as what they name.
func TestReceipts(t *testing.T) {
	z := newZone(t, 2)
	a := z.found(t, 0, storetest.NewMemory())
	b := z.found(t, 1, storetest.NewMemory())
	ref := stageLog(a)
	if err := put(a, reg("a", "1"), reg("b", "1")); err != nil {
		t.Fatal(err)
	}
	old := item(t, a, ref)
	if err := put(a, reg("a", "2")); err != nil {
		t.Fatal(err)
	}
	pull(t, b, a)
	now := item(t, a, ref)
	stranger, _ := identity.GenerateDeviceKey(z.random)
	forged := records.IssueReceipt(stranger, zoneID, 1, 5, []records.ReceiptItem{now})
	elsewhere := records.IssueReceipt(z.coordinator, identity.ZoneID{9}, 1, 5, []records.ReceiptItem{now})
	altered := z.receipt(1, old)
	altered[70]++
	unknown, otherStart, otherSet := now, now, now
	unknown.Log[3]++
	otherStart.Start[0]++
	otherSet.Fingerprint[0]++
	for _, r := range []*records.Replica{a, b} {
		for _, c := range []struct {
			name    string
			encoded []byte
			want    error
		}{
			{"forged", forged.Encode(), records.ErrReceipt},
			{"of another zone", elsewhere.Encode(), records.ErrReceipt},
			{"altered", altered, records.ErrReceipt},
			{"cut short", z.receipt(1, now)[:80], records.ErrReceipt},
			{"of an unknown log", z.receipt(1, unknown), records.ErrStale},
			{"of another start", z.receipt(1, otherStart), records.ErrStale},
			{"of another set", z.receipt(1, otherSet), records.ErrStale},
		} {
			if err := r.AcceptReceipt(t.Context(), c.encoded); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
			if n := r.Receipted(ref.Log); n != 0 {
				t.Errorf("%s: receipted up to %d", c.name, n)
			}
		}
		told := 0
		stop := r.Watch(func(c records.Change) {
			if c.Receipt != nil {
				told++
			}
		})
		for _, c := range []struct {
			encoded []byte
			counter uint64
			want    error
		}{
			{z.receipt(1, old), 2, nil},
			{z.receipt(1, unknown, now), 3, nil},
			{z.receipt(1, unknown, now), 3, records.ErrStale},
			{z.receipt(1, old), 3, records.ErrStale},
		} {
			if err := r.AcceptReceipt(t.Context(), c.encoded); !errors.Is(err, c.want) {
				t.Errorf("receipt up to %d: %v, want %v", c.counter, err, c.want)
			}
			if n := r.Receipted(ref.Log); n != c.counter {
				t.Errorf("receipted up to %d, want %d", n, c.counter)
			}
		}
		if stop(); told != 2 {
			t.Errorf("%d receipts were told of, want 2", told)
		}
		if s := r.Logs()[0]; s.Unsafe() != 0 || s.Receipted != 3 {
			t.Errorf("state %+v", s)
		}
		if list, err := r.Receipts(t.Context(), []records.Mark{{Log: ref.Log, Counter: 2}}); err != nil || len(list) != 1 {
			t.Errorf("%d receipts: %v", len(list), err)
		}
		if list, err := r.Receipts(t.Context(), []records.Mark{{Log: ref.Log, Counter: 3}, {Log: unknown.Log}}); err != nil || len(list) != 0 {
			t.Errorf("%d receipts beyond the last: %v", len(list), err)
		}
	}
	if a.Certificate().Sequence != 1 {
		t.Error("a receipt for what is held began a new incarnation")
	}
}

// A receipt that nobody needs any more is deleted, and one that says more of
// one log only stays for the others.
func TestReceiptsAreForgotten(t *testing.T) {
	z, store := newZone(t, 2), storetest.NewMemory()
	a, b := z.found(t, 0, store), z.found(t, 1, storetest.NewMemory())
	var refs [2]records.BranchRef
	for n, r := range []*records.Replica{a, b} {
		refs[n] = stageLog(r)
	}
	var hashes []identity.Hash
	for i := range 4 {
		for _, r := range []*records.Replica{a, b} {
			if err := put(r, reg("a", fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		pull(t, a, b)
		items := []records.ReceiptItem{item(t, a, refs[0])}
		if i%2 == 0 {
			items = append(items, item(t, a, refs[1]))
		}
		if err := a.AcceptReceipt(t.Context(), z.receipt(1, items...)); err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, receiptOf(t, store, refs[0].Log))
	}
	// The third covers the second log still, the fourth the first.
	for i, want := range []bool{false, false, true, true} {
		if hasReceipt(t, store, hashes[i]) != want {
			t.Errorf("receipt %d is stored: %v, want %v", i, !want, want)
		}
	}
	list, err := a.Receipts(t.Context(), []records.Mark{{Log: refs[0].Log}, {Log: refs[1].Log}})
	if err != nil || len(list) != 2 {
		t.Errorf("%d receipts: %v", len(list), err)
	}

	// Another life of the coordinator confirms anew.
	next, err := b.Roster().NewLife(b.Roster().Epoch)
	if err != nil {
		t.Fatal(err)
	}
	encoded := next.Sign(z.coordinator, 3).Encode()
	if err := a.AcceptRoster(t.Context(), encoded); err != nil {
		t.Fatal(err)
	}
	for n, ref := range refs {
		if a.Receipted(ref.Log) != 0 || hasReceipt(t, store, hashes[2+n]) {
			t.Errorf("log %d: the former life's receipt counts", n)
		}
	}
	if err := a.AcceptReceipt(t.Context(), z.receipt(1, item(t, a, refs[0]))); !errors.Is(err, records.ErrStale) {
		t.Errorf("receipt of the former life: %v", err)
	}
	if err := a.AcceptReceipt(t.Context(), z.receipt(next.Epoch.Life, item(t, a, refs[0]))); err != nil {
		t.Error(err)
	}
	again, err := records.Open(t.Context(), z.config(0, store))
	if err != nil {
		t.Fatal(err)
	}
	if again.Receipted(refs[0].Log) != 4 || again.Receipted(refs[1].Log) != 0 {
		t.Errorf("after a restart: receipted up to %d and %d", again.Receipted(refs[0].Log), again.Receipted(refs[1].Log))
	}
	if err := again.AcceptReceipt(t.Context(), z.receipt(1, item(t, a, refs[1]))); !errors.Is(err, records.ErrStale) {
		t.Errorf("receipt of the former life, after a restart: %v", err)
	}
}

// restored is a device, its peer that holds everything, and the device once
// more, from a backup that lacks the last records.
func restored(t *testing.T, z *zone) (peer, back *records.Replica, store *storetest.Memory, logs []records.BranchRef) {
	t.Helper()
	store = storetest.NewMemory()
	a, peer := short(t, z, 0, store), z.found(t, 1, storetest.NewMemory())
	for i := range 3 {
		if err := put(a, ev(fmt.Sprint("event ", i)), reg(fmt.Sprint("r", i), "1")); err != nil {
			t.Fatal(err)
		}
	}
	pull(t, peer, a)
	store = store.Clone()
	for i := 3; i < 12; i++ {
		if err := put(a, ev(fmt.Sprint("event ", i)), reg(fmt.Sprint("r", i), "1")); err != nil {
			t.Fatal(err)
		}
	}
	pull(t, peer, a)
	back, err := records.Open(t.Context(), z.config(0, store))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range peer.State().Rows {
		logs = append(logs, row.BranchRef)
	}
	return peer, back, store, logs
}

// A device that was set back to an old backup learns of it, in whatever way,
// before it gives a counter out again; then it writes as a new incarnation and
// takes its own former records from others.
func TestSetBackLearns(t *testing.T) {
	for name, tell := range map[string]func(t *testing.T, z *zone, peer, back *records.Replica, ref records.BranchRef) error{
		"a receipt": func(t *testing.T, z *zone, peer, back *records.Replica, ref records.BranchRef) error {
			return back.AcceptReceipt(t.Context(), z.receipt(1, item(t, peer, ref)))
		},
		"a difference": func(t *testing.T, z *zone, peer, back *records.Replica, ref records.BranchRef) error {
			base, starts := back.Frontier(ref)
			d, err := peer.Difference(t.Context(), ref, base, starts)
			if err != nil {
				t.Fatal(err)
			}
			if err := back.AcceptDifference(t.Context(), d); !errors.Is(err, records.ErrGap) {
				t.Errorf("difference of the own log: %v", err)
			}
			return nil
		},
		"a segment list": func(t *testing.T, z *zone, peer, back *records.Replica, ref records.BranchRef) error {
			base, starts := back.Frontier(ref)
			l, err := peer.SegmentList(t.Context(), ref, base, starts)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := back.AcceptSegmentList(t.Context(), l); !errors.Is(err, records.ErrGap) {
				t.Errorf("list of the own log: %v", err)
			}
			return nil
		},
		"a head": func(t *testing.T, z *zone, peer, back *records.Replica, ref records.BranchRef) error {
			h, _ := back.Head(ref)
			if renewed, err := back.Behind(t.Context(), &h, identity.DeviceID{}); renewed || err != nil {
				t.Errorf("its own head: renewed %v: %v", renewed, err)
			}
			h, _ = peer.Head(ref)
			forged := h
			forged.Counter++
			if renewed, err := back.Behind(t.Context(), &forged, identity.DeviceID{}); renewed || !errors.Is(err, records.ErrHead) {
				t.Errorf("a forged head: renewed %v: %v", renewed, err)
			}
			renewed, err := back.Behind(t.Context(), &h, identity.DeviceID{})
			if !renewed {
				t.Error("not renewed")
			}
			if again, err := back.Behind(t.Context(), &h, identity.DeviceID{}); again || err != nil {
				t.Errorf("the same again: renewed %v: %v", again, err)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			z := newZone(t, 3)
			peer, back, store, logs := restored(t, z)
			want := seen(t, peer)
			if err := tell(t, z, peer, back, logs[0]); err != nil {
				t.Fatal(err)
			}
			if n := back.Certificate().Sequence; n != 2 {
				t.Fatalf("incarnation %d", n)
			}
			if err := put(back, ev("after"), reg("r1", "after")); err != nil {
				t.Fatal(err)
			}
			for _, ref := range logs {
				if h, _ := back.Head(ref); h.Counter != 3 {
					t.Errorf("the former log has moved to %d", h.Counter)
				}
			}
			again, err := records.Open(t.Context(), z.config(0, store))
			if err != nil || again.Certificate() != back.Certificate() {
				t.Fatalf("after a restart: %v", err)
			}
			third := z.found(t, 2, storetest.NewMemory())
			for _, r := range []*records.Replica{peer, third} {
				pull(t, again, r)
				pull(t, r, again)
			}
			pull(t, third, peer)
			got := seen(t, again)
			for _, s := range want {
				if !slices.Contains(got, s) {
					t.Errorf("lost %s", s)
				}
			}
			if len(got) != len(want)+2 || len(again.State().Rows) != 4 {
				t.Errorf("%d records in %d logs, want %d in 4", len(got), len(again.State().Rows), len(want)+2)
			}
			for _, r := range []*records.Replica{peer, third} {
				if r.State().Fingerprint != again.State().Fingerprint {
					t.Errorf("replicas differ: %v and %v", r.State().Rows, again.State().Rows)
				}
				if forks, err := r.Forks(t.Context()); err != nil || len(forks) > 0 {
					t.Errorf("%d forks: %v", len(forks), err)
				}
			}
		})
	}
}

// To hear of an earlier head of its own, or of another's log, is no news.
func TestBehindNothing(t *testing.T) {
	z := newZone(t, 2)
	a, b := short(t, z, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory())
	rewrite(t, a, 3, 2)
	earlier, _ := a.Head(stageLog(a))
	rewrite(t, a, 3, 2)
	for name, r := range map[string]*records.Replica{"the author": a, "another": b} {
		if renewed, err := r.Behind(t.Context(), &earlier, identity.DeviceID{}); renewed || err != nil || r.Certificate().Sequence != 1 {
			t.Errorf("%s: renewed %v: %v", name, renewed, err)
		}
	}
}

// Writers that are at it while a new incarnation begins lose nothing, and no
// counter is given twice.
func TestConcurrentRenewal(t *testing.T) {
	for range 20 {
		z := newZone(t, 3)
		peer, back, _, logs := restored(t, z)
		h, _ := peer.Head(logs[0])
		var mu sync.Mutex
		refs := map[records.Ref]bool{}
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				for i := range 20 {
					var ref records.Ref
					err := back.Write(context.Background(), func(d *records.Draft) (err error) {
						ref, err = d.Put(ev(fmt.Sprint("writer ", n, " ", i)))
						return err
					})
					mu.Lock()
					if refs[ref] || err != nil {
						t.Errorf("counter %d of %v: %v", ref.Counter, ref.Log.Short(), err)
					}
					refs[ref] = true
					mu.Unlock()
				}
			})
		}
		wg.Go(func() {
			if renewed, err := back.Behind(context.Background(), &h, identity.DeviceID{}); !renewed || err != nil {
				t.Errorf("renewed %v: %v", renewed, err)
			}
		})
		wg.Wait()
		pull(t, back, peer) // what was written before it began is published again
		third := z.found(t, 2, storetest.NewMemory())
		pull(t, third, back)
		for name, r := range map[string]*records.Replica{"the writer": back, "another": third} {
			got := strings.Join(seen(t, r), "\n")
			for n := range 8 {
				for i := range 20 {
					if !strings.Contains(got+"\n", fmt.Sprint("writer ", n, " ", i, "\n")) {
						t.Errorf("%s: lost record %d of writer %d", name, i, n)
					}
				}
			}
		}
	}
}

// Evidence of forks is kept once for each continuation, for a few of them, and
// proves what it says.
func TestForkEvidence(t *testing.T) {
	z, store := newZone(t, 2), storetest.NewMemory()
	a, b := z.found(t, 0, store), z.found(t, 1, storetest.NewMemory())
	ref := stageLog(a)
	if err := put(a, reg("a", "1")); err != nil {
		t.Fatal(err)
	}
	pull(t, b, a)
	backup := store.Clone()
	if err := put(a, reg("a", "2")); err != nil {
		t.Fatal(err)
	}
	pull(t, b, a)
	want := seen(t, b)
	for i := range 20 {
		c, err := records.Open(t.Context(), z.config(0, backup.Clone()))
		if err != nil {
			t.Fatal(err)
		}
		if err := put(c, reg("a", fmt.Sprint("copy ", i))); err != nil {
			t.Fatal(err)
		}
		base, starts := b.Frontier(ref)
		for range 2 {
			if i%2 == 0 {
				d, err := c.Difference(t.Context(), ref, 1, 1)
				if err == nil {
					err = b.AcceptDifference(t.Context(), d)
				}
				if !errors.Is(err, records.ErrForked) {
					t.Errorf("a difference: %v", err)
				}
				continue
			}
			l, err := c.SegmentList(t.Context(), ref, base-1, starts)
			if err == nil {
				_, err = b.AcceptSegmentList(t.Context(), l)
			}
			if !errors.Is(err, records.ErrForked) && !errors.Is(err, records.ErrStarts) {
				t.Errorf("a list: %v", err)
			}
		}
	}
	forks, err := b.Forks(t.Context())
	if err != nil || len(forks) != 8 {
		t.Errorf("%d forks: %v", len(forks), err)
	}
	others := map[identity.Hash]bool{}
	for _, f := range forks {
		if err := errors.Join(f.Certificate.Verify(), f.Held.Verify(f.Certificate.Author), f.Other.Verify(f.Certificate.Author)); err != nil {
			t.Error(err)
		}
		if others[f.Other.Hash()] || records.Relate(&f.Other, nil, &f.Held, nil) != records.Forked {
			t.Error("evidence of nothing")
		}
		others[f.Other.Hash()] = true
	}
	if got := seen(t, b); !slices.Equal(got, want) || b.Logs()[0].Trouble == "" {
		t.Errorf("seen %q, trouble %q", got, b.Logs()[0].Trouble)
	}
	// The log goes on as it was held.
	if err := put(a, reg("a", "3")); err != nil {
		t.Fatal(err)
	}
	pull(t, b, a)
}
