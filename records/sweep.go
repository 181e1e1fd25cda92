package records

import (
	"errors"
	"maps"
)

// Superseded entries that are on the drop list are deleted a few at a time,
// with commits that are made anyway, so that no commit takes long.
const (
	sweepEntries = 256  // deleted in one commit
	sweepRows    = 1024 // of the drop list looked at in one commit
)

var errEnough = errors.New("enough")

// sweeping is how far the sweep of a branch has come.
type sweeping struct {
	from  uint64 // where to look next in the drop list, from 1
	again bool   // once more when the end is reached
}

// findDrops notes that a branch has a drop list.
func (r *Replica) findDrops(tx Tx, s Slot) error {
	err := tx.Drops(s, 0, ^uint64(0), func(uint64, uint64) error { return errEnough })
	if err == errEnough {
		r.unswept[s] = sweeping{from: 1}
		return nil
	}
	return err
}

// litter notes that a branch may have something to delete.
func (b *batch) litter(s Slot) {
	from := uint64(1)
	if running, ok := b.r.unswept[s]; ok {
		from = running.from
	}
	b.unswept[s] = sweeping{from, true}
}

// sweep deletes some entries that nobody needs any more: those that entries up
// to the promoted head supersede, unless a peer is being served from before.
func (b *batch) sweep() error {
	unswept := maps.Clone(b.r.unswept)
	maps.Copy(unswept, b.unswept)
	for slot, s := range unswept { // any one of them
		return b.sweepBranch(slot, s)
	}
	return nil
}

func (b *batch) sweepBranch(slot Slot, s sweeping) error {
	br := b.branch(slot)
	floor := b.r.pins.floor(slot, br.Head.Counter)
	limit := min(br.Head.Counter, floor)
	var old []uint64
	looked, next := 0, uint64(0)
	err := b.tx.Drops(slot, s.from, ^uint64(0), func(counter, by uint64) error {
		if looked++; looked > sweepRows || len(old) == sweepEntries {
			next = counter
			return errEnough
		}
		if by <= limit {
			old = append(old, counter)
		}
		return nil
	})
	if err != nil && err != errEnough {
		return err
	}
	s.again = s.again || len(old) > 0 || floor < br.Head.Counter
	switch {
	case next > 0:
		s.from = next
	case s.again:
		s = sweeping{from: 1}
	default:
		s = sweeping{}
	}
	b.unswept[slot] = s
	if len(old) == 0 {
		return nil
	}
	l, err := newLedger(b.tx, slot, br.Log())
	if err != nil {
		return err
	}
	for _, counter := range old {
		seg, err := l.segment(counter)
		if err != nil {
			return err
		}
		l.changed[seg.First] = true
		if err := deleteEntry(b.tx, slot, counter, true); err != nil {
			return err
		}
	}
	_, err = l.flush(b.tx, 0) // deletes the accounts of segments that are empty now
	return err
}
