package mesh_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
)

// Eight devices that hear of addresses only, as mDNS tells them, are all linked
// to each other within seconds, by one connection for each pair.
func TestLANFullMesh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 8, 1)
		defer w.stopAll()
		w.start(upTo(8)...)
		w.announce(false)
		// Where both have called each other, one connection takes its time to end.
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for a := 1; a <= 8; a++ {
			for b := 1; b <= 8; b++ {
				if a != b && !w.linked(a, b) {
					t.Errorf("%d is not linked to %d", a, b)
				}
			}
			for _, p := range w.devices[a].node.Status().Peers {
				if !p.Session.Equal || p.Name == "" || p.Dialled && !slices.Contains(p.Via, discovery.MDNS) {
					t.Errorf("device %d: %+v", a, p)
				}
			}
		}
		if len(w.conns) != 8*7/2 {
			t.Errorf("%d connections", len(w.conns))
		}
		w.write(1, 3)
		synctest.Wait()
		time.Sleep(time.Second)
		if !w.equal(upTo(8)...) {
			t.Error("what one device wrote is not on all")
		}
	})
}

// Records of a device that went away travel over others to the coordinator, and
// word that they are safe travels back to all, to it as well when it returns.
func TestRelayOverPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 4, 2)
		defer w.stopAll()
		w.start(0)
		// The coordinator is reached by device 4 only, and devices reach only
		// their neighbours: 1, 2, 3, 4 in a row.
		row := func(a, b int) bool {
			return max(a, b)-min(a, b) != 1 && (min(a, b) != 0 || max(a, b) != 4) || a == 0 && b == 1 || a == 1 && b == 0
		}
		w.setCut(func(a, b int) bool { return row(a, b) || max(a, b) >= 3 }, false)
		w.start(1, 2)
		w.write(1, 5)
		w.after(5 * time.Second)
		if !w.linked(1, 2) || !w.equal(1, 2) {
			t.Fatal("1 and 2 are not equal")
		}
		w.devices[1].stop()

		w.setCut(row, false)
		w.start(3)
		w.after(5 * time.Second)
		if !w.equal(2, 3) || w.safe(3) {
			t.Error("3 does not have the records of 1, or knows that they are safe")
		}
		w.start(4)
		w.after(20 * time.Second)
		if !w.equal(0, 2, 3, 4) {
			t.Error("the records of 1 are not with the coordinator")
		}
		for i := 2; i <= 4; i++ {
			if !w.safe(i) {
				t.Errorf("%d does not know that the records of 1 are safe", i)
			}
		}
		if u := w.devices[3].node.Status().Uplink; u.State == mesh.Connected {
			t.Error("3 reaches the coordinator itself")
		}

		w.start(1)
		w.after(20 * time.Second)
		if !w.safe(1) {
			t.Error("1 does not know that its records are safe")
		}
		w.write(1, 2) // and over three hops at once
		time.Sleep(time.Second)
		synctest.Wait()
		if !w.equal(0, 1, 2, 3, 4) || !w.safe(1) {
			t.Error("what 1 wrote now is not with the coordinator, or 1 does not know")
		}
	})
}

// Halves that were cut from each other for minutes, while both worked on, are
// equal again without help.
func TestPartitionHeals(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newNetwork(t, 8, 3)
			defer w.stopAll()
			w.start(upTo(8)...)
			w.after(5 * time.Second)
			w.setCut(func(a, b int) bool { return (a <= 4) != (b <= 4) }, silent)
			for range 6 {
				for i := 1; i <= 8; i++ {
					w.write(i, 2)
				}
				w.after(20 * time.Second)
			}
			if !w.equal(1, 2, 3, 4) || !w.equal(5, 6, 7, 8) || w.equal(1, 5) {
				t.Error("the halves are not equal in themselves, or equal to each other")
			}
			w.setCut(func(int, int) bool { return false }, false)
			w.after(20 * time.Second)
			if !w.equal(upTo(8)...) {
				t.Error("not equal 20 s after there is a way again")
			}
		})
	}
}

// However peers fail, they are not called in a busy loop.
func TestLANNoBusyLoop(t *testing.T) {
	for name, test := range map[string]struct {
		change func(w *network)
		most   int
	}{
		"nobody answers": {func(w *network) { w.setCut(func(int, int) bool { return true }, false) }, 300},
		"removed from the zone": {func(w *network) {
			r, err := w.zone.roster.Revoke(w.zone.keys[2].Public().ID())
			if err != nil {
				w.t.Fatal(err)
			}
			if err := w.devices[2].replica.AcceptRoster(w.t.Context(), r.Sign(w.zone.keys[0], 2).Encode()); err != nil {
				w.t.Fatal(err)
			}
		}, 300},
		"no room": {func(w *network) { w.devices[2].change = func(c *mesh.Config) { c.MaxPeers = 1 } }, 400},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newNetwork(t, 3, 4)
				defer w.stopAll()
				test.change(w)
				w.start(1, 2, 3)
				w.after(time.Hour)
				w.mu.Lock()
				defer w.mu.Unlock()
				// Three devices with two peers each, and an uplink that does not answer.
				if dials := w.dials; dials < 10 || dials > test.most*6+170*3 {
					t.Errorf("%d dials in an hour", dials)
				}
			})
		})
	}
}

// A quiet hour costs next to nothing: no calls, and few bytes for each peer.
func TestQuietLAN(t *testing.T) {
	sizes := []int{8, 30}
	if raceDetector {
		sizes = sizes[:1]
	}
	for _, n := range sizes {
		synctest.Test(t, func(t *testing.T) {
			w := newNetwork(t, n, 5)
			defer w.stopAll()
			w.start(0)
			w.start(upTo(n)...)
			for i := 1; i <= n; i++ {
				w.write(i, 3)
			}
			w.after(2 * time.Minute)
			if !w.equal(append(upTo(n), 0)...) {
				t.Fatal("not equal")
			}
			w.mu.Lock()
			w.dials = 0
			w.mu.Unlock()
			bytes, writes := w.traffic.Load(), w.writes.Load()
			w.after(time.Hour)
			w.mu.Lock()
			defer w.mu.Unlock()
			// Above a full mesh each device replaces a link every five minutes,
			// and tries some others that have links enough.
			most := 0
			if n > mesh.FullMesh+1 {
				most = 50 * n
			}
			if w.dials > most {
				t.Errorf("%d devices: %d calls in a quiet hour", n, w.dials)
			}
			perPeer := float64(w.traffic.Load()-bytes) / float64(len(w.conns)) / 2 / 3600
			if perPeer > 200 {
				t.Errorf("%d devices: %.1f bytes per second for each peer", n, perPeer)
			}
			t.Logf("%d devices: %d calls, %d messages, %.2f bytes per second for each peer", n, w.dials, w.writes.Load()-writes, perPeer)
		})
	}
}

// An address at which somebody else answers leads to whom it belongs, and the
// device that was looked for is found elsewhere.
func TestChangedAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 3, 6)
		defer w.stopAll()
		w.start(1, 2, 3)
		two := w.zone.keys[2].Public().ID()
		w.devices[1].book.Learn(discovery.Sighting{Device: two, Address: addressOf(3), Source: discovery.Remembered})
		w.devices[1].book.Learn(discovery.Sighting{Device: two, Address: addressOf(1), Source: discovery.Remembered})
		time.Sleep(20 * time.Second)
		if w.linked(1, 2) || !w.linked(1, 3) {
			t.Error("who answered at the address of another was not taken for who it is")
		}
		w.devices[1].book.Learn(discovery.Sighting{Device: two, Address: addressOf(2), Source: discovery.Peer})
		time.Sleep(20 * time.Second)
		if !w.linked(1, 2) {
			t.Error("not found at its new address")
		}
	})
}

// A link by the slower way is dialled anew every ten minutes, until it goes by the
// other one; who has called is at work all the time but for a moment.
func TestSlowerWayIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 2, 11)
		defer w.stopAll()
		w.sockets.Store(true)
		w.start(1, 2)
		w.after(time.Minute)
		transport := func() link.Transport {
			t.Helper()
			if !w.linked(1, 2) || !w.linked(2, 1) {
				t.Fatal("not linked")
			}
			return w.devices[1].node.Status().Peers[0].Transport
		}
		since := func() time.Time { return w.devices[1].node.Status().Peers[0].Since }
		first := since()
		w.after(25 * time.Minute)
		if again := since(); transport() != link.WebSocket || again.Sub(first) < 19*time.Minute || again.Sub(first) > 21*time.Minute {
			t.Errorf("%s, dialled %v after the first time, and not twice after ten minutes", transport(), again.Sub(first))
		}
		w.sockets.Store(false)
		w.after(11 * time.Minute)
		if transport() == link.WebSocket {
			t.Error("still by the slower way")
		}
		last := since()
		w.after(time.Hour)
		if transport(); !since().Equal(last) {
			t.Error("a link that is as it should be was dialled anew")
		}
		w.write(1, 2)
		time.Sleep(time.Second)
		synctest.Wait()
		if !w.equal(1, 2) {
			t.Error("what one has written is not at the other")
		}
	})
}

// A device whose address has changed calls the others anew. They hold the former
// connection for alive, whoever had dialled it, and take the new one.
func TestAddressLost(t *testing.T) {
	for moved := 1; moved <= 2; moved++ {
		synctest.Test(t, func(t *testing.T) {
			w := newNetwork(t, 2, 9)
			defer w.stopAll()
			w.start(1, 2)
			w.after(time.Minute)
			if !w.linked(1, 2) || !w.linked(2, 1) {
				t.Fatal("not linked")
			}
			w.setCut(func(int, int) bool { return true }, true)
			w.setCut(func(int, int) bool { return false }, true)
			w.devices[moved].node.AddressLost()
			w.write(moved, 1)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if !w.linked(1, 2) || !w.linked(2, 1) || !w.equal(1, 2) {
				t.Errorf("device %d has moved, and ten seconds later it is not linked", moved)
			}
		})
	}
}

// What keeps devices from each other is said in words that help.
func TestDoctor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 2, 7)
		defer w.stopAll()
		w.setCut(func(a, b int) bool { return true }, false)
		w.start(1, 2)
		eth := []discovery.Interface{{Name: "eth0"}}
		problem := func() (p []mesh.Problem) {
			for _, f := range w.devices[1].node.Doctor(eth) {
				p = append(p, f.Problem)
				if len(f.Words) < 40 {
					t.Errorf("%s: no help in %q", f.Problem, f.Words)
				}
			}
			return p
		}
		expect := func(when string, want ...mesh.Problem) {
			t.Helper()
			if got := problem(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		expect("nothing heard", mesh.NobodySeen)
		if f := w.devices[1].node.Doctor(nil); len(f) != 1 || f[0].Problem != mesh.NoNetwork {
			t.Errorf("without an interface: %v", f)
		}
		two := discovery.Sighting{Device: w.zone.keys[2].Public().ID(), Address: addressOf(2), Source: discovery.Remembered}
		w.devices[1].book.Learn(two)
		time.Sleep(time.Minute)
		expect("remembered", mesh.NobodyAnswers)
		if p := w.devices[1].node.Status().Peers; len(p) != 1 || p[0].State != mesh.PeerAway || p[0].Name != "room 2" || p[0].Via[0] != discovery.Remembered {
			t.Errorf("status: %+v", p)
		}
		two.Source = discovery.MDNS
		for range 10 {
			w.devices[1].book.Learn(two)
			time.Sleep(30 * time.Second)
		}
		expect("announced", mesh.Isolated)
		w.setCut(func(a, b int) bool { return a == 0 || b == 0 }, false)
		w.after(time.Minute)
		expect("connected")

		// Kept apart; one has moved, so that what it heard before says nothing.
		w.start(0)
		w.setCut(func(a, b int) bool { return a != 0 && b != 0 }, false)
		w.devices[1].book.NetworkChanged()
		w.after(2 * time.Minute)
		expect("kept apart", mesh.NobodyAnswers)
		words := func() string { return w.devices[1].node.Doctor(eth)[0].Words }
		const apart = "does not let devices see each other"
		if strings.Contains(words(), apart) {
			t.Errorf("nothing says that 2 is on: %s", words())
		}
		w.write(2, 1)
		w.after(time.Minute)
		expect("kept apart, and at work", mesh.NobodyAnswers)
		if got := words(); !strings.Contains(got, apart) || !strings.Contains(got, "room 2") || strings.Contains(got, "room 1") {
			t.Errorf("2 is on, which shows by the coordinator: %s", got)
		}
	})
}

// Whom a finding is about is told in words, and beside them in no language.
func TestDoctorNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 8, 7)
		defer w.stopAll()
		w.setCut(func(a, b int) bool { return true }, false)
		w.start(1)
		for i := 2; i <= 8; i++ {
			w.devices[1].book.Learn(discovery.Sighting{Device: w.zone.keys[i].Public().ID(), Address: addressOf(i), Source: discovery.Remembered})
		}
		w.after(time.Minute)
		f := w.devices[1].node.Doctor([]discovery.Interface{{Name: "eth0"}})
		if len(f) != 1 || f[0].Detail != "room 2, room 3, room 4, room 5, room 6, +2" ||
			!strings.Contains(f[0].Words, "room 2, room 3, room 4, room 5, room 6 and 2 more") {
			t.Errorf("%+v", f)
		}
	})
}

// What a peer lacks is known while it is connected, and afterwards from what it
// last told; so is when it last said something, and which way led to it.
func TestWhatPeersLack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 3, 8)
		defer w.stopAll()
		w.write(1, 4)
		w.write(3, 2)
		w.start(1, 2)
		status := func(of, about int) mesh.Peer {
			t.Helper()
			for _, p := range w.devices[of].node.Status().Peers {
				if p.Device == w.zone.keys[about].Public().ID() {
					return p
				}
			}
			t.Fatalf("%d knows nothing of %d", of, about)
			return mesh.Peer{}
		}
		w.after(5 * time.Second)
		for _, pair := range [][2]int{{1, 2}, {2, 1}} {
			p := status(pair[0], pair[1])
			if !p.Told || p.Lacks != 0 || p.Missing != 0 || p.RTT == 0 || len(p.Via) == 0 {
				t.Errorf("equal, but %d says of %d: %+v", pair[0], pair[1], p)
			}
		}
		heard := time.Now()
		w.setCut(func(a, b int) bool { return true }, false)
		synctest.Wait() // until both have noticed
		w.write(1, 6)
		w.write(1, 1)
		w.after(time.Minute)
		p := status(1, 2)
		if !p.Told || p.Lacks != 7 || p.LastExchange.IsZero() || p.LastExchange.After(heard.Add(time.Second)) || p.State == mesh.PeerConnected {
			t.Errorf("7 counters are lacking at 2, which is away: %+v", p)
		}
		if p := status(2, 1); !p.Told || p.Lacks != 0 {
			t.Errorf("nothing is lacking at 1 of what 2 has: %+v", p)
		}
		// A third one that has nothing of the first two, and no way to take it.
		w.setCut(func(a, b int) bool { return a == 0 || b == 0 }, false)
		w.devices[3].change = func(c *mesh.Config) { c.Replica = fullDisk{c.Replica} }
		w.start(3)
		w.after(2 * time.Minute)
		for i := 1; i <= 2; i++ {
			if p := status(i, 3); !p.Told || p.Lacks != 11 || p.Missing != 0 {
				t.Errorf("11 counters are lacking at 3, %d says: %+v", i, p)
			}
		}
		if p := status(3, 1); !p.Told || p.Lacks != 0 || p.Missing != 11 {
			t.Errorf("11 counters are lacking at 3, it says: %+v", p)
		}
	})
}

// fullDisk is a replica without room for anything.
type fullDisk struct{ exchange.Replica }

func (fullDisk) AcceptDifference(context.Context, *records.Difference) error {
	return records.ErrFull
}
