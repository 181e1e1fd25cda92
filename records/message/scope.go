package message

import (
	"bytes"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// next looks at the tag of the next field.
func (v *Visitor) next() {
	if len(v.in) == 0 {
		v.num = endOfMessage
		return
	}
	before := v.num
	x, size := varint(v.in)
	num, typ := protowire.DecodeTag(x)
	switch {
	case size == 0 || num < protowire.MinValidNumber || num > protowire.MaxValidNumber:
		v.fail(before, "followed by what is no field", ErrMalformed)
	case int(num) < before:
		v.fail(int(num), fmt.Sprintf("after field %d", before), ErrMalformed)
	default:
		v.num, v.typ, v.tag = int(num), typ, size
	}
}

// at passes over the unknown fields below num, keeping them, and reports
// whether the next field is num.
func (v *Visitor) at(num int, typ protowire.Type) bool {
	v.visit(num)
	for v.num < num {
		field := v.in
		v.skip()
		v.kept = append(v.kept, field[:len(field)-len(v.in)]...)
	}
	return v.again(num, typ)
}

// again is at for the second and further occurrences of a repeated field.
func (v *Visitor) again(num int, typ protowire.Type) bool {
	if v.num != num {
		return false
	}
	if v.typ != typ {
		v.fail(num, fmt.Sprintf("wire type %d, want %d", v.typ, typ), ErrMalformed)
		return false
	}
	return true
}

// skip passes over the next field, whatever it is.
func (v *Visitor) skip() {
	value := v.in[v.tag:]
	size, ok := 0, false
	switch v.typ {
	case protowire.VarintType:
		_, size = varint(value)
		ok = size > 0
	case protowire.Fixed32Type:
		size, ok = 4, len(value) >= 4
	case protowire.Fixed64Type:
		size, ok = 8, len(value) >= 8
	case protowire.BytesType:
		_, size, ok = v.payload(v.num, math.MaxInt)
	}
	if !ok {
		v.fail(v.num, "no value, or of a type that is not used", ErrMalformed)
		return
	}
	v.consume(size)
}

// drain passes over what is left of the message.
func (v *Visitor) drain() {
	for v.num != endOfMessage {
		v.skip()
	}
}

// consume ends the reading of a field whose value has the given size.
func (v *Visitor) consume(size int) {
	v.in = v.in[v.tag+size:]
	v.next()
}

// once is consume for a field that must not come again.
func (v *Visitor) once(num, size int) {
	v.consume(size)
	if v.num == num {
		v.fail(num, "given twice", ErrMalformed)
	}
}

// payload reads the byte string of the next field; size includes its length
// prefix.
func (v *Visitor) payload(num, maxBytes int) (b []byte, size int, ok bool) {
	b = v.in[v.tag:]
	n, prefix := varint(b)
	if prefix == 0 || n > uint64(len(b)-prefix) {
		v.fail(num, "cut short", ErrMalformed)
		return nil, 0, false
	}
	size = prefix + int(n)
	return b[prefix:size], size, v.limit(num, int(n), maxBytes)
}

// single reads a byte string that comes once and is not empty.
func (v *Visitor) single(num, maxBytes int) ([]byte, bool) {
	if !v.at(num, protowire.BytesType) {
		return nil, false
	}
	b, size, ok := v.payload(num, maxBytes)
	if !ok {
		return nil, false
	}
	if len(b) == 0 {
		v.fail(num, "nothing is spelled by absence", ErrMalformed)
		return nil, false
	}
	v.once(num, size)
	return b, v.err == nil
}

// enter begins a message within the present one and returns the scope to
// leave to.
func (v *Visitor) enter(num int, within scope) (around scope, ok bool) {
	if v.depth == maxDepth {
		v.fail(num, "too many messages within each other", ErrTooLarge)
		return scope{}, false
	}
	v.depth++
	around, v.scope = v.scope, within
	return around, true
}

// leave ends it. An error then says by which fields it was reached.
func (v *Visitor) leave(num int, around scope, failedBefore bool) {
	v.depth--
	v.scope = around
	if v.err != nil && !failedBefore {
		v.err = fmt.Errorf("field %d: %w", num, v.err)
		v.in, v.num = nil, endOfMessage
	}
}

func (v *Visitor) readMessage(num int, b []byte, m Message) {
	around, ok := v.enter(num, scope{in: b})
	if !ok {
		return
	}
	v.next()
	m.Fields(v)
	v.drain()
	v.leave(num, around, false)
}

// writeMessage writes a field that is a message and returns the size of its
// content. One byte is set aside for the length; a longer content moves up.
func (v *Visitor) writeMessage(num int, m Message) int {
	v.writeTag(num, protowire.BytesType)
	v.out = append(v.out, 0)
	start, failed := len(v.out), v.err != nil
	around, ok := v.enter(num, scope{start: start})
	if !ok {
		return 0
	}
	m.Fields(v)
	v.leave(num, around, failed)
	size := len(v.out) - start
	if more := protowire.SizeVarint(uint64(size)) - 1; more > 0 {
		v.out = append(v.out, make([]byte, more)...)
		copy(v.out[start+more:], v.out[start:start+size])
	}
	protowire.AppendVarint(v.out[:start-1], uint64(size))
	return size
}

func (v *Visitor) writeTag(num int, typ protowire.Type) {
	v.wrote = num
	v.out = protowire.AppendTag(v.out, protowire.Number(num), typ)
}

// writeUnknown writes kept fields where they belong: nearly always behind all
// others, because new fields get higher numbers; but a release that has given
// up a field meets it in between.
func (v *Visitor) writeUnknown(unknown []byte) {
	if num, _ := field(unknown); num > v.wrote {
		v.out = append(v.out, unknown...)
		return
	}
	known := bytes.Clone(v.out[v.start:])
	v.out = v.out[:v.start]
	for len(known) > 0 && len(unknown) > 0 {
		from := &known
		k, size := field(known)
		if u, s := field(unknown); u < k {
			from, size = &unknown, s
		}
		v.out = append(v.out, (*from)[:size]...)
		*from = (*from)[size:]
	}
	v.out = append(append(v.out, known...), unknown...)
}

// field returns number and size of the first field of b, which has been read
// or written here before.
func field(b []byte) (num, size int) {
	n, _, size := protowire.ConsumeField(b)
	if size < 0 {
		return endOfMessage, len(b)
	}
	return int(n), size
}

const badVarint = "number cut short or longer than it need be"

// varint reads a number in its shortest form; its size is 0 if there is none.
func varint(b []byte) (x uint64, size int) {
	x, size = protowire.ConsumeVarint(b)
	if size < 0 || size > 1 && b[size-1] == 0 {
		return 0, 0
	}
	return x, size
}
