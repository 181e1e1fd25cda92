//go:build linux

package mdns_test

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/discovery/mdns"
)

// loopback is the only interface that is used in this process.
func loopback() ([]discovery.Interface, error) {
	i, err := discovery.InterfaceByName("lo")
	i.Prefixes = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}
	return []discovery.Interface{i}, err
}

func TestLoopback(t *testing.T) {
	if list, err := loopback(); err != nil || list[0].Index == 0 {
		t.Skipf("the loopback interface is not called lo here: %v", err)
	}
	before := runtime.NumGoroutine()
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	run := func(port uint16, keys func() []discovery.ZoneKey) (*mdns.Service, chan discovery.Sighting) {
		found := make(chan discovery.Sighting, 1000)
		s, err := mdns.New(mdns.Config{
			Port: port, Keys: keys, Interfaces: loopback, Browse: time.Second,
			Found: func(s discovery.Sighting) {
				select {
				case found <- s:
				default:
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		return s, found
	}
	expect := func(found chan discovery.Sighting, want discovery.Address) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case s := <-found:
				if s.Address == want {
					return
				}
			case <-deadline:
				t.Fatalf("%s was not found", want)
			}
		}
	}
	var zone discovery.ZoneKey
	zone.Secret = [32]byte([]byte("another one for each test's host"))
	copy(zone.Secret[:], time.Now().String()) // other tests may run on this machine
	always := func() []discovery.ZoneKey { return []discovery.ZoneKey{zone} }
	var mu sync.Mutex
	var late []discovery.ZoneKey
	_, a := run(1001, always)
	_, b := run(1002, always)
	s, c := run(1003, func() []discovery.ZoneKey { mu.Lock(); defer mu.Unlock(); return late })
	expect(a, "127.0.0.1:1002")
	expect(b, "127.0.0.1:1001")
	// A device that gets its first key is there at once.
	mu.Lock()
	late = []discovery.ZoneKey{zone}
	mu.Unlock()
	s.KeysChanged()
	expect(c, "127.0.0.1:1001")
	expect(a, "127.0.0.1:1003")
	stop()
	group.Wait()
	goroutinesEnd(t, before)
}
