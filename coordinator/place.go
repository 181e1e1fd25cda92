package coordinator

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// Limits of places.
const (
	// MaxPlaceAddresses is how many addresses a device may tell.
	MaxPlaceAddresses = 8
	// MaxPlaces is how many devices one is told of.
	MaxPlaces = 64
	// keepPlaces is how long a place is told to others.
	keepPlaces = 3 * time.Hour
)

// Place is where a device says that others on its network can call it: a hint,
// and nothing else.
type Place struct {
	Device    identity.DeviceID
	Addresses []netip.AddrPort
}

// places remembers where devices are. It forgets when the process ends. Its
// size is bounded by that of the rosters.
type places struct {
	mu sync.Mutex // guards what follows
	of map[identity.ZoneID]map[identity.DeviceID]place
}

type place struct {
	Place
	from netip.Addr // as seen from here
	told time.Time
}

// Meet takes in where a device of a zone can be called by others on its
// network, and returns where those can be called that seem to be on the same:
// that come from the same address, or from one within the coordinator's own
// network. from is where this device comes from. The errors are those of the
// roster for a device that is not a member, and ErrNotFound for an unknown zone.
func (c *Coordinator) Meet(ctx context.Context, id identity.ZoneID, device identity.DevicePublic, at []netip.AddrPort, from netip.Addr) (list []Place, err error) {
	err = c.callZone(ctx, id, func(z *zone) error {
		ros := z.replica.Roster()
		if err := ros.MayConnect(device.ID()); err != nil {
			return err
		}
		member := func(d identity.DeviceID) bool { return ros.MayConnect(d) == nil }
		now := place{Place{device.ID(), callable(at, from)}, from, c.cfg.Now()}
		list = c.places.meet(id, now, member)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("meet other devices: %w", err)
	}
	return list, nil
}

// callable leaves out what nobody else can call.
func callable(at []netip.AddrPort, from netip.Addr) (list []netip.AddrPort) {
	for _, a := range at[:min(len(at), MaxPlaceAddresses)] {
		ip := a.Addr().Unmap()
		if a.Port() != 0 && ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && !ip.IsLinkLocalUnicast() &&
			(!ip.IsLoopback() || from.Unmap().IsLoopback()) {
			list = append(list, netip.AddrPortFrom(ip, a.Port()))
		}
	}
	return list
}

// meet replaces a device's place, and returns those of others near it, the
// latest first.
func (p *places) meet(zone identity.ZoneID, now place, member func(identity.DeviceID) bool) (list []Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[identity.ZoneID]map[identity.DeviceID]place{}
	}
	if p.of[zone] == nil {
		p.of[zone] = map[identity.DeviceID]place{}
	}
	p.of[zone][now.Device] = now
	var near []place
	for d, other := range p.of[zone] {
		switch {
		case now.told.Sub(other.told).Abs() > keepPlaces || !member(d):
			delete(p.of[zone], d)
		case d != now.Device && len(other.Addresses) > 0 && sameNetwork(now.from, other.from):
			near = append(near, other)
		}
	}
	slices.SortFunc(near, func(a, b place) int {
		if c := b.told.Compare(a.told); c != 0 {
			return c
		}
		return a.Device.Compare(b.Device)
	})
	for _, other := range near[:min(len(near), MaxPlaces)] {
		list = append(list, other.Place)
	}
	return list
}

// sameNetwork reports whether two addresses, seen from here, may be of devices
// that can call each other: those behind one router have one address.
func sameNetwork(a, b netip.Addr) bool {
	inside := func(a netip.Addr) bool {
		a = a.Unmap()
		return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()
	}
	return inside(a) && inside(b) || networkOf(a) == networkOf(b)
}
