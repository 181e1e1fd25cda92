//go:build !race

package mesh_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records"
)

// slowStaging is a replica that stores segments one after the other, each in its
// time.
type slowStaging struct {
	exchange.Replica
	takes time.Duration
	turn  chan struct{}
}

func (d slowStaging) AcceptSegmentData(ctx context.Context, s *records.SegmentData) error {
	d.turn <- struct{}{}
	time.Sleep(d.takes)
	<-d.turn
	return d.Replica.AcceptSegmentData(ctx, s)
}

// A device that takes most of a minute over one log, which another brings, is not
// taken for dead by who has asked it for something meanwhile.
func TestAskedWhileOthersBring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 4, 64)
		defer w.stopAll()
		for range 100 {
			w.write(2, 2000)
		}
		w.write(1, 1)
		w.write(4, 1)
		w.devices[3].change = func(c *mesh.Config) {
			c.Replica = slowStaging{c.Replica, 900 * time.Millisecond, make(chan struct{}, 1)}
		}
		w.start(1, 2, 4)
		w.after(20 * time.Second)
		w.setCut(func(a, b int) bool { return a == 4 || b == 4 }, false)
		w.write(4, 1) // which nobody can deliver
		w.start(3)
		began := time.Now()
		w.after(time.Second)
		w.tell(4, 1)
		for !w.equal(1, 2, 3) {
			if time.Since(began) > 3*time.Minute {
				t.Fatal("not equal after minutes")
			}
			w.after(time.Second)
		}
		if took := time.Since(began); took < 40*time.Second {
			t.Errorf("it took %v, too short for anything to be shown", took)
		}
		for _, p := range w.devices[1].node.Status().Peers {
			if p.State == mesh.PeerConnected && p.Since.After(began.Add(time.Second)) {
				t.Errorf("the connection with %s was lost meanwhile", p.Name)
			}
		}
	})
}
