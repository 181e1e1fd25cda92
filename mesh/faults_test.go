package mesh_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

var faultSeeds = flag.Uint64("faults.seeds", 1, "how many seeds of random faults to play")

// Fifty devices work on while some are switched off without a word and on
// again, and parts of the network are cut off, silently or not. When the faults
// end, all hold the same within seconds, and the coordinator too, although two
// devices only reach it.
func TestRandomFaults(t *testing.T) {
	n := 50
	if raceDetector {
		n = 20
	}
	for seed := range *faultSeeds {
		synctest.Test(t, func(t *testing.T) {
			w := newNetwork(t, n, 100+seed)
			defer w.stopAll()
			random := rand.New(rand.NewPCG(seed, 5))
			uplink := func(a, b int) bool { return min(a, b) == 0 && max(a, b) > 2 }
			w.setCut(uplink, false)
			w.start(0)
			w.start(upTo(n)...)
			w.after(20 * time.Second)
			var off []int
			for range 15 {
				for range 6 {
					if d := w.devices[1+random.IntN(n)]; d.on() {
						w.write(d.number, 1+random.IntN(4))
					}
				}
				switch random.IntN(3) {
				case 0: // some go
					for range 5 {
						if i := 1 + random.IntN(n); w.devices[i].on() {
							w.devices[i].kill()
							off = append(off, i)
						}
					}
				case 1: // some come back
					for range min(len(off), 4) {
						w.start(off[0])
						off = off[1:]
					}
				case 2: // the network falls apart in another way
					parts := 1 + random.IntN(4)
					part := make([]int, n+1)
					for i := range part {
						part[i] = random.IntN(parts)
					}
					w.setCut(func(a, b int) bool { return uplink(a, b) || part[a] != part[b] }, random.IntN(2) == 0)
				}
				w.after(time.Duration(1+random.IntN(30)) * time.Second)
			}
			w.start(off...)
			w.setCut(uplink, false)
			healed := time.Now()
			all := append(upTo(n), 0)
			for !w.equal(all...) {
				if time.Since(healed) > 3*time.Minute {
					t.Fatalf("seed %d: not equal after %v", seed, time.Since(healed))
				}
				w.after(time.Second)
			}
			took := time.Since(healed)
			w.after(30 * time.Second)
			for i := 1; i <= n; i++ {
				if !w.safe(i) {
					t.Errorf("seed %d: device %d does not know that everything is safe", seed, i)
				}
				for _, p := range w.devices[i].node.Status().Peers {
					if p.Session.Blame != "" {
						t.Errorf("seed %d: %d blames %s: %s", seed, i, p.Name, p.Session.Blame)
					}
				}
			}
			t.Logf("seed %d: equal after %v, %d KB", seed, took, w.traffic.Load()>>10)
		})
	}
}
