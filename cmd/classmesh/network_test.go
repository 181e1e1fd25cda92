package main

import (
	"net/netip"
	"testing"

	"github.com/classmesh/classmesh/discovery"
)

// TestLost: what a change of the network makes doubtful.
func TestLost(t *testing.T) {
	on := func(index int, addrs ...string) discovery.Interface {
		i := discovery.Interface{Index: index}
		for _, a := range addrs {
			i.Prefixes = append(i.Prefixes, netip.MustParsePrefix(a))
		}
		return i
	}
	type list = []discovery.Interface
	eth, wlan := on(2, "10.0.0.1/24", "fe80::1/64"), on(3, "192.168.1.7/24")
	for name, c := range map[string]struct {
		had, has           list
		address, something bool
	}{
		"nothing changed":       {list{eth, wlan}, list{eth, wlan}, false, false},
		"the first":             {nil, list{eth}, false, false},
		"one more interface":    {list{eth}, list{eth, wlan}, false, false},
		"one more address":      {list{on(2, "10.0.0.1/24")}, list{eth}, false, false},
		"another lease":         {list{eth, wlan}, list{on(2, "10.0.0.9/24", "fe80::1/64"), wlan}, true, false},
		"the lease has ended":   {list{eth}, list{on(2, "fe80::1/64")}, true, false},
		"a cable was pulled":    {list{eth, wlan}, list{wlan}, false, true},
		"all cables":            {list{eth, wlan}, nil, false, true},
		"from cable to Wi-Fi":   {list{eth}, list{wlan}, false, true},
		"both in the same go":   {list{eth, wlan}, list{on(3, "192.168.1.8/24")}, true, true},
		"the same in new order": {list{eth, wlan}, list{wlan, eth}, false, false},
	} {
		if a, i := addressLost(c.had, c.has), interfaceLost(c.had, c.has); a != c.address || i != c.something {
			t.Errorf("%s: address lost %v, interface lost %v", name, a, i)
		}
	}
}

// TestCountSources: what leads to others is asked of the system.
func TestCountSources(t *testing.T) {
	list := []discovery.Interface{{Index: 1, Name: "lo", Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}}}
	votes := countSources(list, []string{"127.0.0.7:7701", "127.0.0.1:80", "[fe80::1%lo]:7701", "box.local:7701", ""})
	if len(votes) != 1 || votes[netip.MustParseAddr("127.0.0.1")] != 2 {
		t.Errorf("%v", votes)
	}
	if votes := countSources(nil, []string{"127.0.0.7:7701"}); len(votes) != 0 {
		t.Errorf("by an interface that leads to nobody: %v", votes)
	}
}
