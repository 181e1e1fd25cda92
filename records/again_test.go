package records_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/storetest"
)

// meet lets two replicas tell each other what they hold of the other's logs, and
// then give each other what the other lacks, as sessions do.
func meet(t testing.TB, a, b *records.Replica) error {
	t.Helper()
	for range 8 {
		again := false
		for _, side := range [][2]*records.Replica{{a, b}, {b, a}} {
			for _, h := range side[1].HeadsOf(side[0].Device()) {
				if _, err := side[0].Behind(t.Context(), &h, side[1].Device()); err != nil {
					return err
				}
			}
		}
		for _, side := range [][2]*records.Replica{{a, b}, {b, a}} {
			to, from := side[0], side[1]
			for _, row := range from.State().Rows {
				base, starts := to.Frontier(row.BranchRef)
				if base >= row.Counter {
					if base == 0 || to.Passed(row.Log, row.Start[:], row.Counter) {
						continue
					}
					base, starts = row.Counter, 0 // of another continuation: evidence
				}
				d, err := from.Difference(t.Context(), row.BranchRef, base, starts)
				if errors.Is(err, records.ErrUnknownBranch) {
					continue
				}
				if err == nil {
					err = to.AcceptDifference(t.Context(), d)
				}
				if errors.Is(err, records.ErrStarts) {
					if d, err = from.Difference(t.Context(), row.BranchRef, base, 0); err == nil {
						err = to.AcceptDifference(t.Context(), d)
					}
				}
				if errors.Is(err, records.ErrForked) || errors.Is(err, records.ErrGap) {
					if _, err := to.Behind(t.Context(), &d.Head, from.Device()); err != nil {
						return err
					}
					again = true
					continue
				}
				if err != nil {
					return err
				}
			}
		}
		if !again {
			break
		}
	}
	return nil
}

// origins tells each record that is shown by where it stood first, and how often.
func origins(t testing.TB, r *records.Replica) map[string]int {
	t.Helper()
	list := map[string]int{}
	note := func(log identity.LogID, counter uint64, env *records.Envelope, body []byte) {
		if o := env.Origin; o != nil {
			log, counter = o.Log, o.Counter
		}
		list[fmt.Sprint(log.Short(), " ", counter, " ", string(env.Key), " ", string(body))]++
	}
	err := r.ReadPromoted(t.Context(), func(v *records.View) error {
		err := v.Registers(records.RegisterPrefix{Kind: register}, func(row records.RegisterRow) error {
			note(row.Log, row.Counter, row.Envelope, row.Body)
			return nil
		})
		if err != nil {
			return err
		}
		return v.AllEvents(func(row records.EventRow) error {
			note(row.Log, row.Counter, row.Envelope, row.Body)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// gapped is a device that has worked on after it was restored from a backup,
// and another one that has what it wrote after the backup.
type gapped struct {
	z      *zone
	store  *storetest.Memory
	a, hub *records.Replica
	hubs   *storetest.Memory
	former identity.Certificate
}

func restore(t *testing.T) *gapped {
	t.Helper()
	z := newZone(t, 2)
	w := &gapped{z: z, store: storetest.NewMemory(), hubs: storetest.NewMemory()}
	before := z.found(t, 0, w.store)
	w.hub = z.found(t, 1, w.hubs)
	w.former = before.Certificate()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(put(before, reg("a", "1"), reg("b", "1"), ev("before")))
	must(meet(t, before, w.hub))
	backup := w.store.Clone()
	must(put(before, reg("a", "2"), reg("lost", "1"), ev("lost 1")))
	must(put(before, ev("lost 2")))
	must(meet(t, before, w.hub))
	w.store = backup
	w.open(t, w.store)
	for n := range 5 {
		must(put(w.a, reg("a", fmt.Sprint("gap ", n)), ev(fmt.Sprint("gap ", n))))
	}
	must(put(w.a, reg("gap", "1")))
	return w
}

func (w *gapped) open(t *testing.T, s records.Store) {
	t.Helper()
	var err error
	if w.a, err = records.Open(t.Context(), w.z.config(0, s)); err != nil {
		t.Fatal(err)
	}
	w.a.PublishAtMost(3)
}

// wholly checks that both hold the same, everything that was ever written, and
// what was published again once.
func (w *gapped) wholly(t *testing.T) {
	t.Helper()
	if w.a.State().Fingerprint != w.hub.State().Fingerprint {
		t.Errorf("they differ: %v %v", w.a.State().Rows, w.hub.State().Rows)
	}
	got := origins(t, w.hub)
	if own := origins(t, w.a); fmt.Sprint(own) != fmt.Sprint(got) {
		t.Errorf("here %v\nthere %v", own, got)
	}
	log := [2]string{w.former.Log(identity.LaneProgress).Short(), w.former.Log(identity.LaneDetail).Short()}
	want := []string{
		log[0] + " 2 b 1", log[0] + " 3 a 2", log[0] + " 4 lost 1", log[0] + " 7 a gap 4", log[0] + " 8 gap 1",
		log[1] + " 1  before", log[1] + " 2  lost 1", log[1] + " 3  lost 2",
	}
	for n := range 5 {
		want = append(want, fmt.Sprint(log[1], " ", 2+n, "  gap ", n))
	}
	for _, s := range want {
		if got[s] != 1 {
			t.Errorf("%q is there %d times", s, got[s])
		}
		delete(got, s)
	}
	for s := range got {
		if !strings.HasSuffix(s, " later") {
			t.Errorf("%q is there as well", s)
		}
	}
	for _, a := range w.a.Asides() {
		if a.Ended == 0 || a.Left != 0 {
			t.Errorf("not over: %+v", a)
		}
	}
	for _, s := range []records.Store{w.store, w.hubs} {
		if list := findings(t, s); len(list) > 0 {
			t.Errorf("found %q", list)
		}
	}
}

// What was written between a restore and the first contact reaches everybody, in
// logs of its own, once.
func TestPublishedAgain(t *testing.T) {
	w := restore(t)
	if err := put(w.a, ev("later")); err != nil {
		t.Fatal(err)
	}
	if err := meet(t, w.a, w.hub); err != nil {
		t.Fatal(err)
	}
	if w.a.Certificate() == w.former {
		t.Fatal("no new incarnation began")
	}
	if err := put(w.a, reg("a", "own later"), ev("own later")); err != nil {
		t.Fatal(err)
	}
	if err := meet(t, w.a, w.hub); err != nil {
		t.Fatal(err)
	}
	w.wholly(t)
	published := uint64(0)
	for _, a := range w.a.Asides() {
		published += a.Published
	}
	if published != 8 { // gap 0 to 4, later; the newest of a, and gap
		t.Errorf("%d records were published again", published)
	}
}

// What was superseded while a peer was being served is not published, and goes
// with the rest.
func TestPublishedAgainWhileServing(t *testing.T) {
	w := restore(t)
	ref := records.BranchRef{Log: w.former.Log(identity.LaneProgress)}
	if _, err := w.a.SegmentList(t.Context(), ref, 0, 0); err != nil { // pins what is live now
		t.Fatal(err)
	}
	for n := range 40 {
		if err := put(w.a, reg("a", fmt.Sprint("then ", n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(w.a, reg("a", "gap 4")); err != nil {
		t.Fatal(err)
	}
	dropped := 0
	err := w.store.View(t.Context(), func(tx records.Tx) error {
		return tx.Branches(func(b records.Branch) error {
			return tx.Drops(b.Slot, 0, ^uint64(0), func(uint64, uint64) error { dropped++; return nil })
		})
	})
	if list := findings(t, w.store); err != nil || dropped < 40 || len(list) > 0 {
		t.Fatalf("%v: %d are superseded, found %q", err, dropped, list)
	}
	for range 2 {
		if err := meet(t, w.a, w.hub); err != nil {
			t.Fatal(err)
		}
		w.open(t, w.store)
		if err := put(w.a, ev("later")); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []records.Store{w.store, w.hubs} {
		if list := findings(t, s); len(list) > 0 {
			t.Errorf("found %q", list)
		}
	}
	for what, n := range origins(t, w.hub) {
		if strings.Contains(what, "then") || n > 1 {
			t.Errorf("%q is there %d times", what, n)
		}
	}
}

// While a log is set aside pages show what they have shown, and nobody is served
// it; until everything is with others it is not told to be safe.
func TestWhatIsAsideIsShown(t *testing.T) {
	w := restore(t)
	before := seen(t, w.a)
	for _, h := range w.hub.HeadsOf(w.a.Device()) {
		if changed, err := w.a.Behind(t.Context(), &h, identity.DeviceID{}); err != nil || !changed {
			t.Fatal(changed, err)
		}
		if changed, err := w.a.Behind(t.Context(), &h, identity.DeviceID{}); err != nil || changed {
			t.Errorf("again: %v %v", changed, err)
		}
	}
	if got := seen(t, w.a); !slices.Equal(got, before) {
		t.Errorf("shown were %q, are %q", before, got)
	}
	if rows := w.a.State().Rows; len(rows) > 0 || len(origins(t, w.a)) > 0 {
		t.Errorf("told are %v", rows)
	}
	for _, l := range w.a.Logs() {
		if !l.Aside || l.Unsafe() == 0 {
			t.Errorf("%+v", l)
		}
	}
	if list := findings(t, w.store); len(list) > 0 {
		t.Errorf("found %q", list)
	}
	w.open(t, w.store)
	if got := seen(t, w.a); !slices.Equal(got, before) || len(w.a.State().Rows) > 0 {
		t.Errorf("after a new start: %q", got)
	}
	if err := meet(t, w.a, w.hub); err != nil {
		t.Fatal(err)
	}
	w.wholly(t)
	for _, l := range w.a.Logs() {
		if l.Aside {
			t.Errorf("%+v", l)
		}
	}
}

// If nobody gives what others hold of the log, a day later all of it that the
// coordinator is not known to have is published without that.
func TestPublishedWithoutTheOthers(t *testing.T) {
	w := restore(t)
	for _, h := range w.hub.HeadsOf(w.a.Device()) {
		if _, err := w.a.Behind(t.Context(), &h, identity.DeviceID{}); err != nil {
			t.Fatal(err)
		}
	}
	c := w.z.config(0, w.store)
	now := c.Now()
	c.Now = func() time.Time { return now }
	var err error
	if w.a, err = records.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.a.PublishAtMost(3)
	for _, day := range []int{0, 1} {
		if err := w.a.PublishAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := origins(t, w.a); len(got) != 9*day { // three registers and six events are live
			t.Errorf("on day %d: %v", day, got)
		}
		now = now.Add(25 * time.Hour)
	}
	if err := meet(t, w.a, w.hub); err != nil {
		t.Fatal(err)
	}
	got := origins(t, w.hub)
	for what, n := range origins(t, w.a) {
		if got[what] != n {
			t.Errorf("%q is here %d times, there %d", what, n, got[what])
		}
	}
	if w.a.State().Fingerprint != w.hub.State().Fingerprint {
		t.Error("they differ")
	}
	for _, a := range w.a.Asides() {
		if a.Ended == 0 {
			t.Errorf("not over: %+v", a)
		}
	}
}

// Wherever the work is cut off, it goes on where it was, and nothing is published
// twice.
func TestPublishingIsCutOff(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.Before, storetest.Full, storetest.Crash, storetest.After} {
		cut, step := true, 1
		if racing || testing.Short() {
			step = 4
		}
		for n := 1; cut; n += step {
			w := restore(t)
			store := &storetest.Faulty{Store: w.store}
			w.open(t, store)
			script := storetest.Nth(n, fault)
			cut = false
			store.Next = func() storetest.Fault {
				f := script()
				cut = cut || f != storetest.None
				return f
			}
			for range 3 {
				err := meet(t, w.a, w.hub)
				if err == nil {
					err = w.a.PublishAgain(t.Context())
				}
				if err != nil && !errors.Is(err, storetest.ErrInjected) {
					t.Fatalf("%v in update %d: %v", fault, n, err)
				}
				if list := findings(t, w.store); len(list) > 0 {
					t.Errorf("%v in update %d: found %q", fault, n, list)
				}
				if errors.Is(err, records.ErrUncertain) {
					store.Reopen()
					w.open(t, store)
				}
			}
			w.wholly(t)
			if t.Failed() {
				t.Fatalf("%v in update %d", fault, n)
			}
		}
	}
}
