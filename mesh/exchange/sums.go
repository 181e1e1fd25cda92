package exchange

import (
	"math/bits"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
)

// Of a zone of many logs few have changed when two sides meet, so a long vector
// is not told but narrowed down first, if both sides know how:
//
//	leader  VectorSums    a checksum for each bucket of the leader's rows
//	other   Vector        its rows of the buckets that differ
//	leader  VectorReply   the leader's rows of these that differ
//
// That is one message more than a vector in whole takes, and then both know the
// same as after that. Checksums that are equal by chance, or by a lie, hide a
// difference for one round: the zone fingerprints still differ when nothing is
// left to ask, and the next round has the whole vector, in full.

// sumsFrom is how many rows make a vector long: what fewer take is sent in less
// time than an answer takes to come.
const sumsFrom = 64

// bucketsOf returns how many buckets a vector of so many rows is cut into. It is
// about twice the root: two or three rows that differ then cost about as much
// in rows of their buckets as the checksums do.
func bucketsOf(rows int) int {
	return min(max(1<<(bits.Len(uint(rows))/2+1), wire.MinSums), wire.MaxSums)
}

// sendVector begins a round with what is held here, or with its checksums.
func (m *Machine) sendVector() {
	c := &m.compare
	full := c.level == inFull
	c.awaiting, c.sent, c.buckets = true, m.snapshot(), 0
	if rows := len(c.sent.Rows); !full && rows >= m.sumsFrom && m.report.Features.Has(wire.FeatureSums) {
		c.buckets = bucketsOf(rows)
		m.send(wire.NewVectorSums(c.sent, c.buckets))
		return
	}
	m.send(wire.NewVector(m.vectorOf(c.sent, full), full)...)
}

// rowsOf returns what is told of a vector, ascending by log: all but what is more
// than one may have.
func rowsOf(s *records.State) []records.VectorRow {
	return s.Rows[:min(len(s.Rows), wire.MaxVectorRows)]
}

// fullNames returns rows of a vector that are in some buckets, with names in full
// and no fingerprints.
func fullNames(s *records.State, in wire.Buckets) (rows []wire.VectorRow) {
	if len(in) == 0 { // all
		rows = make([]wire.VectorRow, 0, len(s.Rows))
	}
	for i := range rowsOf(s) {
		if r := &s.Rows[i]; in.Has(r.Log) {
			rows = append(rows, wire.VectorRow{Name: wire.FullName(r.BranchRef), Lane: r.Lane, Counter: r.Counter, Staged: r.Staged})
		}
	}
	sortRows(rows)
	return rows
}

// hearVectorSums takes the leader's checksums and answers with the rows of the
// buckets that differ.
func (m *Machine) hearVectorSums(msg *wire.VectorSums) {
	c := &m.compare
	if m.leads() || c.awaiting || len(m.peer.parts) > 0 || !m.report.Features.Has(wire.FeatureSums) {
		m.blame(wire.CodeProtocol, "checksums of a vector at the wrong time")
		return
	}
	m.roundBegan()
	c.awaiting, c.sent = true, m.snapshot()
	ours := wire.NewVectorSums(c.sent, len(msg.Sums))
	buckets := wire.NewBuckets(len(msg.Sums))
	for i, sum := range ours.Sums {
		if sum != msg.Sums[i] {
			buckets.Add(i)
		}
	}
	rows := fullNames(c.sent, buckets)
	for i := range rows {
		rows[i].Name = nameOf(c.sent, rows[i].BranchRef)
	}
	sortRows(rows)
	m.send(wire.NewVectorOf(rows, buckets)...)
}

// hearVectorOf takes the answer to checksums.
func (m *Machine) hearVectorOf(msg *wire.Vector) {
	c := &m.compare
	theirs, complete := m.collect(msg.Rows, msg.More)
	if !complete {
		return
	}
	fits := msg.Buckets.Of(c.buckets)
	for i := 0; fits && i < len(theirs); i++ {
		fits = msg.Buckets.Has(theirs[i].Log)
	}
	if !fits {
		m.blame(wire.CodeProtocol, "a vector of other buckets than were asked for")
		return
	}
	c.awaiting = false
	var differing []records.VectorRow
	for i := range c.sent.Rows {
		if row := &c.sent.Rows[i]; msg.Buckets.Has(row.Log) {
			differing = append(differing, *row)
		}
	}
	m.sameThere(c.sent, differing)
	m.answerVector(theirs, msg)
}
