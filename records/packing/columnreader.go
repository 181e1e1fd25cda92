package packing

import (
	"encoding/binary"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
)

// stream is a column that is read from its front. A place that rises is cheaper than a
// slice that shrinks.
type stream struct {
	bytes []byte
	at    int
}

func (s *stream) left() int { return len(s.bytes) - s.at }

// number takes a varint in its shortest form.
func (s *stream) number() (uint64, bool) {
	if s.at < len(s.bytes) && s.bytes[s.at] < 0x80 {
		s.at++
		return uint64(s.bytes[s.at-1]), true
	}
	return s.long()
}

func (s *stream) long() (uint64, bool) {
	v, n := binary.Uvarint(s.bytes[s.at:])
	if n <= 0 || n > 1 && s.bytes[s.at+n-1] == 0 {
		return 0, false
	}
	s.at += n
	return v, true
}

func (s *stream) take(n int) ([]byte, bool) {
	if n > s.left() {
		return nil, false
	}
	s.at += n
	return s.bytes[s.at-n : s.at], true
}

// coded are values that have a code each, and stand once.
type coded struct {
	values stream
	seen   [][]byte
}

// take returns the value of a code. If it is new, size says how long it is, with
// whatever belongs to it.
func (v *coded) take(code uint64, size func(stream) int) ([]byte, bool) {
	if code > 0 {
		if code > uint64(len(v.seen)) {
			return nil, false
		}
		return v.seen[code-1], true
	}
	n := size(v.values)
	if n < 0 {
		return nil, false
	}
	b, ok := v.values.take(n)
	if ok {
		v.seen = append(v.seen, b)
	}
	return b, ok
}

func sizeOfUser(stream) int { return userBytes }

func sizeOfKey(s stream) int {
	if s.left() == 0 {
		return -1
	}
	return 1 + int(s.bytes[s.at])
}

// sizeOfString is that of a string with its length before it.
func sizeOfString(s stream) int {
	from := s.at
	n, ok := s.number()
	if !ok || n > uint64(s.left()) {
		return -1
	}
	return s.at - from + int(n)
}

// fieldReader is a column of the bodies.
type fieldReader struct {
	wire  message.Wire
	codes stream
	coded
}

// value returns the next value as it stands in a body behind its tag.
func (f *fieldReader) value() ([]byte, bool) {
	switch f.wire {
	case message.WireVarint:
		n := message.VarintSize(f.values.bytes[f.values.at:])
		if n == 0 {
			return nil, false
		}
		return f.values.take(n)
	case message.WireFixed32:
		return f.values.take(4)
	case message.WireFixed64:
		return f.values.take(8)
	}
	code, ok := f.codes.number()
	if !ok {
		return nil, false
	}
	return f.take(code, sizeOfString)
}

// part is a field of a shape.
type part struct {
	tag    []byte
	column int
}

type shapeReader struct {
	shape
	parts []part
}

// columnReader puts entries together again.
type columnReader struct {
	fixed       [fixedColumns]stream
	users, keys coded
	shapes      []shapeReader
	fields      []fieldReader
	used        int    // shapes that were
	out         []byte // envelopes and bodies, as long as announced
	at          int
	clock, wall uint64
}

// open reads what stands before the columns.
func (r *columnReader) open(in stream, entries uint64) bool {
	n, ok := in.number()
	if !ok || n > min(entries, mostShapes) {
		return false
	}
	parts := 0
	r.shapes = make([]shapeReader, n)
	names := map[uint64]int{}
	for i := range r.shapes {
		s := &r.shapes[i]
		var rest []byte
		if s.shape, rest, ok = takeShape(in.bytes[in.at:]); !ok {
			return false
		}
		in.at = len(in.bytes) - len(rest)
		at := 0
		s.eachTag(func(tag uint64, size int) {
			name := columnName(&s.shape, tag)
			column, known := names[name]
			if !known {
				column = len(r.fields)
				names[name] = column
				r.fields = append(r.fields, fieldReader{wire: wireOf(tag)})
			}
			s.parts = append(s.parts, part{s.tags[at : at+size], column})
			at += size
		})
		if parts += len(s.parts); parts > mostParts {
			return false
		}
	}
	columns := make([]*stream, 0, fixedColumns+streams*len(r.fields))
	for i := range r.fixed {
		columns = append(columns, &r.fixed[i])
	}
	for i := range r.fields {
		f := &r.fields[i]
		if f.wire == message.WireBytes {
			columns = append(columns, &f.codes)
		}
		columns = append(columns, &f.values)
	}
	lengths := in
	for range columns {
		if _, ok := in.number(); !ok {
			return false
		}
	}
	for _, c := range columns {
		length, _ := lengths.number()
		if length > uint64(in.left()) {
			return false
		}
		c.bytes, _ = in.take(int(length))
	}
	r.users.values, r.keys.values = r.fixed[columnUser], r.fixed[columnKey]
	return in.left() == 0
}

// done reports whether all was used.
func (r *columnReader) done() bool {
	r.fixed[columnUser], r.fixed[columnKey] = r.users.values, r.keys.values
	for i := range r.fixed {
		if r.fixed[i].left() > 0 {
			return false
		}
	}
	for i := range r.fields {
		if r.fields[i].codes.left()+r.fields[i].values.left() > 0 {
			return false
		}
	}
	return r.used == len(r.shapes)
}

// put appends to what was announced; beyond, it reports false.
func (r *columnReader) put(b []byte) bool {
	out := r.out[r.at:]
	if len(b) == 1 && len(out) > 0 { // most tags, and many values
		out[0] = b[0]
		r.at++
		return true
	}
	n := copy(out, b)
	r.at += n
	return n == len(b)
}

func (r *columnReader) putRest(n int) bool {
	b, ok := r.fixed[columnRest].take(n)
	return ok && r.put(b)
}

// entry puts the next entry together, all but its counter.
func (r *columnReader) entry(e *records.Entry) bool {
	n, ok := r.fixed[columnShape].number()
	if !ok || n > uint64(r.used) || n >= uint64(len(r.shapes)) {
		return false
	}
	s := &r.shapes[n]
	if n == uint64(r.used) {
		r.used++
	}
	at := r.at
	if s.flags&shapeWholeEnvelope == 0 {
		ok = r.envelope(s)
	} else {
		var size uint64
		size, ok = r.fixed[columnRest].number()
		ok = ok && size <= records.MaxEnvelopeBytes && r.putRest(int(size))
	}
	if !ok || r.at-at > records.MaxEnvelopeBytes {
		return false
	}
	body := r.at
	e.Stub = s.flags&shapeStub != 0
	switch {
	case e.Stub:
		ok = r.putRest(identity.HashBytes)
	case s.flags&shapeWholeBody != 0:
		var b []byte
		if b, ok = r.fields[s.parts[0].column].value(); ok {
			_, length := binary.Uvarint(b)
			ok = r.put(b[length:])
		}
	default:
		for i := range s.parts {
			p := &s.parts[i]
			b, ok := r.fields[p.column].value()
			if !ok || !r.put(p.tag) || !r.put(b) {
				return false
			}
		}
	}
	end := r.at
	if !ok || end-body > records.MaxBodyBytes {
		return false
	}
	e.Envelope, e.Body = r.out[at:body:body], r.out[body:end:end]
	return true
}

func (r *columnReader) envelope(s *shapeReader) bool {
	clock, ok := r.fixed[columnClock].number()
	wall, ok2 := r.fixed[columnWall].number()
	if !ok || !ok2 {
		return false
	}
	r.clock += unzigzag(clock)
	r.wall += unzigzag(wall)
	if len(r.out)-r.at < envelopeFixed {
		return false
	}
	fixed := r.out[r.at : r.at+envelopeFixed]
	r.at += envelopeFixed
	copy(fixed, s.head[:])
	binary.BigEndian.PutUint64(fixed[4:], r.clock)
	binary.BigEndian.PutUint64(fixed[12:], r.wall)
	flags := s.head[1]
	var learner []byte
	if flags&envelopeLearner != 0 {
		code, ok := r.fixed[columnLearner].number()
		if !ok {
			return false
		}
		if learner, ok = r.users.take(code, sizeOfUser); !ok || !r.put(learner) {
			return false
		}
	}
	if flags&envelopeActor != 0 {
		code, ok := r.fixed[columnActor].number()
		if !ok {
			return false
		}
		actor := learner
		if code > 0 {
			actor, ok = r.users.take(code-1, sizeOfUser)
		}
		if !ok || actor == nil || !r.put(actor) {
			return false
		}
	}
	if flags&envelopeRegister != 0 {
		code, ok := r.fixed[columnKeyCode].number()
		if !ok {
			return false
		}
		key, ok := r.keys.take(code, sizeOfKey)
		if !ok || !r.put(key) {
			return false
		}
	}
	return flags&envelopeOrigin == 0 || r.putRest(originBytes)
}
