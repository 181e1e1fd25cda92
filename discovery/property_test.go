package discovery_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/records/identity"
)

// TestBookInvariants does anything in any order and holds what the book
// promises after each step.
func TestBookInvariants(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t)
		own := device(0xffff)
		devices := []identity.DeviceID{{}, own, device(1), device(2), device(3)}
		var addresses []discovery.Address
		for i := range 12 {
			addresses = append(addresses, address(t, fmt.Sprintf("10.0.0.%d:4433", i+1)))
		}
		anyDevice := func() identity.DeviceID { return rapid.SampledFrom(devices).Draw(r, "device") }
		anyAddress := func() discovery.Address { return rapid.SampledFrom(addresses).Draw(r, "address") }
		answered := map[discovery.Address]identity.DeviceID{} // who last proved to be there
		r.Repeat(map[string]func(*rapid.T){
			"learn": func(r *rapid.T) {
				w.Learn(discovery.Sighting{
					Device: anyDevice(), Address: anyAddress(),
					Source: rapid.SampledFrom([]discovery.Source{discovery.Typed, discovery.MDNS, discovery.Gossip, discovery.Peer, discovery.Coordinator}).Draw(r, "source"),
				})
			},
			"succeeded": func(r *rapid.T) {
				d, a := anyDevice(), anyAddress()
				if d.IsZero() {
					return
				}
				w.Succeeded(d, a)
				delete(answered, a)
				if d != own {
					answered[a] = d
				}
				for _, e := range w.All() {
					if e.Address == a && e.Device != d {
						r.Fatalf("%v is thought to be at %s, where %v answered", e.Device, a, d)
					}
				}
			},
			"ended":  func(r *rapid.T) { w.Ended(anyDevice(), anyAddress()) },
			"failed": func(r *rapid.T) { w.Failed(anyDevice(), anyAddress()) },
			"wrong": func(r *rapid.T) {
				expected, a, actual := anyDevice(), anyAddress(), anyDevice()
				w.Wrong(expected, a, actual)
				switch {
				case actual == own || actual.IsZero():
					if actual == own || answered[a] == expected {
						delete(answered, a)
					}
				default:
					answered[a] = actual
				}
			},
			"network": func(*rapid.T) { w.NetworkChanged() },
			"wait": func(r *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 1000).Draw(r, "seconds")) * time.Second)
			},
			"next": func(r *rapid.T) {
				limit := rapid.IntRange(0, 5).Draw(r, "limit")
				targets, _ := w.Next(limit, nil)
				if len(targets) > limit {
					r.Fatalf("%d targets, at most %d", len(targets), limit)
				}
				inUse := map[identity.DeviceID]bool{}
				for _, e := range w.All() {
					if e.InUse {
						inUse[e.Device] = true
					}
				}
				named := map[identity.DeviceID]bool{}
				for _, target := range targets {
					switch {
					case target.Device == own:
						r.Fatal("it would dial itself")
					case inUse[target.Device]:
						r.Fatalf("%v is connected", target.Device)
					case named[target.Device] && !target.Device.IsZero():
						r.Fatalf("%v twice", target.Device)
					case len(target.Addresses) == 0 || len(target.Addresses) > 4:
						r.Fatalf("%d addresses", len(target.Addresses))
					}
					named[target.Device] = true
				}
			},
			"": func(r *rapid.T) {
				all := w.All()
				for _, e := range all {
					if e.Device == own || e.InUse && !e.NextTry.IsZero() || e.LastSeen.Before(e.FirstSeen) || len(e.Sources()) == 0 {
						r.Fatalf("%+v", e)
					}
				}
				for a, d := range answered {
					if !slices.ContainsFunc(all, func(e discovery.Entry) bool { return e.Device == d && e.Address == a }) {
						// A device has more than eight addresses here.
						n := 0
						for _, e := range all {
							if e.Device == d && !e.LastSuccess.IsZero() {
								n++
							}
						}
						if n < 4 {
							r.Fatalf("%v, which answered at %s, is forgotten", d, a)
						}
					}
				}
				kept := w.Encode()
				entries, err := discovery.Decode(kept)
				if err != nil {
					r.Fatal(err)
				}
				again, err := discovery.New(discovery.Config{
					Load: func() ([]byte, error) { return kept, nil },
					Save: func([]byte) error { return nil },
				})
				if err != nil {
					r.Fatal(err)
				}
				if len(again.All()) != len(entries) || !bytes.Equal(again.Encode(), kept) {
					r.Fatal("a restart loses addresses")
				}
			},
		})
	})
}
