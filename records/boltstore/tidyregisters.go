package boltstore

import (
	"bytes"
	"slices"

	"github.com/classmesh/classmesh/records/packing"
)

// leastRows is how many registers must have come into a block's stretch of keys, or
// changed there, before it is packed anew. It bounds what Tidy adds to what is written
// anyway: a page or two for so many rows. What is changed again and again, but has few
// such neighbours, is never packed.
const leastRows = 16

// blockRoom is how long the row of a block may be, with its key: two fill a page of
// bbolt, which keeps two at least in each. Blocks of twice the length take a tenth less
// of the file, and twice as long to open.
const blockRoom = (4096-16)/2 - 16

// tidyRows is how many rows of registers are looked at for a range to pack, and how many
// a range has at most.
const (
	tidyRows  = 1024
	rangeRows = 256
)

// packer cuts registers into blocks.
type packer struct {
	least int     // leastRows, fewer in tests
	room  int     // blockRoom, less in tests
	ratio float64 // of the last block, compressed, to what it was before
}

func newPacker() packer { return packer{least: leastRows, room: blockRoom, ratio: 0.2} }

// keyRange is rows of registers for which one block is responsible, from ≤ key ≤ last.
type keyRange struct {
	from, last []byte
	packed     int  // registers of the block
	rows       int  // that could be in it
	deleted    int  // rows that say that a register is deleted
	looked     int  // all rows
	cut        bool // there may be more rows behind last
	packer     *packer
}

func (r *keyRange) begin() []byte { return r.from }

// worth reports whether to pack the range: so many rows have come, or half of the
// block is deleted, so that it is not packed again for that before it has grown.
func (r *keyRange) worth(least int) bool {
	return r.rows+r.deleted >= least || r.deleted > 0 && 2*r.deleted >= r.packed
}

// ripe looks through the rows of registers from a key on and returns the first range
// that is worth packing, nil if there is none near, and where to go on, nil at the end.
func (t *readTx) ripe(from []byte, p *packer) (found piece, next []byte, err error) {
	at := keyRange{packer: p}
	end := func() {
		if at.looked > 0 && at.worth(p.least) {
			found = new(at)
		}
		at = keyRange{packer: p}
	}
	looked, size := 0, 0
	var b *blockRow
	err = t.scan(registers, nil, from, func(k, v []byte) (bool, error) {
		full := looked >= tidyRows || size >= tidyMost
		if at.looked > 0 && (full || at.looked == rangeRows || !b.covers(k)) {
			at.cut = b.covers(k)
			end()
		}
		if at.looked == 0 {
			if full || found != nil {
				next = bytes.Clone(k)
				return true, nil
			}
			if b, err = t.blockAt(k); err != nil {
				return false, err
			}
			at.from = bytes.Clone(k)
			if b.first != nil {
				if at.packed, _, _, err = b.split(); err != nil {
					return false, err
				}
			}
		}
		looked++
		size += len(v)
		at.looked++
		at.last = append(at.last[:0], k...)
		switch counters, _, ok := splitRegister(v); {
		case !ok:
			return false, damagedKey(registers, k)
		case len(counters) == 0:
			at.deleted++
		default:
			if _, ok := newCell(k, v); ok {
				at.rows++
			}
		}
		return false, nil
	})
	if found == nil {
		end()
	}
	return found, next, err
}

// pack packs rows into the block that is responsible for them, or in several
// where there are too many. Of a range that was cut it may leave rows, and returns the
// key of the first: the next piece fills a block with them.
func (r *keyRange) pack(t *writeTx) (left []byte, err error) {
	p := r.packer
	b, err := t.blockAt(r.from)
	if err != nil {
		return nil, err
	}
	row := *b // blockAt looks elsewhere below
	var old [][]byte
	var cells, packed []cell
	if row.first != nil {
		o, err := t.openBlock(&row)
		if err != nil {
			return nil, err
		}
		old, packed = append(old, bytes.Clone(row.first)), o.cells()
	}
	// Merge what the block has with the rows, which stand for theirs.
	at, keep := 0, 0 // cells behind which there are only rows
	ownRow := 0      // cells up to the first of a row: a call comes further than the one before
	var buf []byte
	upTo := func(key []byte) error {
		for ; at < len(packed); at++ {
			c := -1
			if key != nil {
				if buf, err = packed[at].key(buf[:0]); err != nil {
					return err
				}
				c = bytes.Compare(buf, key)
			}
			if c > 0 {
				return nil
			}
			if c < 0 {
				cells = append(cells, packed[at])
				keep = len(cells)
			}
		}
		return nil
	}
	var taken [][]byte
	err = t.scan(registers, nil, r.from, func(k, v []byte) (bool, error) {
		if bytes.Compare(k, r.last) > 0 {
			return true, nil
		}
		if err := upTo(k); err != nil {
			return false, err
		}
		if c, ok := newCell(k, v); ok {
			if cells = append(cells, c); ownRow == 0 {
				ownRow = len(cells)
			}
		} else if counters, _, _ := splitRegister(v); len(counters) > 0 {
			return false, nil
		}
		taken = append(taken, bytes.Clone(k))
		return false, nil
	})
	if err == nil {
		err = upTo(nil)
	}
	if err != nil {
		return nil, err
	}
	if !r.cut && len(old) > 0 && len(cells) > 0 && p.small(cells) {
		if cells, old, err = t.joinNeighbour(&row, cells, old); err != nil {
			return nil, err
		}
	}
	keep = max(keep, ownRow)
	list, rest := p.cut(t.codec, cells, r.cut && keep < len(cells), keep)
	if rest < len(cells) {
		if left, err = cells[rest].key(nil); err != nil {
			return nil, err
		}
		i, _ := slices.BinarySearchFunc(taken, left, bytes.Compare)
		taken = taken[:i]
	}
	for _, k := range taken {
		if err := t.remove(registers, k); err != nil {
			return nil, err
		}
	}
	return left, t.setBlocks(old, list)
}

// setBlocks puts blocks in the place of others.
func (t *writeTx) setBlocks(old [][]byte, list []block) error {
	t.forgetBlocks()
	for _, k := range old {
		if err := t.remove(blocks, k); err != nil {
			return err
		}
	}
	for _, b := range list {
		if err := t.set(blocks, b.key, b.value); err != nil {
			return err
		}
	}
	return nil
}

// hide takes out of a block the registers that have rows: text that was erased must not
// stay there.
func (t *writeTx) hide(o *openedBlock) error {
	var left []cell
	var key []byte
	var err error
	for i := range o.newest {
		if key, err = o.key(key[:0], i); err != nil {
			return err
		}
		if _, err := t.get(registers, key); err != nil {
			left = append(left, o.cell(i))
		}
	}
	if len(left) == len(o.newest) {
		return nil
	}
	var list []block
	if len(left) > 0 {
		list = append(list, newBlock(t.codec, left))
	}
	return t.setBlocks([][]byte{bytes.Clone(o.first)}, list)
}

// joinNeighbour adds to the cells of a block those of the next, or else of the one
// before.
func (t *writeTx) joinNeighbour(b *blockRow, cells []cell, old [][]byte) ([]cell, [][]byte, error) {
	k := b.next
	if k == nil {
		k, _ = t.seek(t.cursor(blocks), b.first)
		k, _ = t.move(t.cursor(blocks).Prev)
	}
	if k == nil {
		return cells, old, nil
	}
	n, err := t.blockAt(k)
	if err != nil {
		return nil, nil, err
	}
	o, err := t.openBlock(n)
	if err != nil {
		return nil, nil, err
	}
	if b.next != nil {
		cells = append(cells, o.cells()...)
	} else {
		cells = append(o.cells(), cells...)
	}
	return cells, append(old, bytes.Clone(k)), nil
}

// small reports whether cells would fill less than half of a block.
func (p *packer) small(cells []cell) bool { return p.fitting(cells, p.room/2) == len(cells) }

// allowed returns how many of the cells one block may have, however short it gets.
func allowed(cells []cell) int {
	size := 0
	for i := range cells {
		if size += cells[i].size(); i > 0 && (i == maxBlockRegisters || size > maxPlainBytes) {
			return i
		}
	}
	return len(cells)
}

// fitting returns how many of the cells take about so many bytes when packed, in one
// block.
func (p *packer) fitting(cells []cell, room int) int {
	most, size := allowed(cells), 0.0
	for i := range cells[:most] {
		if size += p.ratio * float64(cells[i].size()); int(size) > room {
			return max(i, 1)
		}
	}
	return most
}

// block is a row to be stored.
type block struct{ key, value []byte }

func newBlock(codec *packing.Codec, cells []cell) block {
	key, _ := cells[0].key(nil) // newCell has seen that there is one
	return block{key, appendBlock(nil, codec, cells)}
}

// cut packs cells into the fewest blocks. If more rows follow, it leaves those behind
// the last full block, from keep on at the earliest, and returns the first that it
// left.
func (p *packer) cut(codec *packing.Codec, cells []cell, leave bool, keep int) (list []block, rest int) {
	for rest < len(cells) {
		todo := cells[rest:]
		aim := p.room - p.room/16
		n := p.fitting(todo, aim)
		half := !leave && n < len(todo) && p.fitting(todo, 2*aim) == len(todo)
		if half { // two of one size, and not one with the rest in it
			n = (len(todo) + 1) / 2
		}
		if leave && n == len(todo) && rest >= keep && len(list) > 0 {
			break
		}
		b, n := p.pack(codec, todo, n, !half)
		list = append(list, b)
		rest += n
	}
	return list, rest
}

// pack packs about the first n cells into a block that has room in its pages, if one
// cell has, and returns how many they are. It takes more than n if it may grow.
func (p *packer) pack(codec *packing.Codec, cells []cell, n int, grow bool) (best block, taken int) {
	most := allowed(cells)
	for try := 0; taken == 0 || try < 4; try++ {
		b := newBlock(codec, cells[:n])
		size, plain := len(b.key)+len(b.value), 0
		for i := range cells[:n] {
			plain += cells[i].size()
		}
		p.ratio = float64(size) / float64(plain)
		if size > p.room && n > 1 {
			if taken > 0 {
				break
			}
			n = max(1, min(n-1, n*(p.room-p.room/16)/size))
			continue
		}
		best, taken = b, n
		if !grow || n == most || size > p.room-p.room/8 {
			break
		}
		n = min(most, max(n+1, n*(p.room-p.room/16)/size))
	}
	return best, taken
}
