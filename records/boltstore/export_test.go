package boltstore

import (
	"bytes"
	"context"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/packing"
)

// Break does to the store what a disk does that fails within a commit.
func (s *Store) Break() { s.broken.Store(true) }

// TidySoon has Tidy pack as few entries as make a run.
func (s *Store) TidySoon() { s.tidyLeast = leastRun }

// PackSoon has Tidy pack every register, in blocks of so many bytes, with keys.
func (s *Store) PackSoon(room int) { s.packer.least, s.packer.room = 1, room }

// PackLate has Tidy pack no registers of which there are few.
func (s *Store) PackLate() { s.packer.least = 1000 }

// Commits returns how many transactions were written since the file was made.
func (s *Store) Commits() (n int) {
	tx, err := s.begin()
	if err != nil {
		panic(err)
	}
	defer tx.Rollback()
	return tx.ID()
}

// Noting reports whether what is written now is noted for a Shrink.
func (s *Store) Noting() bool {
	s.writer <- struct{}{}
	defer func() { <-s.writer }()
	return s.journal != nil
}

// OpenBlock opens what may be a block under its key, and looks at all of it.
func OpenBlock(key, value []byte) error {
	codec, err := packing.Shared()
	if err != nil {
		return err
	}
	return (&blockRow{known: true, first: key, value: value}).check(codec)
}

// Rows returns how many blocks there are, how many registers in them, and how many
// rows beside them.
func (s *Store) Rows() (inBlocks []int, rows int) {
	err := s.View(context.Background(), func(tx records.Tx) error {
		t := tx.(*readTx)
		err := t.scan(blocks, nil, nil, func(k, v []byte) (bool, error) {
			n, _, _, err := (&blockRow{first: k, value: v}).split()
			inBlocks = append(inBlocks, n)
			return false, err
		})
		if err != nil {
			return err
		}
		return t.scan(registers, nil, nil, func(k, v []byte) (bool, error) { rows++; return false, nil })
	})
	if err != nil {
		panic(err)
	}
	return inBlocks, rows
}

// Entries returns how many entries stand one by one.
func (s *Store) Entries() (n int) {
	err := s.View(context.Background(), func(tx records.Tx) error {
		return tx.(*readTx).scan(entries, nil, nil, func(_, _ []byte) (bool, error) { n++; return false, nil })
	})
	if err != nil {
		panic(err)
	}
	return n
}

// Holds reports whether a text stands in the index of registers, in a row or a block.
func (s *Store) Holds(text string) (found bool) {
	err := s.View(context.Background(), func(tx records.Tx) error {
		t := tx.(*readTx)
		err := t.scan(blocks, nil, nil, func(k, v []byte) (bool, error) {
			o, err := (&blockRow{first: k, value: v}).open(t.codec)
			for i := 0; err == nil && i < len(o.newest); i++ {
				found = found || bytes.Contains(o.newest[i].Body, []byte(text))
			}
			return false, err
		})
		if err != nil {
			return err
		}
		return t.scan(registers, nil, nil, func(_, v []byte) (bool, error) {
			found = found || bytes.Contains(v, []byte(text))
			return false, nil
		})
	})
	if err != nil {
		panic(err)
	}
	return found
}

// HoldsPacked reports whether a text stands in a run.
func (s *Store) HoldsPacked(text string) (found bool) {
	err := s.View(context.Background(), func(tx records.Tx) error {
		t := tx.(*readTx)
		return t.scan(runs, nil, nil, func(k, v []byte) (bool, error) {
			r, err := decodeRun(k, v)
			if err != nil {
				return false, err
			}
			o, err := t.open(&r)
			for i := 0; err == nil && i < len(o.entries); i++ {
				found = found || bytes.Contains(o.entries[i].Body, []byte(text))
			}
			return false, err
		})
	})
	if err != nil {
		panic(err)
	}
	return found
}
