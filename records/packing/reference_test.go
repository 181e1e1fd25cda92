package packing_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/classmesh/classmesh/records"
)

// reference reads columns as docs/formats.md draws them, one step after the other and
// with nothing of the package that is tested.
type reference struct {
	b           []byte
	users, keys [][]byte
	clock, wall uint64
}

// referenceShape is what entries have in common.
type referenceShape struct {
	flags byte
	head  []byte
	tags  []uint64
}

// fieldName names what has a column of its own.
type fieldName struct {
	kind string // of the envelope, empty if that is kept whole
	tag  uint64 // 0 for a body that is kept whole
}

type referenceField struct {
	codes, values *reference
	seen          [][]byte
}

var errReference = errors.New("not as drawn")

func must(ok bool) {
	if !ok {
		panic(errReference)
	}
}

func (r *reference) take(n uint64) []byte {
	must(n <= uint64(len(r.b)))
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reference) uvarint() uint64 {
	v, n := protowire.ConsumeVarint(r.b)
	must(n > 0 && n == protowire.SizeVarint(v))
	r.take(uint64(n))
	return v
}

func (r *reference) difference() uint64 { return uint64(protowire.DecodeZigZag(r.uvarint())) }

// coded returns what a code stands for, or adds what read returns.
func coded(code uint64, seen *[][]byte, read func() []byte) []byte {
	if code == 0 {
		*seen = append(*seen, read())
		return (*seen)[len(*seen)-1]
	}
	must(code <= uint64(len(*seen)))
	return (*seen)[code-1]
}

// decodeReference returns the entries of columns.
func decodeReference(b []byte) (entries []records.Entry, err error) {
	defer func() {
		if p := recover(); p != nil {
			if err, _ = p.(error); !errors.Is(err, errReference) {
				panic(p)
			}
		}
	}()
	in := &reference{b: b}
	must(in.take(1)[0] == 2)
	n, size, count := in.uvarint(), in.uvarint(), in.uvarint()
	must(n >= 1 && n <= records.SegmentCounters && size <= records.MaxSegmentBytes && count <= 256)
	shapes := make([]referenceShape, count)
	fields, order := map[fieldName]*referenceField{}, []fieldName{}
	total := 0
	for i := range shapes {
		s := &shapes[i]
		s.flags = in.take(1)[0]
		must(s.flags <= 7 && s.flags&5 != 5)
		if s.flags&2 == 0 {
			s.head = in.take(4)
			must(s.head[0] == 1)
		}
		switch {
		case s.flags&4 != 0:
			s.tags = []uint64{0}
		case s.flags&1 == 0:
			number := in.take(1)[0]
			must(number <= 64)
			for range number {
				tag := in.uvarint()
				must(tag>>3 >= 1 && tag>>3 < 1<<29 && slices.Contains([]uint64{0, 1, 2, 5}, tag&7))
				s.tags = append(s.tags, tag)
			}
		}
		total += len(s.tags)
		for _, tag := range s.tags {
			name := s.field(tag)
			if fields[name] == nil {
				fields[name] = &referenceField{codes: &reference{}, values: &reference{}}
				order = append(order, name)
			}
		}
	}
	must(total <= 1024)
	var column [11]*reference // by the numbers in the drawing
	var all []*reference
	for i := 1; i <= 10; i++ {
		column[i] = &reference{}
		all = append(all, column[i])
	}
	for _, name := range order {
		if name.tag == 0 || name.tag&7 == 2 {
			all = append(all, fields[name].codes)
		}
		all = append(all, fields[name].values)
	}
	lengths := make([]uint64, len(all))
	for i := range lengths {
		lengths[i] = in.uvarint()
	}
	for i := range all {
		all[i].b = in.take(lengths[i])
	}
	must(len(in.b) == 0)

	counter, used, bytes := uint64(0), uint64(0), uint64(0)
	for range n {
		d := column[1].uvarint()
		must(counter+d+1 > counter)
		counter += d + 1
		number := column[2].uvarint()
		must(number <= used && number < count)
		used = max(used, number+1)
		s := &shapes[number]
		e := records.Entry{Counter: counter, Stub: s.flags&1 != 0}
		if s.flags&2 != 0 {
			e.Envelope = column[10].take(column[10].uvarint())
		} else {
			e.Envelope = in.envelope(s, &column)
		}
		switch {
		case e.Stub:
			e.Body = column[10].take(32)
		case s.flags&4 != 0:
			e.Body = fields[s.field(0)].text()
		default:
			for _, tag := range s.tags {
				e.Body = append(binary.AppendUvarint(e.Body, tag), fields[s.field(tag)].value(tag)...)
			}
		}
		must(len(e.Envelope) <= records.MaxEnvelopeBytes && len(e.Body) <= records.MaxBodyBytes)
		bytes += uint64(e.Size())
		entries = append(entries, e)
	}
	for _, c := range all {
		must(len(c.b) == 0)
	}
	must(used == count && bytes == size)
	return entries, nil
}

func (s *referenceShape) field(tag uint64) fieldName {
	if s.head == nil {
		return fieldName{tag: tag}
	}
	return fieldName{fmt.Sprintf("%x", s.head[2:]), tag}
}

func (r *reference) envelope(s *referenceShape, column *[11]*reference) []byte {
	r.clock += column[3].difference()
	r.wall += column[4].difference()
	b := slices.Clone(s.head)
	b = binary.BigEndian.AppendUint64(b, r.clock)
	b = binary.BigEndian.AppendUint64(b, r.wall)
	user := func(code uint64) []byte {
		return coded(code, &r.users, func() []byte { return column[7].take(16) })
	}
	flags := s.head[1]
	var learner []byte
	if flags&2 != 0 {
		learner = user(column[5].uvarint())
		b = append(b, learner...)
	}
	if flags&4 != 0 {
		if code := column[6].uvarint(); code > 0 {
			b = append(b, user(code-1)...)
		} else {
			must(learner != nil)
			b = append(b, learner...)
		}
	}
	if flags&1 != 0 {
		b = append(b, coded(column[8].uvarint(), &r.keys, func() []byte {
			must(len(column[9].b) > 0)
			return column[9].take(1 + uint64(column[9].b[0]))
		})...)
	}
	if flags&8 != 0 {
		b = append(b, column[10].take(72)...)
	}
	return b
}

// text returns the next string.
func (f *referenceField) text() []byte {
	return coded(f.codes.uvarint(), &f.seen, func() []byte { return f.values.take(f.values.uvarint()) })
}

// value returns what stands behind a tag in a body.
func (f *referenceField) value(tag uint64) []byte {
	switch tag & 7 {
	case 1:
		return f.values.take(8)
	case 5:
		return f.values.take(4)
	case 2:
		return protowire.AppendBytes(nil, f.text())
	}
	n := 1
	for n <= min(10, len(f.values.b)) && f.values.b[n-1] >= 0x80 {
		n++
	}
	must(n <= min(10, len(f.values.b)))
	return f.values.take(uint64(n))
}
