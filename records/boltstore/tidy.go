package boltstore

import (
	"bytes"
	"context"
	"fmt"

	"github.com/classmesh/classmesh/records"
)

// What is worth packing: entries that follow one another, so many or so large.
// Fewer are left as they are, so that what is new, and often superseded soon, can
// be deleted without opening a run.
const (
	tidyEntries = 512
	tidyBytes   = 48 << 10
)

// tidyLooks is how many entries one transaction of Tidy looks at, tidyMost how many
// bytes of them, or a little more.
const (
	tidyLooks = 4096
	tidyMost  = 1 << 20
)

// Tidy packs some of the entries that stand one by one, the oldest of a log
// first, and then of the registers that do, in one transaction that is short enough
// to hold nobody up, and reports whether it is worth calling again. What is stored is
// the same before and after. If there is nothing to pack, nothing is written.
// Concurrent calls take turns.
func (s *Store) Tidy(ctx context.Context) (more bool, err error) {
	s.tidying.Lock()
	defer s.tidying.Unlock()
	if !s.indexing {
		packed, err := s.tidyEntries(ctx)
		if err != nil {
			return false, fmt.Errorf("tidy store: %w", err)
		}
		s.indexing = s.tidied == nil
		if packed || !s.indexing {
			return true, nil
		}
	}
	if err := s.tidyRegisters(ctx); err != nil {
		return false, fmt.Errorf("tidy store: %w", err)
	}
	s.indexing = s.tidied != nil
	return s.indexing, nil
}

// tidyEntries packs entries from s.tidied on, and reports whether there were any.
func (s *Store) tidyEntries(ctx context.Context) (packed bool, err error) {
	var found []stretch
	var next []byte
	err = s.View(ctx, func(tx records.Tx) (err error) {
		found, next, err = tx.(*readTx).loose(s.tidied, s.tidyLeast)
		return err
	})
	if packed = len(found) > 0; err == nil && packed {
		err = s.update(ctx, func(t *writeTx) (err error) {
			if found, next, err = t.loose(s.tidied, s.tidyLeast); err != nil {
				return err
			}
			for _, f := range found {
				if err := t.repack(f.slot, f.first, f.last); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err == nil {
		s.tidied = next
	}
	return packed, err
}

// stretch is entries of one branch that stand one by one and without a run
// between them.
type stretch struct {
	slot        records.Slot
	first, last uint64
	count, size int
}

// worth reports whether there are so many entries, or bytes, times some.
func (s *stretch) worth(least, times int) bool {
	return s.count >= times*least || s.size >= times*tidyBytes
}

// loose looks through the entries from a key on and returns what is worth
// packing, so many entries at least, and where to go on, nil at the end.
func (t *readTx) loose(from []byte, least int) (found []stretch, next []byte, err error) {
	var at stretch
	barrier := uint64(0) // where the next run begins
	border := uint64(0)  // where the next segment begins
	end := func() {
		if at.worth(least, 1) {
			found = append(found, at)
		}
		at = stretch{}
	}
	looked, size := 0, 0
	err = t.scan(entries, nil, from, func(k, v []byte) (bool, error) {
		slot, counter, ok := place(k)
		if !ok {
			return false, damagedKey(entries, k)
		}
		if at.count > 0 && (slot != at.slot || counter >= barrier || at.worth(least, 2)) {
			end()
		}
		if at.count > 0 && counter >= border {
			// Runs that keep to a segment are sent as they are when it is asked for.
			if at.count >= max(leastRun, least/4) {
				found = append(found, at)
				at = stretch{}
			}
			border = t.nextSegment(slot, counter)
		}
		if at.count == 0 {
			if looked >= tidyLooks || size >= tidyMost {
				next = bytes.Clone(k)
				return true, nil
			}
			// An entry beside a run stands for what is in there.
			if r, err := t.runAt(slot, counter); err != nil || r != nil {
				return false, err
			}
			barrier, border = t.nextRun(slot, counter), t.nextSegment(slot, counter)
			at = stretch{slot: slot, first: counter}
		}
		looked++
		size += len(v)
		at.last = counter
		at.count++
		at.size += len(v)
		return false, nil
	})
	end()
	return found, next, err
}

// nextRun returns where the next run above a counter begins, nextSegment where the
// next segment does, or the highest number.
func (t *readTx) nextRun(s records.Slot, counter uint64) uint64 {
	return t.nextFirst(runs, s, counter)
}

func (t *readTx) nextSegment(s records.Slot, counter uint64) uint64 {
	return t.nextFirst(segments, s, counter)
}

// nextFirst returns the first counter above one that is a key of a bucket.
func (t *readTx) nextFirst(b bucket, s records.Slot, counter uint64) uint64 {
	k, _ := t.seek(t.bucket(b).Cursor(), placeKey(nil, s, counter+1))
	if slot, first, ok := place(k); ok && slot == s {
		return first
	}
	return ^uint64(0)
}
