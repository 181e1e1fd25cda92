package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/discovery/gossip"
	"github.com/classmesh/classmesh/discovery/mdns"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Where a device is called by others on its LAN, if nothing else is said, and
// what says that it is not.
const (
	defaultLAN = ":7701"
	noLAN      = "off"
)

// bookName is the file with the addresses of other devices.
const bookName = "addresses"

// lanOptions say how a device finds others on its LAN and is found.
type lanOptions struct {
	address string   // host:port to be called at; empty: not at all
	any     bool     // another port will do if that one is taken
	peers   []string // where others are, as people have typed it
	quiet   bool     // it is not announced: the peers are all there are
	// unplugged: membership is not taken part in until unplug(false).
	unplugged bool
}

// lan finds the devices of the zone on the same network, and is found by them.
type lan struct {
	d          *device
	book       *discovery.Book
	listener   *link.Listener
	port       uint16
	interfaces func() ([]discovery.Interface, error) // by which others call
	mdns       *mdns.Service                         // nil: quiet
	gossip     *gossip.Gossip
	neighbours *neighbours
	heads      *heads
	copies     *copies

	mu        sync.Mutex
	unplugged bool                       // membership is to be left
	reached   map[identity.DeviceID]bool // those that this device has called
	spoke     netip.Addr                 // where membership spoke last
}

// newLAN listens, and reads the address book.
func newLAN(d *device, o lanOptions) (*lan, error) {
	l := &lan{d: d, neighbours: newNeighbours(d.now), heads: newHeads(d.now), copies: newCopies(d.now), unplugged: o.unplugged}
	var err error
	if l.listener, err = listenLAN(d, o.address); err != nil && o.any {
		d.logger().Warn("the port for other devices is taken, using another", "address", o.address, "error", err)
		l.listener, err = listenLAN(d, ":0")
	}
	if err != nil {
		return nil, fmt.Errorf("listen for other devices at %s: %w: name another address with --lan, or none with --lan %s", o.address, err, noLAN)
	}
	at := l.listener.Addr()
	l.port = at.Port()
	l.book, err = discovery.New(discovery.Config{
		Own: d.replica.Device(), Now: d.now, Random: d.random, Logger: d.logger(),
		Load: func() ([]byte, error) {
			b, err := os.ReadFile(d.folder.path(bookName))
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			}
			return b, err
		},
		Save: func(b []byte) error { return writeDurably(d.folder.path(bookName), b, 0o600) },
	})
	for _, text := range o.peers {
		var a discovery.Address
		if err == nil {
			a, err = discovery.ParseAddress(text)
		}
		if err == nil {
			l.book.Learn(discovery.Sighting{Address: a, Source: discovery.Typed})
		}
	}
	if err == nil {
		err = l.look(at, o.quiet)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find other devices: %w", err), l.listener.Close())
	}
	return l, nil
}

func listenLAN(d *device, address string) (*link.Listener, error) {
	return link.Listen(link.Config{
		Key: d.key, Address: address, Protocols: []string{link.ProtocolExchange}, Log: d.logger(),
	})
}

// look makes what finds others: on the interfaces of the address at which this
// device listens. quiet: nothing is announced.
func (l *lan) look(at netip.AddrPort, quiet bool) (err error) {
	interfaces := discovery.SystemInterfaces
	if !at.Addr().IsUnspecified() {
		interfaces = func() ([]discovery.Interface, error) { return interfacesWith(at.Addr()) }
	}
	l.interfaces = interfaces
	log := l.d.logger()
	if !quiet {
		l.mdns, err = mdns.New(mdns.Config{
			Port: l.port, Keys: l.keys, Found: l.found, Interfaces: interfaces, Random: l.d.random, Logger: log,
		})
		if err != nil {
			return err
		}
	}
	l.gossip, err = gossip.New(gossip.Config{
		Device: l.d.replica.Device(), Start: l.d.replica.StartID(), Port: l.port,
		Address: func() (netip.AddrPort, error) { return l.gossipAddress(at, interfaces) },
		Join:    l.join, Found: l.found, Hint: l.hear, Random: l.d.random, Logger: log,
		Conflict: func(c gossip.Conflict) {
			l.copies.hear(c)
			log.Warn("a device is at two addresses: it was copied, or has moved", "who", c.Known.Device, "one", c.Known.Call, "other", c.Other.Call)
		},
	})
	if err == nil {
		l.setKeys()
	}
	return err
}

// interfacesWith returns the interface that has an address, loopback included.
func interfacesWith(addr netip.Addr) ([]discovery.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		known, err := discovery.InterfaceByName(i.Name)
		if err != nil {
			continue // it is gone
		}
		for _, p := range known.Prefixes {
			if p.Addr() == addr.WithZone("").Unmap() {
				return []discovery.Interface{known}, nil
			}
		}
	}
	return nil, nil
}

// gossipAddress is where membership speaks: next to where this device is called.
func (l *lan) gossipAddress(at netip.AddrPort, interfaces func() ([]discovery.Interface, error)) (netip.AddrPort, error) {
	addr := at.Addr()
	if addr.IsUnspecified() {
		list, err := interfaces()
		if err != nil {
			return netip.AddrPort{}, err
		}
		var ok bool
		if addr, ok = l.towards(list); !ok {
			return netip.AddrPort{}, errors.New("no interface leads to other devices")
		}
	}
	return gossip.Neighbour(netip.AddrPortFrom(addr, l.port)), nil
}

// towards returns the address of this device that those use with whom it is
// connected, or else those that it knows of: on a device with two networks, the
// one with the other devices. Without any it is the one that looks best.
func (l *lan) towards(list []discovery.Interface) (netip.Addr, bool) {
	var addresses []string
	for _, p := range l.d.node.Neighbours() {
		addresses = append(addresses, p.Address)
	}
	votes := countSources(list, addresses)
	if len(votes) == 0 {
		for _, p := range l.d.node.Status().Peers {
			addresses = append(addresses, p.Address)
		}
		votes = countSources(list, addresses)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	best, ok := discovery.Advertised(list)
	for addr, n := range votes {
		if n > votes[best] || n == votes[best] && addr == l.spoke {
			best = addr
		}
	}
	l.spoke = best
	return best, ok
}

// countSources counts which addresses of this device lead to others.
func countSources(list []discovery.Interface, others []string) map[netip.Addr]int {
	votes := map[netip.Addr]int{}
	for _, text := range others {
		to, err := netip.ParseAddrPort(text)
		if err != nil || to.Addr().IsLinkLocalUnicast() {
			continue // each interface has link-local addresses
		}
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to)) // nothing is sent
		if err != nil {
			continue
		}
		from := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		conn.Close()
		for _, i := range list {
			if slices.ContainsFunc(i.Prefixes, func(p netip.Prefix) bool { return p.Addr() == from }) {
				votes[from]++
			}
		}
	}
	return votes
}

// bookChanged tells membership of those who were called with success: they may
// know of others, or the others of nobody.
func (l *lan) bookChanged() {
	now, more := map[identity.DeviceID]bool{}, false
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.book.All() {
		if e.InUse {
			now[e.Device] = true
			more = more || !l.reached[e.Device]
		}
	}
	l.reached = now
	if more {
		l.gossip.Rejoin()
	}
}

// join returns where the membership of others may speak.
func (l *lan) join() (list []netip.AddrPort) {
	for _, e := range l.book.All() {
		if ap, ok := e.Address.AddrPort(); ok {
			list = append(list, gossip.Neighbour(ap))
		}
	}
	return list
}

// others is how many other devices are there, as membership has it.
func (l *lan) others() int { return len(l.gossip.Members()) }

// hear takes a hint that another device has told, by its format.
func (l *lan) hear(hint []byte) {
	switch {
	case len(hint) == 0:
	case hint[0] == headFormat:
		l.d.node.HearHead(hint[1:])
	default:
		l.neighbours.hear(hint)
	}
}

func (l *lan) found(s discovery.Sighting) { l.book.Learn(s) }

// keys are the zone keys that this device holds.
func (l *lan) keys() (list []discovery.ZoneKey) {
	for _, k := range l.d.replica.Keys() {
		list = append(list, discovery.ZoneKey{Number: k.Number, Secret: k.Secret})
	}
	return list
}

// uplinkEvery is how often it is looked whether the coordinator is reached.
const uplinkEvery = time.Second

// tellUplink tells others whether this device reaches the coordinator, until ctx
// is done.
func (l *lan) tellUplink(ctx context.Context) {
	ticker := time.NewTicker(uplinkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.gossip.SetUplink(l.d.node.HasUplink())
		}
	}
}

// hasUplink reports whether another device says that it reaches the coordinator.
func (l *lan) hasUplink(d identity.DeviceID) bool { return l.gossip.HasUplink(d) }

// changed is told of changes of the replica.
func (l *lan) changed(c records.Change) {
	if c.Commit != nil && c.Commit.Own {
		l.heads.note(c.Commit.Head)
	}
	if !c.Key {
		return
	}
	if l.mdns != nil {
		l.mdns.KeysChanged()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setKeys()
}

// setKeys lets membership take part, unless the network is unplugged. The lock
// is held.
func (l *lan) setKeys() {
	if l.unplugged {
		l.gossip.SetKeys(nil)
		return
	}
	l.gossip.SetKeys(l.keys())
}

// unplug leaves the membership of the network, or takes part again and calls
// others at once. Connections are not its concern.
func (l *lan) unplug(out bool) {
	l.mu.Lock()
	changed := l.unplugged != out
	l.unplugged = out
	l.setKeys()
	l.mu.Unlock()
	if changed && !out {
		l.book.NetworkChanged()
	}
}

// run takes part until ctx is done.
func (l *lan) run(ctx context.Context) error {
	defer l.d.replica.Watch(l.changed)()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.listener.Run(ctx) })
	group.Go(func() error { return l.book.Run(ctx) })
	defer l.book.Watch(l.bookChanged)()
	group.Go(func() error { l.tellUplink(ctx); return nil })
	if l.mdns != nil {
		group.Go(func() error { l.meet(ctx); return nil })
		group.Go(func() error { return l.mdns.Run(ctx) })
	}
	group.Go(func() error { return l.gossip.Run(ctx) })
	group.Go(func() error {
		l.neighbours.tell(ctx, l.d.replica.Device(), l.d.node.Neighbours, l.others, l.gossip.Broadcast)
		return nil
	})
	group.Go(func() error {
		l.heads.tell(ctx, l.others, l.gossip.Broadcast)
		return nil
	})
	return group.Wait()
}
