package records

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Staging: what is more than a small difference comes as a head with its
// segment list, the target, and then as segments, the newest first, each
// verified by itself and stored where it will stay. When the stored segments
// equal those of the list, the target is promoted: it becomes the branch's
// head.
//
// The target may move on while segments come. What is stored stays; a new
// target says again what is lacking. A head between the promoted one and the
// target may be offered as well, by somebody who has it completely: then
// entries above it, and what only these supersede, are thought away when its
// segments are compared.

// AcceptSegmentList makes the list's head the target of its branch, unless a
// later one is that already, and says what is lacking. When it returns, the
// target is on disk. Errors are those of [Replica.AcceptDifference].
func (r *Replica) AcceptSegmentList(ctx context.Context, l *SegmentList) (Plan, error) {
	var p Plan
	err := r.verifyList(l)
	if err == nil {
		err = r.doBulk(ctx, func(b *batch) (err error) {
			p, err = b.acceptList(l)
			return err
		})
	}
	if err != nil {
		return Plan{}, fmt.Errorf("accept segment list of %s: %w", l.Head.Log.Short(), err)
	}
	return p, nil
}

func (r *Replica) verifyList(l *SegmentList) error {
	if err := l.verify(r); err != nil {
		return err
	}
	last := uint64(0)
	for i, row := range l.Rows {
		end := l.Head.Counter
		if i+1 < len(l.Rows) {
			end = l.Rows[i+1].First - 1
		}
		if row.First <= last || row.First > end || row.Live == 0 || row.Live > SegmentCounters || uint64(row.Live) > end-row.First+1 {
			return fmt.Errorf("row of segment %d: %w", row.First, ErrRows)
		}
		last = row.First
	}
	if Fingerprint(l.Rows) != l.Head.Fingerprint {
		return fmt.Errorf("segment list: %w", ErrMismatch)
	}
	return nil
}

func (b *batch) acceptList(l *SegmentList) (Plan, error) {
	br, starts, err := b.continued(&l.Account, 0)
	if err != nil {
		return Plan{}, err
	}
	held := br
	t, raised, err := b.aim(&br, l, starts)
	if err != nil {
		return Plan{}, err
	}
	p, err := t.plan(b.tx, &br)
	if err != nil {
		return Plan{}, b.suspect(&held, &t.head, err)
	}
	if raised {
		err = b.storeTarget(&br, held.starts)
	}
	return p, err
}

// aim finds or makes the target that a list is of, and sets it in br; raised
// says that it is a new one above all others, which must be stored.
func (b *batch) aim(br *branch, l *SegmentList, starts StartList) (t *target, raised bool, err error) {
	if len(br.targets) > 0 {
		switch Relate(&l.Head, starts, &br.Target, br.starts) {
		case Same:
			return br.targets[0], false, nil
		case Behind:
			for _, t := range br.targets[1:] {
				if t.head.Counter == l.Head.Counter && t.head.Fingerprint == l.Head.Fingerprint {
					return t, false, nil
				}
			}
			t := newTarget(l.Head, slices.Clone(l.Rows))
			next := *br
			next.targets = []*target{br.targets[0], t}
			b.branches[br.Slot] = &next // in memory alone
			*br = next
			return t, false, nil
		case Forked:
			return nil, false, b.forked(br, &l.Head)
		case Unrelated:
			return nil, false, ErrStarts
		}
	}
	t = newTarget(l.Head, slices.Clone(l.Rows))
	br.Target, br.starts, br.targets = l.Head, starts, []*target{t}
	return t, true, nil
}

// storeTarget stores a branch's new target; known is what is stored of its
// starts.
func (b *batch) storeTarget(br *branch, known StartList) error {
	if br.Slot == 0 {
		created, err := b.createBranch(br.Certificate, br.Lane)
		if err != nil {
			return err
		}
		br.Slot = created.Slot
	}
	if err := b.tx.AppendStarts(br.Slot, br.starts[len(known):]); err != nil {
		return b.abort(err)
	}
	if err := b.tx.SetTargetRows(br.Slot, br.targets[0].rows); err != nil {
		return b.abort(err)
	}
	return b.setBranch(*br)
}

// AcceptSegmentData stores a segment that verifies against a target of its
// branch; its entries are visible at once. If it does not verify, the error is
// [ErrGap] if the target is not the segment's head any more, and [ErrMismatch]
// if it is; then nothing is stored. The entries' bytes must not change
// afterwards.
func (r *Replica) AcceptSegmentData(ctx context.Context, s *SegmentData) error {
	var t *target
	var all *set
	expected := r.expecting(s.Expected, true)
	err := r.verifying(ctx, expected, func() (err error) {
		t, all, err = r.verifySegment(s)
		return err
	})
	if err == nil {
		err = r.doExpected(ctx, expected, true, func(b *batch) error { return b.acceptSegment(s, t, all) })
		if err == nil && s.From == 0 {
			t.note(s.First, attemptWhole) // now that it is on disk
		}
	}
	if err != nil {
		return fmt.Errorf("accept segment %d of %s: %w", s.First, s.Ref.Log.Short(), err)
	}
	return nil
}

// verifySegment checks what can be checked without the store and finds the
// target that the segment belongs to. A tail of a segment is compared in
// acceptSegment.
func (r *Replica) verifySegment(s *SegmentData) (*target, *set, error) {
	r.mu.RLock()
	br := r.held(s.Ref)
	r.mu.RUnlock()
	switch {
	case br == nil || len(br.targets) == 0 && br.Head.Counter < s.Head:
		return nil, nil, ErrGap
	case len(br.targets) == 0:
		return nil, nil, ErrStale
	}
	t := br.targets[0]
	unlike := ErrGap
	for _, c := range br.targets {
		if c.head.Counter == s.Head {
			t, unlike = c, ErrMismatch
		}
	}
	i, ok := t.find(s.First)
	if !ok {
		return nil, nil, fmt.Errorf("no such segment: %w", unlike)
	}
	row, end := &t.rows[i], t.end(i)
	if len(s.Entries) > SegmentCounters || s.From > end {
		return nil, nil, fmt.Errorf("%d entries from %d: %w", len(s.Entries), s.From, ErrMismatch)
	}
	puts, err := verifyEntries(br.Log(), s.Entries, max(s.First, s.From)-1, MaxSegmentBytes)
	if err != nil {
		return nil, nil, err
	}
	for i := range puts {
		p := &puts[i]
		if p.Entry.Counter > end || p.Envelope.Clock > t.head.Clock {
			return nil, nil, fmt.Errorf("entry %d: %w", p.Entry.Counter, unlike)
		}
	}
	if s.From > 0 {
		return t, &set{puts: puts}, nil
	}
	if len(puts) != int(row.Live) {
		return nil, nil, unlike
	}
	all := newSet(puts)
	if all.sum.Checksum() != row.Checksum {
		return nil, nil, unlike
	}
	return t, all, nil
}

// acceptSegment stores a segment. The sum of all is that of its entries, if it
// is a whole one.
func (b *batch) acceptSegment(s *SegmentData, t *target, all *set) error {
	puts := all.puts
	br := b.lookup(s.Ref.Log)
	switch {
	case br == nil:
		return ErrGap
	case br.Head.Counter >= t.head.Counter:
		return ErrStale
	case !slices.Contains(br.targets, t):
		return ErrGap
	}
	if err := b.admits(br.Certificate, br.Lane, &t.head); err != nil {
		return err
	}
	l, err := newLedger(b.tx, br.Slot, br.Log())
	if err != nil {
		return b.abort(err)
	}
	former := l.has(s.First)
	if !former && s.First <= br.Head.Counter {
		return b.suspect(br, &t.head, fmt.Errorf("segment %d was not there before: %w", s.First, ErrForked))
	}
	if !former && len(puts) > 0 { // in another continuation, segments may begin elsewhere
		if former, err = b.any(br.Slot, puts[0].Entry.Counter, puts[len(puts)-1].Entry.Counter); err != nil {
			return err
		}
	}
	switch begun, err := b.begin(l, s.First); {
	case err != nil:
		return err
	case !begun:
		return b.suspect(br, &t.head, fmt.Errorf("segment %d begins within another: %w", s.First, ErrForked))
	}
	// A former continuation may also have an account within this segment, above
	// what it has of it: the entries there belong to that one.
	counted := !former && s.From == 0 && len(puts) > 0 && puts[len(puts)-1].Entry.Counter <= l.end(s.First)
	if counted {
		if err := l.merge(s.First, &all.sum, len(puts)); err != nil {
			return err
		}
		l.packed = s.Packed
	}
	l.puts = puts[:0] // what is booked takes the place of what was looked at
	clock := Clock(0)
	for _, p := range puts {
		stored, err := false, error(nil)
		if former {
			stored, err = b.stored(br, &p)
		}
		if err == nil && !stored {
			err = l.add(p, t.head.Counter, counted)
		}
		switch {
		case errors.Is(err, errOther) && s.From > 0: // not verified by itself
			return t.differs(s, err)
		case errors.Is(err, errOther):
			return b.suspect(br, &t.head, fmt.Errorf("%w: %w", err, ErrForked))
		case err != nil:
			return err
		}
		clock = max(clock, p.Envelope.Clock)
	}
	if s.From > 0 {
		rows, err := t.stored(l, br)
		if err != nil {
			return b.abort(err)
		}
		i, _ := t.find(s.First)
		if !slices.Contains(rows, t.rows[i]) {
			return t.differs(s, errors.New("with what was there before"))
		}
	}
	if _, err := l.flush(b.tx, 0); err != nil {
		return b.abort(err)
	}
	b.raise(clock)
	return b.reconcile(&br.Certificate, l.puts)
}

// differs is the error of the tail of a segment that does not verify, why, with
// what is stored of it. The whole will be asked for next.
func (t *target) differs(s *SegmentData, why error) error {
	t.note(s.First, attemptTail)
	if s.Head != t.head.Counter {
		return ErrGap
	}
	return fmt.Errorf("%w: %w", why, ErrMismatch)
}

// any reports whether anything is stored of from ≤ counter ≤ to.
func (b *batch) any(slot Slot, from, to uint64) (bool, error) {
	err := b.tx.Entries(slot, from, to, func(Entry) error { return errEnough })
	switch err {
	case nil:
		return false, nil
	case errEnough:
		return true, nil
	}
	return false, b.abort(err)
}

// begin makes sure that there is an account for the segment at first, unless what
// stands there is in the account of a segment that begins lower.
func (b *batch) begin(l *ledger, first uint64) (begun bool, err error) {
	if !l.has(first) && l.slot != 0 {
		if within, err := b.any(l.slot, first, l.end(first)); within || err != nil {
			return false, err
		}
	}
	l.begin(first)
	return true, nil
}

// errOther: what is held contradicts an entry.
var errOther = errors.New("what is held is of another continuation")

// stored reports whether an entry is stored already; [errOther] if another one
// stands at its counter.
func (b *batch) stored(br *branch, p *Put) (bool, error) {
	e, err := b.tx.Entry(br.Slot, p.Entry.Counter)
	switch {
	case isNotFound(err):
		return false, nil
	case err != nil:
		return false, b.abort(err)
	case e.Leaf(br.Log()) != p.leaf:
		return false, fmt.Errorf("counter %d: %w", p.Entry.Counter, errOther)
	}
	return true, nil
}

// Promote makes the target with the given counter the branch's head if nothing
// of it is lacking, and says what is otherwise. It returns [ErrMismatch] if what
// is stored does not give the target's fingerprint, and [ErrGap] if there is no
// such target.
func (r *Replica) Promote(ctx context.Context, ref BranchRef, head uint64) (Plan, error) {
	var p Plan
	r.mu.RLock()
	br := r.held(ref)
	r.mu.RUnlock()
	err := r.store.View(ctx, func(tx Tx) (err error) {
		p, err = br.lacking(tx, head)
		return err
	})
	if err == nil && len(p.Needs) > 0 {
		return p, nil
	}
	if !p.Done {
		err = r.doBulk(ctx, func(b *batch) (err error) {
			p, err = b.promote(ref, head)
			return err
		})
	}
	if err != nil {
		return Plan{}, fmt.Errorf("promote %s: %w", ref.Log.Short(), err)
	}
	r.giveWayFor(ctx, ref.Log)
	r.goOnPublishing(ctx)
	return p, nil
}

// lacking plans for the target with the given counter, or for the one that has
// taken its place.
func (br *branch) lacking(tx Tx, head uint64) (Plan, error) {
	if br == nil {
		return Plan{}, ErrGap
	}
	if br.Head.Counter >= head {
		return Plan{Done: true, Target: head}, nil
	}
	if t := br.targetAt(head); t != nil {
		return t.plan(tx, br)
	}
	return Plan{}, ErrGap
}

// targetAt returns the target with the given counter, or else the highest.
func (br *branch) targetAt(head uint64) *target {
	for _, t := range br.targets {
		if t.head.Counter == head {
			return t
		}
	}
	if len(br.targets) > 0 {
		return br.targets[0]
	}
	return nil
}

func (b *batch) promote(ref BranchRef, head uint64) (Plan, error) {
	held := b.lookup(ref.Log)
	p, err := held.lacking(b.tx, head)
	switch {
	case err != nil && held != nil && len(held.targets) > 0:
		return Plan{}, b.suspect(held, &held.targetAt(head).head, err)
	case err != nil || p.Done || len(p.Needs) > 0:
		return p, err
	}
	br := *held
	t := br.targetAt(head)
	if err := b.admits(br.Certificate, br.Lane, &t.head); err != nil {
		return Plan{}, err
	}
	l, err := newLedger(b.tx, br.Slot, br.Log())
	if err != nil {
		return Plan{}, b.abort(err)
	}
	rows, err := t.stored(l, &br)
	if err != nil {
		return Plan{}, b.abort(err)
	}
	if Fingerprint(rows) != t.head.Fingerprint {
		return Plan{}, ErrMismatch
	}
	previous := br.Head
	br.Head = t.head
	b.raise(t.head.Clock)
	if err := b.reach(&br); err != nil {
		return Plan{}, err
	}
	if err := b.reconfirm(&br, &previous); err != nil {
		return Plan{}, err
	}
	b.litter(br.Slot)
	b.announce(&br, &previous, nil)
	return Plan{Done: true, Target: t.head.Counter}, b.setBranch(br)
}

// reach ends the staging of what br's head has reached.
func (b *batch) reach(br *branch) error {
	if br.Target.IsZero() || br.Target.Counter > br.Head.Counter {
		br.targets = br.targets[:min(1, len(br.targets))]
		return nil
	}
	br.Target, br.targets = Head{}, nil
	if err := b.tx.SetTargetRows(br.Slot, nil); err != nil {
		return b.abort(err)
	}
	return nil
}
