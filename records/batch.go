package records

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// ErrClosed: the replica was closed.
var ErrClosed = errors.New("the replica is closed")

// queue groups operations into transactions. Whoever finds no batch running
// becomes its owner, takes all that wait, commits them together and hands out
// the answers; so concurrent requests share one fsync and nobody needs a
// goroutine of their own.
//
// What people wait for goes first: operations that store much at a time wait in
// bulk. While others come as well, a transaction takes few of these, and one that
// has begun takes no more of them.
type queue struct {
	mu      sync.Mutex
	waiting []*operation
	bulk    []*operation
	calm    int // batches since the last that had more than bulk, up to calmAfter
	closed  bool
	token   chan struct{} // held by the owner of the running batch

	// How long the last commit took, and the last that people waited for; both are the
	// owner's.
	took, answered time.Duration

	// Operations that are expected, and those of them that came or will not; bulk
	// apart.
	expected, settled [2]int
	news              chan struct{} // one came or will not; buffered
}

type operation struct {
	run   func(*batch) error
	asked bool // somebody waits in front of a screen
	bulk  bool
	done  chan error // buffered

	expected *Expectation // nil for what was not
}

func (op *operation) isAsked() bool { return op.asked }

func (q *queue) init() {
	q.token, q.calm, q.news = make(chan struct{}, 1), calmAfter, make(chan struct{}, 1)
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.token <- struct{}{} // waits for the running batch
	<-q.token
}

// of returns the queue in which an operation waits.
func (q *queue) of(op *operation) *[]*operation {
	if op.bulk {
		return &q.bulk
	}
	return &q.waiting
}

func (q *queue) add(op *operation) error {
	defer op.expected.Withdraw() // it is here, or nothing is taken any more
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	in := q.of(op)
	*in = append(*in, op)
	q.tell()
	return nil
}

// tell wakes whoever gathers.
func (q *queue) tell() {
	select {
	case q.news <- struct{}{}:
	default:
	}
}

// cancel takes op out again, unless a batch has it already.
func (q *queue) cancel(op *operation) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	in := q.of(op)
	i := slices.Index(*in, op)
	if i < 0 {
		return false
	}
	*in = slices.Delete(*in, i, i+1)
	return true
}

const (
	// maxBatch bounds how many operations share a transaction, so that one that
	// waits for its answer does not wait for all the others.
	maxBatch = 64
	// busyBulk is how many of these may be bulk when people have been waiting a
	// moment ago, which is until calmAfter batches were bulk only; beside those
	// that they wait for, one may be.
	busyBulk  = 2
	calmAfter = 16
)

// Where a commit takes long, as on a cheap card, somebody who waits for one in front of
// a screen waits a little for others who come at the same moment: of a class that
// answers all at once, most would else wait for two.
//
// Where nobody does, what came from others waits for what is being opened and verified at
// that moment, up to half of what a commit takes: two differences that come together are
// one commit, and wait for the disk once.
const (
	gatherPart    = 8 // of the time that a commit takes
	gatherMost    = 5 * time.Millisecond
	gatherLeast   = 500 * time.Microsecond // less is not worth waiting
	expectedPart  = 2
	expectedLeast = 200 * time.Microsecond // likewise, where it is known that something comes
)

// gather waits for others, if that is worth it. The caller owns the token.
func (q *queue) gather() {
	if q.asked() {
		if wait := min(q.answered/gatherPart, gatherMost); wait >= gatherLeast {
			time.Sleep(wait)
		}
		return
	}
	wait := min(q.took/expectedPart, gatherMost)
	q.mu.Lock()
	n := q.expected
	q.mu.Unlock()
	if wait < expectedLeast || !q.expects(n) {
		return
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	for q.expects(n) {
		select {
		case <-q.news:
		case <-late.C:
			return
		}
	}
}

// asked reports whether somebody waits in front of a screen.
func (q *queue) asked() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.ContainsFunc(q.waiting, (*operation).isAsked)
}

func (q *queue) take() []*operation {
	q.mu.Lock()
	defer q.mu.Unlock()
	ops := cut(&q.waiting, maxBatch)
	if len(ops) > 0 {
		q.calm = 0
	} else {
		q.calm = min(q.calm+1, calmAfter)
	}
	return append(ops, cut(&q.bulk, q.mostBulk(len(ops) > 0, q.calm))...)
}

// mostBulk is how many bulk operations a transaction takes.
func (q *queue) mostBulk(others bool, calm int) int {
	switch {
	case others:
		return 1 // however many come: bulk goes on
	case calm < calmAfter:
		return busyBulk
	}
	return maxBatch
}

// cut takes up to n operations from the front of a queue.
func cut(in *[]*operation, n int) []*operation {
	n = min(n, len(*in))
	ops := slices.Clone((*in)[:n])
	*in = slices.Delete(*in, 0, n)
	return ops
}

// pressed reports whether somebody waits who should not have to.
func (q *queue) pressed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) > 0
}

// putBack returns operations that a batch has not run, in their order.
func (q *queue) putBack(ops []*operation) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, op := range slices.Backward(ops) {
		in := q.of(op)
		*in = slices.Insert(*in, 0, op)
	}
}

// do runs f, for which somebody waits in front of a screen, in a transaction, perhaps
// together with others, and returns when
// it is on disk or has failed. f must either return nil, or return an error
// having written nothing, or return batch.abort's error, which fails
// everything in the transaction.
func (r *Replica) do(ctx context.Context, f func(*batch) error) error {
	return r.submit(ctx, &operation{run: f, asked: true, done: make(chan error, 1)})
}

// doReceived is do for what a peer has told.
func (r *Replica) doReceived(ctx context.Context, f func(*batch) error) error {
	return r.submit(ctx, &operation{run: f, done: make(chan error, 1)})
}

// doExpected is do, or doBulk, for an operation that was expected.
func (r *Replica) doExpected(ctx context.Context, e *Expectation, bulk bool, f func(*batch) error) error {
	return r.submit(ctx, &operation{run: f, bulk: bulk, expected: e, done: make(chan error, 1)})
}

// doBulk is do for what nobody waits for in front of a screen.
func (r *Replica) doBulk(ctx context.Context, f func(*batch) error) error {
	return r.submit(ctx, &operation{run: f, bulk: true, done: make(chan error, 1)})
}

func (r *Replica) submit(ctx context.Context, op *operation) error {
	if err := r.queue.add(op); err != nil {
		return err
	}
	for {
		select {
		case err := <-op.done: // before another batch is taken on
			return err
		default:
		}
		select {
		case err := <-op.done:
			return err
		case r.queue.token <- struct{}{}:
			r.queue.gather()
			if ops := r.queue.take(); len(ops) > 0 {
				began := time.Now()
				r.commit(ops)
				r.queue.took = time.Since(began)
				if slices.ContainsFunc(ops, (*operation).isAsked) {
					r.queue.answered = r.queue.took
				}
			}
			<-r.queue.token
		case <-ctx.Done():
			if r.queue.cancel(op) {
				return ctx.Err()
			}
			// It is being committed. When that is over it has its answer, or was
			// put back: nobody else can be relied upon to take it from there.
			select {
			case err := <-op.done:
				return err
			case r.queue.token <- struct{}{}:
				<-r.queue.token
			}
		}
	}
}

// batch is one transaction in the making.
type batch struct {
	r  *Replica
	tx *notingTx

	fatal       error
	branches    map[Slot]*branch // changed or new
	asides      map[Slot]*aside  // changed or new
	roster      *rosterState
	keys        []roster.ZoneKey // nil: those of the replica
	clock       Clock
	own         [len(identity.Lanes)]*ownLog
	life        uint32
	unswept     map[Slot]sweeping // changed; zero: nothing is left
	renewing    bool              // a new incarnation begins when this is on disk
	incarnation *incarnation
	changes     []Change
}

// abort marks the whole transaction as failed: err came from the store.
func (b *batch) abort(err error) error {
	if b.fatal == nil {
		b.fatal = err
	}
	return err
}

// commit runs ops in one transaction and answers each.
func (r *Replica) commit(ops []*operation) {
	b := &batch{r: r, branches: map[Slot]*branch{}, asides: map[Slot]*aside{}, clock: r.clock, own: r.own, life: r.life, unswept: map[Slot]sweeping{}}
	answers := make([]error, len(ops))
	done := 0
	// A transaction that has begun is finished whoever has lost patience, so
	// that nobody is told "cancelled" of something that was written.
	err := r.store.Update(context.Background(), func(tx WriteTx) error {
		b.tx = &notingTx{WriteTx: tx}
		for i, op := range ops {
			answers[i] = b.try(op)
			done = i + 1
			if b.fatal != nil {
				return b.fatal
			}
			if b.renewing || op.bulk && r.queue.pressed() {
				break // the others come in the next
			}
		}
		return b.seal()
	})
	if err == nil {
		r.publish(b)
	}
	if err != nil {
		done = len(ops)
	}
	r.queue.putBack(ops[done:])
	for i, op := range ops[:done] {
		if err != nil {
			answers[i] = err
		}
		op.done <- answers[i]
	}
	if err == nil {
		r.watchers.tell(b.changes)
	}
}

// try runs an operation. One that panics fails the transaction, and is
// reported to its caller: nobody else's writes may wait for ever because of it.
func (b *batch) try(op *operation) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = b.abort(fmt.Errorf("write records: the operation panicked: %v", p))
		}
	}()
	return op.run(b)
}

// seal signs what this device wrote, stores the clock, and deletes a little of what
// is superseded.
func (b *batch) seal() error {
	for lane := range b.own {
		if o := b.own[lane]; o != nil && len(o.fresh) > 0 {
			if err := b.sealOwn(o); err != nil {
				return err
			}
		}
	}
	if b.renewing {
		if err := b.sealIncarnation(); err != nil {
			return err
		}
	}
	if b.clock != b.r.clock {
		if err := b.tx.SetValue(valueClock, binary.BigEndian.AppendUint64(nil, uint64(b.clock))); err != nil {
			return err
		}
	}
	return b.sweep()
}

// publish makes a committed batch the replica's state.
func (r *Replica) publish(b *batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(r.branches, b.branches)
	maps.Copy(r.asides, b.asides)
	for _, a := range b.asides {
		if a.state == asideOver {
			delete(r.branches, a.slot)
		} else {
			r.unindex(r.branches[a.slot])
		}
	}
	for _, br := range b.branches {
		if !br.aside {
			r.index(br)
		}
	}
	if b.roster != nil {
		r.roster.Store(b.roster)
	}
	if b.keys != nil {
		r.keys.Store(&b.keys)
	}
	r.clock, r.own, r.life = b.clock, b.own, b.life
	if b.incarnation != nil {
		r.self.Store(b.incarnation)
		r.own = [len(identity.Lanes)]*ownLog{}
	}
	for slot, s := range b.unswept {
		if s.from == 0 {
			delete(r.unswept, slot)
		} else {
			r.unswept[slot] = s
		}
	}
	for slot := range b.branches {
		r.stale[slot] = true
	}
	if b.roster != nil {
		r.state = nil // of another epoch
	}
	r.revisions.raise(b.tx, b.roster != nil)
}

// branch returns a branch as this batch sees it, or nil.
func (b *batch) branch(s Slot) *branch {
	if br := b.branches[s]; br != nil {
		return br
	}
	return b.r.branches[s] // only the batch's owner writes it
}

// lookup returns the branch of a log as this batch sees it, or nil.
func (b *batch) lookup(log identity.LogID) *branch {
	if s, ok := b.r.logs[log]; ok {
		if br := b.branch(s); !br.aside {
			return br
		}
	}
	for _, br := range b.branches {
		if !br.aside && br.Log() == log {
			return br
		}
	}
	return nil
}

func (b *batch) currentRoster() *roster.Roster {
	if b.roster != nil {
		return b.roster.Roster
	}
	return b.r.roster.Load().Roster
}

// setBranch stores a changed branch.
func (b *batch) setBranch(br branch) error {
	if err := b.tx.SetBranch(br.Branch); err != nil {
		return b.abort(err)
	}
	b.branches[br.Slot] = &br
	return nil
}

// createBranch stores a branch that has nothing yet.
func (b *batch) createBranch(cert identity.Certificate, lane identity.Lane) (*branch, error) {
	br := branch{Branch: Branch{Certificate: cert, Lane: lane}}
	var err error
	if br.Slot, err = b.tx.CreateBranch(br.Branch); err != nil {
		return nil, b.abort(err)
	}
	b.branches[br.Slot] = &br
	return &br, nil
}

// raise lifts the clock above c, unless c is of an era that the roster does
// not have or too far ahead to be sane.
func (b *batch) raise(c Clock) {
	if c <= b.clock || c.Era() > b.currentRoster().Era {
		return
	}
	from := b.clock
	if from.Era() < c.Era() {
		from = NewClock(c.Era(), 0)
	}
	if c.Count()-from.Count() <= MaxClockStep {
		b.clock = c
	}
}
