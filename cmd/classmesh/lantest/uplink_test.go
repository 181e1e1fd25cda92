//go:build linux

package lantest

import (
	"testing"
	"time"

	"github.com/classmesh/classmesh/discovery/lantest"
)

// safe waits until every device says that everything is safe at the centre.
func (s *school) safe(within time.Duration) time.Duration {
	s.t.Helper()
	return s.all(s.rooms, within, "everything is safe at the centre", func(r *room) bool {
		return r.seen() == s.answers && r.status().Uplink.NotYetSafe == 0
	})
}

// One device has the Internet, then another one. The work of all reaches the
// coordinator, and all know that it did.
func TestUplinkMoves(t *testing.T) {
	s := newSchool(t, 5)
	s.startAll()
	s.mesh(s.rooms...)
	for _, r := range s.rooms {
		r.work(1)
	}
	s.agree(s.rooms...)
	for _, r := range s.rooms {
		if r.status().Uplink.NotYetSafe == 0 {
			t.Fatalf("%s says that everything is safe, without an uplink", r.name)
		}
	}
	s.Uplink(2, true)
	t.Logf("by Room 2 everything was safe after %v", s.safe(patience))
	s.lesson(8*time.Second, s.rooms...) // long enough to be no flicker
	s.safe(patience)
	s.Uplink(2, false)
	for _, r := range s.rooms {
		r.work(1)
	}
	s.agree(s.rooms...)
	if s.rooms[0].status().Uplink.NotYetSafe == 0 {
		t.Fatal("everything is said to be safe although nobody has an uplink")
	}
	s.Uplink(4, true)
	t.Logf("by Room 4 everything was safe after %v", s.safe(45*time.Second)) // sooner than receipts would tell

	// The Internet goes away behind its router, without any sign.
	s.LoseInternet(4)
	for _, r := range s.rooms {
		r.work(1)
	}
	s.agree(s.rooms...)
	s.Uplink(5, true)
	t.Logf("by Room 5 everything was safe after %v", s.safe(3*time.Minute))
	s.finish()
}

// What a teacher would try: three laptops on one switch, without the Internet,
// one command each.
func TestThreeLaptops(t *testing.T) {
	s := newSchool(t, 3)
	s.startAll()
	t.Logf("all connected after %v", s.mesh(s.rooms...))
	for _, r := range s.rooms {
		r.work(1)
		took := s.all(s.rooms, patience, "an answer is everywhere", func(r *room) bool { return r.seen() == s.answers })
		t.Logf("an answer at %s was everywhere after %v", r.name, took)
	}

	// One is carried home, where there is another network and nobody else.
	home := s.Namespace("home")
	s.IP("-n", home, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	s.IP("-n", home, "link", "set", "br0", "up")
	traveller, others := s.rooms[2], s.rooms[:2]
	s.IP("-n", s.Host(3), "link", "delete", "eth0")
	s.cable(home, lantest.Port(3), s.Host(3), "eth0", "192.168.1.20/24")
	traveller.work(3)
	s.rooms[0].work(2)
	s.all(others, patience, "it is missed", func(r *room) bool { return r.status().linked() == 1 })
	s.await(patience, "it knows that it is alone", func() bool { return traveller.status().linked() == 0 })
	if traveller.seen() != s.answers-2 || s.rooms[1].seen() != s.answers-3 {
		t.Error("work has travelled without a way")
	}

	// Back at school it gets another address.
	s.IP("-n", s.Host(3), "link", "delete", "eth0")
	s.cable(s.Switch(), lantest.Port(3), s.Host(3), "eth0", "10.77.0.33/24")
	t.Logf("back at school all agree after %v", s.agree(s.rooms...))
	s.mesh(s.rooms...)

	s.Uplink(1, true)
	t.Logf("with the Internet at Room 1 everything was safe after %v", s.safe(patience))
	s.finish()
}
