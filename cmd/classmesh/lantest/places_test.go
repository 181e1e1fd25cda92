//go:build linux

package lantest

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/classmesh/classmesh/discovery/lantest"
)

// A firewall lets no UDP through: neither QUIC nor announcements. One typed
// address is enough, and exchange goes over WebSocket.
func TestNoUDP(t *testing.T) {
	s := newSchool(t, 4)
	s.Filter(noUDP)
	s.rooms[0].start()
	for _, r := range s.rooms[1:] {
		r.start("--peer", "10.77.0.1:7701")
	}
	t.Logf("all connected after %v", s.mesh(s.rooms...))
	for _, r := range s.rooms {
		r.work(2)
	}
	t.Logf("all agree after %v", s.agree(s.rooms...))
	for _, r := range s.rooms {
		for _, p := range r.status().Peers {
			if p.State != "connected" || p.Transport != "websocket" {
				t.Errorf("%s is %s by %q with %s", r.name, p.State, p.Transport, p.Name)
			}
		}
		if out := r.doctor(); !strings.Contains(out, "seems to block UDP") {
			t.Errorf("the doctor of %s says: %s", r.name, out)
		}
	}
	s.finish()
}

// An access point keeps its clients from each other. What they do goes by the
// coordinator, and they say what is wrong.
func TestClientIsolation(t *testing.T) {
	s := newSchool(t, 3)
	for _, r := range s.rooms {
		s.Uplink(r.number, true)
	}
	s.startAll()
	s.mesh(s.rooms...)
	s.rooms[0].work(1)
	s.agree(s.rooms...)
	for _, r := range s.rooms {
		s.Isolate(r.number, true)
	}
	s.all(s.rooms, patience, "no connection is left", func(r *room) bool { return r.status().linked() == 0 })
	for _, r := range s.rooms {
		r.work(2)
	}
	t.Logf("all agree after %v", s.agree(s.rooms...))
	s.all(s.rooms, patience, "the doctor says what is wrong", func(r *room) bool {
		return strings.Contains(r.doctor(), "This network does not let devices see each other: ")
	})
	t.Log(s.rooms[0].doctor())

	// Those that are started now have heard nothing of each other.
	for _, r := range s.rooms {
		r.stop()
	}
	s.startAll()
	for _, r := range s.rooms {
		r.work(1)
	}
	s.all(s.rooms, patience, "the doctor says what may be wrong, and who is there", func(r *room) bool {
		out := r.doctor()
		for _, other := range s.rooms {
			if other != r && !strings.Contains(out, other.name) {
				return false
			}
		}
		return strings.Contains(out, "this network does not let devices see each other: ")
	})
	t.Log(s.rooms[0].doctor())
	for _, r := range s.rooms {
		s.Isolate(r.number, false)
	}
	t.Logf("all connected again after %v", s.mesh(s.rooms...))
	// Whichever way they have found to each other, nothing keeps them apart.
	if out := s.rooms[0].doctor(); strings.Contains(out, "does not let devices see each other") {
		t.Errorf("the doctor says: %s", out)
	}
	s.finish()
}

// The address of a device changes, a cable is pulled and put in again, an
// interface is switched off and on.
func TestOtherAddress(t *testing.T) {
	s := newSchool(t, 3)
	s.startAll()
	s.mesh(s.rooms...)
	one := s.rooms[0]
	s.Address(1, "10.77.0.101/24")
	one.work(1)
	t.Logf("after a new lease all agree after %v", s.agree(s.rooms...))
	t.Logf("and are connected %v later", s.await(patience, "nobody calls at the former address", func() bool {
		for _, r := range s.rooms[1:] {
			if !slices.ContainsFunc(r.status().Peers, func(p peer) bool {
				return p.Name == one.name && p.State == "connected" && !strings.HasPrefix(p.Address, "10.77.0.1:")
			}) {
				return false
			}
		}
		return true
	}))

	s.Plug(2, false)
	s.rooms[1].work(1)
	one.work(1)
	s.await(patience, "it knows that the cable is out", func() bool { return strings.Contains(s.rooms[1].doctor(), "in no network") })
	s.all([]*room{one, s.rooms[2]}, patience, "the missing one is missed", func(r *room) bool { return r.status().linked() == 1 })
	s.Plug(2, true)
	t.Logf("after a cable all agree after %v", s.agree(s.rooms...))
	t.Logf("and are connected %v later", s.mesh(s.rooms...))

	s.IP("-n", s.Host(3), "link", "set", "eth0", "down")
	s.rooms[2].work(1)
	s.await(patience, "it knows that it is in no network", func() bool {
		return strings.Contains(s.rooms[2].doctor(), "in no network")
	})
	one.work(1)
	s.IP("-n", s.Host(3), "link", "set", "eth0", "up")
	t.Logf("after an interface all agree after %v", s.agree(s.rooms...))
	t.Logf("and are connected %v later", s.mesh(s.rooms...))
	s.finish()
}

// Two networks of a school with a router in between, which passes on no
// multicast. One device is told an address on the other side.
func TestTwoSubnets(t *testing.T) {
	s := newSchool(t, 4)
	router, other := s.Namespace("r"), s.Namespace("sw2")
	s.IP("-n", router, "link", "set", "lo", "up")
	s.IP("-n", other, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	s.IP("-n", other, "link", "set", "br0", "up")
	s.cable(s.Switch(), "r", router, "eth0", "10.77.0.254/24")
	s.cable(other, "r", router, "eth1", "10.78.0.254/24")
	s.in(router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
	for i := 1; i <= 4; i++ {
		gateway := "10.77.0.254"
		if i > 2 {
			gateway = "10.78.0.254"
			s.IP("-n", s.Host(i), "link", "delete", "eth0")
			s.cable(other, lantest.Port(i), s.Host(i), "eth0", "10.78.0."+string(rune('0'+i))+"/24")
		}
		s.IP("-n", s.Host(i), "route", "add", "default", "via", gateway)
	}
	for _, r := range s.rooms[:3] {
		r.start()
	}
	s.rooms[3].start("--peer", "10.77.0.1:7701")
	t.Logf("all connected after %v", s.mesh(s.rooms...))
	for _, r := range s.rooms {
		r.work(1)
	}
	s.finish()
}

// While a device is away, the others forget that it exists: their address books
// are lost, and it comes back where no announcement is heard.
func TestForgottenDeviceReturns(t *testing.T) {
	s := newSchool(t, 4)
	s.startAll()
	s.mesh(s.rooms...)
	lost := s.rooms[3]
	lost.work(1)
	s.agree(s.rooms...)
	s.Plug(4, false)
	lost.work(2)
	lost.stop()
	for _, r := range s.rooms[:3] { // all of them first: who still runs would remind the others
		r.stop()
		if err := os.Remove(r.addresses()); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range s.rooms[:3] {
		r.start()
		r.work(1)
	}
	s.mesh(s.rooms[:3]...)
	for _, r := range s.rooms[:3] {
		if slices.ContainsFunc(r.status().Peers, func(p peer) bool { return p.Name == lost.name }) {
			t.Fatalf("%s remembers %s", r.name, lost.name)
		}
	}
	s.Filter(noMulticast)
	s.Plug(4, true)
	lost.start()
	t.Logf("all connected after %v", s.mesh(s.rooms...))
	s.finish()
}

// The lid of a laptop is closed for a while. Nobody is told, neither it nor the
// others; when it wakes it catches up.
func TestAsleep(t *testing.T) {
	s := newSchool(t, 3)
	s.startAll()
	s.mesh(s.rooms...)
	sleeper, others := s.rooms[0], s.rooms[1:]
	sleeper.work(1)
	s.agree(s.rooms...)
	sleeper.p.cmd.Process.Signal(syscall.SIGSTOP)
	s.all(others, patience, "the sleeper is missed", func(r *room) bool { return r.status().linked() == 1 })
	for _, r := range others {
		r.work(1)
	}
	sleeper.p.cmd.Process.Signal(syscall.SIGCONT)
	t.Logf("awake again, all agree after %v", s.agree(s.rooms...))
	s.mesh(s.rooms...)
	s.finish()
}

// Work is carried from network to network by devices that are never on at the
// same time with its author, and word that it is safe is carried back.
func TestCarried(t *testing.T) {
	s := newSchool(t, 3)
	author, carrier, last := s.rooms[0], s.rooms[1], s.rooms[2]
	author.start()
	carrier.start()
	s.mesh(author, carrier)
	author.work(3)
	s.agree(author, carrier)
	author.kill()

	last.start()
	s.mesh(carrier, last)
	s.agree(carrier, last)
	carrier.stop()
	s.Uplink(last.number, true)
	s.await(patience, "it is at the centre", func() bool { return last.status().Uplink.NotYetSafe == 0 })
	s.Uplink(last.number, false)

	carrier.start()
	s.mesh(carrier, last)
	s.await(patience, "the carrier knows", func() bool { return carrier.status().Uplink.NotYetSafe == 0 })
	last.stop()
	if author.status().Uplink.NotYetSafe == 0 {
		t.Error("the author knows that its work is safe before it has met anybody")
	}
	author.start()
	s.mesh(author, carrier)
	s.await(patience, "the author knows", func() bool { return author.status().Uplink.NotYetSafe == 0 })
	last.start()
	s.finish()
}
