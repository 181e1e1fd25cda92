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

// bulky is a replica on a store that is about to take a log of many segments.
type bulky struct {
	*records.Replica
	data []*records.SegmentData // newest first
}

func newBulky(t *testing.T, store records.Store) *bulky {
	t.Helper()
	z := newZone(t, 2)
	author := short(t, z, 0, storetest.NewMemory())
	ref := stageLog(author)
	rewrite(t, author, 60, 60)
	b := &bulky{Replica: z.found(t, 1, store)}
	l, p := list(t, b.Replica, author, ref)
	if len(p.Needs) < 10 {
		t.Fatalf("%d segments are too few", len(p.Needs))
	}
	for _, n := range p.Needs {
		b.data = append(b.data, segment(t, author, ref, l, n))
	}
	return b
}

// While much is being taken from another device, who writes here waits for at
// most the transaction that runs, and is in the next.
func TestWritingOvertakesBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &storetest.Faulty{Store: storetest.NewMemory()}
		b := newBulky(t, store)
		commit := make(chan struct{}) // lets one transaction reach the disk
		store.Sync = func(context.Context) error { <-commit; return nil }
		var wg sync.WaitGroup
		var bulk, written atomic.Int64
		for _, s := range b.data {
			wg.Go(func() {
				if err := b.AcceptSegmentData(context.Background(), s); err != nil {
					t.Error(err)
				}
				bulk.Add(1)
			})
			synctest.Wait()
		}
		wg.Go(func() {
			if err := put(b.Replica, ev("answer")); err != nil {
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
			t.Errorf("after two transactions %d answers were written, and %d segments of %d stored", written.Load(), bulk.Load(), len(b.data))
		}
		close(commit)
		wg.Wait()
		if n := bulk.Load(); int(n) != len(b.data) {
			t.Errorf("%d segments of %d were stored", n, len(b.data))
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
		store := &gated{Faulty: &storetest.Faulty{Store: storetest.NewMemory()}}
		b := newBulky(t, store)
		store.gate = make(chan struct{})
		commit := make(chan struct{})
		store.Sync = func(context.Context) error { <-commit; return nil }
		var wg sync.WaitGroup
		take := func(ctx context.Context, s *records.SegmentData) {
			wg.Go(func() {
				if err := b.AcceptSegmentData(ctx, s); err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
					t.Errorf("segment %d: %v", s.First, err)
				}
			})
			synctest.Wait()
		}
		take(t.Context(), b.data[0]) // under way
		leaving, leave := context.WithCancel(t.Context())
		defer leave()
		take(t.Context(), b.data[1])
		take(leaving, b.data[2])
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
		store := &storetest.Faulty{Store: storetest.NewMemory()}
		b := newBulky(t, store)
		commit := make(chan struct{}) // lets one transaction reach the disk
		store.Sync = func(context.Context) error { <-commit; return nil }
		var wg sync.WaitGroup
		stored := false
		write := func() {
			if err := put(b.Replica, ev("answer")); err != nil {
				t.Error(err)
			}
		}
		wg.Go(write) // under way
		synctest.Wait()
		wg.Go(func() {
			if err := b.AcceptSegmentData(context.Background(), b.data[0]); err != nil {
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
