package wire

import (
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/packing"
)

// Limits of segment lists.
const (
	// MaxSegments is how many rows a list may have in all its messages: of a
	// log of 16 GiB.
	MaxSegments = 1 << 16

	segmentsPerMessage = 4096
)

// segmentRows is a part of a segment list.
type segmentRows struct {
	Rows []records.Row // at most 4096
	// Held says for each row whether the sender has the segment; nil means
	// all. It travels as a bitmap, lowest bit first.
	Held []bool
	More bool // Rows follow

	rows, held []byte
}

func (m *segmentRows) fields(v *message.Visitor, from int) {
	v.Bytes(from, &m.rows, segmentsPerMessage*records.RowBytes)
	v.Bytes(from+1, &m.held, segmentsPerMessage/8)
	v.Bool(from+2, &m.More)
}

func (m *segmentRows) seal() {
	m.rows = records.AppendRows(nil, m.Rows)
	m.held = nil
	if m.Held != nil {
		m.held = make([]byte, (len(m.Held)+7)/8)
		for i, held := range m.Held {
			if held {
				m.held[i/8] |= 1 << (i % 8)
			}
		}
	}
}

func (m *segmentRows) open() (err error) {
	if m.Rows, err = records.DecodeRows(m.rows); err != nil || len(m.held) == 0 {
		return err
	}
	n := len(m.Rows)
	if len(m.held) != (n+7)/8 || n%8 != 0 && m.held[n/8]>>(n%8) != 0 {
		return fmt.Errorf("bitmap of %d bytes for %d rows: %w", len(m.held), n, records.ErrRows)
	}
	m.Held = make([]bool, n)
	for i := range m.Held {
		m.Held[i] = m.held[i/8]>>(i%8)&1 == 1
	}
	return nil
}

// SegmentList answers a Want where the difference is not small.
type SegmentList struct {
	Request uint32
	Account Account
	segmentRows
}

// NewSegmentList returns the messages that carry a list.
func NewSegmentList(request uint32, l *records.SegmentList) []Message {
	first := &SegmentList{Request: request, Account: NewAccount(&l.Account)}
	messages := []Message{first}
	part := &first.segmentRows
	rows, held := l.Rows, l.Held
	fits := min(segmentsPerMessage, (MaxPayloadBytes-first.Account.bytes()-segmentsPerMessage/8-64)/records.RowBytes)
	for {
		n := min(len(rows), max(0, fits))
		part.Rows, rows = rows[:n], rows[n:]
		if held != nil {
			part.Held, held = held[:n], held[n:]
		}
		part.More = len(rows) > 0
		if !part.More {
			return messages
		}
		fits = segmentsPerMessage
		next := &Rows{}
		messages = append(messages, next)
		part = &next.segmentRows
	}
}

// Type returns TypeSegmentList.
func (*SegmentList) Type() Type { return TypeSegmentList }

// Fields visits the fields.
func (m *SegmentList) Fields(v *message.Visitor) {
	v.Uint32(1, &m.Request)
	v.Message(2, &m.Account)
	m.fields(v, 3)
}

func (m *SegmentList) seal() {
	m.Account.seal()
	m.segmentRows.seal()
}

func (m *SegmentList) open() error {
	if err := m.Account.open(); err != nil {
		return err
	}
	return m.segmentRows.open()
}

// Rows continues a SegmentList.
type Rows struct{ segmentRows }

// Type returns TypeRows.
func (*Rows) Type() Type { return TypeRows }

// Fields visits the fields.
func (m *Rows) Fields(v *message.Visitor) { m.fields(v, 1) }

// Segment answers one need of a WantSegments.
type Segment struct {
	Request uint32
	First   uint64 // of the segment
	From    uint64 // entries with counters below From are left out
	Run     Run
	More    bool // Entries follow
}

// NewSegment returns the messages that carry a segment, whose entries are
// runs.
func NewSegment(request uint32, need records.Need, runs []Run) []Message {
	m := &Segment{Request: request, First: need.First, From: need.From}
	return withRuns(m, &m.Run, &m.More, 64, runs)
}

// Type returns TypeSegment.
func (*Segment) Type() Type { return TypeSegment }

// Fields visits the fields.
func (m *Segment) Fields(v *message.Visitor) {
	v.Uint32(1, &m.Request)
	v.Uint64(2, &m.First)
	v.Uint64(3, &m.From)
	v.Message(4, &m.Run)
	v.Bool(5, &m.More)
}

func (m *Segment) seal()       {}
func (m *Segment) open() error { return packing.Check(m.Run) }
