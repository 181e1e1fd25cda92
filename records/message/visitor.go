package message

import (
	"bytes"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Visitor is handed to [Message.Fields]. Depending on what is being done, each
// of its methods writes the field or reads it. After the first error the rest
// of a message is passed over.
type Visitor struct {
	encoding bool
	shared   bool   // decoding: byte slices may point into the input
	out      []byte // encoding: what is written so far
	depth    int    // messages around this one
	err      error  // the first thing wrong
	scope
}

// scope is the part of a Visitor that belongs to one message; those around it
// wait on the stack.
type scope struct {
	last int // number visited last

	// Encoding.
	start int // where the message begins in out
	wrote int // highest number written

	// Decoding. num is endOfMessage when nothing is left.
	in   []byte         // from the tag of the next field on
	num  int            // its number
	typ  protowire.Type // its type
	tag  int            // the size of its tag
	kept []byte         // unknown fields passed over
}

const endOfMessage = math.MaxInt

// Uint64 visits an unsigned number.
func (v *Visitor) Uint64(num int, x *uint64) { Uint(v, num, x) }

// Uint32 visits an unsigned number of at most 32 bits.
func (v *Visitor) Uint32(num int, x *uint32) { Uint(v, num, x) }

// Uint visits an unsigned number or an enumeration. A number that does not fit
// into T is malformed.
func Uint[T ~uint8 | ~uint16 | ~uint32 | ~uint64](v *Visitor, num int, x *T) {
	n := uint64(*x)
	if v.varint(num, &n) {
		if *x = T(n); uint64(*x) != n {
			v.fail(num, "number too large", ErrMalformed)
		}
	}
}

// Int64 visits a number that may be negative (sint64, zigzag).
func (v *Visitor) Int64(num int, x *int64) {
	n := protowire.EncodeZigZag(*x)
	if v.varint(num, &n) {
		*x = protowire.DecodeZigZag(n)
	}
}

// Bool visits a truth value.
func (v *Visitor) Bool(num int, x *bool) {
	n := protowire.EncodeBool(*x)
	if v.varint(num, &n) {
		if *x = true; n != 1 {
			v.fail(num, "neither true nor false", ErrMalformed)
		}
	}
}

// Fixed64 visits a number that is usually large, in eight bytes.
func (v *Visitor) Fixed64(num int, x *uint64) {
	if v.encoding {
		if v.visit(num); *x != 0 {
			v.writeTag(num, protowire.Fixed64Type)
			v.out = protowire.AppendFixed64(v.out, *x)
		}
		return
	}
	if !v.at(num, protowire.Fixed64Type) {
		return
	}
	n, size := protowire.ConsumeFixed64(v.in[v.tag:])
	switch {
	case size < 0:
		v.fail(num, "cut short", ErrMalformed)
	case n == 0:
		v.fail(num, "zero is spelled by absence", ErrMalformed)
	default:
		*x = n
		v.once(num, size)
	}
}

// Bytes visits a byte string of at most maxBytes bytes.
func (v *Visitor) Bytes(num int, x *[]byte, maxBytes int) {
	if v.encoding {
		if v.visit(num); len(*x) > 0 {
			v.limit(num, len(*x), maxBytes)
			v.writeTag(num, protowire.BytesType)
			v.out = protowire.AppendBytes(v.out, *x)
		}
		return
	}
	if b, ok := v.single(num, maxBytes); ok {
		*x = v.own(b)
	}
}

// String visits a text of at most maxBytes bytes of valid UTF-8.
func (v *Visitor) String(num int, x *string, maxBytes int) {
	if v.encoding {
		if v.visit(num); *x != "" {
			v.limit(num, len(*x), maxBytes)
			v.text(num, utf8.ValidString(*x))
			v.writeTag(num, protowire.BytesType)
			v.out = protowire.AppendString(v.out, *x)
		}
		return
	}
	if b, ok := v.single(num, maxBytes); ok && v.text(num, utf8.Valid(b)) {
		*x = string(b)
	}
}

// Fixed visits a byte string of exactly len(x) bytes, such as an identifier;
// all zero is the same as absent.
func (v *Visitor) Fixed(num int, x []byte) {
	if v.encoding {
		if v.visit(num); !allZero(x) {
			v.writeTag(num, protowire.BytesType)
			v.out = protowire.AppendBytes(v.out, x)
		}
		return
	}
	if b, ok := v.single(num, math.MaxInt); ok {
		switch {
		case len(b) != len(x):
			v.fail(num, fmt.Sprintf("%d bytes, want %d", len(b), len(x)), ErrMalformed)
		case allZero(b):
			v.fail(num, "zero is spelled by absence", ErrMalformed)
		default:
			copy(x, b)
		}
	}
}

// Message visits a message that is always there: one with nothing in it is
// the same as an absent one.
func (v *Visitor) Message(num int, m Message) {
	if v.encoding {
		v.visit(num)
		before, wrote := len(v.out), v.wrote
		if v.writeMessage(num, m) == 0 {
			v.out, v.wrote = v.out[:before], wrote
		}
		return
	}
	if b, ok := v.single(num, math.MaxInt); ok {
		v.readMessage(num, b, m)
	}
}

// Optional visits a message that may be missing: *m is nil when it is, and a
// message with nothing in it is something else.
func Optional[T any, P interface {
	*T
	Message
}](v *Visitor, num int, m **T) {
	if v.encoding {
		if v.visit(num); *m != nil {
			v.writeMessage(num, P(*m))
		}
		return
	}
	if v.at(num, protowire.BytesType) {
		if b, size, ok := v.payload(num, math.MaxInt); ok {
			*m = new(T)
			if v.once(num, size); v.err == nil {
				v.readMessage(num, b, P(*m))
			}
		}
	}
}

// Unknown, visited last, keeps the fields that the message does not know: raw,
// in ascending order, to be written again where they stood.
func (v *Visitor) Unknown(x *[]byte) {
	v.last = math.MaxInt
	if v.encoding {
		v.writeUnknown(*x)
		return
	}
	rest := v.in
	v.drain()
	switch {
	case v.err != nil:
	case len(v.kept) > 0:
		*x = append(v.kept, rest...)
	case len(rest) > 0:
		*x = v.own(rest)
	}
}

// visit holds messages to their word that numbers ascend.
func (v *Visitor) visit(num int) {
	if num <= v.last || num > int(protowire.MaxValidNumber) {
		panic(fmt.Sprintf("message: field %d visited after field %d", num, v.last))
	}
	v.last = num
}

// fail records the first thing wrong, and ends the decoding.
func (v *Visitor) fail(num int, what string, why error) {
	if v.err == nil {
		v.err = fmt.Errorf("field %d: %s: %w", num, what, why)
	}
	v.in, v.num = nil, endOfMessage
}

func (v *Visitor) limit(num, size, most int) bool {
	if size <= most {
		return true
	}
	v.fail(num, fmt.Sprintf("%d, at most %d", size, most), ErrTooLarge)
	return false
}

func (v *Visitor) text(num int, valid bool) bool {
	if !valid {
		v.fail(num, "not UTF-8", ErrMalformed)
	}
	return valid
}

// own returns b, or a copy where the input belongs to somebody else.
func (v *Visitor) own(b []byte) []byte {
	if v.shared {
		return b[:len(b):len(b)]
	}
	return bytes.Clone(b)
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// varint writes *n unless it is zero, or reads it and reports that it did.
func (v *Visitor) varint(num int, n *uint64) bool {
	if v.encoding {
		if v.visit(num); *n != 0 {
			v.writeTag(num, protowire.VarintType)
			v.out = protowire.AppendVarint(v.out, *n)
		}
		return false
	}
	if !v.at(num, protowire.VarintType) {
		return false
	}
	x, size := varint(v.in[v.tag:])
	if size == 0 {
		v.fail(num, badVarint, ErrMalformed)
		return false
	}
	if x == 0 {
		v.fail(num, "zero is spelled by absence", ErrMalformed)
		return false
	}
	*n = x
	v.once(num, size)
	return v.err == nil
}
