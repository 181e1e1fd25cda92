package packing

import (
	"encoding/binary"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/message"
)

// Most entries of a run look alike: the same kind, the same fields in the same
// order, other values. What is alike is their shape, which stands once:
//
//	flags: 0x01 stub, 0x02 the envelope stands whole, 0x04 the body stands whole,
//	       as what is not of format 1, or not spelt as protobuf by package message
//	the first four bytes of the envelope, unless 0x02
//	the number of fields (1) and their tags, unless 0x01 or 0x04
type shape struct {
	flags   byte
	head    [4]byte // of the envelope
	tags    []byte  // of the body, one after the other
	columns []int   // of each field of the body; of a body that stands whole the one it is in
}

const (
	shapeStub = 1 << iota
	shapeWholeEnvelope
	shapeWholeBody
	shapeEnd
)

// Of the envelope's layout (records.Envelope), which is frozen.
const (
	envelopeFixed    = 20
	envelopeRegister = 0x01
	envelopeLearner  = 0x02
	envelopeActor    = 0x04
	envelopeOrigin   = 0x08
	userBytes        = 16
	originBytes      = 32 + 8 + 32
)

// mostFields is how many fields a body may have that is split.
const mostFields = 64

// regular reports whether an envelope has the layout of format 1, whatever its
// values are, so that it can be put together again from its parts.
func regular(b []byte) bool {
	if len(b) < envelopeFixed || b[0] != 1 {
		return false
	}
	n := envelopeFixed
	if b[1]&envelopeLearner != 0 {
		n += userBytes
	}
	if b[1]&envelopeActor != 0 {
		n += userBytes
	}
	if b[1]&envelopeRegister != 0 {
		if len(b) <= n {
			return false
		}
		n += 1 + int(b[n])
	}
	if b[1]&envelopeOrigin != 0 {
		n += originBytes
	}
	return len(b) == n
}

// appendShape appends the shape of an entry.
func appendShape(b []byte, e *records.Entry) []byte {
	at := len(b)
	b = append(b, 0)
	if e.Stub {
		b[at] |= shapeStub
	}
	if regular(e.Envelope) {
		b = append(b, e.Envelope[:4]...)
	} else {
		b[at] |= shapeWholeEnvelope
	}
	if e.Stub {
		return b
	}
	fields := len(b)
	b = append(b, 0)
	for body := e.Body; len(body) > 0; b[fields]++ {
		tag, size := message.Field(body)
		if size == 0 || b[fields] == mostFields {
			b[at] |= shapeWholeBody
			return b[:fields]
		}
		b = append(b, body[:tag]...)
		body = body[size:]
	}
	return b
}

// takeShape is the inverse of appendShape: it takes a shape from the front of b.
// It aliases b.
func takeShape(b []byte) (s shape, rest []byte, ok bool) {
	if len(b) == 0 || b[0] >= shapeEnd || b[0]&shapeStub != 0 && b[0]&shapeWholeBody != 0 {
		return s, nil, false
	}
	s.flags, b = b[0], b[1:]
	if s.flags&shapeWholeEnvelope == 0 {
		if len(b) < len(s.head) {
			return s, nil, false
		}
		if b = b[copy(s.head[:], b):]; s.head[0] != 1 {
			return s, nil, false
		}
	}
	if s.flags&(shapeStub|shapeWholeBody) != 0 {
		return s, b, true
	}
	if len(b) == 0 || b[0] > mostFields {
		return s, nil, false
	}
	n := int(b[0])
	b = b[1:]
	s.tags = b
	for range n {
		_, tag := message.Tag(b)
		if tag == 0 {
			return s, nil, false
		}
		b = b[tag:]
	}
	s.tags = s.tags[:len(s.tags)-len(b)]
	return s, b, true
}

// eachTag visits the fields of a shape in order, with the length of each tag. A
// body that stands whole is one field with the tag 0.
func (s *shape) eachTag(fn func(tag uint64, size int)) {
	switch {
	case s.flags&shapeStub != 0:
	case s.flags&shapeWholeBody != 0:
		fn(0, 0)
	default:
		for b := s.tags; len(b) > 0; {
			tag, n := binary.Uvarint(b)
			fn(tag, n)
			b = b[n:]
		}
	}
}

// wireOf returns how the values of a column are encoded.
func wireOf(tag uint64) message.Wire {
	if tag == 0 {
		return message.WireBytes
	}
	return message.Wire(tag & 7)
}
