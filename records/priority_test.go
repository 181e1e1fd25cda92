package records_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

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
