package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// inlineBytes is the size, with envelope, of the largest register that stands
// in the index of registers a second time. Larger ones, of which a page shows
// few, are read from the entries.
const inlineBytes = 512

// registerPrefix is what the keys of some registers begin with.
func registerPrefix(b []byte, p *records.RegisterPrefix) ([]byte, error) {
	b = binary.BigEndian.AppendUint16(b, uint16(p.Kind))
	switch {
	case p.Learner != nil:
		b = append(b, p.Learner[:]...)
	case p.Key != nil:
		return nil, errors.New("find registers: a key without a learner")
	}
	if p.Key != nil {
		if len(*p.Key) > records.MaxKeyBytes {
			return nil, fmt.Errorf("find registers: key of %d bytes, at most %d", len(*p.Key), records.MaxKeyBytes)
		}
		b = append(append(b, byte(len(*p.Key))), *p.Key...)
	}
	return b, nil
}

// registerFixed is the size of a register's key without the key it has for
// its author.
const registerFixed = 2 + 16 + 1 + 4

// registerKey is the key of a register in one branch. Its key within kind and
// learner must keep the limit.
func registerKey[K string | []byte](b []byte, kind records.Kind, learner *identity.UserID, key K, s records.Slot) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(kind))
	b = append(b, learner[:]...)
	b = append(append(b, byte(len(key))), key...)
	return slotKey(b, s)
}

// decodeRegisterKey is the inverse of registerKey.
func decodeRegisterKey(b []byte) (k records.RegisterKey, s records.Slot, ok bool) {
	if len(b) < registerFixed || len(b) != registerFixed+int(b[18]) {
		return k, 0, false
	}
	k.Kind = records.Kind(binary.BigEndian.Uint16(b))
	copy(k.Learner[:], b[2:])
	end := len(b) - 4
	k.Key = string(b[19:end])
	return k, records.Slot(binary.BigEndian.Uint32(b[end:])), true
}

// register is a row of the index of registers. One without versions is stored where a
// block has the register, and may outlast it there until the range is packed again (see
// blocks.go).
type register struct {
	changed  bool      // the row must be written
	versions []uint64  // newest first
	one      [1]uint64 // room for them: mostly there is one
	// newest is the newest version as the entries have it, or nil if it must
	// be read there.
	newest []byte
}

// size is how long the row is when encoded, or a little less.
func (r *register) size() int { return 2 + 8*len(r.versions) + len(r.newest) }

func (r *register) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.versions)))
	for _, v := range r.versions {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, r.newest...)
}

// splitRegister returns the parts of an encoded row: the counters as they
// stand there, and the newest version, which may be empty.
func splitRegister(v []byte) (counters, newest []byte, ok bool) {
	n, size := binary.Uvarint(v)
	if size <= 0 || n > uint64(len(v)-size)/8 || n == 0 && len(v) > size {
		return nil, nil, false
	}
	v = v[size:]
	return v[:8*n], v[8*n:], true
}

// decodeRegister is the inverse of append. The newest version aliases v.
func decodeRegister(key, v []byte) (register, error) {
	counters, newest, ok := splitRegister(v)
	if !ok {
		return register{}, damagedKey(registers, key)
	}
	r := register{versions: make([]uint64, len(counters)/8)}
	for i := range r.versions {
		r.versions[i] = binary.BigEndian.Uint64(counters[8*i:])
	}
	if len(newest) > 0 {
		r.newest = newest
	}
	return r, nil
}

// setNewest notes the newest version, encoded as the entries have it.
func (r *register) setNewest(entry []byte) {
	r.newest = entry
	if len(entry) > entryOverhead+inlineBytes {
		r.newest = nil
	}
}

// search finds a version, or where it would stand.
func (r *register) search(counter uint64) (int, bool) {
	return slices.BinarySearchFunc(r.versions, counter, func(have, want uint64) int {
		switch {
		case have > want:
			return -1
		case have < want:
			return 1
		}
		return 0
	})
}

func (t *readTx) Versions(s records.Slot, k records.RegisterKey) ([]uint64, error) {
	if len(k.Key) > records.MaxKeyBytes {
		return nil, nil
	}
	key := registerKey(nil, k.Kind, &k.Learner, k.Key, s)
	v, err := t.get(registers, key)
	if errors.Is(err, records.ErrNotFound) {
		o, i, err := t.packedRegister(key)
		if err != nil || o == nil {
			return nil, err
		}
		return slices.Clone(o.of(i)), nil
	}
	r, err := decodeRegister(key, v)
	if err != nil || len(r.versions) == 0 {
		return nil, err
	}
	return r.versions, nil
}

func (t *readTx) Registers(p records.RegisterPrefix, fn func(records.Register) error) error {
	prefix, err := registerPrefix(nil, &p)
	if err != nil {
		return err
	}
	packed, err := t.packedRegisters(prefix)
	if err != nil {
		return err
	}
	// give gives what blocks hold, up to the row at a key, which stands for theirs.
	give := func(next []byte) error {
		for packed.key != nil {
			c := -1
			if next != nil {
				c = bytes.Compare(packed.key, next)
			}
			if c > 0 {
				return nil
			}
			if c < 0 {
				r, err := packed.register()
				if err == nil {
					err = fn(r)
				}
				if err != nil {
					return err
				}
			}
			if err := packed.advance(); err != nil {
				return err
			}
		}
		return nil
	}
	err = t.scan(registers, prefix, nil, func(k, v []byte) (bool, error) {
		if err := give(k); err != nil {
			return false, err
		}
		key, slot, ok := decodeRegisterKey(k)
		counters, newest, whole := splitRegister(v)
		if !ok || !whole {
			return false, damagedKey(registers, k)
		}
		if len(counters) == 0 {
			return false, nil
		}
		r := records.Register{Key: key, Slot: slot, Version: binary.BigEndian.Uint64(counters)}
		if len(newest) > 0 {
			r.Entry, err = decodeEntry(r.Version, newest)
		} else {
			r.Entry, err = t.Entry(slot, r.Version)
		}
		if err != nil {
			return false, fmt.Errorf("register %x: %w: %w", k, records.ErrDamaged, err)
		}
		return false, fn(r)
	})
	if err != nil {
		return err
	}
	return give(nil)
}
