package exchange

import (
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Holdings is how far a peer holds logs, as far as it has told. What it was
// given counts as held, though it may not be on its disk yet.
type Holdings map[identity.LogID]uint64

// Lacks returns how many counters of what is held here are not in h.
func (h Holdings) Lacks(here *records.State) (n uint64) {
	for i := range here.Rows {
		row := &here.Rows[i]
		n += row.Counter - min(row.Counter, h[row.Log])
	}
	return n
}

// toldHoldings reports whether the peer has told all that it holds: its vector was
// exchanged, or shown to be needless.
func (m *Machine) toldHoldings() bool {
	c := &m.compare
	return m.hello != nil && (c.settled || c.round > 0 && !c.awaiting)
}

// Holdings returns how far the peer holds the logs that are held here; false: it
// has not told yet.
func (m *Machine) Holdings() (Holdings, bool) {
	if !m.toldHoldings() {
		return nil, false
	}
	h := Holdings{}
	for _, row := range m.cfg.Local.State().Rows {
		h[row.Log] = max(h[row.Log], m.peerHas(row.BranchRef))
	}
	return h, true
}

// Lacks returns how many counters of what is held here the peer does not hold,
// and how many of what it holds are lacking here; false: it has not told yet.
func (m *Machine) Lacks() (there, here uint64, known bool) {
	if !m.toldHoldings() {
		return 0, 0, false
	}
	for _, row := range m.cfg.Local.State().Rows {
		there += row.Counter - min(row.Counter, m.peerHas(row.BranchRef))
	}
	for _, near := range m.peer.branches {
		most := uint64(0) // of one log, by whatever names
		for _, b := range near {
			held, _ := m.frontier(b)
			most = max(most, b.counter-min(b.counter, held))
		}
		here += most
	}
	return there, here, true
}

// compared notes how far the peer holds a log by a vector. If that is less than
// what it was given, nothing that it is given of it counts until it says more:
// its disk is full, say.
func (m *Machine) compared(log identity.LogID, counter uint64) {
	t := &m.tell // nothing is noted of a log that is not held here
	if at, ok := t.stuck[log]; ok && counter > at {
		delete(t.stuck, log)
	}
	if t.position.at(log) > counter {
		t.position.set(log, counter)
		t.stuck[log] = counter
	}
}

// peerHas is how far the peer is known to hold a branch.
func (m *Machine) peerHas(ref records.BranchRef) uint64 {
	counter, stuck := m.tell.stuck[ref.Log]
	if !stuck {
		counter = m.tell.position.at(ref.Log)
	}
	for _, b := range m.peer.branches[prefixOf(ref.Log)] {
		if b.name.Is(ref) {
			counter = max(counter, b.counter)
		}
	}
	return counter
}

// Holdings returns how far the peer holds the logs that are held here; false: it
// has not told yet. It may be called at any time.
func (s *Session) Holdings() (Holdings, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.Holdings()
}

// Lacks returns how many counters of what is held here the peer does not hold,
// and how many of what it holds are lacking here; false: it has not told yet. It
// may be called at any time.
func (s *Session) Lacks() (there, here uint64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.Lacks()
}
