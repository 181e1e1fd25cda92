package records_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/storetest"
)

// While much is being taken from another device, who writes here waits for at
// most the transaction that runs, and is in the next.
func TestWritingOvertakesBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 2)
		a := short(t, z, 0, storetest.NewMemory())
		ref := stageLog(a)
		rewrite(t, a, 60, 60)
		store := &storetest.Faulty{Store: storetest.NewMemory()}
		b := z.found(t, 1, store)
		l, p := list(t, b, a, ref)
		if len(p.Needs) < 10 {
			t.Fatalf("%d segments are too few", len(p.Needs))
		}
		commit := make(chan struct{}) // lets one transaction reach the disk
		store.Sync = func(context.Context) error { <-commit; return nil }
		var wg sync.WaitGroup
		var bulk, written atomic.Int64
		for _, n := range p.Needs {
			s := segment(t, a, ref, l, n)
			wg.Go(func() {
				if err := b.AcceptSegmentData(context.Background(), s); err != nil {
					t.Error(err)
				}
				bulk.Add(1)
			})
			synctest.Wait()
		}
		wg.Go(func() {
			if err := put(b, ev("answer")); err != nil {
				t.Error(err)
			}
			written.Add(1)
		})
		synctest.Wait()
		for range 2 { // the one under way, and the next
			commit <- struct{}{}
			synctest.Wait()
		}
		if written.Load() != 1 || bulk.Load() > 3 {
			t.Errorf("after two transactions %d answers were written, and %d segments of %d stored", written.Load(), bulk.Load(), len(p.Needs))
		}
		close(commit)
		wg.Wait()
		if n := bulk.Load(); int(n) != len(p.Needs) {
			t.Errorf("%d segments of %d were stored", n, len(p.Needs))
		}
	})
}

// gated is a store whose transactions wait before they begin, if there is a gate.
type gated struct {
	*storetest.Faulty
	gate chan struct{}
}

func (g *gated) Update(ctx context.Context, f func(records.WriteTx) error) error {
	if gate := g.gate; gate != nil {
		<-gate
	}
	return g.Faulty.Update(ctx, f)
}

// A transaction that makes room for somebody who writes leaves operations to the
// next. If nobody waits for one of these any more, and neither does who wrote, it
// ends all the same.
func TestCancelledWhilePutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 2)
		a := short(t, z, 0, storetest.NewMemory())
		ref := stageLog(a)
		rewrite(t, a, 60, 60)
		store := &gated{Faulty: &storetest.Faulty{Store: storetest.NewMemory()}}
		b := z.found(t, 1, store)
		l, p := list(t, b, a, ref)
		store.gate = make(chan struct{})
		commit := make(chan struct{})
		store.Sync = func(context.Context) error { <-commit; return nil }
		var wg sync.WaitGroup
		take := func(ctx context.Context, n records.Need) {
			s := segment(t, a, ref, l, n)
			wg.Go(func() {
				if err := b.AcceptSegmentData(ctx, s); err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
					t.Errorf("segment %d: %v", n.First, err)
				}
			})
			synctest.Wait()
		}
		take(t.Context(), p.Needs[0]) // under way
		leaving, leave := context.WithCancel(t.Context())
		defer leave()
		take(t.Context(), p.Needs[1])
		take(leaving, p.Needs[2])
		store.gate <- struct{}{}
		synctest.Wait()
		commit <- struct{}{}
		synctest.Wait()
		leave() // while the next transaction has both
		impatient, give := context.WithCancel(t.Context())
		defer give()
		wg.Go(func() {
			err := b.Write(impatient, func(*records.Draft) error { return nil })
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		close(store.gate)
		synctest.Wait()
		give() // now that room was made
		synctest.Wait()
		close(commit)
		wg.Wait()
	})
}

// However many write at once, what comes in bulk goes on.
func TestBulkIsNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 2)
		a := short(t, z, 0, storetest.NewMemory())
		ref := stageLog(a)
		rewrite(t, a, 60, 60)
		store := &storetest.Faulty{Store: storetest.NewMemory()}
		b := z.found(t, 1, store)
		l, p := list(t, b, a, ref)
		s := segment(t, a, ref, l, p.Needs[0])
		commit := make(chan struct{}) // lets one transaction reach the disk
		store.Sync = func(context.Context) error { <-commit; return nil }
		var wg sync.WaitGroup
		stored := false
		write := func() {
			if err := put(b, ev("answer")); err != nil {
				t.Error(err)
			}
		}
		wg.Go(write) // under way
		synctest.Wait()
		wg.Go(func() {
			if err := b.AcceptSegmentData(context.Background(), s); err != nil {
				t.Error(err)
			}
			stored = true
		})
		for range 200 {
			wg.Go(write)
		}
		for range 2 { // the one under way, and the next
			synctest.Wait()
			commit <- struct{}{}
		}
		synctest.Wait()
		if !stored {
			t.Error("the segment waits for all who write")
		}
		close(commit)
		wg.Wait()
	})
}
