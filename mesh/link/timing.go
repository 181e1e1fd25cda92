package link

import (
	"fmt"
	"time"
)

// Timing says how soon a silent peer is given up. The smaller Idle of both
// sides holds.
type Timing struct {
	// Idle is how long nothing may be heard of the peer.
	Idle time.Duration
	// KeepAlive is how long a quiet connection waits before it sends a sign
	// of life; at most half of Idle.
	KeepAlive time.Duration
}

// TimingLAN notices within half a minute that a device was switched off. It
// is the default.
func TimingLAN() Timing { return Timing{Idle: 30 * time.Second, KeepAlive: 10 * time.Second} }

// TimingInternet spares a metered line, but keeps the door of a router open
// (they forget an idle UDP flow after 30 s at the earliest).
func TimingInternet() Timing { return Timing{Idle: 90 * time.Second, KeepAlive: 25 * time.Second} }

func (t *Timing) setDefaults() error {
	if *t == (Timing{}) {
		*t = TimingLAN()
	}
	if t.KeepAlive <= 0 || t.Idle < 2*t.KeepAlive {
		return fmt.Errorf("timing of %v idle and %v keep-alive: the first must be at least twice the second", t.Idle, t.KeepAlive)
	}
	return nil
}

// handshakeWait bounds every handshake that a listener takes part in.
const handshakeWait = 8 * time.Second
