//go:build !race

package mesh_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh"
)

// Among two hundred devices, each with a few links, one record is everywhere in
// few hops, and crosses the LAN once for each.
func TestSpreadAmongTwoHundred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		w := newNetwork(t, n, n)
		w.latency = time.Millisecond
		defer w.stopAll()
		for _, d := range w.devices[1:] {
			d.change = func(c *mesh.Config) { c.Replica = slowDisk{c.Replica, 2 * time.Millisecond} }
		}
		w.start(upTo(n)...)
		w.write(1, 1)
		w.write(101, 1)
		w.after(3 * time.Minute)
		s := w.spreadOf(n, 10, func(r int) []int { return []int{1 + r/5*100} }, time.Second)
		t.Logf("%.2f copies, %.2f in bytes; p50 %v, p99 %v, at last %v", s.copies, s.bytes, s.quantile(0.5), s.quantile(0.99), s.quantile(1))
		if s.copies > 1.3 || s.bytes > 1.3 || s.quantile(0.99) > 200*time.Millisecond || len(s.took) != 10*(n-1) || !w.equal(upTo(n)...) {
			t.Errorf("%d arrivals, %.2f copies, %.2f in bytes, p99 %v", len(s.took), s.copies, s.bytes, s.quantile(0.99))
		}
	})
}
