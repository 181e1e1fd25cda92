package records

import (
	"context"
	"fmt"
	"slices"
)

// What a replica serves as its log is its promoted head: entries above it, and
// on the drop list those that only they supersede, are staged.

// Difference returns what is held of a branch beyond base, for a receiver that
// has startCount of its starts. It returns [ErrUnknownBranch], or [ErrLarge]
// if it is more than a small difference. The result is a copy.
func (r *Replica) Difference(ctx context.Context, ref BranchRef, base uint64, startCount int) (*Difference, error) {
	var d *Difference
	err := r.read(ctx, ref, func(tx Tx, br *Branch, starts StartList) error {
		if br.Head.IsZero() {
			return ErrUnknownBranch
		}
		base = min(base, br.Head.Counter)
		d = &Difference{Account: br.account(&br.Head, starts, startCount), Base: base}
		least := uint32(0) // so many live entries follow
		err := tx.Segments(br.Slot, base+1, func(s Segment) error {
			if s.First <= br.Head.Counter {
				d.Firsts = append(d.Firsts, s.First)
				least += s.Live
			}
			return nil
		})
		if err == nil && least > SmallEntries && br.Target.IsZero() {
			return ErrLarge // as accounts say that count nothing above the head
		}
		if err != nil {
			return err
		}
		d.Packed, err = packed(tx, br.Slot, base+1, br.Head.Counter, SmallEntries, SmallBytes)
		if err != nil || d.Packed != nil {
			return err
		}
		size := 0
		return live(tx, br.Slot, base+1, br.Head.Counter, br.Head.Counter, func(e Entry) error {
			size += e.Size()
			if len(d.Entries) == SmallEntries || size > SmallBytes {
				return ErrLarge
			}
			d.Entries = append(d.Entries, e.Clone())
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read difference of %s: %w", ref.Log.Short(), err)
	}
	return d, nil
}

// packed returns copies of the runs that hold exactly the live entries from ≤
// counter ≤ to, or nil if there are none, they are not stored so, or hold more
// than so many entries or bytes: a whole log must not be copied to find that it is
// too much. Up to the head, what is stored is live unless it is on the drop list.
func packed(tx Tx, s Slot, from, to uint64, entries, bytes int) (list []PackedRun, err error) {
	if from > to {
		return nil, nil
	}
	err = tx.Drops(s, from, to, func(uint64, uint64) error { return errEnough })
	if err == nil {
		_, err = tx.Packed(s, from, to, func(p PackedRun) error {
			if entries, bytes = entries-p.Count, bytes-p.Size(); entries < 0 || bytes < 0 {
				return errEnough
			}
			list = append(list, PackedRun{p.Run.Clone(), p.Count})
			return nil
		})
	}
	if err == errEnough {
		return nil, nil
	}
	return list, err
}

// read runs f on a snapshot of a branch; starts are all that are known of it.
func (r *Replica) read(ctx context.Context, ref BranchRef, f func(tx Tx, br *Branch, starts StartList) error) error {
	r.mu.RLock()
	slot := r.logs[ref.Log]
	r.mu.RUnlock()
	if slot == 0 {
		return ErrUnknownBranch
	}
	return r.store.View(ctx, func(tx Tx) error {
		br, err := tx.Branch(slot)
		if err != nil {
			return err
		}
		starts, err := tx.Starts(slot)
		if err != nil {
			return err
		}
		return f(tx, &br, starts)
	})
}

// account introduces a head to a receiver that has startCount of its starts.
func (br *Branch) account(h *Head, starts StartList, startCount int) Account {
	starts = starts[:h.StartCount]
	from := max(0, min(startCount, len(starts)))
	return Account{Certificate: br.Certificate, Lane: br.Lane, Head: *h, StartsFrom: from, Starts: starts[from:]}
}

// live visits the stored entries from ≤ counter ≤ to that are live at counter
// n, ascending.
func live(tx Tx, s Slot, from, to, n uint64, fn func(Entry) error) error {
	if from > to {
		return nil
	}
	drops := false
	err := tx.Drops(s, from, to, func(uint64, uint64) error {
		drops = true
		return errEnough
	})
	if err != nil && err != errEnough {
		return err
	}
	return tx.Entries(s, from, to, func(e Entry) error {
		dead := false
		if drops {
			err := tx.Drops(s, e.Counter, e.Counter, func(_, by uint64) error {
				dead = by <= n
				return nil
			})
			if err != nil {
				return err
			}
		}
		if dead {
			return nil
		}
		return fn(e)
	})
}

// SegmentList returns the segment list of the promoted head if that is beyond
// base, otherwise that of the target if that is, with what of it is held, and
// otherwise [ErrUnknownBranch]. For a while afterwards nothing that is live at
// that head is deleted.
func (r *Replica) SegmentList(ctx context.Context, ref BranchRef, base uint64, startCount int) (*SegmentList, error) {
	var l *SegmentList
	r.mu.RLock()
	br := r.held(ref)
	r.mu.RUnlock()
	if br == nil {
		return nil, fmt.Errorf("read segment list of %s: %w", ref.Log.Short(), ErrUnknownBranch)
	}
	at := r.pins.add(br.Slot, br.Head.Counter)
	err := r.read(ctx, ref, func(tx Tx, br *Branch, starts StartList) error {
		switch {
		case br.Head.Counter > base:
			rows, err := rowsOf(tx, br, br.Head.Counter)
			l = &SegmentList{Account: br.account(&br.Head, starts, startCount), Rows: rows}
			return err
		case br.Target.Counter > base:
			rows, err := tx.TargetRows(br.Slot)
			if err != nil {
				return err
			}
			l = &SegmentList{Account: br.account(&br.Target, starts, startCount), Rows: rows, Held: make([]bool, len(rows))}
			return tx.Segments(br.Slot, 0, func(s Segment) error {
				if i, ok := slices.BinarySearchFunc(rows, s.Row(), compareRows); ok {
					l.Held[i] = rows[i] == s.Row()
				}
				return nil
			})
		}
		return ErrUnknownBranch
	})
	if err != nil {
		r.pins.remove(br.Slot, at)
		return nil, fmt.Errorf("read segment list of %s: %w", ref.Log.Short(), err)
	}
	r.pins.set(br.Slot, at, l.Head.Counter, l.Rows)
	return l, nil
}

// rowsOf returns the segment list of a branch at counter n, as far as it is
// stored.
func rowsOf(tx Tx, br *Branch, n uint64) ([]Row, error) {
	l, err := newLedger(tx, br.Slot, br.Log())
	if err != nil {
		return nil, err
	}
	if n == max(br.Head.Counter, br.Target.Counter) {
		return l.rows()
	}
	return l.rowsAt(n)
}

// SegmentData returns a segment, or the tail of one, at a head of which
// [Replica.SegmentList] has given the list. It returns [ErrMoved] if that
// segment is not what it was at that head any more. The result is a copy.
func (r *Replica) SegmentData(ctx context.Context, ref BranchRef, head uint64, n Need) (*SegmentData, error) {
	data := &SegmentData{Ref: ref, Head: head, First: n.First, From: n.From}
	err := r.read(ctx, ref, func(tx Tx, br *Branch, _ StartList) error {
		rows := r.pins.rows(br.Slot, head)
		var err error
		switch {
		case rows != nil:
		case head == br.Head.Counter:
			rows, err = rowsOf(tx, br, head)
		case head == br.Target.Counter:
			rows, err = tx.TargetRows(br.Slot)
		}
		if err != nil {
			return err
		}
		t := target{head: Head{Counter: head}, rows: rows}
		i, ok := t.find(n.First)
		if !ok || head > max(br.Head.Counter, br.Target.Counter) {
			return ErrMoved
		}
		now, err := tx.Segment(br.Slot, n.First)
		if err != nil && !isNotFound(err) {
			return err
		}
		// Segments that are empty at head are not in the list, but entries of
		// theirs may still be stored while head is being staged.
		end := t.end(i)
		err = tx.Segments(br.Slot, n.First+1, func(s Segment) error {
			end = min(end, s.First-1)
			return errEnough
		})
		if err != nil && err != errEnough {
			return err
		}
		changed := now.Row() != rows[i]
		if !changed && n.From == 0 {
			if data.Packed, err = packed(tx, br.Slot, n.First, end, SegmentCounters, MaxRunBytes); err != nil || data.Packed != nil {
				return err
			}
		}
		var sum Sum
		count := uint32(0)
		err = live(tx, br.Slot, n.First, end, head, func(e Entry) error {
			if changed {
				sum.Add(e.Leaf(ref.Log))
				count++
			}
			if e.Counter >= n.From {
				data.Entries = append(data.Entries, e.Clone())
			}
			return nil
		})
		if err == nil && changed && (count != rows[i].Live || sum.Checksum() != rows[i].Checksum) {
			return ErrMoved
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read segment %d of %s: %w", n.First, ref.Log.Short(), err)
	}
	return data, nil
}
