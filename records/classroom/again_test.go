package classroom_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

// meet lets a device learn what another holds of its logs, and then exchanges.
func (z *zone) meet(a, b int) {
	z.t.Helper()
	for _, h := range z.devices[b].HeadsOf(z.devices[a].Device()) {
		if _, err := z.devices[a].Behind(z.t.Context(), &h, identity.DeviceID{}); err != nil {
			z.t.Fatal(err)
		}
	}
	z.pull(a, b)
	z.pull(b, a)
}

// restore puts a backup in the place of a device.
func (z *zone) restore(device int, backup *storetest.Memory) {
	z.t.Helper()
	z.configs[device].Store = backup
	r, err := records.Open(z.t.Context(), z.configs[device])
	if err != nil {
		z.t.Fatal(err)
	}
	z.devices[device] = r
}

// TestPublishedAgainCountsOnce: a device works, is restored, works again and goes
// on. What is shown of that is the same while it is found out and afterwards, and
// on every device: answers once, counts by the larger of the two continuations,
// and of each setting the latest.
func TestPublishedAgainCountsOnce(t *testing.T) {
	var stores []*storetest.Memory
	z := newZoneIn(t, func() records.Store {
		stores = append(stores, storetest.NewMemory())
		return stores[len(stores)-1]
	}, roster.RoleAdministrates, roster.RoleClassroom, roster.RolePlain)
	class := z.group(0, "3A")
	ana := z.add(0, "Ana", classroom.RoleLearner, class)
	at := func(device, answers, from, to int, name string) {
		t.Helper()
		for range answers {
			z.clock = z.clock.Add(time.Second)
			z.answer(device, ana, "ex", true)
		}
		z.watch(device, ana, "film", from, to)
		ok(t, classroom.EditPerson(t.Context(), z.devices[device], nobody, ana, classroom.PersonEdit{Name: &name}))
	}
	at(0, 3, 0, 10, "Ana at first")
	z.meet(0, 1)
	backup := stores[0].Clone()
	at(0, 2, 5, 30, "Ana who was lost")
	z.meet(0, 1)
	z.restore(0, backup)
	at(0, 5, 20, 50, "Ana in the gap")
	bo := z.add(0, "Bo", classroom.RoleLearner, class)
	if s := z.progress(0, ana).Exercises[0]; s.Attempts != 8 || s.Points != 104 {
		t.Fatalf("in the gap: %+v", s)
	}
	for _, h := range z.devices[1].HeadsOf(z.devices[0].Device()) {
		before := z.progress(0, ana)
		if _, err := z.devices[0].Behind(t.Context(), &h, identity.DeviceID{}); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, z.progress(0, ana)); d != "" {
			t.Errorf("shown while the log is set aside: %s", d)
		}
	}
	at(0, 1, 60, 70, "Ana") // in the new incarnation, before anything was published again
	for range 2 {
		z.meet(0, 1)
		z.meet(1, 2)
	}
	for device := range 3 {
		p := z.progress(device, ana)
		// 3 and 2 that were lost; 3 and 5 in the gap: 8. And 1.
		if s := p.Exercises[0]; s.Attempts != 9 || s.Right != 9 || s.Points != 104 || s.Status != classroom.StatusComplete {
			t.Errorf("device %d: %+v", device, s)
		}
		// Of the film all was seen from 0 to 50 and from 60 to 70; played were 10 and
		// 25, or 10 and 30, and 10.
		if s := p.Videos[0]; s.Coverage != 0.6 || s.PlayedS != 50 {
			t.Errorf("device %d: %+v", device, s)
		}
		attempts := read(z, device, func(v *records.View) ([]classroom.AttemptRow, error) { return classroom.Attempts(v, ana, "ex") })
		if len(attempts) != 11 {
			t.Errorf("device %d: %d answers of 11", device, len(attempts))
		}
		roll := z.people(device)
		if p := roll.Person(ana); p.Name != "Ana" {
			t.Errorf("device %d: %+v", device, p)
		}
		if c := roll.Class(class); len(c.Members) != 2 || roll.Person(bo) == nil {
			t.Errorf("device %d: members %+v", device, c.Members)
		}
		if d := cmp.Diff(z.dump(0), z.dump(device)); d != "" {
			t.Errorf("device %d dumps otherwise: %s", device, d)
		}
		if d := cmp.Diff(z.progress(0, ana), p); d != "" {
			t.Errorf("device %d: %s", device, d)
		}
	}
	for _, s := range append([]*storetest.Memory{backup}, stores[1:]...) {
		if _, err := records.Check(t.Context(), s, func(f records.Finding) { t.Error(f) }); err != nil {
			t.Error(err)
		}
	}
}
