package records

import (
	"fmt"
	"slices"
	"sync"
)

// target is a head whose segments are being collected.
type target struct {
	head Head
	rows []Row

	mu    sync.Mutex
	tried map[uint64]attempt // by first counter of the segment
}

// attempt is what has been tried with a segment that is stored and differs.
type attempt int

const (
	attemptTail  attempt = 1 + iota // to add what stands above its highest counter
	attemptWhole                    // to add all that it has: it differs nevertheless
)

func newTarget(h Head, rows []Row) *target {
	return &target{head: h, rows: rows, tried: map[uint64]attempt{}}
}

// find returns the place of the segment that begins at first.
func (t *target) find(first uint64) (i int, ok bool) {
	return slices.BinarySearchFunc(t.rows, Row{First: first}, compareRows)
}

// end returns the last counter of the segment in row i.
func (t *target) end(i int) uint64 {
	if i+1 < len(t.rows) {
		return t.rows[i+1].First - 1
	}
	return t.head.Counter
}

func (t *target) note(first uint64, a attempt) {
	t.mu.Lock()
	t.tried[first] = max(t.tried[first], a)
	t.mu.Unlock()
}

func (t *target) attempted(first uint64) attempt {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tried[first]
}

// plan compares what is stored of a branch with a target of it and says what
// is lacking. Segments of which nothing is stored are always asked for; one
// that is stored is looked at when all above it match, because it may differ
// only by what those supersede. It returns [ErrForked] if what is stored cannot
// belong to the target.
func (t *target) plan(tx Tx, br *branch) (Plan, error) {
	p := Plan{Target: t.head.Counter}
	l, err := newLedger(tx, br.Slot, br.Log())
	if err != nil {
		return p, err
	}
	have, err := t.stored(l, br)
	if err != nil {
		return p, err
	}
	complete := true // all above match
	i, j := len(t.rows)-1, len(have)-1
	for i >= 0 || j >= 0 {
		switch {
		case i < 0 || j >= 0 && have[j].First > t.rows[i].First:
			if complete {
				return p, fmt.Errorf("segment %d has entries that the author has taken back: %w", have[j].First, ErrForked)
			}
			j--
		case j >= 0 && have[j] == t.rows[i]:
			i, j = i-1, j-1
		default:
			row := &t.rows[i]
			lacking := j < 0 || have[j].First != row.First
			switch {
			case lacking && row.First > br.Head.Counter:
				p.Needs = append(p.Needs, Need{First: row.First})
			case complete:
				need, err := t.repair(tx, br.Slot, i)
				if err != nil {
					return p, err
				}
				p.Needs = append(p.Needs, need)
			}
			complete = false
			if !lacking {
				j--
			}
			i--
		}
	}
	return p, nil
}

// stored returns the segment list at the target's counter as far as it is
// stored.
func (t *target) stored(l *ledger, br *branch) ([]Row, error) {
	if br.Target.Counter > t.head.Counter {
		return l.rowsAt(t.head.Counter)
	}
	return l.rows()
}

// repair says what to ask for of a segment that is stored but differs though
// all above it match: what stands above its highest counter, then all of it.
func (t *target) repair(tx Tx, slot Slot, i int) (Need, error) {
	first, end := t.rows[i].First, t.end(i)
	switch t.attempted(first) {
	case attemptWhole:
		return Need{}, fmt.Errorf("segment %d has entries that the author has taken back: %w", first, ErrForked)
	case attemptTail:
		return Need{First: first}, nil
	}
	// Segments that are empty at the target may have entries all the same.
	err := tx.Segments(slot, first+1, func(s Segment) error {
		end = min(end, s.First-1)
		return errEnough
	})
	if err != nil && err != errEnough {
		return Need{}, err
	}
	highest := uint64(0)
	err = tx.Entries(slot, first, end, func(e Entry) error {
		highest = e.Counter
		return nil
	})
	if err != nil || highest == 0 || highest == end {
		return Need{First: first}, err
	}
	return Need{First: first, From: highest + 1}, nil
}
