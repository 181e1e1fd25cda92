package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// readTx is records.Tx over one bbolt transaction.
type readTx struct {
	bolt    *bolt.Tx
	inside  bool                      // bbolt is at work, see guard
	buckets [bucketCount]*bolt.Bucket // as far as they were used
	cursors [bucketCount]*bolt.Cursor // see cursor
	codec   *packing.Codec
	shelf   *packing.Shelf // from before it began
	opened  [keptOpen]*opened
	next    int // of opened to give up

	block        blockRow                // the last that was looked for
	openedBlocks map[string]*openedBlock // by first key
}

// newReadTx is called before bbolt's transaction begins.
func newReadTx(c *packing.Codec) readTx { return readTx{codec: c, shelf: c.Shelf()} }

func (t *readTx) bucket(n bucket) *bolt.Bucket {
	b := t.buckets[n]
	if b == nil {
		t.inside = true
		b = t.bolt.Bucket([]byte(names[n])) // there are all, or Open had refused
		b.FillPercent = fill[n]
		t.inside = false
		t.buckets[n] = b
	}
	return b
}

// cursor returns the bucket's cursor, for those who forget where it stands.
func (t *readTx) cursor(n bucket) *bolt.Cursor {
	c := t.cursors[n]
	if c == nil {
		c = t.bucket(n).Cursor()
		t.cursors[n] = c
	}
	return c
}

// get returns a value that lasts as long as the transaction, or ErrNotFound.
func (t *readTx) get(n bucket, key []byte) ([]byte, error) {
	if k, v := t.seek(t.cursor(n), key); k != nil && bytes.Equal(k, key) {
		return v, nil
	}
	return nil, records.ErrNotFound
}

func (t *readTx) seek(c *bolt.Cursor, key []byte) (k, v []byte) {
	t.inside = true
	k, v = c.Seek(key)
	t.inside = false
	return k, v
}

// last moves to the last key, nil if there is none. Cursor.Last never returns where a
// transaction has deleted the keys of every page.
func (t *readTx) last(c *bolt.Cursor) (k, v []byte) {
	if k, _ := t.move(c.First); k == nil {
		return nil, nil
	}
	return t.move(c.Last)
}

// move is c.First, c.Next, c.Prev or c.Last.
func (t *readTx) move(step func() (k, v []byte)) (k, v []byte) {
	t.inside = true
	k, v = step()
	t.inside = false
	return k, v
}

// scan visits the keys that begin with prefix, from the key from on if that
// is greater, until fn returns stop or an error.
func (t *readTx) scan(n bucket, prefix, from []byte, fn func(k, v []byte) (stop bool, err error)) error {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	c := t.bucket(n).Cursor()
	next := c.Next
	for k, v := t.seek(c, from); k != nil && bytes.HasPrefix(k, prefix); k, v = t.move(next) {
		if stop, err := fn(k, v); stop || err != nil {
			return err
		}
	}
	return nil
}

// floor returns the greatest key ≤ key that begins with prefix, or nil.
func (t *readTx) floor(n bucket, prefix, key []byte) (k, v []byte) {
	c := t.bucket(n).Cursor()
	if k, v = t.seek(c, key); bytes.Equal(k, key) {
		return k, v
	}
	if k == nil {
		k, v = t.last(c)
	} else {
		k, v = t.move(c.Prev)
	}
	if k != nil {
		if !bytes.HasPrefix(k, prefix) {
			return nil, nil
		}
		return k, v
	}
	// Prev also stops short at a page whose keys this transaction has
	// deleted. Then, and if key is the first of all, look from the front.
	for at, value := t.seek(c, prefix); at != nil && bytes.HasPrefix(at, prefix) && bytes.Compare(at, key) < 0; at, value = t.move(c.Next) {
		k, v = at, value
	}
	return k, v
}

func damagedKey(n bucket, k []byte) error {
	return fmt.Errorf("%s %x: %w", names[n], k, records.ErrDamaged)
}

func (t *readTx) Value(name string) ([]byte, error) {
	v, err := t.get(values, []byte(name))
	return bytes.Clone(v), err
}

func (t *readTx) Receipt(h identity.Hash) ([]byte, error) {
	v, err := t.get(receipts, h[:])
	return bytes.Clone(v), err
}

func (t *readTx) Items(table string, prefix []byte, fn func(key, value []byte) error) error {
	skip := 1 + len(table)
	return t.scan(items, itemKey(table, prefix), nil, func(k, v []byte) (bool, error) {
		return false, fn(k[skip:len(k):len(k)], v)
	})
}

func (t *readTx) Branch(s records.Slot) (records.Branch, error) {
	v, err := t.get(branches, slotKey(nil, s))
	if err != nil {
		return records.Branch{}, err
	}
	return decodeBranch(s, v)
}

func (t *readTx) Branches(fn func(records.Branch) error) error {
	return t.scan(branches, nil, nil, func(k, v []byte) (bool, error) {
		if len(k) != 4 {
			return false, damagedKey(branches, k)
		}
		br, err := decodeBranch(records.Slot(binary.BigEndian.Uint32(k)), v)
		if err != nil {
			return false, err
		}
		return false, fn(br)
	})
}

func (t *readTx) Starts(s records.Slot) (list records.StartList, err error) {
	var all []byte
	err = t.scan(starts, slotKey(nil, s), nil, func(_, v []byte) (bool, error) {
		all = append(all, v...)
		return false, nil
	})
	if err == nil && len(all)%records.StartBytes != 0 {
		err = fmt.Errorf("starts of branch %d: %w", s, records.ErrDamaged)
	}
	for ; err == nil && len(all) > 0; all = all[records.StartBytes:] {
		start := records.Start{First: binary.BigEndian.Uint64(all)}
		copy(start.ID[:], all[8:])
		list = append(list, start)
	}
	return list, err
}

func (t *readTx) Segment(s records.Slot, first uint64) (records.Segment, error) {
	v, err := t.get(segments, placeKey(nil, s, first))
	if err != nil {
		return records.Segment{}, err
	}
	return t.wholeSegment(s, first, v)
}

func (t *readTx) SegmentAt(s records.Slot, counter uint64) (records.Segment, error) {
	k, v := t.floor(segments, slotKey(nil, s), placeKey(nil, s, counter))
	if k == nil {
		return records.Segment{}, records.ErrNotFound
	}
	_, first, ok := place(k)
	if !ok {
		return records.Segment{}, damagedKey(segments, k)
	}
	return t.wholeSegment(s, first, v)
}

// wholeSegment decodes a segment and adds its sum.
func (t *readTx) wholeSegment(s records.Slot, first uint64, v []byte) (records.Segment, error) {
	seg, err := decodeSegment(first, v)
	if err != nil {
		return seg, err
	}
	key := placeKey(nil, s, first)
	sum, _ := t.get(sums, key)
	if len(sum) != records.SumBytes {
		return seg, damagedKey(sums, key)
	}
	copy(seg.Sum[:], sum)
	return seg, nil
}

func (t *readTx) Segments(s records.Slot, from uint64, fn func(records.Segment) error) error {
	return t.scan(segments, slotKey(nil, s), placeKey(nil, s, from), func(k, v []byte) (bool, error) {
		_, first, ok := place(k)
		if !ok {
			return false, damagedKey(segments, k)
		}
		seg, err := decodeSegment(first, v)
		if err != nil {
			return false, err
		}
		return false, fn(seg)
	})
}

func (t *readTx) TargetRows(s records.Slot) ([]records.Row, error) {
	v, err := t.get(targets, slotKey(nil, s))
	if err != nil {
		return nil, err
	}
	rows, err := records.DecodeRows(v)
	if err != nil {
		return nil, fmt.Errorf("target of branch %d: %w: %w", s, records.ErrDamaged, err)
	}
	return rows, nil
}

func (t *readTx) Entry(s records.Slot, counter uint64) (records.Entry, error) {
	var key [placeBytes]byte
	v, err := t.get(entries, placeKey(key[:0], s, counter))
	if err != nil {
		return t.packedEntry(s, counter)
	}
	return decodeEntry(counter, v)
}

func (t *readTx) Entries(s records.Slot, from, to uint64, fn func(records.Entry) error) error {
	packed, err := t.packedFrom(s, from, to)
	if err != nil {
		return err
	}
	// give gives what runs hold, up to the entry beside them at a counter, which
	// stands for theirs.
	give := func(next *uint64) error {
		for e := packed.entry(); e != nil && (next == nil || e.Counter <= *next); e = packed.entry() {
			if next == nil || e.Counter < *next {
				if err := fn(*e); err != nil {
					return err
				}
			}
			if err := packed.advance(); err != nil {
				return err
			}
		}
		return nil
	}
	err = t.scan(entries, slotKey(nil, s), placeKey(nil, s, from), func(k, v []byte) (bool, error) {
		_, counter, ok := place(k)
		switch {
		case !ok:
			return false, damagedKey(entries, k)
		case counter > to:
			return true, nil
		}
		if err := give(&counter); err != nil {
			return false, err
		}
		e, err := decodeEntry(counter, v)
		if err != nil {
			return false, err
		}
		return false, fn(e)
	})
	if err != nil {
		return err
	}
	return give(nil)
}

func (t *readTx) Drops(s records.Slot, from, to uint64, fn func(old, by uint64) error) error {
	return t.scan(drops, slotKey(nil, s), placeKey(nil, s, from), func(k, v []byte) (bool, error) {
		_, old, ok := place(k)
		switch {
		case !ok || len(v) != 8:
			return false, damagedKey(drops, k)
		case old > to:
			return true, nil
		}
		return false, fn(old, binary.BigEndian.Uint64(v))
	})
}
