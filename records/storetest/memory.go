package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Memory is a records.Store in memory: the obvious way to keep the seam's
// contracts, for tests and as the model that others are compared with. An
// Update and Views exclude each other.
type Memory struct {
	mu     sync.RWMutex
	tables map[string]*table
	last   records.Slot
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{tables: map[string]*table{}} }

// table is a map with its keys in order.
type table struct {
	keys   []string
	values map[string]any
}

// View runs f under a read lock.
func (m *Memory) View(ctx context.Context, f func(records.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return f(&memoryTx{m: m})
}

// Update runs f under the lock and undoes what it did if it fails.
func (m *Memory) Update(ctx context.Context, f func(records.WriteTx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	tx := &memoryTx{m: m}
	last := m.last
	err := f(tx)
	if err != nil {
		for _, u := range slices.Backward(tx.undo) {
			m.set(u.table, u.key, u.value)
		}
		m.last = last
	}
	return err
}

// Clone returns a copy of the store, as a copied card or a backup is one.
func (m *Memory) Clone() *Memory {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := &Memory{tables: map[string]*table{}, last: m.last}
	for name, t := range m.tables {
		c.tables[name] = &table{slices.Clone(t.keys), maps.Clone(t.values)}
	}
	return c
}

// Close does nothing.
func (m *Memory) Close() error { return nil }

// set stores a value; nil deletes it.
func (m *Memory) set(name, key string, value any) (before any) {
	t := m.tables[name]
	if t == nil {
		t = &table{values: map[string]any{}}
		m.tables[name] = t
	}
	before, held := t.values[key]
	i, _ := slices.BinarySearch(t.keys, key)
	switch {
	case value == nil && held:
		delete(t.values, key)
		t.keys = slices.Delete(t.keys, i, i+1)
	case value != nil:
		t.values[key] = value
		if !held {
			t.keys = slices.Insert(t.keys, i, key)
		}
	}
	return before
}

type memoryTx struct {
	m    *Memory
	undo []undone
}

type undone struct {
	table, key string
	value      any
}

const (
	values, branches, starts, segments  = "values", "branches", "starts", "segments"
	targets, entries, versions, dropped = "targets", "entries", "versions", "drops"
	receipts, items                     = "receipts", "items/"
)

func (t *memoryTx) set(table, key string, value any) {
	t.undo = append(t.undo, undone{table, key, t.m.set(table, key, value)})
}

func get[T any](t *memoryTx, table, key string) (v T, err error) {
	if tab := t.m.tables[table]; tab != nil {
		if x, ok := tab.values[key]; ok {
			return x.(T), nil
		}
	}
	return v, records.ErrNotFound
}

// scan visits keys with the prefix from the given key on.
func scan[T any](t *memoryTx, table, prefix, from string, fn func(key string, v T) error) error {
	tab := t.m.tables[table]
	if tab == nil {
		return nil
	}
	i := sort.SearchStrings(tab.keys, max(prefix, from))
	for _, k := range slices.Clone(tab.keys[i:]) {
		if !strings.HasPrefix(k, prefix) {
			return nil
		}
		if err := fn(k, tab.values[k].(T)); err != nil {
			return err
		}
	}
	return nil
}

func slotKey(s records.Slot) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(s)))
}

func counterKey(s records.Slot, c uint64) string {
	return slotKey(s) + string(binary.BigEndian.AppendUint64(nil, c))
}

func counterOf(key string) uint64 { return binary.BigEndian.Uint64([]byte(key[4:])) }

func registerKey(k records.RegisterKey) string {
	b := binary.BigEndian.AppendUint16(nil, uint16(k.Kind))
	b = append(append(b, k.Learner[:]...), byte(len(k.Key)))
	return string(append(b, k.Key...))
}

func (t *memoryTx) Value(name string) ([]byte, error) {
	b, err := get[[]byte](t, values, name)
	return bytes.Clone(b), err
}

func (t *memoryTx) SetValue(name string, v []byte) error { t.setBytes(values, name, v); return nil }

func (t *memoryTx) setBytes(table, key string, v []byte) {
	if v == nil {
		t.set(table, key, nil)
		return
	}
	t.set(table, key, bytes.Clone(v))
}

func (t *memoryTx) Branch(s records.Slot) (records.Branch, error) {
	return get[records.Branch](t, branches, slotKey(s))
}

func (t *memoryTx) Branches(fn func(records.Branch) error) error {
	return scan(t, branches, "", "", func(_ string, b records.Branch) error { return fn(b) })
}

func (t *memoryTx) CreateBranch(b records.Branch) (records.Slot, error) {
	t.m.last++
	b.Slot = t.m.last
	return b.Slot, t.SetBranch(b)
}

func (t *memoryTx) SetBranch(b records.Branch) error {
	t.set(branches, slotKey(b.Slot), b)
	return nil
}

func (t *memoryTx) Starts(s records.Slot) (records.StartList, error) {
	l, err := get[records.StartList](t, starts, slotKey(s))
	if err != nil {
		return nil, nil
	}
	return slices.Clone(l), nil
}

func (t *memoryTx) AppendStarts(s records.Slot, more []records.Start) error {
	l, _ := t.Starts(s)
	t.set(starts, slotKey(s), append(l, more...))
	return nil
}

func (t *memoryTx) Segment(s records.Slot, first uint64) (records.Segment, error) {
	return get[records.Segment](t, segments, counterKey(s, first))
}

func (t *memoryTx) SegmentAt(s records.Slot, counter uint64) (found records.Segment, err error) {
	err = records.ErrNotFound
	scanErr := t.Segments(s, 0, func(seg records.Segment) error {
		if seg.First <= counter {
			found, err = t.Segment(s, seg.First)
		}
		return nil
	})
	if scanErr != nil {
		return found, scanErr
	}
	return found, err
}

func (t *memoryTx) Segments(s records.Slot, from uint64, fn func(records.Segment) error) error {
	return scan(t, segments, slotKey(s), counterKey(s, from), func(_ string, seg records.Segment) error {
		seg.Sum = records.Sum{}
		return fn(seg)
	})
}

func (t *memoryTx) SetSegment(s records.Slot, seg records.Segment) error {
	t.set(segments, counterKey(s, seg.First), seg)
	return nil
}

func (t *memoryTx) DeleteSegment(s records.Slot, first uint64) error {
	t.set(segments, counterKey(s, first), nil)
	return nil
}

func (t *memoryTx) TargetRows(s records.Slot) ([]records.Row, error) {
	return get[[]records.Row](t, targets, slotKey(s))
}

func (t *memoryTx) SetTargetRows(s records.Slot, rows []records.Row) error {
	if rows == nil {
		t.set(targets, slotKey(s), nil)
		return nil
	}
	t.set(targets, slotKey(s), slices.Clone(rows))
	return nil
}

func (t *memoryTx) Entry(s records.Slot, counter uint64) (records.Entry, error) {
	return get[records.Entry](t, entries, counterKey(s, counter))
}

func (t *memoryTx) Entries(s records.Slot, from, to uint64, fn func(records.Entry) error) error {
	return scan(t, entries, slotKey(s), counterKey(s, from), func(_ string, e records.Entry) error {
		if e.Counter > to {
			return nil
		}
		return fn(e)
	})
}

func (t *memoryTx) Versions(s records.Slot, k records.RegisterKey) ([]uint64, error) {
	v, err := get[[]uint64](t, versions, registerKey(k)+slotKey(s))
	if err != nil {
		return nil, nil
	}
	return slices.Clone(v), nil
}

func (t *memoryTx) Drops(s records.Slot, from, to uint64, fn func(old, by uint64) error) error {
	return scan(t, dropped, slotKey(s), counterKey(s, from), func(key string, by uint64) error {
		if old := counterOf(key); old <= to {
			return fn(old, by)
		}
		return nil
	})
}

func (t *memoryTx) SetDrop(s records.Slot, old, by uint64) error {
	if by == 0 {
		t.set(dropped, counterKey(s, old), nil)
		return nil
	}
	t.set(dropped, counterKey(s, old), by)
	return nil
}

func (t *memoryTx) Registers(p records.RegisterPrefix, fn func(records.Register) error) error {
	prefix := string(binary.BigEndian.AppendUint16(nil, uint16(p.Kind)))
	if p.Learner != nil {
		prefix += string(p.Learner[:])
		if p.Key != nil {
			prefix += string([]byte{byte(len(*p.Key))}) + *p.Key
		}
	}
	return scan(t, versions, prefix, "", func(key string, v []uint64) error {
		b := []byte(key)
		reg := records.Register{Slot: records.Slot(binary.BigEndian.Uint32(b[len(b)-4:])), Version: v[0]}
		reg.Key.Kind = records.Kind(binary.BigEndian.Uint16(b))
		copy(reg.Key.Learner[:], b[2:])
		reg.Key.Key = string(b[19 : len(b)-4])
		var err error
		if reg.Entry, err = t.Entry(reg.Slot, v[0]); err != nil {
			return err
		}
		return fn(reg)
	})
}

func (t *memoryTx) Events(learner identity.UserID, lane identity.Lane, fn func(records.Slot, records.Entry) error) error {
	return scan(t, entries, "", "", func(key string, e records.Entry) error {
		env, err := records.DecodeEnvelope(e.Envelope)
		if err != nil || env.Register || env.Learner != learner || env.Kind.Lane() != lane {
			return err
		}
		return fn(records.Slot(binary.BigEndian.Uint32([]byte(key))), e)
	})
}

func (t *memoryTx) Receipt(h identity.Hash) ([]byte, error) {
	b, err := get[[]byte](t, receipts, string(h[:]))
	return bytes.Clone(b), err
}

func (t *memoryTx) SetReceipt(h identity.Hash, b []byte) error {
	t.setBytes(receipts, string(h[:]), b)
	return nil
}

func (t *memoryTx) Items(table string, prefix []byte, fn func(key, value []byte) error) error {
	return scan(t, items+table, string(prefix), "", func(key string, v []byte) error { return fn([]byte(key), v) })
}

func (t *memoryTx) SetItem(table string, key, value []byte) error {
	t.setBytes(items+table, string(key), value)
	return nil
}

func (t *memoryTx) Put(s records.Slot, e records.Entry, env *records.Envelope) error {
	key := counterKey(s, e.Counter)
	if _, err := t.Entry(s, e.Counter); err == nil {
		return records.ErrExists
	}
	t.set(entries, key, e.Clone())
	if env.Register {
		k := registerKey(env.RegisterKey()) + slotKey(s)
		v, _ := t.Versions(s, env.RegisterKey())
		v = append(v, e.Counter)
		slices.SortFunc(v, func(a, b uint64) int {
			if a > b {
				return -1
			}
			return 1
		})
		t.set(versions, k, v)
	}
	return nil
}

func (t *memoryTx) Replace(s records.Slot, e records.Entry, _ *records.Envelope) error {
	if _, err := t.Entry(s, e.Counter); err != nil {
		return err
	}
	t.set(entries, counterKey(s, e.Counter), e.Clone())
	return nil
}

func (t *memoryTx) Delete(s records.Slot, counter uint64, env *records.Envelope) error {
	if _, err := t.Entry(s, counter); err != nil {
		return err
	}
	t.set(entries, counterKey(s, counter), nil)
	if env.Register {
		k := registerKey(env.RegisterKey()) + slotKey(s)
		v, _ := t.Versions(s, env.RegisterKey())
		if v = slices.DeleteFunc(v, func(c uint64) bool { return c == counter }); len(v) == 0 {
			t.set(versions, k, nil)
		} else {
			t.set(versions, k, v)
		}
	}
	return nil
}
