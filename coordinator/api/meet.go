package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records/identity"
)

// MeetConfig says where a device of a zone is, and whom to tell. All but Proxy
// and Timeout are required.
type MeetConfig struct {
	// URLs are where the coordinator is, as link.DialConfig.Addresses, and
	// Coordinator is its key.
	URLs        []string
	Coordinator identity.DevicePublic
	Key         identity.DeviceKey // of this device
	Zone        identity.ZoneID
	// Addresses are where others on the same network can call this device; of
	// more than coordinator.MaxPlaceAddresses the first count.
	Addresses []netip.AddrPort
	Timeout   time.Duration // as in RegisterConfig
	Proxy     func(*http.Request) (*url.URL, error)
}

// Meet tells the coordinator where this device is, and returns where other
// devices of the zone are that seem to be on the same network. These are hints.
// A coordinator of an earlier release answers with ErrMessage.
func Meet(ctx context.Context, cfg MeetConfig) ([]coordinator.Place, error) {
	q := request{Version: version, Meet: &meet{cfg.Zone, formatAddresses(cfg.Addresses[:min(len(cfg.Addresses), coordinator.MaxPlaceAddresses)])}}
	a, _, err := ask(ctx, link.DialConfig{Key: cfg.Key, Addresses: cfg.URLs, Timeout: cfg.Timeout, Proxy: cfg.Proxy},
		func(peer identity.DevicePublic) bool { return peer == cfg.Coordinator }, &q)
	if err == nil && a.Met == nil {
		err = ErrAnswer
	}
	if err != nil {
		return nil, fmt.Errorf("ask the coordinator for other devices: %w", err)
	}
	var list []coordinator.Place
	for _, p := range a.Met.Places {
		list = append(list, coordinator.Place{Device: p.Device, Addresses: parseAddresses(p.Addresses)})
	}
	return list, nil
}

// parseAddresses leaves out what is not an IP address with a port.
func parseAddresses(texts []string) (list []netip.AddrPort) {
	for _, text := range texts {
		if a, err := netip.ParseAddrPort(text); err == nil {
			list = append(list, a)
		}
	}
	return list
}

func formatAddresses(list []netip.AddrPort) (texts []string) {
	for _, a := range list {
		texts = append(texts, a.String())
	}
	return texts
}
