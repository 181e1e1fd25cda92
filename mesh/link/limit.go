package link

import (
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"
)

// Bounds of a listener.
const (
	maxHandshakes     = 256 // connections that nobody has accepted yet
	crowdedHandshakes = maxHandshakes / 4

	// extraWindowsMost is how much receive window beyond the initial one all
	// connections of a listener may have together.
	extraWindowsMost = 64 << 20
)

// gate bounds the connections that have come in but have not been handed out.
type gate struct{ inside atomic.Int32 }

// slot is a place inside the gate.
type slot struct {
	gate *gate
	left atomic.Bool
}

// enter returns nil if the gate is full.
func (g *gate) enter() *slot {
	if g.inside.Add(1) > maxHandshakes {
		g.inside.Add(-1)
		return nil
	}
	return &slot{gate: g}
}

// crowded reports whether newcomers should first prove their address.
func (g *gate) crowded() bool { return g.inside.Load() >= crowdedHandshakes }

// leave gives the place back. Only the first call has an effect, and returns
// true.
func (s *slot) leave() bool {
	if s.left.Swap(true) {
		return false
	}
	s.gate.inside.Add(-1)
	return true
}

// windows adds up by how much connections have grown their receive windows,
// so that many fast peers together cannot make us hold memory without bound.
type windows struct {
	mu    sync.Mutex
	total uint64
	grown map[*quic.Conn]uint64
}

// grow reports whether the connection may have that much more. It does not
// call the connection, which would wait for itself.
func (w *windows) grow(q *quic.Conn, by uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.total+by > extraWindowsMost {
		return false
	}
	if w.grown == nil {
		w.grown = map[*quic.Conn]uint64{}
	}
	w.total += by
	w.grown[q] += by
	return true
}

// forget takes back what a connection that is over had.
func (w *windows) forget(q *quic.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total -= w.grown[q]
	delete(w.grown, q)
}
