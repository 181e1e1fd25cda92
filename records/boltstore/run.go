package boltstore

import (
	"encoding/binary"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/packing"
)

// What came in bulk is stored as it came, packed in runs; what is written or
// received a few at a time stands in the bucket of entries until it is packed
// ([Store.Tidy]). The two never change places within a transaction but by
// repack, so that the rule for reading is short:
//
//	the entry at a counter is that in entries; if there is none, that in the
//	run which spans the counter, unless there is a hole.
//
// No two runs of a branch span the same counter.

// leastRun is how many entries are worth a run of their own.
const leastRun = 32

// leastRunBytes is how long runs of fewer entries are, before compression, if they
// are worth it all the same.
const leastRunBytes = 8 << 10

// worthwhile reports whether runs that came from somebody are long enough on the
// average: thousands of runs with an entry each would be stored and sent on so for
// ever, and each costs as much to open as a whole one.
func worthwhile(list []records.PackedRun, entries int) bool {
	size := 0
	for i := range list {
		size += list[i].Size()
	}
	return entries >= leastRun && len(list) <= max(entries/leastRun, size/leastRunBytes)
}

// runFixed is the size of a row of runs without the run itself.
const runFixed = 8 + 4 + 4

// run is a row of runs.
type run struct {
	slot        records.Slot
	first, last uint64
	packed      records.PackedRun // aliases the transaction
}

func appendRun(b []byte, last uint64, p *records.PackedRun) []byte {
	b = binary.BigEndian.AppendUint64(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(p.Count))
	b = binary.BigEndian.AppendUint32(b, p.Packed)
	return append(b, p.Data...)
}

func decodeRun(k, v []byte) (r run, err error) {
	var ok bool
	if r.slot, r.first, ok = place(k); !ok || len(v) < runFixed {
		return r, damagedKey(runs, k)
	}
	r.last = binary.BigEndian.Uint64(v)
	r.packed.Count = int(binary.BigEndian.Uint32(v[8:]))
	r.packed.Packed = binary.BigEndian.Uint32(v[12:])
	r.packed.Data = v[runFixed:len(v):len(v)]
	if r.last < r.first || r.packed.Count == 0 {
		return r, damagedKey(runs, k)
	}
	return r, nil
}

// opened is a run with its entries.
type opened struct {
	run
	entries []records.Entry
}

// find returns the place of a counter among the entries, or where it would be.
func (o *opened) find(counter uint64) (int, bool) {
	return slices.BinarySearchFunc(o.entries, counter, func(e records.Entry, c uint64) int {
		switch {
		case e.Counter < c:
			return -1
		case e.Counter > c:
			return 1
		}
		return 0
	})
}

// keptOpen is how many opened runs a transaction keeps, some 2 MB: what is read
// next is mostly in the run that was read last; and a page of a class asks for
// one learner after another, whose records are in the same few runs.
const keptOpen = 16

// open returns a run with its entries.
func (t *readTx) open(r *run) (*opened, error) {
	for _, o := range t.opened {
		if o != nil && o.slot == r.slot && o.first == r.first {
			return o, nil
		}
	}
	entries, err := t.shelf.Look(r.packed.Run)
	if err == nil && (len(entries) != r.packed.Count || entries[0].Counter != r.first || entries[len(entries)-1].Counter != r.last) {
		err = packing.ErrRun
	}
	if err != nil {
		return nil, fmt.Errorf("the run from %d to %d of branch %d: %w: %w", r.first, r.last, r.slot, records.ErrDamaged, err)
	}
	o := &opened{*r, entries}
	t.opened[t.next%keptOpen] = o
	t.next++
	return o, nil
}

// runAt returns the run that spans a counter, or nil.
func (t *readTx) runAt(s records.Slot, counter uint64) (*run, error) {
	for _, o := range t.opened {
		if o != nil && o.slot == s && o.first <= counter && counter <= o.last {
			return &o.run, nil
		}
	}
	k, v := t.floor(runs, slotKey(nil, s), placeKey(nil, s, counter))
	if k == nil {
		return nil, nil
	}
	r, err := decodeRun(k, v)
	if err != nil || r.last < counter {
		return nil, err
	}
	return &r, nil
}

// packedEntry returns the entry that a run has at a counter, or ErrNotFound.
func (t *readTx) packedEntry(s records.Slot, counter uint64) (records.Entry, error) {
	r, err := t.runAt(s, counter)
	if err != nil {
		return records.Entry{}, err
	}
	if r == nil {
		return records.Entry{}, records.ErrNotFound
	}
	o, err := t.open(r)
	if err != nil {
		return records.Entry{}, err
	}
	i, ok := o.find(counter)
	if !ok {
		return records.Entry{}, records.ErrNotFound
	}
	if _, err := t.get(holes, placeKey(nil, s, counter)); err == nil {
		return records.Entry{}, records.ErrNotFound
	}
	return o.entries[i], nil
}

// packedEntries goes through what the runs of a branch hold of a stretch,
// holes left out.
type packedEntries struct {
	t        *readTx
	slot     records.Slot
	to       uint64
	runs     *bolt.Cursor
	at       *opened
	i        int
	holes    *bolt.Cursor
	nextHole uint64 // the next counter with a hole, or the highest number
}

// packedFrom begins at from. Without a run there it is nil.
func (t *readTx) packedFrom(s records.Slot, from, to uint64) (*packedEntries, error) {
	if from > to {
		return nil, nil
	}
	p := &packedEntries{t: t, slot: s, to: to, runs: t.bucket(runs).Cursor()}
	r, err := t.runAt(s, from)
	if err != nil {
		return nil, err
	}
	start := placeKey(nil, s, from)
	if r != nil {
		start = placeKey(nil, s, r.first)
	}
	k, v := t.seek(p.runs, start)
	if ok, err := p.enter(k, v); !ok || err != nil {
		return nil, err
	}
	p.i, _ = p.at.find(from)
	p.holes = t.bucket(holes).Cursor()
	k, _ = t.seek(p.holes, placeKey(nil, s, from))
	p.hole(k)
	return p, p.settle()
}

// enter opens the run at a row, if that is one of the stretch.
func (p *packedEntries) enter(k, v []byte) (bool, error) {
	if slot, first, ok := place(k); !ok || slot != p.slot || first > p.to {
		p.at = nil
		return false, nil
	}
	r, err := decodeRun(k, v)
	if err != nil {
		return false, err
	}
	p.at, err = p.t.open(&r)
	p.i = 0
	return err == nil, err
}

func (p *packedEntries) hole(k []byte) {
	p.nextHole = ^uint64(0)
	if slot, counter, ok := place(k); ok && slot == p.slot {
		p.nextHole = counter
	}
}

// settle moves on to an entry that counts.
func (p *packedEntries) settle() error {
	for p.at != nil {
		if p.i == len(p.at.entries) {
			k, v := p.t.move(p.runs.Next)
			if _, err := p.enter(k, v); err != nil {
				return err
			}
			continue
		}
		counter := p.at.entries[p.i].Counter
		if counter > p.to {
			p.at = nil
			return nil
		}
		for p.nextHole < counter {
			k, _ := p.t.move(p.holes.Next)
			p.hole(k)
		}
		if p.nextHole != counter {
			return nil
		}
		p.i++
	}
	return nil
}

// entry is the one at hand, or nil at the end.
func (p *packedEntries) entry() *records.Entry {
	if p == nil || p.at == nil {
		return nil
	}
	return &p.at.entries[p.i]
}

func (p *packedEntries) advance() error {
	p.i++
	return p.settle()
}

func (t *readTx) Packed(s records.Slot, from, to uint64, fn func(records.PackedRun) error) (ok bool, err error) {
	if from > to {
		return false, nil
	}
	// Nothing may stand beside the runs, or be missing in them, and no run may
	// reach out of the stretch.
	for _, b := range []bucket{entries, holes} {
		k, _ := t.seek(t.bucket(b).Cursor(), placeKey(nil, s, from))
		if slot, counter, ok := place(k); ok && slot == s && counter <= to {
			return false, nil
		}
	}
	if r, err := t.runAt(s, from); err != nil || r != nil && r.first < from {
		return false, err
	}
	if r, err := t.runAt(s, to); err != nil || r != nil && r.last > to {
		return false, err
	}
	err = t.scan(runs, slotKey(nil, s), placeKey(nil, s, from), func(k, v []byte) (bool, error) {
		r, err := decodeRun(k, v)
		if err != nil || r.first > to {
			return true, err
		}
		return false, fn(r.packed)
	})
	return err == nil, err
}

func (t *writeTx) PutRuns(s records.Slot, list []records.PackedRun, puts []records.Put) error {
	if len(puts) == 0 {
		return nil
	}
	first, last := puts[0].Entry.Counter, puts[len(puts)-1].Entry.Counter
	whole, err := t.isFree(s, first)
	if whole = whole && last < t.free.to; err == nil && !whole {
		// Runs may reach into the stretch that hold nothing there any more.
		err = t.Entries(s, first, last, func(records.Entry) error { return records.ErrExists })
	}
	if err != nil {
		return fmt.Errorf("put runs from %d to %d: %w", first, last, err)
	}
	if !whole || !worthwhile(list, len(puts)) {
		for i := range puts {
			if err := t.Put(s, puts[i].Entry, puts[i].Envelope); err != nil {
				return err
			}
		}
		return nil
	}
	at := 0
	for i := range list {
		n := list[i].Count
		if n < 1 || at+n > len(puts) {
			return fmt.Errorf("put runs from %d to %d, which do not hold the entries: %w", first, last, packing.ErrRun)
		}
		if err := t.setRun(s, puts[at].Entry.Counter, puts[at+n-1].Entry.Counter, &list[i]); err != nil {
			return err
		}
		at += n
	}
	if at != len(puts) {
		return fmt.Errorf("put runs from %d to %d, which do not hold the entries: %w", first, last, packing.ErrRun)
	}
	t.free.from = last + 1
	for i := range puts {
		e, env := &puts[i].Entry, puts[i].Envelope
		if !env.Register {
			t.events[newEventKey(env, s, e.Counter)] = struct{}{}
			continue
		}
		if err := t.addVersion(s, e.Counter, env, appendEntry(t.alloc(entryOverhead+e.Size()), e)); err != nil {
			return err
		}
	}
	return nil
}

func (t *writeTx) setRun(s records.Slot, first, last uint64, p *records.PackedRun) error {
	return t.set(runs, placeKey(nil, s, first), appendRun(make([]byte, 0, runFixed+len(p.Data)), last, p))
}

// punch takes an entry out of the run that spans it, if there is one.
func (t *writeTx) punch(s records.Slot, counter uint64) error {
	r, err := t.runAt(s, counter)
	if err != nil || r == nil {
		return err
	}
	t.punched[runKey{s, r.first}] = r.last
	return t.set(holes, placeKey(nil, s, counter), []byte{})
}

// runKey names a run.
type runKey struct {
	slot  records.Slot
	first uint64
}

// cover notes that an entry became a stub: no run may keep the text.
func (t *writeTx) cover(s records.Slot, counter uint64) error {
	r, err := t.runAt(s, counter)
	if err == nil && r != nil {
		t.covered[runKey{s, r.first}] = r.last
	}
	return err
}

// flushRuns packs anew what is left of runs half of which are holes, and runs of
// which something was erased.
func (t *writeTx) flushRuns() error {
	for key, last := range t.covered {
		if err := t.repack(key.slot, key.first, last); err != nil {
			return err
		}
		delete(t.punched, key)
		t.erased = true
	}
	clear(t.covered)
	for key, last := range t.punched {
		r, err := t.runAt(key.slot, key.first)
		if err != nil {
			return err
		}
		n := 0
		err = t.scan(holes, slotKey(nil, key.slot), placeKey(nil, key.slot, key.first), func(k, _ []byte) (bool, error) {
			_, counter, ok := place(k)
			if !ok || counter > last {
				return true, nil
			}
			n++
			return false, nil
		})
		if err == nil && r != nil && 2*n > r.packed.Count {
			err = t.repack(key.slot, key.first, last)
		}
		if err != nil {
			return err
		}
	}
	clear(t.punched)
	return nil
}

// repack stores what stands at from ≤ counter ≤ to in the fewest runs. No run
// may span from or to without lying between them.
func (t *writeTx) repack(s records.Slot, from, to uint64) error {
	var list []records.Entry
	err := t.Entries(s, from, to, func(e records.Entry) error {
		list = append(list, e.Clone())
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range []bucket{entries, runs, holes} {
		var keys [][]byte // a cursor is not to be trusted while keys go
		err := t.scan(b, slotKey(nil, s), placeKey(nil, s, from), func(k, _ []byte) (bool, error) {
			_, counter, ok := place(k)
			if !ok || counter > to {
				return true, nil
			}
			keys = append(keys, slices.Clone(k))
			return false, nil
		})
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := t.remove(b, k); err != nil {
				return err
			}
		}
	}
	t.forget()
	if len(list) < leastRun {
		for i := range list {
			if _, err := t.setEntry(s, &list[i]); err != nil {
				return err
			}
		}
		return nil
	}
	at := 0
	for _, p := range t.codec.PackRuns(list) {
		if err := t.setRun(s, list[at].Counter, list[at+p.Count-1].Counter, &p); err != nil {
			return err
		}
		at += p.Count
	}
	return nil
}

// forget drops what the transaction remembers of runs and of free places.
func (t *writeTx) forget() {
	t.opened = [keptOpen]*opened{}
	t.free = gap{}
}
