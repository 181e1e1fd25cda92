//go:build !race

package records_test

import (
	"runtime"
	"testing"
)

// TestAllocationsOfAccepting: what is taken for the first time costs few
// allocations a record, from the packed run to the disk.
func TestAllocationsOfAccepting(t *testing.T) {
	a := newAcceptance(t)
	r, _ := a.receiver(t, "warm.db")
	a.take(t, r)
	r, _ = a.receiver(t, "receiver.db")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a.take(t, r)
	runtime.ReadMemStats(&after)
	each := float64(after.Mallocs-before.Mallocs) / float64(a.count)
	bytes := float64(after.TotalAlloc-before.TotalAlloc) / float64(a.count)
	t.Logf("%.2f allocations and %.0f bytes a record", each, bytes)
	if each > maxAllocationsOfAccepting {
		t.Errorf("%.2f allocations a record, at most %v", each, maxAllocationsOfAccepting)
	}
}

// maxAllocationsOfAccepting is what a record may cost, where a quarter are
// registers. Most of it is bbolt's, for a place in its tree that has to be found.
const maxAllocationsOfAccepting = 2.0
