package discovery_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/discovery"
)

func eth(prefixes ...string) []discovery.Interface {
	i := discovery.Interface{Index: 2, Name: "eth0"}
	for _, p := range prefixes {
		i.Prefixes = append(i.Prefixes, netip.MustParsePrefix(p))
	}
	return []discovery.Interface{i}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, fault := eth("10.0.0.1/24"), error(nil)
		set := func(list []discovery.Interface, err error) {
			mu.Lock()
			defer mu.Unlock()
			now, fault = list, err
		}
		var told [][]discovery.Interface
		watch := discovery.Watch{
			Interfaces: func() ([]discovery.Interface, error) { mu.Lock(); defer mu.Unlock(); return now, fault },
			Changed:    func(list []discovery.Interface) { told = append(told, list) },
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- watch.Run(ctx) }()
		expect := func(n int) {
			t.Helper()
			synctest.Wait()
			if len(told) != n {
				t.Fatalf("told %d times, want %d: %v", len(told), n, told)
			}
		}
		expect(1)
		time.Sleep(time.Hour)
		expect(1)
		set(eth("10.0.0.2/24"), nil)
		time.Sleep(3 * discovery.DefaultLook)
		expect(2)
		time.Sleep(discovery.DefaultLook / 2)
		// A flapping interface starts nobody over (kolibri#8852, #11727).
		for i := range 1000 {
			if i%2 == 0 {
				set(nil, nil)
			} else {
				set(eth("10.0.0.2/24"), nil)
			}
			time.Sleep(discovery.DefaultLook)
		}
		time.Sleep(3 * discovery.DefaultLook)
		expect(2)
		set(nil, errors.New("no netlink"))
		time.Sleep(time.Minute)
		expect(2)
		set(eth("10.0.0.3/24"), nil)
		time.Sleep(3 * discovery.DefaultLook)
		expect(3)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAdvertised(t *testing.T) {
	for _, c := range []struct {
		list []discovery.Interface
		want string
	}{
		{eth("fe80::1/64", "10.0.0.1/24", "2001:db8::1/64"), "10.0.0.1"},
		{eth("169.254.1.1/16", "192.168.7.1/24"), "192.168.7.1"},
		{eth("fe80::1/64", "fd00::1/64"), "fd00::1"},
		{eth("fe80::1/64"), "fe80::1%eth0"},
		{eth("127.0.0.1/8", "::1/128"), "127.0.0.1"},
		{eth("127.0.0.1/8", "8.8.8.1/24"), "8.8.8.1"},
	} {
		if got, ok := discovery.Advertised(c.list); !ok || got.String() != c.want {
			t.Errorf("%v: %v, want %s", c.list, got, c.want)
		}
	}
	if got, ok := discovery.Advertised(nil); ok {
		t.Errorf("%v out of nothing", got)
	}
}

// The address of a Docker bridge is the same on every machine and leads nowhere
// (zeroconf#43).
func TestDockerBridgeIsNotAdvertised(t *testing.T) {
	for _, name := range []string{"docker0", "br-0123456789ab", "veth12ab", "virbr0"} {
		if !discovery.Virtual(name) {
			t.Errorf("%s would be advertised", name)
		}
	}
	for _, name := range []string{"eth0", "wlan0", "enp3s0", "br0", "wlp2s0", "en0", "Ethernet"} {
		if discovery.Virtual(name) {
			t.Errorf("%s is passed over", name)
		}
	}
}

// An interface without a cable has its address for nothing.
func TestWithoutCable(t *testing.T) {
	const cable = net.FlagUp | net.FlagRunning | net.FlagBroadcast | net.FlagMulticast
	for flags, want := range map[net.Flags]bool{
		cable: true, cable &^ net.FlagRunning: false, cable &^ net.FlagUp: false, 0: false,
		cable | net.FlagLoopback: false, cable | net.FlagPointToPoint: false,
	} {
		if got := discovery.LeadsOut(net.Interface{Name: "eth0", Flags: flags}); got != want {
			t.Errorf("%v: %v", flags, got)
		}
	}
}

func TestSystemInterfaces(t *testing.T) {
	list, err := discovery.SystemInterfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if discovery.Virtual(i.Name) || len(i.Prefixes) == 0 || i.Prefixes[0].Addr().IsLoopback() {
			t.Errorf("%+v leads to nobody", i)
		}
	}
	if _, err := discovery.InterfaceByName("no-such-one"); err == nil {
		t.Error("an interface that is not there was found")
	}
}
