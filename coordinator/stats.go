package coordinator

import (
	"maps"
	"sync"

	"github.com/classmesh/classmesh/mesh/exchange"
)

// Stats is what a coordinator has done since it was made, for metrics.
type Stats struct {
	Connections int                // that are open
	ZonesOpen   int                // in memory
	Ended       map[Outcome]uint64 // sessions, by outcome
	// What sessions have moved, those that are open included.
	Sent, Received           exchange.ByLane
	BytesSent, BytesReceived uint64
	Receipts                 uint64 // signed
	Heads                    uint64 // that these receipts are about
}

func (s *Stats) add(r exchange.Report) {
	for lane := range r.SentIn {
		s.Sent[lane] += r.SentIn[lane]
		s.Received[lane] += r.ReceivedIn[lane]
	}
	s.BytesSent += r.BytesSent
	s.BytesReceived += r.BytesReceived
}

// tally is what Stats adds up.
type tally struct {
	mu    sync.Mutex
	done  Stats // by sessions that have ended
	going map[*exchange.Session]struct{}
}

func (t *tally) init() {
	t.done.Ended, t.going = map[Outcome]uint64{}, map[*exchange.Session]struct{}{}
}

func (t *tally) began(s *exchange.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.going[s] = struct{}{}
}

func (t *tally) ended(s *exchange.Session, outcome Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.going, s)
	t.done.Ended[outcome]++
	t.done.add(s.Report())
}

// signed counts a receipt about some heads.
func (t *tally) signed(heads int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done.Receipts++
	t.done.Heads += uint64(heads)
}

func (t *tally) sum() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.done
	s.Ended = maps.Clone(t.done.Ended)
	for session := range t.going {
		s.add(session.Report())
	}
	return s
}

// Stats returns what has been done so far.
func (c *Coordinator) Stats() Stats {
	s := c.tally.sum()
	c.mu.Lock()
	s.Connections = len(c.serving)
	c.mu.Unlock()
	c.zones.mu.Lock()
	s.ZonesOpen = len(c.zones.open)
	c.zones.mu.Unlock()
	return s
}
