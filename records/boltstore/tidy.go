package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/classmesh/classmesh/records"
)

// What is worth packing: entries that follow one another, so many or so large.
// Fewer are left as they are, so that what is new, and often superseded soon, can
// be deleted without opening a run.
const (
	tidyEntries = 512
	tidyBytes   = 48 << 10
)

// tidyLooks is how many entries are looked at for a piece to pack, tidyMost how many
// bytes of them, or a little more.
const (
	tidyLooks = 4096
	tidyMost  = 1 << 20
)

// A transaction of Tidy keeps writers waiting, so it begins no further piece after
// tidyTime, nor after tidyPieces. Packing a piece is some 2 ms, on a small board ten
// times that; the commit comes on top.
const (
	tidyTime   = 10 * time.Millisecond
	tidyPieces = 16
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
		packed, err := s.tidy(ctx, func(t *readTx, from []byte) (piece, []byte, error) {
			return t.loose(from, s.tidyLeast)
		})
		if err != nil {
			return false, fmt.Errorf("tidy store: %w", err)
		}
		s.indexing = s.tidied == nil
		if packed || !s.indexing {
			return true, nil
		}
	}
	_, err = s.tidy(ctx, func(t *readTx, from []byte) (piece, []byte, error) {
		return t.ripe(from, &s.packer)
	})
	if err != nil {
		return false, fmt.Errorf("tidy store: %w", err)
	}
	s.indexing = s.tidied != nil
	return s.indexing, nil
}

// piece is what Tidy packs between two looks at the clock.
type piece interface {
	// begin is the key with which looking finds it again.
	begin() []byte
	// pack may leave some, and then returns where to go on.
	pack(t *writeTx) (left []byte, err error)
}

// tidy packs what look finds from s.tidied on, and reports whether there was anything.
// Look returns the first piece, nil if none is near, and where to go on, nil at the end.
func (s *Store) tidy(ctx context.Context, look func(t *readTx, from []byte) (piece, []byte, error)) (packed bool, err error) {
	var found piece
	var next []byte
	err = s.View(ctx, func(tx records.Tx) (err error) {
		found, next, err = look(tx.(*readTx), s.tidied)
		return err
	})
	if packed = found != nil; err == nil && packed {
		err = s.update(ctx, func(t *writeTx) (err error) {
			began := s.options.now()
			next = found.begin()
			for n := 0; next != nil && n < tidyPieces && (n == 0 || s.options.now().Sub(began) < tidyTime); n++ {
				if found, next, err = look(&t.readTx, next); err != nil || found == nil {
					return err
				}
				left, err := found.pack(t)
				if err != nil {
					return err
				}
				if left != nil {
					next = left
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

func (s *stretch) begin() []byte { return placeKey(nil, s.slot, s.first) }

func (s *stretch) pack(t *writeTx) (left []byte, err error) {
	return nil, t.repack(s.slot, s.first, s.last)
}

// loose looks through the entries from a key on and returns the first that are worth
// packing, so many entries at least, nil if there are none near, and where to go on,
// nil at the end.
func (t *readTx) loose(from []byte, least int) (found piece, next []byte, err error) {
	var at stretch
	barrier := uint64(0) // where the next run begins
	border := uint64(0)  // where the next segment begins
	end := func() {
		if at.worth(least, 1) {
			found = new(at)
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
				found, at = new(at), stretch{}
			}
			border = t.nextSegment(slot, counter)
		}
		if at.count == 0 {
			if found != nil || looked >= tidyLooks || size >= tidyMost {
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
	if found == nil {
		end()
	}
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
