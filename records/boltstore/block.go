package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// A block is the registers of a stretch of keys, compressed together. Its row:
//
//	number of registers (2)
//	filter, a byte for each register
//	compressed: four columns, each with a field for each register
//	  uvarint  its slot less that of the one before, zigzag
//	  uvarint  number of its versions, from 1
//	  uvarint  its newest version less that of the one before, zigzag; then each
//	           older one: what it is less than the one before
//	  the newest versions, as the entries of a run (records/packing) whose counters
//	  are 1, 2, 3 …
//
// A register's key is not stored: it is that of its newest version's envelope.

// maxBlockRegisters is how many registers a block has at most.
const maxBlockRegisters = 512

// blockFixed is the size of a block's row before its filter.
const blockFixed = 2

// What is packed must be opened again: maxBlockBytes is how much a block may be before
// compression, for who opens one. Who packs keeps to a quarter, as the columns take a
// little more than [cell.size] says, and leaves a register a row that takes more than
// maxCellBytes, of which some 450 versions are stored.
const (
	maxBlockBytes = records.MaxChunkBytes
	maxPlainBytes = maxBlockBytes / 4
	maxCellBytes  = 4 << 10
)

// cell is a register as blocks have it.
type cell struct {
	slot     records.Slot
	versions []uint64      // newest first
	newest   records.Entry // of the newest version
}

// size is about how many bytes the cell takes before compression.
func (c *cell) size() int { return c.newest.Size() + 8*len(c.versions) }

// newCell returns a row of the index of registers as a cell; ok is false if it is
// not one for a block: its newest version stands in the entries only, or is not
// what makes its key, or it has too many versions.
func newCell(key, value []byte) (c cell, ok bool) {
	r, err := decodeRegister(key, value)
	if err != nil || r.newest == nil || len(r.versions) == 0 {
		return c, false
	}
	if c.newest, err = decodeEntry(r.versions[0], r.newest); err != nil {
		return c, false
	}
	if c.newest.Stub && len(c.newest.Body) != identity.HashBytes {
		return c, false
	}
	for i := 1; i < len(r.versions); i++ {
		if r.versions[i] >= r.versions[i-1] {
			return c, false
		}
	}
	_, c.slot, ok = decodeRegisterKey(key)
	if !ok {
		return c, false
	}
	if c.versions = r.versions; c.size() > maxCellBytes {
		return c, false
	}
	own, err := c.key(nil)
	return c, err == nil && bytes.Equal(own, key)
}

// key appends the register's key.
func (c *cell) key(b []byte) ([]byte, error) { return entryKey(b, &c.newest, c.slot) }

// entryKey appends the key of the register that an entry is a version of.
func entryKey(b []byte, e *records.Entry, s records.Slot) ([]byte, error) {
	env, err := records.DecodeEnvelope(e.Envelope)
	if err == nil && !env.Register {
		err = records.ErrEnvelope
	}
	if err != nil {
		return b, err
	}
	return registerKey(b, env.Kind, &env.Learner, env.Key, s), nil
}

// appendBlock appends the row of a block. The cells must be in the order of their
// keys, one at least.
func appendBlock(b []byte, codec *packing.Codec, cells []cell) []byte {
	var plain []byte
	slot := records.Slot(0)
	for i := range cells {
		plain = binary.AppendVarint(plain, int64(cells[i].slot)-int64(slot))
		slot = cells[i].slot
	}
	for i := range cells {
		plain = binary.AppendUvarint(plain, uint64(len(cells[i].versions)))
	}
	last := uint64(0)
	for i := range cells {
		v := cells[i].versions
		plain = binary.AppendVarint(plain, int64(v[0]-last))
		last = v[0]
		for j := 1; j < len(v); j++ {
			plain = binary.AppendUvarint(plain, v[j-1]-v[j])
		}
	}
	newest := make([]records.Entry, len(cells))
	for i := range cells {
		newest[i] = cells[i].newest
		newest[i].Counter = uint64(i + 1)
	}
	plain = packing.AppendEntries(plain, newest)
	b = binary.BigEndian.AppendUint16(b, uint16(len(cells)))
	at := len(b)
	b = append(b, make([]byte, len(cells))...)
	var key []byte
	for i := range cells {
		key, _ = cells[i].key(key[:0]) // newCell has seen that there is one
		addToFilter(b[at:], hashKey(key))
	}
	return append(b, codec.Compress(plain)...)
}

// blockRow is a row of blocks, not opened, with the keys between which it is
// responsible: first ≤ key < next.
type blockRow struct {
	known       bool
	first, next []byte // first nil: there is no block; next nil: there is none behind it
	value       []byte
}

func (b *blockRow) covers(key []byte) bool {
	return b.known && bytes.Compare(b.first, key) <= 0 && (b.next == nil || bytes.Compare(key, b.next) < 0)
}

// split returns the parts of a row.
func (b *blockRow) split() (count int, filter, frame []byte, err error) {
	if len(b.value) >= blockFixed {
		count = int(binary.BigEndian.Uint16(b.value))
	}
	if count == 0 || count > maxBlockRegisters || len(b.value) < blockFixed+count {
		return 0, nil, nil, damagedKey(blocks, b.first)
	}
	end := blockFixed + count
	return count, b.value[blockFixed:end], b.value[end:], nil
}

// openedBlock is a block with its registers.
type openedBlock struct {
	first    []byte
	slots    []records.Slot
	versions []uint64 // of all registers
	ends     []uint32 // where those of each end
	newest   []records.Entry
}

// open returns a block with its registers. Nothing of it is trusted.
func (b *blockRow) open(codec *packing.Codec) (*openedBlock, error) {
	count, _, frame, err := b.split()
	if err != nil {
		return nil, err
	}
	plain, err := codec.Decompress(frame, maxBlockBytes)
	if err != nil {
		return nil, b.damaged(err)
	}
	o := &openedBlock{
		first:    b.first,
		slots:    make([]records.Slot, count),
		ends:     make([]uint32, count),
		versions: make([]uint64, 0, count),
	}
	c := columns{rest: plain}
	slot := int64(0)
	for i := range o.slots {
		slot += c.varint()
		if o.slots[i] = records.Slot(slot); int64(o.slots[i]) != slot {
			c.failed = true
		}
	}
	total := uint64(0)
	for i := range o.ends {
		n := c.uvarint()
		if total += n; n == 0 || n > uint64(len(plain)) || total > uint64(len(plain)) { // each takes a byte
			return nil, b.damaged(errCutShort)
		}
		o.ends[i] = uint32(total)
	}
	last := uint64(0)
	for _, end := range o.ends {
		last += uint64(c.varint())
		o.versions = append(o.versions, last)
		for older := last; len(o.versions) < int(end); o.versions = append(o.versions, older) {
			less := c.uvarint()
			if less == 0 || less > older {
				return nil, b.damaged(errCutShort)
			}
			older -= less
		}
	}
	if c.failed {
		return nil, b.damaged(errCutShort)
	}
	if o.newest, err = packing.DecodeEntries(nil, c.rest, maxBlockBytes); err != nil {
		return nil, b.damaged(err)
	}
	if len(o.newest) != count {
		return nil, b.damaged(fmt.Errorf("%d versions of %d registers", len(o.newest), count))
	}
	for i := range o.newest {
		o.newest[i].Counter = o.of(i)[0]
	}
	return o, nil
}

func (b *blockRow) damaged(err error) error {
	return fmt.Errorf("%w: %w", damagedKey(blocks, b.first), err)
}

// columns reads numbers from the front of rest. After it failed it gives zeros.
type columns struct {
	rest   []byte
	failed bool
}

func (c *columns) uvarint() uint64 {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 {
		c.rest, c.failed = nil, true
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

func (c *columns) varint() int64 {
	v := c.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// of returns the versions of a register.
func (o *openedBlock) of(i int) []uint64 {
	from := uint32(0)
	if i > 0 {
		from = o.ends[i-1]
	}
	return o.versions[from:o.ends[i]:o.ends[i]]
}

// cells returns all registers.
func (o *openedBlock) cells() []cell {
	list := make([]cell, len(o.newest))
	for i := range list {
		list[i] = o.cell(i)
	}
	return list
}

func (o *openedBlock) cell(i int) cell { return cell{o.slots[i], o.of(i), o.newest[i]} }

// key appends the key of a register.
func (o *openedBlock) key(b []byte, i int) ([]byte, error) {
	b, err := entryKey(b, &o.newest[i], o.slots[i])
	if err != nil {
		return b, fmt.Errorf("%w: %w", damagedKey(blocks, o.first), err)
	}
	return b, nil
}

// find returns the place of a key, or where it would be.
func (o *openedBlock) find(key []byte) (i int, found bool, err error) {
	var buf [registerFixed + records.MaxKeyBytes]byte
	i, found = sort.Find(len(o.newest), func(i int) int {
		have, wrong := o.key(buf[:0], i)
		if wrong != nil {
			err = wrong
		}
		return bytes.Compare(key, have)
	})
	return i, found, err
}

// check reports what is wrong with a block that reading would not meet: keys that do
// not rise or stand outside, and a filter that hides one.
func (b *blockRow) check(codec *packing.Codec) error {
	o, err := b.open(codec)
	if err != nil {
		return err
	}
	_, filter, _, _ := b.split()
	var before, key []byte
	for i := range o.newest {
		if key, err = o.key(key[:0], i); err != nil {
			return err
		}
		if i == 0 && !bytes.Equal(key, b.first) || bytes.Compare(before, key) >= 0 || !b.covers(key) || !mayHold(filter, hashKey(key)) {
			return b.damaged(fmt.Errorf("register %x out of place", key))
		}
		before, key = key, before
	}
	return nil
}

// hashKey is the hash of a register's key in filters: FNV-1a, mixed.
func hashKey(key []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, b := range key {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	h ^= h >> 32
	return h * 0x9e3779b97f4a7c15
}

// A filter is a Bloom filter of eight bits a register, of which each sets four:
// of keys that a block has not got, two in a hundred have it opened for nothing.
const filterProbes = 4

func addToFilter(filter []byte, h uint64) {
	a, step := uint32(h), uint32(h>>32)|1
	for range filterProbes {
		bit := uint64(a) * uint64(len(filter)) * 8 >> 32
		filter[bit/8] |= 1 << (bit % 8)
		a += step
	}
}

func mayHold(filter []byte, h uint64) bool {
	a, step := uint32(h), uint32(h>>32)|1
	for range filterProbes {
		bit := uint64(a) * uint64(len(filter)) * 8 >> 32
		if filter[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
		a += step
	}
	return true
}
