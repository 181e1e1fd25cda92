package mdns

import (
	"slices"
	"testing"
	"time"

	"github.com/grandcat/zeroconf"
)

// TestRounds: after the first browse devices are asked for less often, over one
// family at a time and none of them forgotten, until nothing can be asked.
func TestRounds(t *testing.T) {
	both := []zeroconf.IPType{zeroconf.IPv4, zeroconf.IPv6}
	var r rounds
	for i, want := range []struct {
		over  []zeroconf.IPType
		lasts time.Duration
	}{
		{both, time.Minute}, {both[1:], 2 * time.Minute}, {both[:1], 4 * time.Minute}, {both[1:], 8 * time.Minute}, {both[:1], 8 * time.Minute},
	} {
		over, lasts := r.next(time.Minute)
		if !slices.Equal(over, want.over) || lasts != want.lasts {
			t.Errorf("browse %d: %v for %v, want %v for %v", i, over, lasts, want.over, want.lasts)
		}
		r.done(over)
	}
	r.done(nil)
	if over, lasts := r.next(time.Minute); !slices.Equal(over, both) || lasts != time.Minute {
		t.Errorf("after nothing could be asked: %v for %v", over, lasts)
	}
	r.done(both[:1]) // a host without IPv6
	for range 3 {
		over, _ := r.next(time.Minute)
		if !slices.Equal(over, both[:1]) {
			t.Errorf("asked over %v", over)
		}
		r.done(over)
	}
}
