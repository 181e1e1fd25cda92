package boltstore

import (
	"bytes"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
)

// The index of registers has two levels. What is written stands in the bucket of
// registers, a row for each; in the background what has come is packed into blocks
// ([Store.Tidy]), in the order of keys. The rule for reading:
//
//	a register is as its row says; if there is none, as the block says that is
//	responsible for its key.
//
// A row without versions says that the block's register is deleted. A block is
// responsible from its first key to before that of the next, and its key is its
// first key. Large registers, whose newest version stands in the entries only, have
// a row for ever, and so have those with hundreds of versions.

// keptBlocks is how many opened blocks a transaction keeps, 4 MB at most: what comes of
// one log is about the learners of a few classes, in no order.
const keptBlocks = 128

// blockAt returns the block that is responsible for a key.
func (t *readTx) blockAt(key []byte) (*blockRow, error) {
	if t.block.covers(key) {
		return &t.block, nil
	}
	c := t.cursor(blocks)
	next, v := t.seek(c, key)
	b := blockRow{known: true}
	switch {
	case next == nil:
		b.first, b.value = t.last(c)
	case bytes.Equal(next, key):
		b.first, b.value = next, v
		next, _ = t.move(c.Next)
	default:
		b.first, b.value = t.move(c.Prev)
	}
	if b.first == nil { // see floor
		b.first, b.value = t.floor(blocks, nil, key)
	}
	b.next = next
	if b.first != nil && bytes.Compare(b.first, key) > 0 {
		return nil, damagedKey(blocks, b.first)
	}
	t.block = b
	return &t.block, nil
}

// openBlock returns a block with its registers.
func (t *readTx) openBlock(b *blockRow) (*openedBlock, error) {
	if o := t.openedBlocks[string(b.first)]; o != nil {
		return o, nil
	}
	o, err := b.open(t.codec)
	if err != nil {
		return nil, err
	}
	switch {
	case t.openedBlocks == nil:
		t.openedBlocks = map[string]*openedBlock{}
	case len(t.openedBlocks) == keptBlocks:
		clear(t.openedBlocks)
	}
	t.openedBlocks[string(b.first)] = o
	return o, nil
}

// forgetBlocks drops what the transaction remembers of blocks.
func (t *readTx) forgetBlocks() {
	t.block = blockRow{}
	clear(t.openedBlocks)
}

// packedRegister returns the block that has a register, and its place; nil if none
// has.
func (t *readTx) packedRegister(key []byte) (*openedBlock, int, error) {
	b, err := t.blockAt(key)
	if err != nil || b.first == nil {
		return nil, 0, err
	}
	_, filter, _, err := b.split()
	if err != nil || !mayHold(filter, hashKey(key)) {
		return nil, 0, err
	}
	o, err := t.openBlock(b)
	if err != nil {
		return nil, 0, err
	}
	i, found, err := o.find(key)
	if err != nil || !found {
		return nil, 0, err
	}
	return o, i, nil
}

// packedRegisters goes through what blocks hold of the keys with a prefix.
type packedRegisters struct {
	t      *readTx
	prefix []byte
	blocks *bolt.Cursor
	at     *openedBlock
	i      int
	key    []byte // of the register at hand, nil at the end
	room   []byte
}

func (t *readTx) packedRegisters(prefix []byte) (*packedRegisters, error) {
	p := &packedRegisters{t: t, prefix: prefix}
	b, err := t.blockAt(prefix)
	if err != nil || b.first == nil && b.next == nil {
		return p, err
	}
	p.blocks = t.bucket(blocks).Cursor()
	start := b.first
	if start == nil {
		start = b.next
	}
	k, v := t.seek(p.blocks, start)
	if err := p.enter(k, v); err != nil || p.at == nil {
		return p, err
	}
	if p.i, _, err = p.at.find(prefix); err != nil {
		return p, err
	}
	return p, p.settle()
}

// enter opens the block at a row.
func (p *packedRegisters) enter(k, v []byte) (err error) {
	p.at, p.i = nil, 0
	if k != nil && (bytes.Compare(k, p.prefix) <= 0 || bytes.HasPrefix(k, p.prefix)) {
		p.at, err = p.t.openBlock(&blockRow{first: k, value: v})
	}
	return err
}

// settle moves on to a register that there is.
func (p *packedRegisters) settle() (err error) {
	p.key = nil
	for p.at != nil && p.i == len(p.at.newest) {
		k, v := p.t.move(p.blocks.Next)
		if err := p.enter(k, v); err != nil {
			return err
		}
	}
	if p.at == nil {
		return nil
	}
	if p.room, err = p.at.key(p.room[:0], p.i); err != nil {
		return err
	}
	if bytes.HasPrefix(p.room, p.prefix) {
		p.key = p.room
	}
	return nil
}

func (p *packedRegisters) advance() error {
	p.i++
	return p.settle()
}

// register returns the one at hand.
func (p *packedRegisters) register() (records.Register, error) {
	key, slot, ok := decodeRegisterKey(p.key)
	if !ok {
		return records.Register{}, damagedKey(blocks, p.at.first)
	}
	e := p.at.newest[p.i]
	return records.Register{Key: key, Slot: slot, Version: e.Counter, Entry: e}, nil
}

// checkBlocks reports whatever is wrong with blocks.
func (t *readTx) checkBlocks(report func(error)) error {
	row := blockRow{known: true}
	look := func() {
		if row.first != nil {
			if err := row.check(t.codec); err != nil {
				report(err)
			}
		}
	}
	err := t.scan(blocks, nil, nil, func(k, v []byte) (bool, error) {
		row.next = k
		look()
		row = blockRow{known: true, first: k, value: v}
		return false, nil
	})
	look()
	return err
}
