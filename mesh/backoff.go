package mesh

import (
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
)

// Waits between attempts to reach the coordinator.
const (
	leastWait   = 100 * time.Millisecond // whatever chance says
	firstWait   = 500 * time.Millisecond // the longest after one failure
	longestWait = time.Minute
	// longestRefused is the longest after a refusal, which people must deal
	// with, and firstRefused after the first.
	longestRefused = 10 * time.Minute
	firstRefused   = 5 * time.Second

	// steadyAfter is how long an accepted session has to last for the waits to
	// begin anew. A coordinator that accepts and hangs up is not called for
	// more often than one that does not answer.
	steadyAfter = 10 * time.Second
)

// backoff says how long to wait before the next attempt.
type backoff struct {
	random   io.Reader
	failures int // in a row
}

func (b *backoff) reset() { b.failures = 0 }

// next returns the wait after one failure more: any time, equally likely, up to
// a longest that doubles.
func (b *backoff) next(refused bool) time.Duration {
	first, limit := firstWait, longestWait
	if refused {
		first, limit = firstRefused, longestRefused
	}
	longest := first
	for range b.failures {
		if longest *= 2; longest >= limit {
			longest = limit
			break
		}
	}
	b.failures++
	return leastWait + b.upTo(longest-leastWait)
}

// upTo draws a time from 0 to d.
func (b *backoff) upTo(d time.Duration) time.Duration {
	var drawn [8]byte
	if _, err := io.ReadFull(b.random, drawn[:]); err != nil {
		return d // without chance, caution
	}
	return time.Duration(binary.BigEndian.Uint64(drawn[:]) % uint64(d+1))
}

// Limits of Poke: a few in a row are heeded at once, then one each so often.
const (
	maxPokes   = 5
	pokeRefill = 12 * time.Second
)

// allowance counts what may be done at once, and grows back by one every so
// often. It does without the time of day, which may jump.
type allowance struct {
	clock exchange.Clock

	mu      sync.Mutex
	left    int
	refill  func() // stops the timer that gives back; nil: none is running
	noticed func() // is called when there is something again
}

func newAllowance(clock exchange.Clock, noticed func()) *allowance {
	return &allowance{clock: clock, left: maxPokes, noticed: noticed}
}

// take reports whether there was something left, and takes it.
func (a *allowance) take() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left == 0 {
		return false
	}
	a.left--
	a.growLocked()
	return true
}

func (a *allowance) growLocked() {
	if a.refill == nil && a.left < maxPokes {
		a.refill = a.clock.AfterFunc(pokeRefill, a.grown)
	}
}

func (a *allowance) grown() {
	a.mu.Lock()
	a.refill = nil
	a.left++
	a.growLocked()
	a.mu.Unlock()
	a.noticed()
}

// stop ends what was begun.
func (a *allowance) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refill != nil {
		a.refill()
	}
}
