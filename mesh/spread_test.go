package mesh_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// bodies are the messages that carry records, words those that only speak of
// them.
var (
	bodies = []wire.Type{wire.TypePush, wire.TypeDifference, wire.TypeSegment, wire.TypeEntries}
	words  = []wire.Type{wire.TypeHave, wire.TypeWant, wire.TypeEnough, wire.TypeNothing, wire.TypeLinks, wire.TypeCredit}
)

// spread is how commits got about.
type spread struct {
	copies float64 // bodies for each commit and receiver
	bytes  float64 // bodies and words, next to what one body takes
	all    float64 // everything, comparisons included
	took   []time.Duration
}

func (s *spread) quantile(q float64) time.Duration {
	slices.Sort(s.took)
	return s.took[min(len(s.took)-1, int(q*float64(len(s.took))))]
}

// spreadOf has devices write commits of one record, a while apart, and measures
// how each gets to all others.
func (w *network) spreadOf(n, rounds int, writes func(round int) []int, apart time.Duration) *spread {
	var mu sync.Mutex
	s := &spread{}
	began := map[records.BranchRef]map[uint64]time.Time{}
	for _, d := range w.devices[1:] {
		defer d.replica.Watch(func(c records.Change) {
			if c.Commit == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if c.Commit.Own {
				if began[c.Commit.Ref] == nil {
					began[c.Commit.Ref] = map[uint64]time.Time{}
				}
				began[c.Commit.Ref][c.Commit.Head.Counter] = time.Now()
				return
			}
			from := uint64(0)
			if c.Commit.Difference != nil {
				from = c.Commit.Difference.Base
			}
			for k := from + 1; k <= c.Commit.Head.Counter; k++ {
				s.took = append(s.took, time.Since(began[c.Commit.Ref][k]))
			}
		})()
	}
	w.tally.reset()
	commits := 0
	for round := range rounds {
		for _, i := range writes(round) {
			w.write(i, 1)
			commits++
		}
		time.Sleep(apart)
	}
	time.Sleep(5 * time.Second)
	frames, bytes := w.tally.of(bodies...)
	pushes, pushBytes := w.tally.of(wire.TypePush)
	_, small := w.tally.of(words...)
	receivers := float64(commits * (n - 1))
	one := float64(pushBytes) / float64(pushes)
	mu.Lock() // watchers
	defer mu.Unlock()
	s.copies, s.bytes, s.all = float64(frames)/receivers, float64(bytes+small)/receivers/one, float64(w.tally.all())/receivers/one
	return s
}

// A commit crosses the LAN about once for each device that gets it, and is
// everywhere soon, be all linked to all or to some.
func TestSpread(t *testing.T) {
	sizes := []int{10, 30, 60}
	if raceDetector {
		sizes = []int{10, 16} // more take minutes
	}
	for _, n := range sizes {
		synctest.Test(t, func(t *testing.T) {
			w := newNetwork(t, n, uint64(n))
			w.latency = time.Millisecond
			defer w.stopAll()
			for _, d := range w.devices[1:] {
				d.change = func(c *mesh.Config) { c.Replica = slowDisk{c.Replica, 2 * time.Millisecond} }
			}
			w.start(upTo(n)...)
			for i := 1; i <= n; i++ {
				w.write(i, 1)
			}
			w.after(2 * time.Minute)
			if !w.equal(upTo(n)...) {
				t.Fatal("not equal in the beginning")
			}
			for _, test := range []struct {
				what   string
				rounds int
				writes func(round int) []int
				apart  time.Duration
			}{
				{"each device once", n, func(r int) []int { return []int{r + 1} }, 300 * time.Millisecond},
				{"one device", 50, func(int) []int { return []int{3} }, 300 * time.Millisecond},
				{"all at once", 10, func(int) []int { return upTo(n) }, time.Second},
			} {
				s := w.spreadOf(n, test.rounds, test.writes, test.apart)
				t.Logf("%d devices, %s: %.2f copies, %.2f in bytes, %.2f with comparisons and all; p50 %v, p99 %v", n, test.what, s.copies, s.bytes, s.all,
					s.quantile(0.5).Round(100*time.Microsecond), s.quantile(0.99).Round(100*time.Microsecond))
				if !w.equal(upTo(n)...) {
					t.Errorf("%d devices, %s: not equal", n, test.what)
				}
				if s.copies > 1.3 || s.bytes > 1.3 {
					t.Errorf("%d devices, %s: %.2f copies, %.2f in bytes", n, test.what, s.copies, s.bytes)
				}
				if s.quantile(0.5) > 20*time.Millisecond || s.quantile(0.99) > 200*time.Millisecond {
					t.Errorf("%d devices, %s: p50 %v, p99 %v", n, test.what, s.quantile(0.5), s.quantile(0.99))
				}
			}
		})
	}
}

// A device that comes late fetches from several peers at once, and nothing twice.
func TestFetchFromMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 9
		w := newNetwork(t, n, 80)
		w.latency = 2 * time.Millisecond
		defer w.stopAll()
		w.start(upTo(n - 1)...)
		for i := 1; i < n; i++ {
			for _, lane := range identity.Lanes {
				incompressible(t, w.devices[i].replica, lane, 20, 1000)
			}
		}
		w.after(time.Minute)
		if !w.equal(upTo(n - 1)...) {
			t.Fatal("not equal in the beginning")
		}
		w.devices[n].change = func(c *mesh.Config) { c.Replica = slowDisk{c.Replica, 5 * time.Millisecond} }
		w.tally.reset()
		w.start(n)
		w.after(20 * time.Second)
		if !w.equal(upTo(n)...) {
			t.Fatal("the late device did not get everything")
		}
		_, bytes := w.tally.of(bodies...)
		from, most := 0, uint64(0)
		for _, p := range w.devices[n].node.Status().Peers {
			if p.Session.RecordsReceived > 0 {
				from++
			}
			most = max(most, p.Session.RecordsReceived)
		}
		const all = (n - 1) * 3 * 20
		copies := float64(bytes) / (all * 1090) // with envelopes and heads
		t.Logf("%d records from %d peers, %d from one at most, %.2f copies", all, from, most, copies)
		if copies > 1.1 || from < 3 || most > all/2 {
			t.Errorf("%.2f copies, from %d peers, %d of %d records from one", copies, from, most, all)
		}
	})
}
