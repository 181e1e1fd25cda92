package mdns

import (
	"net"

	"github.com/grandcat/zeroconf"

	"github.com/classmesh/classmesh/discovery"
)

// Bounds that tests reach.
const (
	MaxInstances = maxInstances
	MaxTags      = maxTags
)

// Flood gives a service n entries as one browse of the library would, and
// returns how often it asked to stop.
func (s *Service) Flood(on discovery.Interface, n int, text []string, ip net.IP) (stops int) {
	entries := make(chan *zeroconf.ServiceEntry, n)
	for range n {
		entry := zeroconf.NewServiceEntry("x", service, domain)
		entry.Port, entry.Text, entry.AddrIPv4 = 4433, text, []net.IP{ip}
		entries <- entry
	}
	close(entries)
	s.collect(on, newest(s.cfg.Keys()), entries, func() { stops++ })
	return stops
}

// Take gives a service an entry as the library would.
func (s *Service) Take(on discovery.Interface, port int, text []string, ips ...net.IP) {
	entry := zeroconf.NewServiceEntry("x", service, domain)
	entry.Port, entry.Text = port, text
	for _, ip := range ips {
		if ip.To4() != nil {
			entry.AddrIPv4 = append(entry.AddrIPv4, ip)
		} else {
			entry.AddrIPv6 = append(entry.AddrIPv6, ip)
		}
	}
	s.take(on, newest(s.cfg.Keys()), entry)
}

// Text returns the TXT record of a device that holds keys.
func (s *Service) Text() []string {
	a := announcement{protocolMin: s.cfg.ProtocolMin, protocolMax: s.cfg.ProtocolMax, random: s.random}
	keys := newest(s.cfg.Keys())
	for _, key := range keys[:min(len(keys), maxTags)] {
		a.tags = append(a.tags, zoneTag(key, s.random))
	}
	return a.text()
}

// Reparse reads a TXT record and writes it again.
func Reparse(text []string) ([]string, bool) {
	a, err := parseAnnouncement(text)
	return a.text(), err == nil
}

// Announced lists the addresses that are announced on an interface.
var Announced = announced
