package exchange

import (
	"context"
	"fmt"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// Worker carries out operations as a session's does.
type Worker struct{ w worker }

func NewWorker(r Replica, c *packing.Codec, l *Limits) Worker { return Worker{worker{r, c, l}} }

func (w Worker) Do(ctx context.Context, e Effect) (Done, bool) { return w.w.do(ctx, e, nil) }

// Acquire waits until an answer of size bytes may be unpacked.
func (l *Limits) Acquire(ctx context.Context, size int) (release func(), err error) {
	return l.acquire(ctx, size, func() {})
}

// Bounds reports whether a machine keeps its limits.
func (m *Machine) Bounds() error {
	switch {
	case len(m.fetch.requests) > maxRequests,
		m.serve.pending > maxPending+wire.MaxNeeds,
		m.serve.reading > maxReading+1,
		m.accept.count > maxHandovers,
		m.accept.count > 1 && m.accept.bytes > maxHandoverBytes+packing.MaxBytes,
		m.credit.available < 0,
		m.fetch.active < 0,
		m.tell.unwritten < 0,
		len(m.peer.all) > 2*wire.MaxVectorRows,
		m.phase != closed && m.credit.granted < 0,
		m.phase != closed && m.said && m.credit.granted+m.credit.returned > m.cfg.Window:
		return fmt.Errorf("out of bounds: %d requests, %d pending, %d reading, %d handed over with %d bytes, credit %+v, %d active, %d unwritten",
			len(m.fetch.requests), m.serve.pending, m.serve.reading, m.accept.count, m.accept.bytes, m.credit, m.fetch.active, m.tell.unwritten)
	}
	active := 0
	for _, b := range m.peer.all {
		if b.stage != resting {
			active++
		}
	}
	if active != m.fetch.active {
		return fmt.Errorf("%d branches are active, %d are counted", active, m.fetch.active)
	}
	return nil
}

// Open reports whether both sides belong to the zone.
func (m *Machine) Open() bool { return m.phase == open }

// Idle reports whether nothing is being done.
func (m *Machine) Idle() bool { return m.idle() }

// SumsFrom is from how many rows on vectors begin with checksums.
const SumsFrom = sumsFrom

// SumsFrom lets vectors of so many rows begin with checksums.
func (m *Machine) SumsFrom(rows int) { m.sumsFrom = rows }

func (s *Session) SumsFrom(rows int) { s.machine.SumsFrom(rows) }

// Without makes a side one of a release that does not know some features.
func (m *Machine) Without(f wire.Features) { m.without = f }

func (s *Session) Without(f wire.Features) { s.machine.without = f }

// SumsBetween is how many checksums of counters follow one another.
const SumsBetween = sumsBetween

// Leads reports whether the machine's side sends the vectors.
func (m *Machine) Leads() bool { return m.leads() }

// Positions is how far a peer has been brought.
type Positions struct{ p positions }

func NewPositions() *Positions { return &Positions{newPositions()} }

func (p *Positions) At(log identity.LogID) uint64                    { return p.p.at(log) }
func (p *Positions) Set(log identity.LogID, counter uint64)          { p.p.set(log, counter) }
func (p *Positions) Bring(s *records.State, but []records.VectorRow) { p.p.bring(s, but) }

// Apart returns of how many logs more is kept than a state.
func (p *Positions) Apart() int { return len(p.p.other) }
