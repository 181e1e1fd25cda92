package records_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/storetest"
)

// firstPlace is a record by where it stood first.
type firstPlace struct {
	log  identity.LogID
	what string // of an event, its body; of a register, its key
}

// body is one copy of a device: it remembers what was written into its store.
type body struct {
	*records.Replica
	n       int // device; -1: the coordinator
	memory  *storetest.Memory
	faulty  *storetest.Faulty
	written map[firstPlace]int // of registers the number that they hold
}

// copies is a device that is copied and restored all the time, the coordinator as
// the hub that each copy meets now and then, and another device that meets all of
// them.
type copies struct {
	t       *testing.T
	z       *zone
	random  *rand.Rand
	now     time.Time
	bodies  []*body // copies of device 0
	backups []*body
	hub     *body
	third   *body
	ever    map[firstPlace]int // the greatest number
	hubs    []*body            // backups of the hub, if it is restored as well
	events  int
	trail   []string
}

func (w *copies) open(b *body) {
	w.t.Helper()
	b.faulty.Reopen()
	b.faulty.Next = nil
	c := w.config(b, b.faulty)
	var err error
	if b.Replica, err = records.Open(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
	b.EndSegmentsAfter(3 + w.random.Uint64N(5))
	b.PublishAtMost(1 + w.random.IntN(4))
}

func (w *copies) config(b *body, s records.Store) records.Config {
	c := w.z.config(max(b.n, 0), s)
	if b.n < 0 {
		c.Identity = w.z.coordinator
	}
	c.Now = func() time.Time { return w.now }
	return c
}

func (w *copies) found(n int) *body {
	b := &body{n: n, memory: storetest.NewMemory(), written: map[firstPlace]int{}}
	b.faulty = &storetest.Faulty{Store: b.memory}
	_, err := records.Found(w.t.Context(), w.config(b, b.memory), records.Founding{Zone: zoneID, Coordinator: w.z.coordinator.Public(), Roster: w.z.roster})
	if err != nil {
		w.t.Fatal(err)
	}
	w.open(b)
	return b
}

func (b *body) clone() *body {
	c := &body{n: b.n, memory: b.memory.Clone(), written: maps.Clone(b.written)}
	c.faulty = &storetest.Faulty{Store: c.memory}
	return c
}

func (w *copies) log(format string, args ...any) {
	w.trail = append(w.trail, fmt.Sprintf(format, args...))
}

// write counts in registers, as progress does, and writes events.
func (w *copies) write(b *body) {
	fresh := map[firstPlace]int{}
	self := b.Certificate()
	err := b.Write(w.t.Context(), func(d *records.Draft) error {
		for range 1 + w.random.IntN(4) {
			rec, it, n := records.Record{}, firstPlace{}, 1
			if w.random.IntN(2) == 0 {
				w.events++
				rec, it = ev(fmt.Sprint("event ", w.events)), firstPlace{self.Log(identity.LaneDetail), fmt.Sprint("event ", w.events)}
			} else {
				key := fmt.Sprint("k", w.random.IntN(5))
				own, ok, err := d.Own(records.RegisterKey{Kind: register, Learner: pupil, Key: key})
				if err != nil {
					return err
				}
				if ok {
					n, _ = strconv.Atoi(string(own.Body))
					n++
				}
				rec, it = reg(key, fmt.Sprint(n)), firstPlace{self.Log(identity.LaneProgress), key}
			}
			if _, err := d.Put(rec); err != nil {
				return err
			}
			fresh[it] = n
		}
		return nil
	})
	lost := errors.Is(err, records.ErrUncertain) // or not
	w.log("%p writes %v: %v", b, fresh, err)
	for it, n := range fresh {
		if err == nil || lost {
			w.ever[it] = max(w.ever[it], n)
		}
		if err == nil {
			b.written[it] = max(b.written[it], n)
		}
	}
	if err != nil && !errors.Is(err, storetest.ErrInjected) {
		w.t.Fatal(err)
	}
	if lost {
		w.open(b)
	}
}

func (w *copies) meet(a, b *body) {
	err := meet(w.t, a.Replica, b.Replica)
	w.log("%p meets %p: %v", a, b, err)
	if err != nil && !errors.Is(err, storetest.ErrInjected) {
		w.t.Fatalf("%v\n%v", w.trail, err)
	}
	for _, side := range []*body{a, b} {
		if side.faulty.View(w.t.Context(), func(records.Tx) error { return nil }) != nil {
			w.open(side)
		}
	}
	// What the hub was given is not lost with the copy.
	for it := range holdings(w.t, w.hub.Replica) {
		if w.ever[it] > 0 {
			w.hub.written[it] = max(w.hub.written[it], 1)
		}
	}
}

func (w *copies) fault(b *body) {
	b.faulty.Next = nil
	if w.random.IntN(4) == 0 {
		b.faulty.Next = storetest.Nth(1+w.random.IntN(12), storetest.Fault(1+w.random.IntN(4)))
	}
}

func (w *copies) step() {
	w.now = w.now.Add(time.Duration(w.random.IntN(120)) * time.Minute)
	i := w.random.IntN(len(w.bodies))
	b := w.bodies[i]
	if len(w.hubs) > 0 && w.random.IntN(15) == 0 {
		if w.random.IntN(2) == 0 {
			w.hubs = append(w.hubs, w.hub.clone())
		} else {
			w.hub = w.hubs[w.random.IntN(len(w.hubs))].clone()
			w.open(w.hub)
			w.log("the hub is restored, %p", w.hub)
		}
	}
	switch n := w.random.IntN(20); {
	case n < 8:
		w.fault(b)
		w.write(b)
	case n < 12:
		w.fault(b)
		w.meet(b, w.hub)
	case n < 13:
		w.meet(w.third, w.hub)
	case n < 14:
		w.fault(w.third)
		w.meet(w.third, b)
	case n < 15:
		w.log("%p starts anew", b)
		w.open(b)
	case n < 17:
		w.backups = append(w.backups, b.clone())
		w.log("backup of %p", b)
	case n < 18 && len(w.bodies) < 3:
		c := b.clone()
		w.open(c)
		w.bodies = append(w.bodies, c)
		w.log("%p is a copy of %p", c, b)
	case n < 19 && len(w.backups) > 0:
		c := w.backups[w.random.IntN(len(w.backups))].clone()
		w.open(c)
		w.log("%p is a backup in the place of %p", c, b)
		w.bodies[i] = c
	default:
		w.write(w.third)
	}
}

// holdings tells what a replica holds completely: of a register the greatest
// number of what counts for one log.
func holdings(t testing.TB, r *records.Replica) map[firstPlace]int {
	list := map[firstPlace]int{}
	err := r.ReadPromoted(t.Context(), func(v *records.View) error {
		first := func(log identity.LogID, env *records.Envelope) identity.LogID {
			if env.Origin != nil {
				return env.Origin.Log
			}
			return log
		}
		err := v.Registers(records.RegisterPrefix{Kind: register}, func(row records.RegisterRow) error {
			n, err := strconv.Atoi(string(row.Body))
			it := firstPlace{first(row.Log, row.Envelope), row.Key.Key}
			list[it] = max(list[it], n)
			return err
		})
		if err != nil {
			return err
		}
		return v.AllEvents(func(row records.EventRow) error {
			list[firstPlace{first(row.Log, row.Envelope), string(row.Body)}] = 1
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (w *copies) converge() { w.convergeOf(identity.DeviceID{}) }

// convergeOf is converge where a device lies: what it wrote may be counted for the log
// of another one, and what it forked may be waited for.
func (w *copies) convergeOf(liar identity.DeviceID) {
	all := append(slices.Clone(w.bodies), w.third, w.hub)
	for _, b := range all {
		b.faulty.Next = nil
		if err := b.PublishAgain(w.t.Context()); err != nil {
			w.t.Error(err)
		}
	}
	for range 3 {
		for _, b := range all[:len(all)-1] {
			w.meet(b, w.hub)
		}
	}
	want := map[firstPlace]int{}
	for _, b := range all {
		for it, n := range b.written {
			want[it] = max(want[it], n)
		}
	}
	for _, b := range all {
		if b.State().Fingerprint != w.hub.State().Fingerprint {
			w.t.Errorf("%p holds %v, the hub %v", b, b.State().Rows, w.hub.State().Rows)
		}
		got := holdings(w.t, b.Replica)
		for it, n := range want {
			if got[it] < n {
				w.t.Errorf("%p holds %v of %v, which was %d", b, got[it], it, n)
			}
		}
		for it, n := range got {
			if n > w.ever[it] && liar == (identity.DeviceID{}) {
				w.t.Errorf("%p holds %d of %v, which never was more than %d", b, n, it, w.ever[it])
			}
		}
		for _, a := range b.Asides() {
			if a.Ended == 0 && a.Device != liar {
				w.t.Errorf("%p: not over: %+v", b, a)
			}
		}
		if list := findings(w.t, b.memory); len(list) > 0 {
			w.t.Errorf("%p: found %q", b, list)
		}
	}
}

// Whatever is copied, restored and cut off: in the end all hold the same, all
// that was acknowledged by a store that was not given up or has met others, and
// counts are those of the log where they were counted, not more.
func TestCopiesLoseNothing(t *testing.T) {
	first, published := firstHistory(), uint64(0)
	for seed := first; seed < first+histories(60); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &copies{
				t: t, z: newZone(t, 2), random: rand.New(rand.NewPCG(seed, 1)), now: time.UnixMilli(1000), ever: map[firstPlace]int{},
			}
			w.bodies, w.hub, w.third = []*body{w.found(0)}, w.found(-1), w.found(1)
			if seed%3 == 0 {
				w.hubs = []*body{w.hub.clone()}
			}
			for range 60 {
				w.step()
			}
			w.converge()
			if t.Failed() {
				for _, line := range w.trail {
					t.Log(line)
				}
			}
			for _, b := range w.bodies {
				for _, a := range b.Asides() {
					published += a.Published
				}
			}
		})
	}
	if published == 0 {
		t.Error("nothing was published again")
	}
	t.Log("published again:", published)
}
