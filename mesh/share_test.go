package mesh_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records/identity"
)

// claim has every device know which others reach the coordinator, as membership
// tells them, and of liars that they say so.
func (w *network) claim(liars ...int) {
	for _, d := range w.devices[1:] {
		d.change = func(c *mesh.Config) {
			c.HasUplink = func(id identity.DeviceID) bool {
				for i, other := range w.devices[1:] {
					if w.zone.keys[i+1].Public().ID() == id {
						for _, liar := range liars {
							if liar == i+1 {
								return true
							}
						}
						return other.on() && !w.isCut(0, i+1) && !w.isCut(i+1, 0)
					}
				}
				return false
			}
		}
	}
}

// recordsWithCoordinator is how many records passed between the coordinator and
// devices of the LAN, in the sessions that are open: up and down.
func (w *network) recordsWithCoordinator(remote int) (up, down uint64) {
	for _, p := range w.devices[0].node.Status().Peers {
		if p.Device != w.zone.keys[remote].Public().ID() {
			up, down = up+p.Session.RecordsReceived, down+p.Session.RecordsSent
		}
	}
	return up, down
}

// Of many devices with an uplink, one brings a given log to the coordinator and
// takes what comes from elsewhere: each record crosses the uplink once.
func TestSharedUplink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, remote = 10, 10
		w := newNetwork(t, n, 60)
		defer w.stopAll()
		w.claim()
		w.setCut(func(a, b int) bool { return a != 0 && b != 0 && (a == remote || b == remote) }, false)
		w.start(0)
		w.start(upTo(n)...)
		w.after(time.Minute)
		total := uint64(0)
		for range 20 {
			for i := 1; i <= n; i++ {
				w.write(i, 5)
				total += 5
			}
			w.after(3 * time.Second)
		}
		w.after(10 * time.Second)
		if !w.equal(append(upTo(n), 0)...) {
			t.Error("not equal")
		}
		for i := 1; i <= n; i++ {
			if !w.safe(i) {
				t.Errorf("device %d does not know that everything is safe", i)
			}
		}
		up, down := w.recordsWithCoordinator(remote)
		t.Logf("%d up, %d down, %d KB with the coordinator", up, down, w.uplinks.Load()>>10)
		if fromLAN, fromRemote := total*(n-1)/n, total/n; up > fromLAN*12/10 || down > fromRemote*12/10 {
			t.Errorf("%d of %d records went up, %d of %d down", up, fromLAN, down, fromRemote)
		}
	})
}

// A device that says that it reaches the coordinator, and does not, delays
// nothing for long; nor does one that has gone.
func TestUselessCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, remote = 6, 6
		w := newNetwork(t, n, 61)
		defer w.stopAll()
		w.claim(1, 2, 3)
		// 1, 2 and 3 have no uplink. What they write is left to each other and
		// to 4 and 5.
		w.setCut(func(a, b int) bool {
			a, b = min(a, b), max(a, b)
			return a == 0 && b <= 3 || a != 0 && b == remote
		}, false)
		w.start(0)
		w.start(upTo(n)...)
		w.after(30 * time.Second)
		for i := 1; i <= n; i++ {
			w.write(i, 3)
		}
		w.after(2 * time.Minute)
		for i := 1; i < n; i++ {
			for _, lane := range identity.Lanes {
				log := w.devices[i].replica.Certificate().Log(lane)
				for _, h := range w.devices[i].replica.HeadsOf(w.zone.keys[i].Public().ID()) {
					if h.Log == log && w.devices[i].replica.Receipted(log) < h.Counter {
						t.Errorf("two minutes later device %d does not know that its work is safe", i)
					}
				}
			}
		}
		w.write(remote, 3)
		w.after(15 * time.Minute)
		if !w.equal(append(upTo(n), 0)...) {
			t.Error("what came from elsewhere did not get to the LAN")
		}
	})
}

// The only device with an uplink is for a moment told that others have one too:
// what it then takes on is known to be safe at once, receipts that were kept back
// included.
func TestLeftByOthers(t *testing.T) {
	for seed := uint64(62); seed < 70; seed++ {
		testLeftByOthers(t, seed)
	}
}

func testLeftByOthers(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		const n, carrier = 3, 3
		w := newNetwork(t, n, seed)
		defer w.stopAll()
		var stale atomic.Bool
		for _, d := range w.devices[1:] {
			d.change = func(c *mesh.Config) { c.HasUplink = func(identity.DeviceID) bool { return stale.Load() } }
		}
		w.setCut(func(a, b int) bool { return a == 0 || b == 0 }, false)
		w.start(0)
		w.start(upTo(n)...)
		w.after(30 * time.Second)
		for _, i := range []int{1, 2} {
			w.write(i, 9)
		}
		w.after(10 * time.Second)
		stale.Store(true)
		w.setCut(func(a, b int) bool { return min(a, b) == 0 && max(a, b) != carrier }, false)
		w.devices[carrier].node.Poke()
		w.after(3 * time.Second)
		if w.devices[carrier].node.Status().Uplink.State != mesh.Connected {
			t.Fatal("no uplink")
		}
		stale.Store(false)
		w.after(7 * time.Second)
		if !w.equal(append(upTo(n), 0)...) {
			t.Error("not equal")
		}
		for i := 1; i <= n; i++ {
			if !w.safe(i) {
				t.Errorf("device %d does not know that everything is safe", i)
			}
		}
	})
}

// Thirty devices of one LAN cost their common uplink about what one would: the
// records that come and go cross it once.
func TestThirtyDevicesOneUplink(t *testing.T) {
	const remote = 31
	cost := func(n int, seed uint64) (bytes int64, copies float64) {
		synctest.Test(t, func(t *testing.T) {
			w := newNetwork(t, remote, seed)
			w.latency = time.Millisecond
			defer w.stopAll()
			w.claim()
			w.setCut(func(a, b int) bool { return a != 0 && b != 0 && (a == remote || b == remote) }, false)
			w.start(0, remote)
			w.start(upTo(n)...)
			w.after(3 * time.Minute)
			w.bodies.Store(0)
			before, total := w.uplinks.Load(), 0
			for range 30 {
				for i := range 4 { // what a school elsewhere writes, and what this one does
					incompressible(t, w.devices[remote].replica, identity.LaneDetail, 2, 1500)
					incompressible(t, w.devices[1+i%n].replica, identity.LaneDetail, 2, 1500)
					total += 4
				}
				w.after(2 * time.Second)
			}
			w.after(time.Minute)
			if !w.equal(append(upTo(n), 0, remote)...) {
				t.Errorf("%d devices are not equal", n)
			}
			// The remote school's own uplink carries all of it as well.
			bytes, copies = w.bodies.Load(), float64(w.bodies.Load())/float64(total)/1800
			t.Logf("%d devices: %d kB of records with the coordinator, %d kB of all else, %.2f copies", n, bytes>>10, (w.uplinks.Load()-before-bytes)>>10, copies)
		})
		return bytes, copies
	}
	n := 30
	if raceDetector {
		n = 12 // thirty take minutes
	}
	one, _ := cost(1, 62)
	many, _ := cost(n, 63)
	if many > one*12/10 {
		t.Errorf("%d devices cost %d bytes of records, one %d", n, many, one)
	}
}

// A chosen device whose disk is full takes nothing that it could pass on, and
// delays nothing for long.
func TestCarrierWithFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 6
		w := newNetwork(t, n, 64)
		defer w.stopAll()
		w.claim()
		for _, d := range w.devices[1:3] {
			claim := d.change
			d.change = func(c *mesh.Config) {
				claim(c)
				c.Replica = fullDisk{c.Replica}
			}
		}
		// 5 and 6 have no uplink; of what they write some logs fall to 1 and 2.
		w.setCut(func(a, b int) bool { return min(a, b) == 0 && max(a, b) > 4 }, false)
		w.start(0)
		w.start(upTo(n)...)
		w.after(30 * time.Second)
		for range 8 {
			for i := 3; i <= n; i++ {
				for _, lane := range identity.Lanes {
					incompressible(t, w.devices[i].replica, lane, 1, 50)
				}
			}
			w.after(10 * time.Second)
		}
		w.after(2 * time.Minute)
		if !w.equal(0, 3, 4, 5, 6) {
			t.Error("two minutes later not everything is with the coordinator")
		}
		for i := 3; i <= n; i++ {
			if !w.safe(i) {
				t.Errorf("device %d does not know that everything is safe", i)
			}
		}
	})
}
