package mdns

import (
	"time"

	"github.com/grandcat/zeroconf"
)

// maxDoublings is how often the time of a browse is doubled. What a browse has
// found counts for ten minutes (package discovery); the longest takes eight.
const maxDoublings = 3

// families are those in which announcements are sent.
var families = []zeroconf.IPType{zeroconf.IPv4, zeroconf.IPv6}

// rounds says how to look for others on an interface: eagerly at first, and then
// less and less, since every question is answered by all devices to all, over
// both families whichever it came by.
type rounds struct {
	n       int               // since the beginning
	working []zeroconf.IPType // families in which the first could be asked
}

// next returns over what to ask in the next browse, and how long that lasts, given
// the time of the first: both families at first, and later one after the other.
func (r *rounds) next(first time.Duration) (over []zeroconf.IPType, lasts time.Duration) {
	if r.n == 0 {
		return families, first
	}
	i := r.n % len(r.working)
	return r.working[i : i+1], first << min(r.n, maxDoublings)
}

// done takes in over what it was possible to ask. If over nothing, it begins anew.
func (r *rounds) done(worked []zeroconf.IPType) {
	if r.n == 0 {
		r.working = worked
	}
	if r.n++; len(worked) == 0 {
		*r = rounds{}
	}
}
