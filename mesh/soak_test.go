package mesh_test

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"os"
	"runtime"
	"testing"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
)

// roamer is a device with real sockets that comes and goes.
type roamer struct {
	t       *testing.T
	zone    *zone
	number  int
	replica *records.Replica
	node    *mesh.Node
	book    *discovery.Book
	address discovery.Address
	stop    func() // nil: it is off
}

func (r *roamer) start() {
	l, err := link.Listen(link.Config{Key: r.zone.keys[r.number], Address: "127.0.0.1:0", Protocols: []string{link.ProtocolExchange}})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.address, err = discovery.AddressOf(l.Addr()); err != nil {
		r.t.Fatal(err)
	}
	if r.book, err = discovery.New(discovery.Config{Own: r.replica.Device(), Random: rand.Reader}); err != nil {
		r.t.Fatal(err)
	}
	cfg := r.zone.config(r.number)
	cfg.Replica, cfg.Listener, cfg.Book, cfg.Random = r.replica, l, r.book, rand.Reader
	cfg.Uplink, cfg.Dial = mesh.Uplink{}, nil
	r.node = r.zone.node(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	listening, done := make(chan struct{}), make(chan error, 1)
	go func() { defer close(listening); l.Run(context.Background()) }()
	go func() { done <- r.node.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("run: %v", err)
		}
		l.Close()
		<-listening
		r.stop = nil
	}
}

// openFiles is how many files and sockets this process has open; 0: unknown.
func openFiles() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// Devices that come and go, again and again, leave nothing behind in those that
// stay: no goroutine, no socket, no memory; and nothing at all when they stop.
func TestSoakWithChurn(t *testing.T) {
	const n, cycles = 6, 24
	z := newZone(t, n, false)
	random := mathrand.New(mathrand.NewPCG(9, 9))
	goroutinesBefore, filesBefore := runtime.NumGoroutine(), openFiles()
	var all []*roamer
	for i := 1; i <= n; i++ {
		all = append(all, &roamer{t: t, zone: z, number: i, replica: z.replica(t, i)})
	}
	// settled waits until all that are on are linked to all and hold the same.
	settled := func() {
		t.Helper()
		var on []*roamer
		for _, r := range all {
			if r.stop != nil {
				on = append(on, r)
			}
		}
		for _, r := range on {
			for _, other := range on {
				if r != other {
					r.book.Learn(discovery.Sighting{Device: other.replica.Device(), Address: other.address, Source: discovery.MDNS})
				}
			}
		}
		until(t, "all are linked and hold the same", func() bool {
			for _, r := range on {
				links := 0
				for _, p := range r.node.Status().Peers {
					if p.State == mesh.PeerConnected {
						links++
					}
				}
				if links != len(on)-1 || r.replica.State().Fingerprint != on[0].replica.State().Fingerprint {
					return false
				}
			}
			return true
		})
	}
	used := func() (goroutines, files int, heap uint64) {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), openFiles(), m.HeapAlloc
	}
	for _, r := range all {
		r.start()
	}
	settled()
	var goroutines, files int
	var heap uint64
	for cycle := range cycles {
		for _, i := range random.Perm(n - 1)[:3] { // the last one stays
			all[i].stop()
		}
		write(t, all[n-1].replica, 2)
		settled()
		for _, r := range all {
			if r.stop == nil {
				write(t, r.replica, 1)
				r.start()
			}
		}
		settled()
		if cycle == cycles/3 {
			goroutines, files, heap = used()
		}
	}
	// What is ending may take its time to end.
	until(t, "as many goroutines and files as there were", func() bool {
		g, f, _ := used()
		return g <= goroutines+n && f <= files+n
	})
	if _, _, now := used(); now > heap+16<<20 {
		t.Errorf("%d MB of heap, %d after a third of the cycles", now>>20, heap>>20)
	}
	for _, r := range all {
		r.stop()
	}
	until(t, "nothing is left", func() bool {
		g, f, _ := used()
		return g <= goroutinesBefore+1 && f <= filesBefore+1
	})
}
