package records_test

import (
	"errors"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

// center founds the coordinator's own replica.
func (z *zone) center(t *testing.T) *records.Replica {
	t.Helper()
	c := z.config(0, storetest.NewMemory())
	c.Identity = z.coordinator
	r, err := records.Found(t.Context(), c, records.Founding{Zone: zoneID, Coordinator: z.coordinator.Public(), Roster: z.roster})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// halves is a zone in which device 0 was restored: device 1 has what it wrote
// before, device 2 what it wrote afterwards.
type halves struct {
	z              *zone
	stores         [3]*storetest.Memory
	a, lost, third *records.Replica
}

func newHalves(t *testing.T, gap ...records.Record) *halves {
	t.Helper()
	w := &halves{z: newZone(t, 3)}
	for n := range w.stores {
		w.stores[n] = storetest.NewMemory()
	}
	before := w.z.found(t, 0, w.stores[0])
	w.lost, w.third = w.z.found(t, 1, w.stores[1]), w.z.found(t, 2, w.stores[2])
	backup := w.stores[0]
	for _, step := range []func() error{
		func() error { return put(before, reg("a", "1"), ev("before")) },
		func() error { return meet(t, before, w.lost) },
		func() error { backup = w.stores[0].Clone(); return put(before, reg("a", "2"), ev("lost")) },
		func() error { return meet(t, before, w.lost) },
		func() (err error) {
			w.stores[0] = backup
			w.a, err = records.Open(t.Context(), w.z.config(0, backup))
			return err
		},
		func() error { return put(w.a, append(gap, reg("a", "3"), ev("gap"))...) },
		func() error { return meet(t, w.a, w.third) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// same checks that replicas hold the same, with each of these bodies in it.
func same(t *testing.T, bodies []string, replicas ...*records.Replica) {
	t.Helper()
	for _, r := range replicas {
		if r.State().Fingerprint != replicas[0].State().Fingerprint {
			t.Errorf("%v and %v", r.State().Rows, replicas[0].State().Rows)
		}
		found := map[string]bool{}
		err := r.ReadPromoted(t.Context(), func(v *records.View) error {
			return v.AllEvents(func(row records.EventRow) error {
				found[string(row.Body)] = true
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bodies {
			if !found[b] {
				t.Errorf("%q is not there", b)
			}
		}
		for _, l := range r.Logs() {
			if l.Trouble != "" {
				t.Errorf("%+v", l)
			}
		}
	}
}

// The other continuation is no trouble to who has all of it already, as it was published
// again: a session may be cut before anybody asks who gives way, and the next one finds nothing
// to ask.
func TestNoTroubleAboutWhatWasPublishedAgain(t *testing.T) {
	w := newHalves(t)
	for range 2 {
		if err := meet(t, w.a, w.lost); err != nil {
			t.Fatal(err)
		}
	}
	same(t, []string{"before", "lost", "gap"}, w.a, w.lost)
	refused := 0
	for _, r := range []*records.Replica{w.a, w.lost} {
		for _, row := range w.third.State().Rows {
			base, starts := r.Frontier(row.BranchRef)
			d, err := w.third.Difference(t.Context(), row.BranchRef, base, starts)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.AcceptDifference(t.Context(), d); errors.Is(err, records.ErrForked) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	if refused == 0 {
		t.Error("the other continuation was taken")
	}
	same(t, []string{"before", "lost", "gap"}, w.a, w.lost)
}

// A device that has taken one continuation gives way to the coordinator, though
// the author is gone and has published nothing; whichever of the two that is.
func TestGivesWayToTheCoordinator(t *testing.T) {
	for _, first := range []string{"lost", "third"} {
		w := newHalves(t)
		center := w.z.center(t)
		order := []*records.Replica{w.lost, w.third}
		if first == "third" {
			order[0], order[1] = order[1], order[0]
		}
		for range 2 {
			for _, r := range order {
				if err := meet(t, r, center); err != nil {
					t.Fatal(err)
				}
			}
		}
		same(t, []string{"before", "lost", "gap"}, center, w.lost, w.third)
		if n := len(center.Asides()); n > 0 {
			t.Errorf("%s: the coordinator has given way", first)
		}
		for _, a := range order[1].Asides() {
			if a.Ended == 0 || a.Published == 0 || a.Device != w.a.Device() {
				t.Errorf("%s: %+v", first, a)
			}
		}
		for n, s := range w.stores {
			if list := findings(t, s); len(list) > 0 {
				t.Errorf("device %d: found %q", n, list)
			}
		}
	}
}

// What a device may not author it does not publish for another, and keeps; the rest
// goes on.
func TestGivesWayWithWhatItMayNotAuthor(t *testing.T) {
	common := records.NewKind(identity.LaneZone, roster.ClassAny, 9)
	w := newHalves(t, records.Record{Kind: role, Register: true, Learner: pupil, Body: []byte("head")})
	before := w.z.center(t)
	// In the lane zone nothing was lost: another continuation of it is a copy's.
	copied, err := records.Open(t.Context(), w.z.config(0, w.stores[0].Clone()))
	if err == nil {
		err = put(copied, records.Record{Kind: role, Register: true, Learner: pupil, Body: []byte("teacher")})
	}
	if err == nil {
		err = put(w.a,
			records.Record{Kind: role, Register: true, Learner: pupil, Body: []byte("later")},
			records.Record{Kind: common, Learner: pupil, Body: []byte("for anybody")})
	}
	if err == nil {
		err = meet(t, copied, before)
	}
	if err == nil {
		err = meet(t, w.a, w.third)
	}
	for range 2 {
		if err == nil {
			err = meet(t, w.third, before)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if w.third.State().Fingerprint != before.State().Fingerprint {
		t.Errorf("%v and %v", w.third.State().Rows, before.State().Rows)
	}
	same(t, []string{"for anybody"}, before)
	kept := 0
	for _, a := range w.third.Asides() {
		if a.Ended == 0 {
			kept++
		}
	}
	if kept != 1 || len(findings(t, w.stores[2])) > 0 {
		t.Errorf("%+v", w.third.Asides())
	}
}

// An author that has set its continuation aside for one that nobody gives goes
// after the coordinator's, which may be its own.
func TestFollowsTheCoordinator(t *testing.T) {
	w := newHalves(t)
	center := w.z.center(t)
	if err := meet(t, w.a, center); err != nil {
		t.Fatal(err)
	}
	for _, h := range w.lost.HeadsOf(w.a.Device()) {
		if changed, err := w.a.Behind(t.Context(), &h, w.lost.Device()); err != nil || !changed {
			t.Fatal(changed, err)
		}
	}
	if n := len(w.a.Asides()); n != 2 || len(w.a.State().Rows) != 0 {
		t.Fatalf("%d logs were set aside: %v", n, w.a.State().Rows)
	}
	for range 2 {
		if err := meet(t, w.a, center); err != nil {
			t.Fatal(err)
		}
	}
	same(t, []string{"before", "gap"}, center, w.a)
	for _, a := range w.a.Asides() {
		if a.Ended == 0 || a.Published > 0 {
			t.Errorf("%+v", a)
		}
	}
	for range 2 {
		for _, r := range []*records.Replica{w.lost, w.third, w.a} {
			if err := meet(t, r, center); err != nil {
				t.Fatal(err)
			}
		}
	}
	same(t, []string{"before", "gap", "lost"}, center, w.a, w.lost, w.third)
	for n, s := range w.stores {
		if list := findings(t, s); len(list) > 0 {
			t.Errorf("device %d: found %q", n, list)
		}
	}
}
