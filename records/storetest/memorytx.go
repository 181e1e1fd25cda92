package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// scribble is what is left of byte slices after their transaction.
const scribble = 0xdb

// memoryTx is a transaction over a state of its own.
type memoryTx struct {
	state
	owner     *owner // nil in a View
	iterating int    // calls of an iterator's fn that have not returned
	lent      [][]byte
	room      []byte // of the last of lent, what is free
}

// end makes the transaction and whatever it lent useless.
func (t *memoryTx) end() {
	for _, b := range t.lent {
		for i := range b {
			b[i] = scribble
		}
	}
	*t = memoryTx{}
}

// lend returns a copy of b that lasts as long as the transaction.
func (t *memoryTx) lend(b []byte) []byte {
	if len(b) > cap(t.room)-len(t.room) {
		t.room = make([]byte, 0, max(1024, len(b)))
		t.lent = append(t.lent, t.room[:cap(t.room)])
	}
	n := len(t.room)
	t.room = append(t.room, b...)
	return t.room[n:len(t.room):len(t.room)]
}

func (t *memoryTx) lendEntry(e records.Entry) records.Entry {
	e.Envelope, e.Body = t.lend(e.Envelope), t.lend(e.Body)
	return e
}

// during calls an iterator's fn.
func (t *memoryTx) during(fn func() error) error {
	t.iterating++
	err := fn()
	t.iterating--
	return err
}

// changing returns the mark under which a method changes the state.
func (t *memoryTx) changing() *owner {
	if t.iterating > 0 {
		panic("storetest: the store is changed from within one of its iterators")
	}
	return t.owner
}

func (t *memoryTx) Value(name string) ([]byte, error) {
	return found(t.values.get(name))
}

func (t *memoryTx) Receipt(h identity.Hash) ([]byte, error) {
	return found(t.receipts.get(h))
}

// found returns a copy of a value, or ErrNotFound.
func found(v []byte, ok bool) ([]byte, error) {
	if !ok {
		return nil, records.ErrNotFound
	}
	return bytes.Clone(v), nil
}

func (t *memoryTx) SetValue(name string, v []byte) error {
	setBytes(&t.values, name, v, t.changing())
	return nil
}

func (t *memoryTx) SetReceipt(h identity.Hash, v []byte) error {
	setBytes(&t.receipts, h, v, t.changing())
	return nil
}

func (t *memoryTx) SetItem(table string, key, v []byte) error {
	setBytes(&t.items, item{table, string(key)}, v, t.changing())
	return nil
}

// setBytes stores a copy of v; nil deletes.
func setBytes[K any](t *table[K, []byte], k K, v []byte, o *owner) {
	if v == nil {
		t.remove(k, o)
		return
	}
	t.set(k, bytes.Clone(v), o)
}

func (t *memoryTx) Items(table string, prefix []byte, fn func(key, value []byte) error) error {
	for at, v := range t.items.from(item{table, string(prefix)}) {
		if at.table != table || !strings.HasPrefix(at.key, string(prefix)) {
			break
		}
		if err := t.during(func() error { return fn(t.lend([]byte(at.key)), t.lend(v)) }); err != nil {
			return err
		}
	}
	return nil
}

func (t *memoryTx) Branch(s records.Slot) (records.Branch, error) {
	b, ok := t.branches.get(s)
	if !ok {
		return b, records.ErrNotFound
	}
	return cloneBranch(b), nil
}

func (t *memoryTx) Branches(fn func(records.Branch) error) error {
	for _, b := range t.branches.from(0) {
		if err := t.during(func() error { return fn(cloneBranch(b)) }); err != nil {
			return err
		}
	}
	return nil
}

func cloneBranch(b records.Branch) records.Branch {
	b.Head.Starts, b.Target.Starts = slices.Clone(b.Head.Starts), slices.Clone(b.Target.Starts)
	return b
}

func (t *memoryTx) CreateBranch(b records.Branch) (records.Slot, error) {
	o := t.changing()
	t.lastSlot++
	b.Slot = t.lastSlot
	t.branches.set(b.Slot, cloneBranch(b), o)
	return b.Slot, nil
}

func (t *memoryTx) SetBranch(b records.Branch) error {
	if _, ok := t.branches.get(b.Slot); !ok {
		return fmt.Errorf("set branch %d: %w", b.Slot, records.ErrNotFound)
	}
	t.branches.set(b.Slot, cloneBranch(b), t.changing())
	return nil
}

func (t *memoryTx) Starts(s records.Slot) (records.StartList, error) {
	l, _ := t.starts.get(s)
	return slices.Clone(l), nil
}

func (t *memoryTx) AppendStarts(s records.Slot, starts []records.Start) error {
	l, _ := t.starts.get(s)
	t.starts.set(s, slices.Concat(l, starts), t.changing())
	return nil
}

func (t *memoryTx) Segment(s records.Slot, first uint64) (records.Segment, error) {
	seg, ok := t.segments.get(place{s, first})
	if !ok {
		return records.Segment{}, records.ErrNotFound
	}
	return *seg, nil
}

func (t *memoryTx) SegmentAt(s records.Slot, counter uint64) (records.Segment, error) {
	r, ok := t.segments.floor(place{s, counter})
	if !ok || r.key.slot != s {
		return records.Segment{}, records.ErrNotFound
	}
	return *r.value, nil
}

func (t *memoryTx) Segments(s records.Slot, from uint64, fn func(records.Segment) error) error {
	for at, seg := range t.segments.from(place{s, from}) {
		if at.slot != s {
			break
		}
		without := records.Segment{First: seg.First, Live: seg.Live, Bytes: seg.Bytes, Checksum: seg.Checksum}
		if err := t.during(func() error { return fn(without) }); err != nil {
			return err
		}
	}
	return nil
}

func (t *memoryTx) SetSegment(s records.Slot, seg records.Segment) error {
	t.segments.set(place{s, seg.First}, &seg, t.changing())
	return nil
}

func (t *memoryTx) DeleteSegment(s records.Slot, first uint64) error {
	t.segments.remove(place{s, first}, t.changing())
	return nil
}

func (t *memoryTx) TargetRows(s records.Slot) ([]records.Row, error) {
	rows, ok := t.targets.get(s)
	if !ok {
		return nil, records.ErrNotFound
	}
	return slices.Clone(rows), nil
}

func (t *memoryTx) SetTargetRows(s records.Slot, rows []records.Row) error {
	if rows == nil {
		t.targets.remove(s, t.changing())
		return nil
	}
	t.targets.set(s, slices.Clone(rows), t.changing())
	return nil
}

func (t *memoryTx) Entry(s records.Slot, counter uint64) (records.Entry, error) {
	e, ok := t.entries.get(place{s, counter})
	if !ok {
		return records.Entry{}, records.ErrNotFound
	}
	return t.lendEntry(e), nil
}

func (t *memoryTx) Entries(s records.Slot, from, to uint64, fn func(records.Entry) error) error {
	for at, e := range t.entries.from(place{s, from}) {
		if at.slot != s || at.counter > to {
			break
		}
		if err := t.during(func() error { return fn(t.lendEntry(e)) }); err != nil {
			return err
		}
	}
	return nil
}

func (t *memoryTx) Versions(s records.Slot, k records.RegisterKey) ([]uint64, error) {
	list, _ := t.registers.get(registerPlace{k, s})
	return slices.Clone(list), nil
}

func (t *memoryTx) Drops(s records.Slot, from, to uint64, fn func(old, by uint64) error) error {
	for at, by := range t.drops.from(place{s, from}) {
		if at.slot != s || at.counter > to {
			break
		}
		if err := t.during(func() error { return fn(at.counter, by) }); err != nil {
			return err
		}
	}
	return nil
}

func (t *memoryTx) SetDrop(s records.Slot, old, by uint64) error {
	if by == 0 {
		t.drops.remove(place{s, old}, t.changing())
		return nil
	}
	t.drops.set(place{s, old}, by, t.changing())
	return nil
}

func (t *memoryTx) Registers(p records.RegisterPrefix, fn func(records.Register) error) error {
	from := registerPlace{key: records.RegisterKey{Kind: p.Kind}}
	if p.Learner != nil {
		from.key.Learner = *p.Learner
	}
	if p.Key != nil {
		if p.Learner == nil {
			return errors.New("find registers: a key without a learner")
		}
		from.key.Key = *p.Key
	}
	for at, list := range t.registers.from(from) {
		if at.key.Kind != p.Kind || p.Learner != nil && at.key.Learner != *p.Learner || p.Key != nil && at.key.Key != *p.Key {
			break
		}
		e, err := t.Entry(at.slot, list[0])
		if err != nil {
			return fmt.Errorf("read entry %d of a register: %w", list[0], err)
		}
		reg := records.Register{Key: at.key, Slot: at.slot, Entry: e, Version: list[0]}
		if err := t.during(func() error { return fn(reg) }); err != nil {
			return err
		}
	}
	return nil
}

func (t *memoryTx) Events(learner identity.UserID, lane identity.Lane, fn func(records.Slot, records.Entry) error) error {
	for at := range t.events.from(eventPlace{learner: learner, lane: lane}) {
		if at.learner != learner || at.lane != lane {
			break
		}
		e, err := t.Entry(at.place.slot, at.place.counter)
		if err != nil {
			return fmt.Errorf("read event %d: %w", at.place.counter, err)
		}
		if err := t.during(func() error { return fn(at.place.slot, e) }); err != nil {
			return err
		}
	}
	return nil
}

func (t *memoryTx) Put(s records.Slot, e records.Entry, env *records.Envelope) error {
	at := place{s, e.Counter}
	if _, ok := t.entries.get(at); ok {
		return fmt.Errorf("put entry %d: %w", e.Counter, records.ErrExists)
	}
	o := t.changing()
	t.entries.set(at, e.Clone(), o)
	if !env.Register {
		t.events.set(eventAt(s, e.Counter, env), struct{}{}, o)
		return nil
	}
	reg := registerPlace{env.RegisterKey(), s}
	list, _ := t.registers.get(reg)
	t.registers.set(reg, withVersion(list, e.Counter), o)
	return nil
}

// PutRuns stores the entries one by one.
func (t *memoryTx) PutRuns(s records.Slot, _ []records.PackedRun, puts []records.Put) error {
	if len(puts) == 0 {
		return nil
	}
	first, last := puts[0].Entry.Counter, puts[len(puts)-1].Entry.Counter
	for at := range t.entries.from(place{s, first}) {
		if at.slot == s && at.counter <= last {
			return fmt.Errorf("put runs from %d to %d: %w", first, last, records.ErrExists)
		}
		break
	}
	for i := range puts {
		if err := t.Put(s, puts[i].Entry, puts[i].Envelope); err != nil {
			return err
		}
	}
	return nil
}

// Packed finds nothing: a Memory keeps no runs.
func (t *memoryTx) Packed(records.Slot, uint64, uint64, func(records.PackedRun) error) (bool, error) {
	return false, nil
}

func (t *memoryTx) Replace(s records.Slot, e records.Entry, _ *records.Envelope) error {
	at := place{s, e.Counter}
	old, ok := t.entries.get(at)
	switch {
	case !ok:
		return fmt.Errorf("replace entry %d: %w", e.Counter, records.ErrNotFound)
	case !bytes.Equal(old.Envelope, e.Envelope):
		return fmt.Errorf("replace entry %d, which has another envelope: %w", e.Counter, records.ErrExists)
	}
	t.entries.set(at, e.Clone(), t.changing())
	return nil
}

func (t *memoryTx) Delete(s records.Slot, counter uint64, env *records.Envelope) error {
	at := place{s, counter}
	if _, ok := t.entries.get(at); !ok {
		return fmt.Errorf("delete entry %d: %w", counter, records.ErrNotFound)
	}
	o := t.changing()
	t.entries.remove(at, o)
	if !env.Register {
		t.events.remove(eventAt(s, counter, env), o)
		return nil
	}
	reg := registerPlace{env.RegisterKey(), s}
	list, _ := t.registers.get(reg)
	list = slices.DeleteFunc(slices.Clone(list), func(c uint64) bool { return c == counter })
	if len(list) == 0 {
		t.registers.remove(reg, o)
		return nil
	}
	t.registers.set(reg, list, o)
	return nil
}
