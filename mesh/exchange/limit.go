package exchange

import (
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records/identity"
)

// The way to the coordinator may cost money. Then a session has an allowance, and
// once that is used up for a lane, it gives and takes no entries of it: what it
// says of what it holds stays true, receipts and rosters go on, and what was left
// behind follows when there is a new allowance. What is on its way when an
// allowance ends is still counted, so it may be exceeded by a window of credit.

// Allowance is how many bytes of entries, as they travel, a session may still give
// and take.
type Allowance struct {
	Lanes [Lanes]int64 // of each lane
	// Total is for all lanes together; a lane ends when no more of it than Keep is
	// left, which is for the lanes before it.
	Total int64
	Keep  [Lanes]int64
}

// Allowed gives a machine a new allowance.
type Allowed struct{ Allowance }

func (Allowed) event() {}

// Allow gives the session an allowance in the place of the one it has. Without any
// it has no limit. It may be called at any time.
func (s *Session) Allow(a Allowance) { s.mail.put(Allowed{a}) }

// limiting is what a session may carry.
type limiting struct {
	own    *Allowance // nil: no limit
	said   uint32     // lanes, last told to the peer
	theirs uint32     // lanes of which the peer gives and takes nothing
}

// exhausted returns the lanes for which nothing is allowed any more.
func (l *limiting) exhausted() (lanes uint32) {
	if l.own == nil {
		return 0
	}
	for i, left := range l.own.Lanes {
		if left <= 0 || l.own.Total <= l.own.Keep[i] {
			lanes |= 1 << i
		}
	}
	return lanes
}

// withheld reports whether no entries of a lane are to be given or taken.
func (m *Machine) withheld(lane identity.Lane) bool {
	return (m.limit.exhausted()|m.limit.theirs)>>laneIndex(lane)&1 != 0
}

// spent notes that entries of a lane went over the line.
func (m *Machine) spent(lane identity.Lane, n int) {
	i := laneIndex(lane)
	m.report.LaneBytes[i] += uint64(n)
	if a := m.limit.own; a != nil {
		a.Lanes[i] -= int64(n)
		a.Total -= int64(n)
	}
}

// accountBytes is about what a head and its account take in front of entries.
const accountBytes = 300

// bytesOf is about how many bytes messages with entries take on the line.
func bytesOf(messages ...wire.Message) (n int) {
	for _, msg := range messages {
		switch msg := msg.(type) {
		case *wire.Push:
			n += accountBytes + len(msg.Run.Data)
		case *wire.Difference:
			n += accountBytes + len(msg.Run.Data)
		case *wire.Segment:
			n += len(msg.Run.Data)
		case *wire.Entries:
			n += len(msg.Run.Data)
		}
	}
	return n
}

func (m *Machine) allow(a Allowance) {
	before := m.limit.exhausted() | m.limit.theirs
	m.limit.own = &a
	m.unlimited(before)
}

func (m *Machine) hearLimit(msg *wire.Limit) {
	before := m.limit.exhausted() | m.limit.theirs
	m.limit.theirs = msg.Lanes
	m.unlimited(before)
}

// unlimited goes on with lanes that were withheld and are no longer.
func (m *Machine) unlimited(before uint32) {
	now := m.limit.exhausted() | m.limit.theirs
	if before&^now == 0 || m.phase != open {
		return
	}
	m.sayLimit() // first, or the peer would not ask
	for _, b := range m.peer.all {
		if !b.forgotten {
			b.parked = false
			m.consider(b)
		}
	}
	if m.judge() != Member {
		return
	}
	for _, row := range m.snapshot().Rows {
		if before>>laneIndex(row.Lane)&1 != 0 && !m.spared(row.Log) && !m.holds(row.BranchRef, row.Counter) {
			m.tell.dirty[row.Log] = wire.VectorRow{Name: wire.FullName(row.BranchRef), Lane: row.Lane, Counter: row.Counter}
		}
	}
}

// sayLimit tells the peer which lanes are exhausted, if that has changed.
func (m *Machine) sayLimit() {
	m.report.Withheld = m.limit.exhausted()
	if now := m.report.Withheld; now != m.limit.said {
		m.limit.said = now
		m.send(&wire.Limit{Lanes: now})
	}
}
