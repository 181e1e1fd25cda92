package exchange

import (
	"maps"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// positions is how far the peer has been brought, by log, as far as is known. When
// two sides have compared, they mostly hold the same of nearly all logs of the
// zone: that is one pointer, and only other logs take room and time.
type positions struct {
	same  *records.State            // what the peer holds of logs that are not in other
	other map[identity.LogID]uint64 // never nil
}

func newPositions() positions { return positions{other: map[identity.LogID]uint64{}} }

// at returns how far the peer has been brought with a log; 0: nothing is known.
func (p *positions) at(log identity.LogID) uint64 {
	if counter, ok := p.other[log]; ok {
		return counter
	}
	return heldOf(p.same, log)
}

// heldOf returns how far a log is held, by a state that may be nil.
func heldOf(s *records.State, log identity.LogID) (counter uint64) {
	if s == nil {
		return 0
	}
	for _, row := range namesakes(s, log) {
		if row.Log == log {
			counter = max(counter, row.Counter)
		}
	}
	return counter
}

// set notes how far the peer has been brought with a log; 0: that is not known.
func (p *positions) set(log identity.LogID, counter uint64) {
	if heldOf(p.same, log) == counter {
		delete(p.other, log)
		return
	}
	p.other[log] = counter
}

// bring notes that the peer holds what is in a state, or more, but for some of its
// rows, which are ascending by log.
func (p *positions) bring(s *records.State, but []records.VectorRow) {
	last := *p
	p.same, p.other = s, maps.Clone(last.other)
	for log, counter := range last.other {
		if heldOf(s, log) >= counter {
			delete(p.other, log)
		}
	}
	if last.same != nil && last.same != s {
		for i, next := 0, 0; i < len(last.same.Rows); i++ {
			row := &last.same.Rows[i]
			for next < len(s.Rows) && s.Rows[next].Log.Compare(row.Log) < 0 {
				next++
			}
			if next < len(s.Rows) && s.Rows[next].Log == row.Log && s.Rows[next].Counter >= row.Counter {
				continue
			}
			// What it held before, this side does not hold any more.
			p.set(row.Log, max(last.at(row.Log), heldOf(s, row.Log)))
		}
	}
	for i := range but {
		p.set(but[i].Log, last.at(but[i].Log))
	}
}

// sameThere notes that, by a comparison, the peer holds what is in a state, but for
// some of its rows, which are ascending by log.
func (m *Machine) sameThere(s *records.State, but []records.VectorRow) {
	m.tell.position.bring(s, but)
	differs := func(log identity.LogID) bool {
		from, to := span(len(but), log, func(i int) identity.LogID { return but[i].Log })
		return from < to
	}
	for log, at := range m.tell.stuck {
		if heldOf(s, log) > at && !differs(log) {
			delete(m.tell.stuck, log)
		}
	}
	for late := range m.share.late {
		if log := late.log(); len(namesakes(s, log)) > 0 && !differs(log) {
			delete(m.share.late, late)
		}
	}
}
