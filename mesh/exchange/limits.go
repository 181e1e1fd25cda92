package exchange

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/classmesh/classmesh/mesh/wire"
)

// Limits bounds what all sessions of a process hold unpacked in memory at a
// time. It is safe for concurrent use.
type Limits struct {
	unpacked *semaphore.Weighted
	total    int64
}

// leastCharge is what an answer is charged at least: it is more than its run.
const leastCharge = 4 << 10

// NewLimits returns limits for so many of the largest answers at a time, 8 if
// it is 0. Of small answers there can be many more.
func NewLimits(answers int) *Limits {
	if answers <= 0 {
		answers = 8
	}
	total := int64(answers) * wire.MaxAnswerBytes
	return &Limits{unpacked: semaphore.NewWeighted(total), total: total}
}

// acquire waits until an answer of size bytes may be unpacked.
func (l *Limits) acquire(ctx context.Context, size int) (release func(), err error) {
	n := min(int64(max(size, leastCharge)), l.total)
	if err := l.unpacked.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { l.unpacked.Release(n) }, nil
}
