package main

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/classmesh/classmesh/coordinator/api"
	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/records/identity"
)

// How often the coordinator is asked for other devices of the same network: each
// time costs some kilobytes of the uplink.
const (
	meetAgain = time.Hour   // about, while nothing changes
	meetSoon  = time.Minute // when this device has other addresses, and after a failure
)

// meet asks the coordinator, while it is reached, which devices of the zone may
// be on the same network, and tells it where this one is. So devices find each
// other where announcements do not get through.
func (l *lan) meet(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var m meeting
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !l.d.node.HasUplink() || l.isUnplugged() {
			continue
		}
		own := l.callable()
		if !m.due(time.Now(), own) {
			continue
		}
		err := l.meetOnce(ctx, own)
		if errors.Is(err, api.ErrMessage) {
			return // the coordinator is of an earlier release
		}
		if err != nil {
			l.d.logger().Debug("the coordinator does not say where other devices are", "error", err)
		}
		m.done(time.Now(), own, err == nil)
	}
}

// meeting says when to ask the coordinator.
type meeting struct {
	last     time.Time // when it was asked; zero: never
	told     []netip.AddrPort
	failures int // in a row
}

// due reports whether it is time to ask for a device with these addresses.
func (m *meeting) due(now time.Time, own []netip.AddrPort) bool {
	wait := meetAgain
	switch {
	case m.last.IsZero():
		return true
	case m.failures > 0:
		wait = min(meetSoon<<min(m.failures-1, 10), meetAgain)
	case !slices.Equal(own, m.told):
		wait = meetSoon
	}
	return now.Sub(m.last) >= wait
}

// done notes that it was asked.
func (m *meeting) done(now time.Time, own []netip.AddrPort, ok bool) {
	m.last, m.told = now, own
	if m.failures++; ok {
		m.failures = 0
	}
}

func (l *lan) meetOnce(ctx context.Context, own []netip.AddrPort) error {
	list, err := api.Meet(ctx, api.MeetConfig{
		URLs: l.d.settings.Addresses, Coordinator: identity.DevicePublic(l.d.settings.Coordinator),
		Key: l.d.key, Zone: l.d.replica.Zone(), Addresses: own, Proxy: http.ProxyFromEnvironment,
	})
	for _, p := range list {
		for _, ap := range p.Addresses {
			if a, err := discovery.AddressOf(ap); err == nil {
				l.found(discovery.Sighting{Device: p.Device, Address: a, Source: discovery.Coordinator})
			}
		}
	}
	return err
}

// callable returns where others can call this device, but for link-local
// addresses, which mean nothing elsewhere.
func (l *lan) callable() (list []netip.AddrPort) {
	interfaces, err := l.interfaces()
	if err != nil {
		return nil
	}
	for _, i := range interfaces {
		for _, p := range i.Prefixes {
			if !p.Addr().IsLinkLocalUnicast() {
				list = append(list, netip.AddrPortFrom(p.Addr(), l.port))
			}
		}
	}
	return list
}

func (l *lan) isUnplugged() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unplugged
}
