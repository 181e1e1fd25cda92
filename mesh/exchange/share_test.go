package exchange_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records/identity"
)

// Of those that share exactly one exchanges a log, all have about as many, who
// writes a log exchanges it, and who goes away leaves only its own logs to the
// others.
func TestCarries(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var devices []identity.DeviceID
	for range 10 {
		var d identity.DeviceID
		binary.BigEndian.PutUint64(d[:], random.Uint64())
		devices = append(devices, d)
	}
	carrier := func(devices []identity.DeviceID, log identity.LogID, author identity.DeviceID) int {
		chosen := -1
		for i, d := range devices {
			if exchange.Carries(d, devices, log, author) {
				if chosen >= 0 {
					t.Fatalf("both %d and %d exchange one log", chosen, i)
				}
				chosen = i
			}
		}
		if chosen < 0 {
			t.Fatal("nobody exchanges a log")
		}
		return chosen
	}
	share := map[int]int{}
	for range 1000 {
		var log identity.LogID
		binary.BigEndian.PutUint64(log[:], random.Uint64())
		c := carrier(devices, log, identity.DeviceID{})
		share[c]++
		if left := carrier(devices[:9], log, identity.DeviceID{}); c != 9 && left != c {
			t.Errorf("a log passes from %d to %d because another device has gone", c, left)
		}
		if a := carrier(devices, log, devices[3]); a != 3 {
			t.Errorf("a log of device 3 is exchanged by %d", a)
		}
	}
	for i := range devices {
		if share[i] < 60 || share[i] > 140 {
			t.Errorf("device %d exchanges %d of 1000 logs", i, share[i])
		}
	}
}
