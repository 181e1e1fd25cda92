package packing

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/message"
)

var writers = sync.Pool{New: func() any {
	return &columnWriter{shapes: map[string]int{}, names: map[uint64]int{}, users: dictionary{}, keys: dictionary{}}
}}

// dictionary gives numbers to strings, from 1.
type dictionary map[string]int

// code returns the number of a string, or 0 if it has only now got one.
func (d dictionary) code(s []byte) uint64 {
	n := d[string(s)]
	if n == 0 {
		d[string(s)] = len(d) + 1
	}
	return uint64(n)
}

// fieldWriter is a column of the bodies.
type fieldWriter struct {
	wire    message.Wire
	streams [streams][]byte
	seen    dictionary
}

// What a column leaves of its room to the next run: ordinary ones have no more, and a
// thousand columns may not each keep what was once a whole run.
const (
	keptBytes   = 16 << 10
	keptStrings = 1 << 10
)

// reset makes the writer that of a column in the next run.
func (f *fieldWriter) reset(wire message.Wire) {
	f.wire = wire
	for i, s := range f.streams {
		if f.streams[i] = s[:0]; cap(s) > keptBytes {
			f.streams[i] = nil
		}
	}
	if len(f.seen) > keptStrings {
		f.seen = nil
	}
	clear(f.seen)
}

// columnWriter puts entries into columns. Its room is used again.
type columnWriter struct {
	shapes      map[string]int // numbers, from 0
	list        []shape
	spelt       []byte // the shapes
	one         []byte // room for a shape
	names       map[uint64]int
	users, keys dictionary
	fixed       [fixedColumns][]byte
	fields      []fieldWriter
	parts       int // fields of all shapes
	size        int
	counter     uint64
	clock, wall uint64
}

// fits reports whether the shapes keep their bounds.
func (w *columnWriter) fits() bool { return len(w.list) <= mostShapes && w.parts <= mostParts }

// reset makes the writer one for the next run.
func (w *columnWriter) reset() {
	clear(w.shapes)
	clear(w.names)
	clear(w.users)
	clear(w.keys)
	for i := range w.fixed {
		w.fixed[i] = w.fixed[i][:0]
	}
	clear(w.list)
	w.list, w.spelt, w.fields = w.list[:0], w.spelt[:0], w.fields[:0]
	w.parts, w.size, w.counter, w.clock, w.wall = 0, 0, 0, 0, 0
}

func (w *columnWriter) number(column int, v uint64) {
	w.fixed[column] = binary.AppendUvarint(w.fixed[column], v)
}

func (w *columnWriter) add(e *records.Entry) {
	w.size += e.Size()
	w.number(columnCounter, e.Counter-w.counter-1)
	w.counter = e.Counter
	s := w.shape(e)
	if s.flags&shapeWholeEnvelope == 0 {
		w.addEnvelope(e.Envelope)
	} else {
		w.number(columnRest, uint64(len(e.Envelope)))
		w.fixed[columnRest] = append(w.fixed[columnRest], e.Envelope...)
	}
	switch {
	case s.flags&shapeStub != 0:
		w.fixed[columnRest] = append(w.fixed[columnRest], e.Body...)
	case s.flags&shapeWholeBody != 0:
		w.fields[s.columns[0]].string(e.Body)
	default:
		w.addBody(s, e.Body)
	}
}

// shape returns the shape of an entry, and writes its number.
func (w *columnWriter) shape(e *records.Entry) *shape {
	w.one = appendShape(w.one[:0], e)
	n, known := w.shapes[string(w.one)]
	if !known {
		n = len(w.list)
		w.addShape(w.one)
	}
	w.number(columnShape, uint64(n))
	return &w.list[n]
}

func (w *columnWriter) addShape(spelt []byte) {
	w.shapes[string(spelt)] = len(w.list)
	w.spelt = append(w.spelt, spelt...)
	s, _, _ := takeShape(bytes.Clone(spelt))
	s.eachTag(func(tag uint64, _ int) {
		name := columnName(&s, tag)
		at, known := w.names[name]
		if !known {
			at = len(w.fields)
			w.names[name] = at
			w.fields = slices.Grow(w.fields, 1)[:at+1]
			w.fields[at].reset(wireOf(tag))
		}
		s.columns = append(s.columns, at)
		w.parts++
	})
	w.list = append(w.list, s)
}

func (w *columnWriter) addEnvelope(b []byte) {
	clock, wall := binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint64(b[12:])
	w.number(columnClock, zigzag(clock-w.clock))
	w.number(columnWall, zigzag(wall-w.wall))
	w.clock, w.wall = clock, wall
	flags, rest := b[1], b[envelopeFixed:]
	var learner []byte
	if flags&envelopeLearner != 0 {
		learner, rest = rest[:userBytes], rest[userBytes:]
		w.number(columnLearner, w.user(learner))
	}
	if flags&envelopeActor != 0 {
		if string(rest[:userBytes]) == string(learner) {
			w.number(columnActor, 0)
		} else {
			w.number(columnActor, 1+w.user(rest[:userBytes]))
		}
		rest = rest[userBytes:]
	}
	if flags&envelopeRegister != 0 {
		key := rest[:1+int(rest[0])]
		code := w.keys.code(key)
		w.number(columnKeyCode, code)
		if code == 0 {
			w.fixed[columnKey] = append(w.fixed[columnKey], key...)
		}
		rest = rest[len(key):]
	}
	w.fixed[columnRest] = append(w.fixed[columnRest], rest...)
}

func (w *columnWriter) user(id []byte) uint64 {
	code := w.users.code(id)
	if code == 0 {
		w.fixed[columnUser] = append(w.fixed[columnUser], id...)
	}
	return code
}

func (w *columnWriter) addBody(s *shape, b []byte) {
	for _, at := range s.columns {
		tag, size := message.Field(b)
		f, value := &w.fields[at], b[tag:size]
		if f.wire == message.WireBytes {
			n, length := binary.Uvarint(value)
			f.string(value[length : length+int(n)])
		} else {
			f.streams[streamValues] = append(f.streams[streamValues], value...)
		}
		b = b[size:]
	}
}

func (f *fieldWriter) string(s []byte) {
	if f.seen == nil {
		f.seen = dictionary{}
	}
	code := f.seen.code(s)
	f.streams[streamCodes] = binary.AppendUvarint(f.streams[streamCodes], code)
	if code == 0 {
		f.streams[streamValues] = append(binary.AppendUvarint(f.streams[streamValues], uint64(len(s))), s...)
	}
}

// append appends the columns of the n entries that were added.
func (w *columnWriter) append(b []byte, n int) []byte {
	b = append(b, formatColumns)
	b = binary.AppendUvarint(b, uint64(n))
	b = binary.AppendUvarint(b, uint64(w.size))
	b = binary.AppendUvarint(b, uint64(len(w.list)))
	b = append(b, w.spelt...)
	each := func(fn func(stream []byte)) {
		for _, c := range w.fixed {
			fn(c)
		}
		for i := range w.fields {
			if f := &w.fields[i]; f.wire == message.WireBytes {
				fn(f.streams[streamCodes])
			}
			fn(w.fields[i].streams[streamValues])
		}
	}
	each(func(stream []byte) { b = binary.AppendUvarint(b, uint64(len(stream))) })
	each(func(stream []byte) { b = append(b, stream...) })
	return b
}
