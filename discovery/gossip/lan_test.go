//go:build linux

package gossip_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/discovery/gossip"
	"github.com/classmesh/classmesh/discovery/lantest"
	"github.com/classmesh/classmesh/records/identity"
)

// TestHost is what a host of the other tests runs: "<number> <address>…" is a
// device that joins the addresses and says what it finds and who is there.
func TestHost(t *testing.T) {
	words := strings.Fields(lantest.Role())
	if len(words) == 0 {
		return // nobody has asked for a host
	}
	stopped := lantest.Stopped()
	number, err := strconv.Atoi(words[0])
	if err != nil {
		t.Fatal(err)
	}
	var others []netip.AddrPort
	for _, w := range words[1:] {
		others = append(others, gossip.Neighbour(netip.MustParseAddrPort(w)))
	}
	g, err := gossip.New(gossip.Config{
		Device: device(number), Start: identity.StartID{byte(number)}, Port: 4433,
		Address: func() (netip.AddrPort, error) {
			list, err := discovery.SystemInterfaces()
			if err != nil {
				return netip.AddrPort{}, err
			}
			ip, ok := discovery.Advertised(list)
			if !ok {
				return netip.AddrPort{}, fmt.Errorf("no network")
			}
			return netip.AddrPortFrom(ip, 4434), nil
		},
		Join:   func() []netip.AddrPort { return others },
		Found:  func(s discovery.Sighting) { fmt.Println("found", s.Device[1], s.Address) },
		Logger: slog.New(slog.NewTextHandler(os.Stdout, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	g.SetKeys([]discovery.ZoneKey{zoneKey(1)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	last := -1
	for {
		select {
		case <-stopped:
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			return
		case <-ticker.C:
			if n := len(g.Members()); n != last {
				last = n
				fmt.Println("members:", n)
			}
		}
	}
}

const soon = 2 * time.Minute

// One typed address suffices for the whole network, without any multicast; a
// new lease and a cable that is pulled out heal by themselves.
func TestOneAddressSuffices(t *testing.T) {
	if testing.Short() {
		t.Skip("waits a minute and more for real time to pass: it is left out of short runs")
	}
	lan := lantest.New(t, 3)
	a := lan.Start(1, "TestHost", "1")
	b := lan.Start(2, "TestHost", "2 10.77.0.1:4433")
	c := lan.Start(3, "TestHost", "3 10.77.0.1:4433")
	a.Expect(soon, "members: 2")
	b.Expect(soon, "found 3 10.77.0.3:4433")
	c.Expect(soon, "found 2 10.77.0.2:4433")
	// Another lease.
	lan.IP("-n", lan.Host(3), "addr", "del", "10.77.0.3/24", "dev", "eth0")
	lan.IP("-n", lan.Host(3), "addr", "add", "10.77.0.99/24", "dev", "eth0")
	b.Expect(soon, "found 3 10.77.0.99:4433")
	// Pulled out until the others have buried it.
	lan.Plug(2, false)
	a.Expect(soon, "members: 1")
	b.Expect(soon, "members: 0")
	lan.Plug(2, true)
	b.Expect(soon, "members: 2")
	a.Expect(soon, "members: 2")
	for _, p := range []*lantest.Process{a, b, c} {
		p.Stop(soon)
	}
}

// Nobody gives out addresses: IPv6 link-local is all there is.
func TestLinkLocalMembership(t *testing.T) {
	lan := lantest.New(t, 2)
	for i := range 2 {
		lan.IP("-n", lan.Host(i+1), "addr", "flush", "dev", "eth0")
		lan.IP("-n", lan.Host(i+1), "addr", "add", fmt.Sprintf("fe80::%d/64", i+1), "dev", "eth0", "nodad")
	}
	a := lan.Start(1, "TestHost", "1")
	b := lan.Start(2, "TestHost", "2 [fe80::1%eth0]:4433")
	a.Expect(soon, "found 2 [fe80::2%eth0]:4433")
	b.Expect(soon, "found 1 [fe80::1%eth0]:4433")
	a.Stop(soon)
	b.Stop(soon)
}
