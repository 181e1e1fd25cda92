package records

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

var labelZone = identity.NewLabel("classmesh 1 zone fingerprint")

// State is what a replica holds, as it tells others. It must not be changed.
type State struct {
	Zone        identity.ZoneID
	Epoch       roster.Epoch
	Fingerprint identity.Hash
	Rows        []VectorRow // sorted by log
}

// State returns what is held: hash of (roster epoch, for each log with a head,
// sorted: log, counter, log fingerprint), and the vector.
func (r *Replica) State() *State {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != nil {
		return r.state
	}
	if len(r.order) != len(r.logs) { // logs do not go away
		r.order = r.order[:0]
		for _, log := range slices.SortedFunc(maps.Keys(r.logs), identity.LogID.Compare) {
			r.order = append(r.order, r.logs[log])
		}
	}
	list := make([]*branch, 0, len(r.order))
	for _, slot := range r.order {
		if br := r.branches[slot]; !br.Head.IsZero() || !br.Target.IsZero() {
			list = append(list, br)
		}
	}
	s := &State{Zone: r.zone, Epoch: r.Roster().Epoch, Rows: make([]VectorRow, len(list))}
	text := make([]byte, 0, 12+len(list)*(2*identity.HashBytes+8))
	text = binary.BigEndian.AppendUint32(text, s.Epoch.Life)
	text = binary.BigEndian.AppendUint64(text, s.Epoch.Number)
	for i, br := range list {
		h := &br.Head
		s.Rows[i] = VectorRow{BranchRef: br.ref(), Lane: br.Lane, Counter: h.Counter, Staged: br.Target.Counter, Receipted: br.Receipted}
		if !h.IsZero() {
			text = append(text, h.Log[:]...)
			text = binary.BigEndian.AppendUint64(text, h.Counter)
			text = append(text, h.Fingerprint[:]...)
		}
	}
	s.Fingerprint = labelZone.Hash(text)
	r.state = s
	return s
}

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
		err := tx.Segments(br.Slot, base+1, func(s Segment) error {
			if s.First <= br.Head.Counter {
				d.Firsts = append(d.Firsts, s.First)
			}
			return nil
		})
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
