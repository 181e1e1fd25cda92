package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// eventBlock is how many counters one entry of the index of events covers.
const eventBlock = 128

// tx is records.WriteTx over one bbolt transaction.
type tx struct{ b *bolt.Tx }

func newTx(b *bolt.Tx) *tx { return &tx{b} }

func slotKey(s records.Slot) []byte { return binary.BigEndian.AppendUint32(nil, uint32(s)) }

func counterKey(s records.Slot, c uint64) []byte {
	return binary.BigEndian.AppendUint64(slotKey(s), c)
}

func slotOf(key []byte) records.Slot { return records.Slot(binary.BigEndian.Uint32(key)) }

func registerKey(k records.RegisterKey, s records.Slot) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 2+16+1+len(k.Key)+4), uint16(k.Kind))
	b = append(append(b, k.Learner[:]...), byte(len(k.Key)))
	b = append(b, k.Key...)
	return binary.BigEndian.AppendUint32(b, uint32(s))
}

func (t *tx) get(bucket, key []byte) ([]byte, error) {
	v := t.b.Bucket(bucket).Get(key)
	if v == nil {
		return nil, records.ErrNotFound
	}
	return v, nil
}

// put stores a value; nil deletes it.
func (t *tx) put(bucket, key, value []byte) error {
	if value == nil {
		return t.b.Bucket(bucket).Delete(key)
	}
	return t.b.Bucket(bucket).Put(key, value)
}

// scan visits the keys that begin with prefix, from the key from on.
func (t *tx) scan(bucket, prefix, from []byte, fn func(k, v []byte) error) error {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	c := t.b.Bucket(bucket).Cursor()
	for k, v := c.Seek(from); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if err := fn(k, v); err != nil {
			return err
		}
	}
	return nil
}

// errStop ends a scan early.
var errStop = errors.New("stop")

func stopped(err error) error {
	if err == errStop {
		return nil
	}
	return err
}

func damaged(what string, key []byte) error {
	return fmt.Errorf("%s %x: %w", what, key, records.ErrDamaged)
}

func (t *tx) Value(name string) ([]byte, error) {
	v, err := t.get(bucketValues, []byte(name))
	return bytes.Clone(v), err
}

func (t *tx) SetValue(name string, v []byte) error { return t.put(bucketValues, []byte(name), v) }

func (t *tx) Branch(s records.Slot) (records.Branch, error) {
	v, err := t.get(bucketBranches, slotKey(s))
	if err != nil {
		return records.Branch{}, err
	}
	return decodeBranch(s, v)
}

func (t *tx) Branches(fn func(records.Branch) error) error {
	return t.scan(bucketBranches, nil, nil, func(k, v []byte) error {
		br, err := decodeBranch(slotOf(k), v)
		if err != nil {
			return err
		}
		return fn(br)
	})
}

func (t *tx) CreateBranch(br records.Branch) (records.Slot, error) {
	n, err := t.b.Bucket(bucketBranches).NextSequence()
	if err != nil {
		return 0, err
	}
	br.Slot = records.Slot(n)
	return br.Slot, t.SetBranch(br)
}

func (t *tx) SetBranch(br records.Branch) error {
	return t.put(bucketBranches, slotKey(br.Slot), appendBranch(nil, &br))
}

func (t *tx) Starts(s records.Slot) (list records.StartList, err error) {
	err = t.scan(bucketStarts, slotKey(s), nil, func(k, v []byte) error {
		one, err := records.DecodeStarts(v)
		if err != nil || len(one) != 1 {
			return damaged("start", k)
		}
		list = append(list, one[0])
		return nil
	})
	return list, err
}

func (t *tx) AppendStarts(s records.Slot, starts []records.Start) error {
	index := uint32(0)
	c := t.b.Bucket(bucketStarts).Cursor()
	k, _ := c.Seek(slotKey(s + 1))
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	if len(k) == 8 && slotOf(k) == s {
		index = binary.BigEndian.Uint32(k[4:]) + 1
	}
	for i := range starts {
		key := binary.BigEndian.AppendUint32(slotKey(s), index+uint32(i))
		if err := t.put(bucketStarts, key, records.AppendStarts(nil, starts[i:i+1])); err != nil {
			return err
		}
	}
	return nil
}

func decodeSegment(k, v []byte) (seg records.Segment, err error) {
	if len(v) != 4+4+1+identity.HashBytes || v[8] > 1 {
		return seg, damaged("segment", k)
	}
	seg.First = binary.BigEndian.Uint64(k[4:])
	seg.Live = binary.BigEndian.Uint32(v)
	seg.Bytes = binary.BigEndian.Uint32(v[4:])
	seg.Staged = v[8] == 1
	copy(seg.Checksum[:], v[9:])
	return seg, nil
}

func (t *tx) Segment(s records.Slot, first uint64) (records.Segment, error) {
	key := counterKey(s, first)
	v, err := t.get(bucketSegments, key)
	if err != nil {
		return records.Segment{}, err
	}
	seg, err := decodeSegment(key, v)
	if err != nil {
		return seg, err
	}
	if copy(seg.Sum[:], t.b.Bucket(bucketSums).Get(key)) != records.SumBytes {
		return seg, damaged("sum", key)
	}
	return seg, nil
}

func (t *tx) SegmentAt(s records.Slot, counter uint64) (records.Segment, error) {
	key := counterKey(s, counter)
	c := t.b.Bucket(bucketSegments).Cursor()
	k, _ := c.Seek(key)
	switch {
	case k == nil:
		k, _ = c.Last()
	case !bytes.Equal(k, key):
		k, _ = c.Prev()
	}
	if k == nil || slotOf(k) != s {
		return records.Segment{}, records.ErrNotFound
	}
	return t.Segment(s, binary.BigEndian.Uint64(k[4:]))
}

func (t *tx) Segments(s records.Slot, from uint64, fn func(records.Segment) error) error {
	return t.scan(bucketSegments, slotKey(s), counterKey(s, from), func(k, v []byte) error {
		seg, err := decodeSegment(k, v)
		if err != nil {
			return err
		}
		return fn(seg)
	})
}

func (t *tx) SetSegment(s records.Slot, seg records.Segment) error {
	key := counterKey(s, seg.First)
	v := binary.BigEndian.AppendUint32(nil, seg.Live)
	v = binary.BigEndian.AppendUint32(v, seg.Bytes)
	staged := byte(0)
	if seg.Staged {
		staged = 1
	}
	v = append(append(v, staged), seg.Checksum[:]...)
	return errors.Join(t.put(bucketSegments, key, v), t.put(bucketSums, key, bytes.Clone(seg.Sum[:])))
}

func (t *tx) DeleteSegment(s records.Slot, first uint64) error {
	key := counterKey(s, first)
	return errors.Join(t.put(bucketSegments, key, nil), t.put(bucketSums, key, nil))
}

func (t *tx) TargetRows(s records.Slot) ([]records.Row, error) {
	v, err := t.get(bucketTargets, slotKey(s))
	if err != nil {
		return nil, err
	}
	return records.DecodeRows(v)
}

func (t *tx) SetTargetRows(s records.Slot, rows []records.Row) error {
	var v []byte
	if rows != nil {
		v = records.AppendRows([]byte{}, rows)
	}
	return t.put(bucketTargets, slotKey(s), v)
}

func decodeEntry(k, v []byte) (records.Entry, error) {
	if len(v) < 3 || v[0] > 1 {
		return records.Entry{}, damaged("entry", k)
	}
	n := 3 + int(binary.BigEndian.Uint16(v[1:]))
	if len(v) < n {
		return records.Entry{}, damaged("entry", k)
	}
	return records.Entry{
		Counter: binary.BigEndian.Uint64(k[4:]), Stub: v[0] == 1,
		Envelope: v[3:n:n], Body: v[n:len(v):len(v)],
	}, nil
}

func (t *tx) Entry(s records.Slot, counter uint64) (records.Entry, error) {
	key := counterKey(s, counter)
	v, err := t.get(bucketEntries, key)
	if err != nil {
		return records.Entry{}, err
	}
	return decodeEntry(key, v)
}

func (t *tx) Entries(s records.Slot, from, to uint64, fn func(records.Entry) error) error {
	return stopped(t.scan(bucketEntries, slotKey(s), counterKey(s, from), func(k, v []byte) error {
		e, err := decodeEntry(k, v)
		switch {
		case err != nil:
			return err
		case e.Counter > to:
			return errStop
		}
		return fn(e)
	}))
}

func (t *tx) putEntry(s records.Slot, e *records.Entry) error {
	v := make([]byte, 3, 3+e.Size())
	if e.Stub {
		v[0] = 1
	}
	binary.BigEndian.PutUint16(v[1:], uint16(len(e.Envelope)))
	v = append(append(v, e.Envelope...), e.Body...)
	b := t.b.Bucket(bucketEntries)
	b.FillPercent = 0.95 // keys ascend
	return b.Put(counterKey(s, e.Counter), v)
}

func decodeCounters(k, v []byte) ([]uint64, error) {
	if len(v) == 0 || len(v)%8 != 0 {
		return nil, damaged("register", k)
	}
	list := make([]uint64, len(v)/8)
	for i := range list {
		list[i] = binary.BigEndian.Uint64(v[8*i:])
	}
	return list, nil
}

func (t *tx) Versions(s records.Slot, k records.RegisterKey) ([]uint64, error) {
	key := registerKey(k, s)
	v, err := t.get(bucketRegisters, key)
	if err != nil {
		return nil, nil // not stored
	}
	return decodeCounters(key, v)
}

func (t *tx) setVersions(s records.Slot, k records.RegisterKey, list []uint64) error {
	var v []byte
	for _, c := range list {
		v = binary.BigEndian.AppendUint64(v, c)
	}
	return t.put(bucketRegisters, registerKey(k, s), v)
}

func (t *tx) Put(s records.Slot, e records.Entry, env *records.Envelope) error {
	if _, err := t.get(bucketEntries, counterKey(s, e.Counter)); err == nil {
		return records.ErrExists
	}
	if err := t.putEntry(s, &e); err != nil {
		return err
	}
	if !env.Register {
		key := append(env.Learner[:len(env.Learner):len(env.Learner)], byte(env.Kind.Lane()))
		key = append(key, counterKey(s, e.Counter/eventBlock)...)
		if t.b.Bucket(bucketEvents).Get(key) != nil {
			return nil
		}
		return t.put(bucketEvents, key, []byte{})
	}
	k := env.RegisterKey()
	list, err := t.Versions(s, k)
	if err != nil {
		return err
	}
	i, _ := slices.BinarySearchFunc(list, e.Counter, func(have, want uint64) int {
		if have > want {
			return -1
		}
		return 1
	})
	return t.setVersions(s, k, slices.Insert(list, i, e.Counter))
}

func (t *tx) Replace(s records.Slot, e records.Entry, _ *records.Envelope) error {
	if _, err := t.get(bucketEntries, counterKey(s, e.Counter)); err != nil {
		return err
	}
	return t.putEntry(s, &e)
}

func (t *tx) Delete(s records.Slot, counter uint64, env *records.Envelope) error {
	key := counterKey(s, counter)
	if _, err := t.get(bucketEntries, key); err != nil {
		return err
	}
	if err := t.put(bucketEntries, key, nil); err != nil || !env.Register {
		return err // the index of events is coarse: its block stays
	}
	list, err := t.Versions(s, env.RegisterKey())
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(c uint64) bool { return c == counter })
	return t.setVersions(s, env.RegisterKey(), list)
}

func (t *tx) Drops(s records.Slot, from, to uint64, fn func(old, by uint64) error) error {
	return stopped(t.scan(bucketDrops, slotKey(s), counterKey(s, from), func(k, v []byte) error {
		old := binary.BigEndian.Uint64(k[4:])
		switch {
		case len(v) != 8:
			return damaged("drop", k)
		case old > to:
			return errStop
		}
		return fn(old, binary.BigEndian.Uint64(v))
	}))
}

func (t *tx) SetDrop(s records.Slot, old, by uint64) error {
	var v []byte
	if by != 0 {
		v = binary.BigEndian.AppendUint64(nil, by)
	}
	return t.put(bucketDrops, counterKey(s, old), v)
}

func (t *tx) Registers(p records.RegisterPrefix, fn func(records.Register) error) error {
	prefix := binary.BigEndian.AppendUint16(nil, uint16(p.Kind))
	if p.Learner != nil {
		prefix = append(prefix, p.Learner[:]...)
		if p.Key != nil {
			prefix = append(append(prefix, byte(len(*p.Key))), *p.Key...)
		}
	}
	return t.scan(bucketRegisters, prefix, nil, func(k, v []byte) error {
		versions, err := decodeCounters(k, v)
		if err != nil || len(k) < 23 {
			return damaged("register", k)
		}
		n := len(k) - 4
		reg := records.Register{Slot: slotOf(k[n:]), Version: versions[0]}
		reg.Key.Kind = records.Kind(binary.BigEndian.Uint16(k))
		copy(reg.Key.Learner[:], k[2:])
		reg.Key.Key = string(k[19:n])
		if reg.Entry, err = t.Entry(reg.Slot, reg.Version); err != nil {
			return fmt.Errorf("register %x: %w: %w", k, records.ErrDamaged, err)
		}
		return fn(reg)
	})
}

func (t *tx) Events(learner identity.UserID, lane identity.Lane, fn func(records.Slot, records.Entry) error) error {
	prefix := append(learner[:len(learner):len(learner)], byte(lane))
	return t.scan(bucketEvents, prefix, nil, func(k, _ []byte) error {
		s := slotOf(k[17:])
		first := binary.BigEndian.Uint64(k[21:]) * eventBlock
		return t.Entries(s, first, first+eventBlock-1, func(e records.Entry) error {
			env, err := records.DecodeEnvelope(e.Envelope)
			if err != nil {
				return fmt.Errorf("entry %d: %w: %w", e.Counter, records.ErrDamaged, err)
			}
			if env.Register || env.Learner != learner || env.Kind.Lane() != lane {
				return nil
			}
			return fn(s, e)
		})
	})
}

func (t *tx) Receipt(h identity.Hash) ([]byte, error) {
	v, err := t.get(bucketReceipts, h[:])
	return bytes.Clone(v), err
}

func (t *tx) SetReceipt(h identity.Hash, v []byte) error { return t.put(bucketReceipts, h[:], v) }

func itemKey(table string, key []byte) []byte {
	return append(append([]byte{byte(len(table))}, table...), key...)
}

func (t *tx) Items(table string, prefix []byte, fn func(key, value []byte) error) error {
	return t.scan(bucketItems, itemKey(table, prefix), nil, func(k, v []byte) error { return fn(k[1+len(table):], v) })
}

func (t *tx) SetItem(table string, key, value []byte) error {
	return t.put(bucketItems, itemKey(table, key), value)
}
