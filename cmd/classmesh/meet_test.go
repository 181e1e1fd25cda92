package main

import (
	"net/netip"
	"testing"
	"time"
)

// TestMeetingSparesTheUplink: the coordinator is asked when there is reason to,
// and not more than about once an hour otherwise.
func TestMeetingSparesTheUplink(t *testing.T) {
	here := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:7701")}
	there := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:7701")}
	now := time.Unix(1e9, 0)
	asked := func(m *meeting, own []netip.AddrPort, during time.Duration, ok bool) (n int) {
		for end := now.Add(during); now.Before(end); now = now.Add(time.Second) {
			if m.due(now, own) {
				m.done(now, own, ok)
				n++
			}
		}
		return n
	}
	var m meeting
	if n := asked(&m, here, 24*time.Hour, true); n != 24 {
		t.Errorf("asked %d times in a day", n)
	}
	if n := asked(&m, there, 2*time.Minute, true); n != 1 {
		t.Errorf("asked %d times about another address", n)
	}
	if n := asked(&m, there, 24*time.Hour, false); n < 25 || n > 35 {
		t.Errorf("asked %d times in a day without an answer", n)
	}
	if n := asked(&m, there, 2*time.Hour, true); n != 2 {
		t.Errorf("asked %d times in two hours after that", n)
	}
}
