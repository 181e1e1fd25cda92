//go:build linux

package lantest

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Nothing is said to anybody: the devices find each other by announcements.
func TestFoundByAnnouncement(t *testing.T) {
	s := newSchool(t, 4)
	s.startAll()
	t.Logf("all connected after %v", s.mesh(s.rooms...))
	for _, r := range s.rooms {
		r.work(2)
	}
	s.finish()
	for _, r := range s.rooms {
		for _, p := range r.status().Peers {
			if !slices.Contains(p.Via, "mdns") && !slices.Contains(p.Via, "gossip") {
				t.Errorf("%s knows %s by %v", r.name, p.Name, p.Via)
			}
		}
	}
}

// Nobody gives out addresses: there are those alone that each interface gives
// itself.
func TestNoDHCP(t *testing.T) {
	s := newSchool(t, 3)
	for _, r := range s.rooms {
		s.IP("-n", s.Host(r.number), "-4", "addr", "flush", "dev", "eth0")
		s.IP("-n", s.Host(r.number), "link", "set", "eth1", "down")
	}
	s.startAll()
	t.Logf("all connected after %v", s.mesh(s.rooms...))
	for _, r := range s.rooms {
		r.work(1)
		for _, p := range r.status().Peers {
			if !strings.HasPrefix(p.Address, "[fe80::") {
				t.Errorf("%s calls %s at %s", r.name, p.Name, p.Address)
			}
		}
	}
	s.finish()
}

// Multicast is blocked everywhere. One address that somebody typed is enough
// for all.
func TestFoundByTypedAddress(t *testing.T) {
	s := newSchool(t, 4)
	s.Filter(noMulticast)
	s.rooms[0].start()
	for _, r := range s.rooms[1:] {
		r.start("--peer", "10.77.0.1:7701")
	}
	t.Logf("all connected after %v", s.mesh(s.rooms...))
	for _, r := range s.rooms {
		r.work(1)
		for _, p := range r.status().Peers {
			if slices.Contains(p.Via, "mdns") {
				t.Errorf("%s heard an announcement of %s", r.name, p.Name)
			}
		}
	}
	// All of them remember, whether they end in good order or not.
	s.rooms[0].stop()
	s.rooms[1].stop()
	s.rooms[2].kill()
	s.rooms[3].kill()
	s.startAll()
	t.Logf("all connected again after %v", s.mesh(s.rooms...))
	s.rooms[2].work(1)
	s.finish()
}

// Multicast is blocked everywhere, and nobody types or remembers anything. Who
// reaches the coordinator learns there who else is in the house.
func TestFoundByCoordinator(t *testing.T) {
	s := newSchool(t, 4)
	s.Filter(noMulticast)
	for _, r := range s.rooms {
		s.Uplink(r.number, true)
	}
	s.startAll()
	t.Logf("all connected after %v", s.mesh(s.rooms...))
	told := false
	for _, r := range s.rooms {
		r.work(1)
		for _, p := range r.status().Peers {
			told = told || slices.Contains(p.Via, "coordinator")
		}
	}
	if !told {
		t.Error("nobody has heard of anybody by the coordinator")
	}
	s.finish()
}

// All devices lose power; multicast is blocked, and only one of them remembers
// where the others were. It is on first, and finds nobody for a while.
func TestFoundByRememberedAddress(t *testing.T) {
	s := newSchool(t, 4)
	s.startAll()
	s.mesh(s.rooms...)
	s.rooms[0].work(1)
	one := s.rooms[0]
	s.await(patience, "the addresses are on disk", func() bool {
		b, err := os.ReadFile(one.addresses())
		return err == nil && strings.Contains(string(b), "10.77.0.2:7701") && strings.Contains(string(b), "10.77.0.3:7701") && strings.Contains(string(b), "10.77.0.4:7701")
	})
	s.Filter(noMulticast)
	for _, r := range s.rooms {
		r.kill()
		if r != one {
			if err := os.Remove(r.addresses()); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
	one.start()
	s.await(patience, "nobody answers", func() bool {
		st := one.status()
		return len(st.Peers) == 3 && !slices.ContainsFunc(st.Peers, func(p peer) bool { return p.State != "unreachable" })
	})
	for _, r := range s.rooms[1:] {
		r.start()
	}
	t.Logf("all connected again after %v", s.mesh(s.rooms...))
	s.rooms[3].work(1)
	s.finish()
}
