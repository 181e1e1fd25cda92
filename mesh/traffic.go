package mesh

import (
	"github.com/classmesh/classmesh/mesh/exchange"
)

// Traffic is what sessions have moved since the node was made.
type Traffic struct {
	Coordinator, Peers Moved // by who was at the other end
}

// Moved is what some sessions have moved, those that are open included.
type Moved struct {
	Sessions                  uint64 // that the other side has accepted
	BytesSent, BytesReceived  uint64 // of frames
	Sent, Received            exchange.ByLane
	PushesSent, PushesIgnored uint64
	Mismatches, Blamed        uint64 // Blamed: sessions whose other side was at fault
}

func (m *Moved) add(r *exchange.Report) {
	if accepted(*r) {
		m.Sessions++
	}
	m.BytesSent += r.BytesSent
	m.BytesReceived += r.BytesReceived
	for lane := range r.SentIn {
		m.Sent[lane] += r.SentIn[lane]
		m.Received[lane] += r.ReceivedIn[lane]
	}
	m.PushesSent += r.PushesSent
	m.PushesIgnored += r.PushesIgnored
	m.Mismatches += r.Mismatches
	if r.Blame != "" {
		m.Blamed++
	}
}

// Traffic returns what has been moved so far. It never blocks for long.
func (n *Node) Traffic() Traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	sum := n.moved
	for l := range n.counted {
		n.count(&sum, l)
	}
	return sum
}

// beginCounting counts what a session moves, until endCounting makes that final.
func (n *Node) beginCounting(l *peerLink) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counted[l] = struct{}{}
}

func (n *Node) endCounting(l *peerLink) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.counted, l)
	n.count(&n.moved, l)
}

func (n *Node) count(sum *Traffic, l *peerLink) {
	r, at := l.session.Report(), &sum.Peers
	if n.isCoordinator(l.peer) {
		at = &sum.Coordinator
	}
	at.add(&r)
}
