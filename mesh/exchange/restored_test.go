package exchange_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// restart ends a device's process and starts it anew, in the store at hand.
func (w *realWorld) restart(t *testing.T, n int) {
	t.Helper()
	r, err := records.Open(t.Context(), w.realConfig(n, w.stores[n]))
	if err != nil {
		t.Fatal(err)
	}
	w.reps[n].Close()
	w.reps[n] = r
	t.Cleanup(func() { r.Close() })
}

// meet has two devices exchange until nothing more follows from it, and heed what
// the sessions raise. It returns how many sessions that took.
func (w *realWorld) meet(t *testing.T, a, b int) (sessions int) {
	t.Helper()
	type raised struct {
		n int
		exchange.Alarm
	}
	for changed := true; changed; sessions++ {
		if sessions == 6 {
			t.Fatal("no end")
		}
		var mu sync.Mutex
		var alarms []raised
		w.alarm = func(n int, a exchange.Alarm) {
			mu.Lock()
			defer mu.Unlock()
			alarms = append(alarms, raised{n, a})
		}
		l := link{w: w, ends: [2]int{a, b}}
		l.run(t.Context(), t, true)
		w.alarm = nil
		changed = false
		for _, r := range alarms {
			if r.Head == nil {
				continue
			}
			again, err := w.reps[r.n].Behind(t.Context(), r.Head, w.reps[a+b-r.n].Device())
			if err != nil {
				t.Error(err)
			}
			changed = changed || again
		}
	}
	return sessions
}

// once returns the events that a device holds completely, by where they stood
// first, and how often each is there.
func (w *realWorld) once(t *testing.T, n int) map[string]int {
	t.Helper()
	list := map[string]int{}
	err := w.reps[n].ReadPromoted(t.Context(), func(v *records.View) error {
		return v.Events(identity.UserID{7}, identity.LaneDetail, func(r records.EventRow) error {
			if o := r.Envelope.Origin; o != nil {
				r.Log, r.Counter = o.Log, o.Counter
			}
			list[fmt.Sprint(r.Log, r.Counter, string(r.Body))]++
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A device that was restored from a backup and worked before it met anybody gives
// all of that to who it meets, takes back what it has lost, and a third device has
// all of it as well: however much it is, and however often the process was started
// before and after.
func TestReplicasRestored(t *testing.T) {
	for _, c := range []struct{ lost, lostStarts, gap, gapStarts int }{
		{3, 0, 4, 1}, {0, 0, 4, 1}, {3, 7, 4, 1}, {20, 7, 4, 1}, {3, 0, 9, 6}, {3, 2, 9, 8}, {6000, 1, 40, 1}, {30, 1, 6000, 2}, {5000, 6, 5000, 6},
	} {
		if raceDetector && c.lost+c.gap > 1000 {
			continue // the same again, with more in it
		}
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newReal(t, 3)
				work := func(answers, starts int) {
					for range starts - 1 {
						w.write(t, 0, 1, 1, 20)
						w.restart(t, 0)
					}
					if answers > 0 {
						w.write(t, 0, answers, 3, 20)
					}
				}
				work(50, 1)
				w.meet(t, 0, 1)
				backup := w.stores[0].Clone()
				w.restart(t, 0)
				work(c.lost, c.lostStarts)
				w.meet(t, 0, 1)
				want := w.once(t, 1)
				w.stores[0] = backup
				w.restart(t, 0)
				work(c.gap, c.gapStarts)
				for what := range w.once(t, 0) {
					want[what] = 1
				}
				if n := w.meet(t, 0, 1); n > 4 {
					t.Errorf("%d sessions", n)
				}
				w.write(t, 0, 2, 2, 20) // goes on
				w.meet(t, 1, 2)
				for what := range w.once(t, 0) {
					want[what] = 1
				}
				w.meet(t, 0, 1)
				w.meet(t, 1, 2)
				w.equal(t, 0, 1)
				w.equal(t, 1, 2)
				got := w.once(t, 2)
				for what := range want {
					if got[what] != 1 {
						t.Errorf("%q is there %d times", what, got[what])
					}
				}
				if len(got) != len(want) {
					t.Errorf("%d events of %d", len(got), len(want))
				}
				published := uint64(0)
				for n, r := range w.reps {
					for _, l := range r.Logs() {
						if l.Trouble != "" {
							t.Errorf("device %d: %+v", n, l)
						}
					}
				}
				for _, a := range w.reps[0].Asides() {
					published += a.Published
					if a.Ended == 0 {
						t.Errorf("%+v", a)
					}
				}
				if forked := c.lost > 0; forked != (published >= uint64(c.gap)) {
					t.Errorf("%d records were published again", published)
				}
			})
		})
	}
}

// A third device that has taken what was written in the gap gives way when that is
// published again, whatever it hears of first, and passes everything on.
func TestReplicasGiveWay(t *testing.T) {
	for _, c := range []struct {
		lost, gap, more int // answers; more are written when the third device is gone
		before          bool
		by              int // from whom the third device hears afterwards
	}{
		{3, 4, 0, false, 1}, {3, 4, 5, false, 1}, {9, 4, 2, false, 1}, {3, 4, 5, true, 1}, {9, 4, 2, true, 1},
		{3, 4, 5, true, 0}, {9, 4, 0, false, 0}, {6000, 10, 3, false, 1}, {10, 5000, 3, true, 1}, {5000, 5000, 5, false, 0},
	} {
		if raceDetector && c.lost+c.gap > 1000 {
			continue
		}
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newReal(t, 4)
				w.write(t, 0, 30, 5, 20)
				w.meet(t, 0, 1)
				backup := w.stores[0].Clone()
				w.restart(t, 0)
				w.write(t, 0, c.lost, 3, 20)
				w.meet(t, 0, 1)
				want := w.once(t, 1)
				w.stores[0] = backup
				w.restart(t, 0)
				w.write(t, 0, c.gap, 4, 20)
				w.meet(t, 0, 2)
				if c.more > 0 {
					w.write(t, 0, c.more, 2, 20)
				}
				for what := range w.once(t, 0) {
					want[what] = 1
				}
				if c.before {
					w.meet(t, 1, 2)
				}
				w.meet(t, 0, 1)
				w.meet(t, c.by, 2)
				w.meet(t, 1, 2)
				w.meet(t, 1, 0)
				w.meet(t, 2, 3)
				for n := range 3 {
					w.equal(t, n, n+1)
				}
				got := w.once(t, 3)
				for what := range want {
					if got[what] != 1 {
						t.Errorf("%q is there %d times", what, got[what])
					}
				}
				if len(got) != len(want) {
					t.Errorf("%d events of %d", len(got), len(want))
				}
				for n, r := range w.reps {
					for _, l := range r.Logs() {
						if l.Trouble != "" || l.Aside {
							t.Errorf("device %d: %+v", n, l)
						}
					}
				}
				if n := len(w.reps[2].Asides()); n == 0 {
					t.Error("the third device did not give way")
				}
			})
		})
	}
}
