package exchange

import (
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
)

// In an open session what is written is pushed, and a comparison that is due
// finds nothing new, nearly always. So, if both sides know how and were in step
// when they last compared, it takes a checksum of 8 bytes one way, and silence:
//
//	either  CountersSum
//	other   (the same)  nothing: both have compared
//	        (another)   Counters, and wants the first one's; then it is as ever
//
// What makes it due, and when, is as it is without. Silence proves nothing to
// whoever asks, but the other side has compared, and it is the one to speak. A
// peer that is silent though it differs keeps only itself from what it lacks.
// The next comparison in full finds out that it does not answer, or what it
// holds; there is one after every sumsBetween checksums.

// sumsBetween is how many checksums follow one another.
const sumsBetween = 7

// quiet reports whether a checksum will do for what is to be said now.
func (m *Machine) quiet(now *wire.Counters) bool {
	c := &m.compare
	return m.report.Features.Has(wire.FeatureQuiet) && !m.cfg.OneShot &&
		c.poke && !c.answer && !c.differs && !c.fresh && !c.asked &&
		c.settled && c.inStep && c.sums < sumsBetween && !now.Staged &&
		c.ours.Round == now.Round && c.theirs.Round == now.Round && c.ours.Epoch == now.Epoch
}

// announceSum sends a checksum of what is held here.
func (m *Machine) announceSum(now *wire.Counters, s *records.State) {
	c := &m.compare
	c.poke, m.tell.news = false, false
	c.ours, c.of = now, s
	c.sums++
	m.send(m.sumOf(now))
	m.compareLater()
}

// sumOf returns the checksum by which both sides of this session know c.
func (m *Machine) sumOf(c *wire.Counters) *wire.CountersSum {
	leader, other := m.wall, m.hello.Wall
	if !m.leads() {
		leader, other = other, leader
	}
	return wire.NewCountersSum(c, leader, other)
}

// hearCountersSum takes the peer's checksum, to be judged when nothing is left
// to ask for: as with Counters, what is on its way is not a difference.
func (m *Machine) hearCountersSum(msg *wire.CountersSum) {
	if !m.report.Features.Has(wire.FeatureQuiet) {
		m.blame(wire.CodeProtocol, "a checksum of counters that was not agreed on")
		return
	}
	m.compare.sum = msg
}

// judgeSum compares the peer's checksum, if there is one, with what is held
// here. If they are the same, the peer's Counters need not be said to be known,
// and a comparison that was due on this side has been made.
func (m *Machine) judgeSum() {
	c := &m.compare
	if c.sum == nil {
		return
	}
	now, s := m.counters()
	same := c.ours.Round == now.Round && c.ours.Epoch == now.Epoch && *m.sumOf(now) == *c.sum
	c.sum = nil
	if !same {
		c.differs = true
		return
	}
	theirs := *now
	c.ours, c.of, c.theirs, c.fresh = now, s, &theirs, true
	c.poke, m.tell.news = false, false
}
