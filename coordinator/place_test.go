package coordinator_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Devices of a zone are told of those that seem to be on their network, and of
// nobody else.
func TestMeet(t *testing.T) {
	c := newCentre(t, t.TempDir())
	zone := c.zone("School")
	keys := make([]identity.DeviceKey, 5)
	for i := range keys {
		keys[i] = newKey(t)
		_, err := c.Register(within(t), application(keys[i], c.invite(zone)))
		must(t, err)
	}
	meet := func(i int, from string, at ...string) (names []int) {
		t.Helper()
		var list []netip.AddrPort
		for _, a := range at {
			list = append(list, netip.MustParseAddrPort(a))
		}
		places, err := c.Meet(within(t), zone, keys[i].Public(), list, netip.MustParseAddr(from))
		must(t, err)
		for _, p := range places {
			names = append(names, slices.IndexFunc(keys, func(k identity.DeviceKey) bool { return k.Public().ID() == p.Device }))
			if len(p.Addresses) == 0 {
				t.Errorf("%v without an address", p.Device)
			}
		}
		slices.Sort(names)
		return names
	}
	expect := func(got []int, want ...int) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("told of %v, want %v", got, want)
		}
	}
	expect(meet(0, "203.0.113.5", "192.168.1.10:7701"))
	expect(meet(1, "203.0.113.5", "192.168.1.11:7701"), 0)         // behind the same router
	expect(meet(2, "203.0.113.6", "192.168.1.12:7701"))            // behind another one
	expect(meet(3, "10.1.2.3", "10.1.2.3:7701", "[fd00::3]:7701")) // where the coordinator is
	expect(meet(4, "192.168.77.4", "192.168.77.4:7701"), 3)        // there too
	expect(meet(0, "203.0.113.5", "192.168.1.10:7701"), 1)
	// Who has nothing that others can call, or has moved away, is told of no more.
	expect(meet(1, "203.0.113.5", "127.0.0.1:7701", "0.0.0.0:7701", "224.0.0.1:7701", "169.254.1.1:7701", "192.168.1.11:0"), 0)
	expect(meet(0, "203.0.113.5", "192.168.1.10:7701"))
	expect(meet(1, "203.0.113.6", "192.168.1.11:7701"), 2)
	// Neither is who was removed, or was not heard of for long.
	must(t, c.Revoke(within(t), zone, keys[2].Public().ID()))
	expect(meet(1, "203.0.113.6", "192.168.1.11:7701"))
	c.advance(4 * time.Hour)
	expect(meet(4, "192.168.77.4", "192.168.77.4:7701"))

	many := make([]netip.AddrPort, 100)
	for i := range many {
		many[i] = netip.MustParseAddrPort(fmt.Sprintf("10.1.3.%d:7701", i+1))
	}
	_, err := c.Meet(within(t), zone, keys[3].Public(), many, netip.MustParseAddr("10.1.2.3"))
	must(t, err)
	places, err := c.Meet(within(t), zone, keys[4].Public(), nil, netip.MustParseAddr("10.1.2.4"))
	must(t, err)
	if len(places) != 1 || len(places[0].Addresses) != coordinator.MaxPlaceAddresses {
		t.Errorf("of many addresses are told: %v", places)
	}

	if _, err := c.Meet(within(t), zone, keys[2].Public(), nil, netip.Addr{}); !errors.Is(err, roster.ErrRevoked) {
		t.Errorf("removed: %v", err)
	}
	if _, err := c.Meet(within(t), zone, newKey(t).Public(), nil, netip.Addr{}); !errors.Is(err, roster.ErrUnknownDevice) {
		t.Errorf("unknown: %v", err)
	}
	if _, err := c.Meet(within(t), identity.ZoneID{1}, keys[0].Public(), nil, netip.Addr{}); !errors.Is(err, coordinator.ErrNotFound) {
		t.Errorf("unknown zone: %v", err)
	}
}
