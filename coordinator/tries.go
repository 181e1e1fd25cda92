package coordinator

import (
	"net/netip"
	"sync"
	"time"
)

// Limits on guessing.
const (
	// MaxTries is how many wrong codes a network may try within TryWindow.
	MaxTries = 10
	// TryWindow is the time over which wrong codes are counted.
	TryWindow = time.Hour
	// maxTriesOfAll is how many wrong codes all networks together may try
	// within TryWindow. With a thousand invitations open, that finds one of
	// them in a million hours and more.
	maxTriesOfAll = 50_000
)

// tries counts wrong codes by the network they come from: an address of IPv4, a
// /64 of IPv6. It forgets when the process ends. Its size is bounded by
// maxTriesOfAll.
type tries struct {
	now func() time.Time

	mu    sync.Mutex // guards what follows
	began time.Time  // of the window
	all   int
	of    map[netip.Prefix]int
}

func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // the zero address is a network as any other
	return p
}

// allowed reports whether a code from that address may be looked at.
func (t *tries) allowed(from netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn()
	return t.all < maxTriesOfAll && t.of[networkOf(from)] < MaxTries
}

// count notes a wrong code.
func (t *tries) count(from netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn()
	t.all++
	t.of[networkOf(from)]++
}

// turn begins a new window when the last is over; mu is held.
func (t *tries) turn() {
	if now := t.now(); t.of == nil || now.Sub(t.began) >= TryWindow || now.Before(t.began) {
		t.began, t.all, t.of = now, 0, map[netip.Prefix]int{}
	}
}
