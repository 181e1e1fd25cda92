package records

import "slices"

// Expectation says that something is on its way to a commit. Whoever is about to begin
// one waits for it, though not for long. It is safe for concurrent use.
type Expectation struct {
	queue   *queue
	kind    int  // an index of queue.expected
	settled bool // under the lock of queue
}

const (
	expectedSmall = iota
	expectedBulk
)

// Expect says that a difference that came from others is being opened, or if it is bulk,
// a segment or a large difference. It is given to AcceptDifference or AcceptSegmentData with
// it, or withdrawn.
func (r *Replica) Expect(bulk bool) *Expectation {
	e := &Expectation{queue: &r.queue, kind: expectedSmall}
	if bulk {
		e.kind = expectedBulk
	}
	e.queue.mu.Lock()
	defer e.queue.mu.Unlock()
	e.queue.expected[e.kind]++
	return e
}

// expecting returns e, or what is expected from now on if nobody has said so before.
func (r *Replica) expecting(e *Expectation, bulk bool) *Expectation {
	if e == nil {
		e = r.Expect(bulk)
	}
	return e
}

// Withdraw says that nothing comes. It does nothing after that, when it has come, or
// where nothing was expected: e may be nil.
func (e *Expectation) Withdraw() {
	if e == nil {
		return
	}
	q := e.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if !e.settled {
		e.settled = true
		q.settled[e.kind]++
		q.tell()
	}
}

// expects reports whether a transaction is to wait for one of the first n that were
// expected: not where nobody expected what waits, such as an answer that a learner has
// given; and for bulk only where all that waits is bulk, and more would be taken. If a
// later one has overtaken it, it is not waited for.
func (q *queue) expects(n [2]int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case slices.ContainsFunc(q.waiting, (*operation).isAsked):
		return false
	case q.settled[expectedSmall] < n[expectedSmall] && len(q.waiting) < maxBatch:
		return true
	}
	return q.settled[expectedBulk] < n[expectedBulk] && len(q.waiting) == 0 && len(q.bulk) < q.mostBulk(false, q.calm+1)
}
