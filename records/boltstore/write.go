package boltstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// writeTx is records.WriteTx over one bbolt transaction. What it changes in
// the indexes of registers and of events is collected and applied, in the
// order of keys, before the next scan of the index and before the commit:
// going through a B+tree in order costs a fraction of going to and fro.
type writeTx struct {
	readTx
	registers map[string]*register // rows by key, as far as they were looked at
	spare     []register           // room for more of them
	events    map[eventKey]struct{}
	punched   map[runKey]uint64 // runs with new holes, each with its last counter
	covered   map[runKey]uint64 // runs that hold what became a stub, likewise
	erased    bool              // there were such runs
	stubbed   [][]byte          // keys of registers of which something became a stub
	noting    bool              // what is changed is noted
	changes   []change
	free      gap
	room      []byte // for values, which bbolt keeps until the commit
	key       []byte // of a row of registers: one at a time
}

// gap is a stretch of a branch, from ≤ counter < to, where no entry is stored:
// entries that follow one another are checked for their places once.
type gap struct {
	slot     records.Slot
	from, to uint64
}

func newWriteTx(c *packing.Codec) *writeTx {
	return &writeTx{readTx: newReadTx(c), registers: map[string]*register{}, events: map[eventKey]struct{}{}, punched: map[runKey]uint64{}, covered: map[runKey]uint64{}}
}

// alloc returns n bytes of capacity that last until the commit.
func (t *writeTx) alloc(n int) []byte {
	const chunk = 64 << 10
	if n > chunk/4 {
		return make([]byte, 0, n)
	}
	if t.room == nil || n > cap(t.room)-len(t.room) {
		t.room = make([]byte, 0, chunk)
	}
	at := len(t.room)
	t.room = t.room[:at+n]
	return t.room[at : at : at+n]
}

// set stores a value, which must last until the commit.
func (t *writeTx) set(n bucket, key, value []byte) error {
	b := t.bucket(n)
	t.inside = true
	err := b.Put(key, value)
	t.inside = false
	if err != nil {
		return fmt.Errorf("store in %s: %w", names[n], mapError(err))
	}
	if t.noting {
		t.changes = append(t.changes, change{bucket: n, key: bytes.Clone(key), value: append([]byte{}, value...)})
	}
	return nil
}

func (t *writeTx) remove(n bucket, key []byte) error {
	b := t.bucket(n)
	t.inside = true
	err := b.Delete(key)
	t.inside = false
	if err != nil {
		return fmt.Errorf("delete from %s: %w", names[n], mapError(err))
	}
	if t.noting {
		t.changes = append(t.changes, change{bucket: n, key: bytes.Clone(key)})
	}
	return nil
}

// setCopy stores a copy of value; nil deletes.
func (t *writeTx) setCopy(n bucket, key, value []byte) error {
	if value == nil {
		return t.remove(n, key)
	}
	return t.set(n, key, append(t.alloc(len(value)), value...))
}

func (t *writeTx) SetValue(name string, value []byte) error {
	if name == "" || len(name) > bolt.MaxKeySize {
		return fmt.Errorf("set value: name of %d bytes", len(name))
	}
	return t.setCopy(values, []byte(name), value)
}

func (t *writeTx) SetReceipt(h identity.Hash, receipt []byte) error {
	return t.setCopy(receipts, h[:], receipt)
}

func (t *writeTx) SetItem(table string, key, value []byte) error {
	if len(table) > 255 || 1+len(table)+len(key) > bolt.MaxKeySize {
		return fmt.Errorf("set item: table name of %d bytes, key of %d", len(table), len(key))
	}
	return t.setCopy(items, itemKey(table, key), value)
}

func (t *writeTx) CreateBranch(b records.Branch) (records.Slot, error) {
	n, err := t.bucket(branches).NextSequence()
	if err != nil {
		return 0, fmt.Errorf("give out a slot: %w", mapError(err))
	}
	if t.noting {
		t.changes = append(t.changes, change{bucket: branches, sequence: n})
	}
	s := records.Slot(n)
	return s, t.set(branches, slotKey(nil, s), appendBranch(nil, &b))
}

func (t *writeTx) SetBranch(b records.Branch) error {
	key := slotKey(nil, b.Slot)
	if _, err := t.get(branches, key); err != nil {
		return fmt.Errorf("set branch %d: %w", b.Slot, err)
	}
	return t.set(branches, key, appendBranch(nil, &b))
}

func (t *writeTx) AppendStarts(s records.Slot, list []records.Start) error {
	prefix := slotKey(nil, s)
	next := uint32(0)
	if k, _ := t.floor(starts, prefix, binary.BigEndian.AppendUint32(slotKey(nil, s), ^uint32(0))); k != nil {
		if len(k) != 8 {
			return damagedKey(starts, k)
		}
		next = binary.BigEndian.Uint32(k[4:]) + 1
	}
	for i := range list {
		key := binary.BigEndian.AppendUint32(slotKey(nil, s), next+uint32(i))
		if err := t.set(starts, key, records.AppendStarts(nil, list[i:i+1])); err != nil {
			return err
		}
	}
	return nil
}

func (t *writeTx) SetSegment(s records.Slot, seg records.Segment) error {
	key := placeKey(nil, s, seg.First)
	return errors.Join(
		t.set(segments, key, appendSegment(t.alloc(segmentBytes), &seg)),
		t.setCopy(sums, key, seg.Sum[:]))
}

func (t *writeTx) DeleteSegment(s records.Slot, first uint64) error {
	key := placeKey(nil, s, first)
	return errors.Join(t.remove(segments, key), t.remove(sums, key))
}

func (t *writeTx) SetTargetRows(s records.Slot, rows []records.Row) error {
	if rows == nil {
		return t.remove(targets, slotKey(nil, s))
	}
	return t.set(targets, slotKey(nil, s), records.AppendRows(make([]byte, 0, len(rows)*records.RowBytes), rows))
}

func (t *writeTx) SetDrop(s records.Slot, old, by uint64) error {
	key := placeKey(nil, s, old)
	if by == 0 {
		return t.remove(drops, key)
	}
	return t.set(drops, key, binary.BigEndian.AppendUint64(t.alloc(8), by))
}

func (t *writeTx) Put(s records.Slot, e records.Entry, env *records.Envelope) error {
	if len(e.Envelope) > records.MaxEnvelopeBytes || len(env.Key) > records.MaxKeyBytes {
		return fmt.Errorf("put entry %d: envelope of %d bytes, key of %d: %w", e.Counter, len(e.Envelope), len(env.Key), records.ErrEnvelope)
	}
	if free, err := t.isFree(s, e.Counter); err != nil || !free {
		return fmt.Errorf("put entry %d: %w", e.Counter, cmp.Or(err, records.ErrExists))
	}
	value, err := t.setEntry(s, &e)
	if err != nil {
		return err
	}
	t.free.from = e.Counter + 1
	if !env.Register {
		t.events[newEventKey(env, s, e.Counter)] = struct{}{}
		return nil
	}
	return t.addVersion(s, e.Counter, env, value)
}

// addVersion notes a version of a register, encoded as entries have it.
func (t *writeTx) addVersion(s records.Slot, counter uint64, env *records.Envelope, value []byte) error {
	r, err := t.register(s, env)
	if err != nil {
		return err
	}
	if r.versions == nil {
		r.versions = r.one[:0]
	}
	i, _ := r.search(counter)
	r.versions, r.changed = slices.Insert(r.versions, i, counter), true
	if i == 0 {
		r.setNewest(value)
	}
	return nil
}

func (t *writeTx) setEntry(s records.Slot, e *records.Entry) (value []byte, err error) {
	var key [placeBytes]byte
	value = appendEntry(t.alloc(entryOverhead+e.Size()), e)
	return value, t.set(entries, placeKey(key[:0], s, e.Counter), value)
}

// isFree reports whether no entry is stored at a counter, and leaves it
// within t.free if so.
func (t *writeTx) isFree(s records.Slot, counter uint64) (bool, error) {
	if g := &t.free; g.slot == s && g.from <= counter && counter < g.to {
		return true, nil
	}
	t.free = gap{slot: s, from: counter, to: ^uint64(0)}
	r, err := t.runAt(s, counter)
	switch {
	case err != nil:
		return false, err
	case r != nil: // where something was deleted
		t.free.to = counter + 1
		if _, err := t.Entry(s, counter); !errors.Is(err, records.ErrNotFound) {
			t.free.to = counter
			return false, err
		}
		return true, nil
	}
	for _, b := range []bucket{entries, runs} {
		next, _ := t.seek(t.bucket(b).Cursor(), placeKey(nil, s, counter))
		if slot, c, ok := place(next); ok && slot == s {
			t.free.to = min(t.free.to, c)
		}
	}
	return counter < t.free.to, nil
}

func (t *writeTx) Replace(s records.Slot, e records.Entry, env *records.Envelope) error {
	old, err := t.Entry(s, e.Counter)
	switch {
	case err != nil:
		return fmt.Errorf("replace entry %d: %w", e.Counter, err)
	case !bytes.Equal(old.Envelope, e.Envelope):
		return fmt.Errorf("replace entry %d, which has another envelope: %w", e.Counter, records.ErrExists)
	}
	value, err := t.setEntry(s, &e)
	if err == nil && e.Stub {
		err = t.cover(s, e.Counter)
	}
	if err != nil || !env.Register {
		return err
	}
	r, err := t.register(s, env)
	if e.Stub {
		t.stubbed = append(t.stubbed, bytes.Clone(t.key))
	}
	if err == nil && len(r.versions) > 0 && r.versions[0] == e.Counter {
		r.setNewest(value)
		r.changed = true
	}
	return err
}

func (t *writeTx) Delete(s records.Slot, counter uint64, env *records.Envelope) error {
	if _, err := t.Entry(s, counter); err != nil {
		return fmt.Errorf("delete entry %d: %w", counter, err)
	}
	if err := errors.Join(t.remove(entries, placeKey(nil, s, counter)), t.punch(s, counter)); err != nil || !env.Register {
		return err // a row of the index of events may stay for nothing
	}
	r, err := t.register(s, env)
	if err != nil {
		return err
	}
	i, found := r.search(counter)
	if !found {
		return fmt.Errorf("delete entry %d, which is not in the index of registers: %w", counter, records.ErrDamaged)
	}
	r.versions, r.changed = slices.Delete(r.versions, i, i+1), true
	if i > 0 || len(r.versions) == 0 {
		return nil
	}
	e, err := t.Entry(s, r.versions[0])
	if err != nil {
		return fmt.Errorf("register of entry %d: %w: %w", counter, records.ErrDamaged, err)
	}
	r.setNewest(appendEntry(t.alloc(entryOverhead+e.Size()), &e))
	return nil
}

// register returns the row of a register, to be changed.
func (t *writeTx) register(s records.Slot, env *records.Envelope) (*register, error) {
	t.key = registerKey(t.key[:0], env.Kind, &env.Learner, env.Key, s)
	return t.row(t.key)
}

// row returns the row at a key; one without versions is not stored.
func (t *writeTx) row(key []byte) (*register, error) {
	if r := t.registers[string(key)]; r != nil {
		return r, nil
	}
	if len(t.spare) == 0 {
		t.spare = make([]register, 64)
	}
	r := &t.spare[0]
	t.spare = t.spare[1:]
	if v, err := t.get(registers, key); err == nil {
		if *r, err = decodeRegister(key, v); err != nil {
			return nil, err
		}
	} else if o, i, err := t.packedRegister(key); err != nil {
		return nil, err
	} else if o != nil {
		e := &o.newest[i]
		r.versions = slices.Clone(o.of(i))
		r.newest = appendEntry(t.alloc(entryOverhead+e.Size()), e)
	}
	t.registers[string(key)] = r
	return r, nil
}

func (t *writeTx) Versions(s records.Slot, k records.RegisterKey) ([]uint64, error) {
	if len(k.Key) > records.MaxKeyBytes {
		return nil, nil
	}
	// What is looked up here is mostly put next.
	t.key = registerKey(t.key[:0], k.Kind, &k.Learner, k.Key, s)
	r, err := t.row(t.key)
	if err != nil || len(r.versions) == 0 {
		return nil, err
	}
	return slices.Clone(r.versions), nil
}

func (t *writeTx) Registers(p records.RegisterPrefix, fn func(records.Register) error) error {
	if err := t.flushRegisters(); err != nil {
		return err
	}
	return t.readTx.Registers(p, fn)
}

func (t *writeTx) Events(learner identity.UserID, lane identity.Lane, fn func(records.Slot, records.Entry) error) error {
	if err := t.flushEvents(); err != nil {
		return err
	}
	return t.readTx.Events(learner, lane, fn)
}

// flush applies what is collected.
func (t *writeTx) flush() error {
	return errors.Join(t.flushRegisters(), t.flushStubs(), t.flushEvents(), t.flushRuns())
}

// flushStubs takes the text of what became a stub out of blocks. It looks at a block
// once, however many of its registers were erased: hide takes them all.
func (t *writeTx) flushStubs() error {
	slices.SortFunc(t.stubbed, bytes.Compare)
	var looked blockRow
	for _, key := range t.stubbed {
		if looked.covers(key) {
			continue
		}
		o, _, err := t.packedRegister(key)
		if err != nil {
			return err
		}
		if o == nil {
			continue
		}
		looked = blockRow{known: true, first: bytes.Clone(o.first), next: bytes.Clone(t.block.next)}
		if err := t.hide(o); err != nil {
			return err
		}
	}
	t.stubbed = nil
	return nil
}

func (t *writeTx) flushRegisters() error {
	for _, key := range slices.Sorted(maps.Keys(t.registers)) {
		r := t.registers[key]
		var err error
		t.key = append(t.key[:0], key...)
		switch {
		case !r.changed:
		case len(r.versions) == 0:
			err = t.removeRegister(t.key)
		default:
			err = t.set(registers, t.key, r.append(t.alloc(r.size())))
		}
		if err != nil {
			return err
		}
	}
	clear(t.registers)
	return nil
}

// removeRegister deletes a row, or says in it that what a block has is deleted.
func (t *writeTx) removeRegister(key []byte) error {
	o, _, err := t.packedRegister(key)
	switch {
	case err != nil:
		return err
	case o != nil:
		return t.set(registers, key, binary.AppendUvarint(t.alloc(1), 0))
	}
	return t.remove(registers, key)
}

func (t *writeTx) flushEvents() error {
	keys := slices.Collect(maps.Keys(t.events))
	slices.SortFunc(keys, func(a, b eventKey) int { return bytes.Compare(a[:], b[:]) })
	for i := range keys {
		// A row that is there already must not make its page a changed one.
		key := keys[i][:]
		if _, err := t.get(events, key); err == nil {
			continue
		}
		if err := t.set(events, key, []byte{}); err != nil {
			return err
		}
	}
	clear(t.events)
	return nil
}
