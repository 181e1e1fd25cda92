package message

import (
	"errors"
	"fmt"
	"sync"
)

// ErrMalformed is wrapped by errors about bytes that are not the one encoding
// of a message.
var ErrMalformed = errors.New("malformed message")

// ErrTooLarge is wrapped by errors about a message, or a field of one, that is
// larger than its limit.
var ErrTooLarge = errors.New("larger than allowed")

// maxDepth bounds how deep messages lie within each other, so that a type
// that contains itself cannot be used to exhaust the stack.
const maxDepth = 32

// Message is what can be encoded: it visits each of its fields once, in
// ascending order of their numbers, and [Visitor.Unknown] last if it keeps
// what it does not know. Which fields it visits must not depend on their
// values.
type Message interface {
	Fields(*Visitor)
}

// visitors are reused because a Visitor, which is handed to an interface,
// lives on the heap.
var visitors = sync.Pool{New: func() any { return new(Visitor) }}

// Append appends the encoding of m to b. It does not allocate beyond growing
// b. That m keeps to its limits is up to the caller; where people's input goes
// into a message, use [Encode].
func Append(b []byte, m Message) []byte {
	b, _ = encode(b, m)
	return b
}

// Encode returns the encoding of m, or the error with which Decode under the
// same limit would refuse it: [ErrTooLarge] for m or one of its fields,
// [ErrMalformed] for a string that is not UTF-8.
func Encode(m Message, maxBytes int) ([]byte, error) {
	b, err := encode(nil, m)
	if err == nil && len(b) > maxBytes {
		err = fmt.Errorf("%d bytes, at most %d: %w", len(b), maxBytes, ErrTooLarge)
	}
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return b, nil
}

func encode(b []byte, m Message) ([]byte, error) {
	v := visitors.Get().(*Visitor)
	*v = Visitor{encoding: true, out: b, scope: scope{start: len(b)}}
	m.Fields(v)
	b, err := v.out, v.err
	v.release()
	return b, err
}

// Decode reads b, of at most maxBytes bytes, into m, which must be the zero
// value of its type. The message keeps nothing of b. After an error, which
// wraps [ErrMalformed] or [ErrTooLarge], m is of no use.
func Decode(b []byte, m Message, maxBytes int) error { return decode(b, m, maxBytes, false) }

// DecodeShared is Decode without copying: byte slices in m, unknown fields
// included, point into b, so b must not change while m is in use. Strings and
// fields of fixed size are copied all the same.
func DecodeShared(b []byte, m Message, maxBytes int) error { return decode(b, m, maxBytes, true) }

func decode(b []byte, m Message, maxBytes int, shared bool) error {
	if len(b) > maxBytes {
		return fmt.Errorf("decode message: %d bytes, at most %d: %w", len(b), maxBytes, ErrTooLarge)
	}
	v := visitors.Get().(*Visitor)
	*v = Visitor{shared: shared, scope: scope{in: b}}
	v.next()
	m.Fields(v)
	v.drain()
	err := v.err
	v.release()
	if err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}

// release gives v back, keeping hold of nobody's memory.
func (v *Visitor) release() {
	*v = Visitor{}
	visitors.Put(v)
}
