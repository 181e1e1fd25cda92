package records

import "errors"

// Superseded entries that are on the drop list are deleted a few at a time,
// with commits that are made anyway, so that no commit takes long.
const (
	sweepEntries = 256  // deleted in one commit
	sweepRows    = 1024 // of the drop list looked at in one commit
)

var errEnough = errors.New("enough")

// findDrops notes that a branch has a drop list.
func (r *Replica) findDrops(tx Tx, s Slot) error {
	err := tx.Drops(s, 0, ^uint64(0), func(uint64, uint64) error { return errEnough })
	if err == errEnough {
		r.unswept[s] = 1
		return nil
	}
	return err
}

// sweep deletes some entries that nobody needs any more: those that entries up
// to the promoted head supersede, unless a peer is being served from before.
func (b *batch) sweep() error {
	for slot, from := range b.r.unswept {
		if _, changed := b.unswept[slot]; !changed {
			return b.sweepBranch(slot, from)
		}
	}
	return nil
}

func (b *batch) sweepBranch(slot Slot, from uint64) error {
	br := b.branch(slot)
	floor := b.r.pins.floor(slot, br.Head.Counter)
	limit := min(br.Head.Counter, floor)
	var old []uint64
	looked, next := 0, uint64(0)
	err := b.tx.Drops(slot, from, ^uint64(0), func(counter, by uint64) error {
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
	if next == 0 && (len(old) > 0 || floor < br.Head.Counter) {
		next = 1 // around again, until there is nothing to be found
	}
	b.unswept[slot] = next
	if len(old) == 0 {
		return nil
	}
	l, err := newLedger(b.tx, slot, br.Log())
	if err != nil {
		return err
	}
	for _, counter := range old {
		s, err := l.segment(counter)
		if err != nil {
			return err
		}
		l.changed[s.First] = true
		if err := deleteEntry(b.tx, slot, counter, true); err != nil {
			return err
		}
	}
	_, err = l.flush(b.tx, 0) // deletes the accounts of segments that are empty now
	return err
}
