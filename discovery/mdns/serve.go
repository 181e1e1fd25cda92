package mdns

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/grandcat/zeroconf"
	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/discovery"
)

const (
	service = "_classmesh._udp"
	domain  = "local."

	// renewAfter is how long one announcement stands: its sockets may have
	// failed without anybody noticing.
	renewAfter = 15 * time.Minute
	// retryAfter is the wait after sockets could not be opened.
	retryAfter = 10 * time.Second
	// noKeyLook is how often it is looked whether there is a key by now.
	noKeyLook = 5 * time.Second

	// maxAddresses bounds the addresses of one instance, of each family.
	maxAddresses = 4
	// maxInstances bounds what one browse takes in: a browse that meets more
	// ends early, and with it the memory that the library spends on each.
	maxInstances = 2048
)

// serve announces and browses on one interface until ctx ends.
func (s *Service) serve(ctx context.Context, on discovery.Interface) {
	log := s.cfg.Logger.With("interface", on.Name)
	var server *zeroconf.Server
	var since time.Time
	goodbye := func() {
		if server != nil {
			contained(func() error { server.Shutdown(); return nil })
			server = nil
		}
	}
	defer goodbye()
	told := ""
	var looked rounds
	for ctx.Err() == nil {
		changed := s.keysChanged()
		keys := newest(s.cfg.Keys())
		if len(keys) == 0 {
			goodbye()
			wait(ctx, changed, noKeyLook)
			continue
		}
		if server == nil || time.Since(since) > renewAfter {
			goodbye()
			err := contained(func() (err error) {
				server, err = s.announce(on, keys)
				return err
			})
			since = time.Now()
			if text := fmt.Sprint(err); err != nil && text != told {
				told = text
				log.Warn("this device is not announced on the network", "error", err)
			}
		}
		over, lasts := looked.next(s.browseTime())
		worked := s.browse(ctx, on, keys, changed, over, lasts)
		looked.done(worked)
		if len(worked) == 0 {
			if told == "" {
				told = "no browse"
				log.Warn("devices cannot be looked for on the network: no multicast")
			}
			wait(ctx, changed, retryAfter)
		}
		select {
		case <-changed:
			goodbye()
			looked = rounds{}
		default:
		}
	}
}

// wait returns after a while, or when ctx ends or the channel is closed.
func wait(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
}

// contained calls f and returns what it panics with as an error.
func contained(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("multicast DNS failed inside: %v", p)
		}
	}()
	return f()
}

// announce tells the network of this device, under names that are new.
func (s *Service) announce(on discovery.Interface, keys []discovery.ZoneKey) (*zeroconf.Server, error) {
	a := announcement{protocolMin: s.cfg.ProtocolMin, protocolMax: s.cfg.ProtocolMax, random: s.random}
	for _, key := range keys[:min(len(keys), maxTags)] {
		a.tags = append(a.tags, zoneTag(key, s.random))
	}
	var ips []string
	for _, ip := range announced(on) {
		ips = append(ips, ip.String())
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("announce device: %s has no address", on.Name)
	}
	var drawn [8]byte
	if _, err := io.ReadFull(s.cfg.Random, drawn[:]); err != nil {
		return nil, fmt.Errorf("announce device: draw a name: %w", err)
	}
	name := hex.EncodeToString(drawn[:])
	server, err := zeroconf.RegisterProxy(name, service, domain, int(s.cfg.Port), name, ips, a.text(), []net.Interface{netInterface(on)})
	if err != nil {
		return nil, fmt.Errorf("announce device: %w", err)
	}
	return server, nil
}

// announced returns the addresses of an interface that others on it can call.
func announced(on discovery.Interface) []netip.Addr {
	var list []netip.Addr
	v4, v6 := 0, 0
	for _, p := range on.Prefixes {
		switch ip := p.Addr(); {
		case ip.IsLoopback() && on.Flags&net.FlagLoopback == 0:
		case ip.Is4() && v4 < maxAddresses:
			v4++
			list = append(list, ip)
		case ip.Is6() && v6 < maxAddresses:
			v6++
			list = append(list, ip)
		}
	}
	return list
}

func netInterface(i discovery.Interface) net.Interface {
	return net.Interface{Index: i.Index, Name: i.Name, Flags: i.Flags}
}

// browse looks for others for a while, until the keys change, or until ctx
// ends. It returns over which of the families it could.
func (s *Service) browse(ctx context.Context, on discovery.Interface, keys []discovery.ZoneKey, changed <-chan struct{}, over []zeroconf.IPType, lasts time.Duration) (worked []zeroconf.IPType) {
	ctx, stop := context.WithTimeout(ctx, lasts)
	defer stop()
	var group errgroup.Group
	group.Go(func() error {
		select {
		case <-changed:
			stop()
		case <-ctx.Done():
		}
		return nil
	})
	// One resolver for each family: one for both would leave its IPv4 socket
	// open where there is no IPv6.
	var resolvers errgroup.Group
	failed := make([]error, len(over))
	for i, family := range over {
		resolvers.Go(func() error {
			failed[i] = contained(func() error { return s.resolve(ctx, on, keys, family) })
			return nil
		})
	}
	resolvers.Wait()
	for i, err := range failed {
		if err == nil {
			worked = append(worked, over[i])
		}
	}
	if len(worked) > 0 && ctx.Err() == nil {
		wait(ctx, nil, s.cfg.Browse) // it met too much, and shall not at once again
	}
	undisturbed := ctx.Err() != context.Canceled
	stop()
	group.Wait()
	if len(worked) > 0 && undisturbed && !s.found.Load() && !s.warned.Swap(true) {
		s.cfg.Logger.Warn("no other device of the zone is announced on this network; " +
			"if there should be some, multicast may be blocked: name one device's address")
	}
	return worked
}

// browseTime is how long the first browse lasts: a random time from Browse to twice
// that, so that devices that were started together do not ask together for ever.
func (s *Service) browseTime() time.Duration {
	var drawn [8]byte
	io.ReadFull(s.cfg.Random, drawn[:]) // zero will do
	return s.cfg.Browse + time.Duration(binary.BigEndian.Uint64(drawn[:])%uint64(s.cfg.Browse))
}

// resolve is one browse over one family.
func (s *Service) resolve(ctx context.Context, on discovery.Interface, keys []discovery.ZoneKey, family zeroconf.IPType) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	resolver, err := zeroconf.NewResolver(zeroconf.SelectIfaces([]net.Interface{netInterface(on)}), zeroconf.SelectIPTraffic(family))
	if err != nil {
		return fmt.Errorf("browse: %w", err)
	}
	entries := make(chan *zeroconf.ServiceEntry, 64)
	err = resolver.Browse(ctx, service, domain, entries)
	if err != nil {
		stop()
	}
	s.collect(on, keys, entries, stop)
	return err
}

// collect takes what a browse finds until its channel is closed: the library
// waits for each entry to be read, and closes it in the end, whatever happens.
// When there is too much it stops the browse.
func (s *Service) collect(on discovery.Interface, keys []discovery.ZoneKey, entries <-chan *zeroconf.ServiceEntry, stop func()) {
	seen := 0
	for entry := range entries {
		if seen++; seen > maxInstances {
			stop()
			continue
		}
		s.take(on, keys, entry)
	}
}

// take tells of an instance, if it is of the zone.
func (s *Service) take(on discovery.Interface, keys []discovery.ZoneKey, entry *zeroconf.ServiceEntry) {
	a, err := parseAnnouncement(entry.Text)
	switch {
	case err != nil || entry.Port <= 0 || entry.Port > 65535:
		return
	case a.random == s.random:
		return // ourselves
	case !a.of(keys):
		return
	case a.protocolMax < s.cfg.ProtocolMin || a.protocolMin > s.cfg.ProtocolMax:
		return
	}
	s.found.Store(true)
	for _, ips := range [][]net.IP{entry.AddrIPv4, entry.AddrIPv6} {
		for _, ip := range ips[:min(len(ips), maxAddresses)] {
			addr, ok := netip.AddrFromSlice(ip)
			addr = addr.Unmap()
			if !ok || addr.IsLoopback() && on.Flags&net.FlagLoopback == 0 {
				continue
			}
			if addr.Is6() && addr.IsLinkLocalUnicast() {
				// Only on this interface, as far as can be told: on a machine
				// with several, sockets hear the announcements of all of them.
				addr = addr.WithZone(on.Name)
			}
			if at, err := discovery.AddressOf(netip.AddrPortFrom(addr, uint16(entry.Port))); err == nil {
				s.cfg.Found(discovery.Sighting{Address: at, Source: discovery.MDNS})
			}
		}
	}
}
