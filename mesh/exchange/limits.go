package exchange

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/classmesh/classmesh/records/packing"
)

// Limits bounds what all sessions of a process hold unpacked in memory at a
// time. It is safe for concurrent use.
type Limits struct {
	large, small *semaphore.Weighted
	total        int64 // of either
}

const (
	// leastCharge is what an answer is charged at least: it is more than its run.
	leastCharge = 4 << 10
	// smallCharge is up to what an answer does not wait behind larger ones: what
	// somebody has just written comes so, and a first sync of others, whose disk is
	// slow, must not hold it up.
	smallCharge = 16 << 10
)

// NewLimits returns limits for so many of the largest answers at a time, 8 if
// it is 0, and for small ones that take as much together.
func NewLimits(answers int) *Limits {
	if answers <= 0 {
		answers = 8
	}
	total := int64(answers) * packing.MaxBytes
	return &Limits{large: semaphore.NewWeighted(total), small: semaphore.NewWeighted(total), total: total}
}

// acquire waits until an answer of size bytes may be unpacked, and calls waits first if
// that is not at once.
func (l *Limits) acquire(ctx context.Context, size int, waits func()) (release func(), err error) {
	n, of := min(int64(max(size, leastCharge)), l.total), l.large
	if size <= smallCharge {
		of = l.small
	}
	if !of.TryAcquire(n) {
		waits()
		if err := of.Acquire(ctx, n); err != nil {
			return nil, err
		}
	}
	return func() { of.Release(n) }, nil
}
