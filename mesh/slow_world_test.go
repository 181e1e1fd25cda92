package mesh_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
)

// slowPipe returns two ends of a connection over which everything takes its
// time, and nobody waits for the other to read.
func slowPipe(latency time.Duration) (a, b net.Conn) {
	one, other := newSlowLane(latency), newSlowLane(latency)
	return &slowEnd{in: one, out: other}, &slowEnd{in: other, out: one}
}

// slowLane is one direction.
type slowLane struct {
	latency time.Duration
	wake    chan struct{} // has a token when there is something new

	mu    sync.Mutex
	queue []parcel
	over  bool
}

type parcel struct {
	b   []byte
	due time.Time
}

func newSlowLane(latency time.Duration) *slowLane {
	return &slowLane{latency: latency, wake: make(chan struct{}, 1)}
}

func (l *slowLane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *slowLane) close() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.signal()
}

// slowEnd is one end.
type slowEnd struct {
	net.Conn // nil
	in, out  *slowLane
}

func (e *slowEnd) Write(p []byte) (int, error) {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	if e.out.over {
		return 0, io.ErrClosedPipe
	}
	e.out.queue = append(e.out.queue, parcel{append([]byte(nil), p...), time.Now().Add(e.out.latency)})
	e.out.signal()
	return len(p), nil
}

func (e *slowEnd) Read(p []byte) (int, error) {
	for {
		e.in.mu.Lock()
		over, wait := e.in.over, time.Duration(-1)
		if len(e.in.queue) > 0 {
			first := &e.in.queue[0]
			if wait = time.Until(first.due); wait <= 0 {
				n := copy(p, first.b)
				if first.b = first.b[n:]; len(first.b) == 0 {
					e.in.queue = e.in.queue[1:]
				}
				e.in.mu.Unlock()
				return n, nil
			}
		}
		e.in.mu.Unlock()
		if over && wait < 0 {
			return 0, io.EOF
		}
		if wait < 0 {
			<-e.in.wake
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.in.wake:
			timer.Stop()
		}
	}
}

// Close ends both directions; what is on its way arrives.
func (e *slowEnd) Close() error {
	e.in.close()
	e.out.close()
	return nil
}

// slowDisk is a replica whose disk takes its time.
type slowDisk struct {
	exchange.Replica
	takes time.Duration
}

func (d slowDisk) AcceptDifference(ctx context.Context, diff *records.Difference) error {
	time.Sleep(d.takes)
	return d.Replica.AcceptDifference(ctx, diff)
}

// tally counts the frames that cross a network, by type.
type tally struct {
	mu     sync.Mutex
	frames map[wire.Type]int
	bytes  map[wire.Type]int
}

func (t *tally) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frames, t.bytes = map[wire.Type]int{}, map[wire.Type]int{}
}

func (t *tally) add(typ wire.Type, size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.frames != nil {
		t.frames[typ]++
		t.bytes[typ] += size
	}
}

// of returns how many frames of some types there were, and their bytes.
func (t *tally) of(types ...wire.Type) (frames, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, typ := range types {
		frames, bytes = frames+t.frames[typ], bytes+t.bytes[typ]
	}
	return frames, bytes
}

func (t *tally) all() (bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.bytes {
		bytes += n
	}
	return bytes
}

// meter takes the bytes of one direction apart into frames.
type meter struct {
	tally  *tally        // or nil
	bodies *atomic.Int64 // bytes of messages with records; or nil
	rest   []byte
}

func (m *meter) add(p []byte) {
	m.rest = append(m.rest, p...)
	for len(m.rest) > 1 {
		length, n := binary.Uvarint(m.rest[1:])
		size := 1 + n + int(length)
		if n <= 0 || len(m.rest) < size {
			return
		}
		typ := wire.Type(m.rest[0])
		if m.tally != nil {
			m.tally.add(typ, size)
		}
		if m.bodies != nil && slices.Contains(bodies, typ) {
			m.bodies.Add(int64(size))
		}
		m.rest = m.rest[size:]
	}
}

// sieve takes frames out of the bytes of one direction.
type sieve struct{ rest []byte }

// pass returns what is left of frames that are complete by now.
func (s *sieve) pass(p []byte, lose func(wire.Type) bool) (kept []byte) {
	s.rest = append(s.rest, p...)
	for len(s.rest) > 1 {
		length, n := binary.Uvarint(s.rest[1:])
		size := 1 + n + int(length)
		if n <= 0 || len(s.rest) < size {
			break
		}
		if !lose(wire.Type(s.rest[0])) {
			kept = append(kept, s.rest[:size]...)
		}
		s.rest = s.rest[size:]
	}
	return kept
}
