package records_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

// rule signs a roster after a change and has replicas take it.
func (z *zone) rule(t *testing.T, change func(*roster.Roster) (*roster.Roster, error), replicas ...*records.Replica) {
	t.Helper()
	r, err := roster.Accept(nil, z.roster, z.coordinator.Public(), zoneID)
	if err == nil {
		r, err = change(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	z.roster = r.Sign(z.coordinator, 3).Encode()
	for _, one := range replicas {
		if err := one.AcceptRoster(t.Context(), z.roster); err != nil {
			t.Fatal(err)
		}
	}
}

// roles returns the roles that count for a replica.
func roles(t *testing.T, r *records.Replica) (list []string) {
	t.Helper()
	err := r.Read(t.Context(), func(v *records.View) error {
		return v.Registers(records.RegisterPrefix{Kind: role}, func(row records.RegisterRow) error {
			list = append(list, string(row.Body))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A device that forks its own log cannot have another one, which gives way, write
// in its own name what the first may not: who is an administrator, say.
func TestPublishesNobodysUsurpation(t *testing.T) {
	z := newZone(t, 2)
	store := storetest.NewMemory()
	liar, honest, center := z.found(t, 0, store), z.found(t, 1, storetest.NewMemory()), z.center(t)
	z.rule(t, func(r *roster.Roster) (*roster.Roster, error) {
		return r.SetRole(honest.Device(), roster.RoleAdministrates)
	}, liar, honest, center)
	usurp := func(body string) records.Record {
		return records.Record{Kind: role, Register: true, Learner: pupil, Body: []byte(body)}
	}
	common := records.Record{Kind: records.NewKind(identity.LaneZone, roster.ClassAny, 9), Learner: pupil, Body: []byte("for anybody")}
	err := put(liar, common)
	if err != nil {
		t.Fatal(err)
	}
	twin, err := records.Open(t.Context(), z.config(0, store.Clone()))
	for _, step := range []func() error{
		func() error { return err },
		func() error { return put(liar, usurp("administrator"), common) },
		func() error { return put(twin, usurp("another")) },
		func() error { return meet(t, honest, liar) },
		func() error { return meet(t, center, twin) },
		func() error { return meet(t, honest, center) },
		func() error { return meet(t, honest, center) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	asides := honest.Asides()
	if len(asides) != 1 || asides[0].Published != 1 {
		t.Fatalf("it has not given way: %+v", asides)
	}
	for _, r := range []*records.Replica{honest, center} {
		if list := roles(t, r); len(list) > 0 {
			t.Errorf("%q count", list)
		}
	}
}

// What a device has written that does not belong to the zone any more is not
// published in the name of one that does.
func TestPublishesNothingOfTheRemoved(t *testing.T) {
	w := newHalves(t)
	center := w.z.center(t)
	if err := meet(t, w.lost, center); err != nil {
		t.Fatal(err)
	}
	var closures []roster.Closure
	for _, h := range center.HeadsOf(w.a.Device()) {
		closures = append(closures, roster.Closure{Log: h.Log, Branches: []roster.Branch{{Start: h.Start(), Counter: h.Counter, Fingerprint: h.Fingerprint}}})
	}
	w.z.rule(t, func(r *roster.Roster) (*roster.Roster, error) {
		r, err := r.ListIncarnation(w.a.Certificate())
		if err != nil {
			return nil, err
		}
		return r.Revoke(w.a.Device(), closures...)
	}, w.third, center)
	for range 2 {
		if err := meet(t, w.third, center); err != nil {
			t.Fatal(err)
		}
	}
	asides := w.third.Asides()
	if len(asides) == 0 {
		t.Fatal("it has not given way")
	}
	for _, a := range asides {
		if a.Published > 0 || a.Ended > 0 {
			t.Errorf("%+v", a)
		}
	}
	if heads := center.HeadsOf(w.third.Device()); len(heads) > 0 {
		t.Errorf("published were %v", heads)
	}
}

// Who says falsely that it has published what another has written does not keep
// that from being published, whoever carries the lie.
func TestFalseOriginHidesNothing(t *testing.T) {
	z := newZone(t, 3)
	stores := []*storetest.Memory{storetest.NewMemory(), storetest.NewMemory(), storetest.NewMemory()}
	victim, liar, honest, center := z.found(t, 0, stores[0]), z.found(t, 1, stores[1]), z.found(t, 2, stores[2]), z.center(t)
	var steps []func() error
	step := func(f func() error) { steps = append(steps, f) }
	var twin, liarsTwin *records.Replica
	var origin records.Origin
	step(func() error { return put(victim, ev("before")) })
	step(func() error { return put(liar, ev("before")) })
	step(func() (err error) {
		twin, err = records.Open(t.Context(), z.config(0, stores[0].Clone()))
		return err
	})
	step(func() (err error) {
		liarsTwin, err = records.Open(t.Context(), z.config(1, stores[1].Clone()))
		return err
	})
	step(func() error { return put(victim, ev("the only one")) })
	step(func() error { return put(twin, ev("another")) })
	step(func() error { return meet(t, honest, victim) })
	step(func() error { return meet(t, center, twin) })
	step(func() error {
		log := victim.Certificate().Log(identity.LaneDetail)
		return stores[0].View(t.Context(), func(tx records.Tx) error {
			return tx.Branches(func(b records.Branch) error {
				if b.Log() != log {
					return nil
				}
				e, err := tx.Entry(b.Slot, 2)
				origin = records.Origin{Log: log, Counter: 2, Leaf: e.Leaf(log)}
				return err
			})
		})
	})
	step(func() error {
		return put(liar, records.Record{Kind: event, Learner: pupil, Body: []byte("a lie"), Origin: &origin})
	})
	step(func() error { return put(liarsTwin, ev("whatever")) })
	step(func() error { return meet(t, center, liarsTwin) })
	step(func() error { return meet(t, honest, liar) })
	// It takes the lie for what only it has, and then gives way with what is true.
	head := func(of *records.Replica) records.Head {
		h, _ := center.Head(records.BranchRef{Log: of.Certificate().Log(identity.LaneDetail)})
		return h
	}
	for _, author := range []*records.Replica{liar, victim} {
		step(func() error {
			h := head(author)
			_, err := honest.Behind(t.Context(), &h, center.Device())
			return err
		})
		step(func() error { return meet(t, honest, center) })
	}
	for _, f := range steps {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(honest.Asides()); n != 2 || origin.Leaf == (identity.Hash{}) {
		t.Fatalf("%d logs were set aside", n)
	}
	same(t, []string{"the only one", "another"}, honest, center)
}

// A receipt for more than a device holds of a log may be of another continuation.
// It does not keep what is held from being published.
func TestReceiptFromAboveKeepsNothing(t *testing.T) {
	w := restore(t)
	for _, h := range w.hub.HeadsOf(w.a.Device()) { // begins a new incarnation
		if h.Log == w.former.Log(identity.LaneDetail) {
			if _, err := w.a.Behind(t.Context(), &records.Head{}, identity.DeviceID{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var items []records.ReceiptItem
	for _, h := range w.hub.HeadsOf(w.a.Device()) {
		items = append(items, records.ReceiptItem{Log: h.Log, Start: h.Start(), Counter: h.Counter + 100, Fingerprint: h.Fingerprint})
	}
	receipt := records.IssueReceipt(w.z.coordinator, zoneID, 1, 1, items)
	if err := w.a.AcceptReceipt(t.Context(), receipt.Encode()); err != nil {
		t.Fatal(err)
	}
	w.givesWay(t)
	for _, a := range w.a.Asides() {
		if a.Left == 0 {
			t.Errorf("it is told to be safe: %+v", a)
		}
	}
	err := w.dayLater(t)
	if got := origins(t, w.a); err != nil || len(got) != 9 {
		t.Errorf("published are %v: %v", got, err)
	}
}

// givesWay has the device learn what the hub holds of its logs.
func (w *gapped) givesWay(t *testing.T) {
	t.Helper()
	for _, h := range w.hub.HeadsOf(w.a.Device()) {
		if changed, err := w.a.Behind(t.Context(), &h, w.hub.Device()); err != nil || !changed {
			t.Fatal(changed, err)
		}
	}
}

// dayLater starts the device anew when it has waited for the others long enough.
func (w *gapped) dayLater(t *testing.T) error {
	c := w.z.config(0, w.store)
	c.Now = func() time.Time { return time.UnixMilli(1000).Add(25 * time.Hour) }
	var err error
	if w.a, err = records.Open(t.Context(), c); err == nil {
		err = w.a.PublishAgain(t.Context())
	}
	return err
}

// A receipt that came before what it seems to be about is looked at again when that
// comes.
func TestReceiptBeforeItsContinuation(t *testing.T) {
	for _, of := range []string{"held", "other"} {
		z := newZone(t, 2)
		store := storetest.NewMemory()
		author, third := z.found(t, 0, store), z.found(t, 1, storetest.NewMemory())
		err := put(author, ev("common"))
		if err == nil {
			err = meet(t, author, third)
		}
		if err != nil {
			t.Fatal(err)
		}
		twin, err := records.Open(t.Context(), z.config(0, store.Clone()))
		if err == nil {
			err = put(author, ev("a"), ev("b"))
		}
		if err == nil {
			err = put(twin, ev("c"), ev("d"), ev("e"))
		}
		log := author.Certificate().Log(identity.LaneDetail)
		h, _ := author.Head(records.BranchRef{Log: log})
		receipt := records.IssueReceipt(z.coordinator, zoneID, 1, 1, []records.ReceiptItem{
			{Log: log, Start: h.Start(), Counter: h.Counter, Fingerprint: h.Fingerprint},
		})
		if err == nil {
			err = third.AcceptReceipt(t.Context(), receipt.Encode())
		}
		from, want := author, h.Counter
		if of == "other" {
			from, want = twin, 0
		}
		if err == nil {
			pull(t, third, from)
		}
		if n := third.Receipted(log); err != nil || n != want {
			t.Errorf("%s: safe is said to be %d, not %d: %v", of, n, want, err)
		}
	}
}

// What the coordinator had of a log that was set aside it may have lost when it
// was restored: that is published as well, if nobody gives the log.
func TestNewLifeLeavesNothingAside(t *testing.T) {
	w := restore(t)
	var items []records.ReceiptItem
	for _, h := range w.a.HeadsOf(w.a.Device()) {
		items = append(items, records.ReceiptItem{Log: h.Log, Start: h.Start(), Counter: h.Counter, Fingerprint: h.Fingerprint})
	}
	receipt := records.IssueReceipt(w.z.coordinator, zoneID, 1, 1, items)
	if err := w.a.AcceptReceipt(t.Context(), receipt.Encode()); err != nil {
		t.Fatal(err)
	}
	w.givesWay(t)
	err := w.dayLater(t)
	if got := origins(t, w.a); err != nil || len(got) != 0 {
		t.Fatalf("the coordinator has it all, and published are %v: %v", got, err)
	}
	w.z.rule(t, func(r *roster.Roster) (*roster.Roster, error) { return r.NewLife(r.Epoch) }, w.a)
	if err = w.a.PublishAgain(t.Context()); err != nil || len(origins(t, w.a)) != 9 {
		t.Errorf("published are %v: %v", origins(t, w.a), err)
	}
	if list := findings(t, w.store); len(list) > 0 {
		t.Errorf("found %q", list)
	}
}

// A head may have the greatest counter that is taken, and what stands below it is
// published once; a greater one is refused.
func TestPublishedOnceOfTheGreatestCounter(t *testing.T) {
	z := newZone(t, 2)
	honest, center := z.found(t, 1, storetest.NewMemory()), z.center(t)
	store := storetest.NewMemory()
	z.found(t, 0, store)
	key := authorKey(t, store)
	for n, to := range []*records.Replica{honest, center} {
		face, err := records.Open(t.Context(), z.config(0, store.Clone()))
		if err == nil {
			err = put(face, ev([]string{"one", "another"}[n]))
		}
		if err != nil {
			t.Fatal(err)
		}
		d, err := face.Difference(t.Context(), records.BranchRef{Log: face.Certificate().Log(identity.LaneDetail)}, 0, 0)
		if err == nil {
			d.Packed, d.Head.Counter = nil, 1<<63
			d.Head.Sign(key)
			if err := to.AcceptDifference(t.Context(), d); !errors.Is(err, records.ErrNotAdmitted) {
				t.Fatal(err)
			}
			d.Head.Counter--
			d.Head.Sign(key)
			err = to.AcceptDifference(t.Context(), d)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range center.HeadsOf(z.keys[0].Public().ID()) {
		if changed, err := honest.Behind(t.Context(), &h, center.Device()); err != nil || !changed {
			t.Fatal(changed, err)
		}
		d, err := center.Difference(t.Context(), records.BranchRef{Log: h.Log}, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := honest.AcceptDifference(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range honest.Asides() {
		if a.Published != 1 || a.Ended == 0 {
			t.Errorf("%+v", a)
		}
	}
}

// viewed counts how often a store is read.
type viewed struct {
	records.Store
	views int
}

func (s *viewed) View(ctx context.Context, f func(records.Tx) error) error {
	s.views++
	return s.Store.View(ctx, f)
}

// For a head that its author has not signed nothing is read, however many are shown.
func TestForgedHeadCostsNoReading(t *testing.T) {
	w := restore(t)
	if err := meet(t, w.a, w.hub); err != nil {
		t.Fatal(err)
	}
	store := &viewed{Store: w.store}
	w.open(t, store)
	store.views = 0
	for _, h := range w.a.HeadsOf(w.a.Device()) {
		h.StartsHash[0]++
		if changed, err := w.a.Behind(t.Context(), &h, w.hub.Device()); err != nil || changed {
			t.Error(changed, err)
		}
	}
	if store.views > 0 {
		t.Errorf("the store was read %d times", store.views)
	}
}

// Two devices that share an author key do not write one log: what one may not do
// any more, because it was removed, the other does not for it.
func TestSharedAuthorKeyContinuesNothing(t *testing.T) {
	z := newZone(t, 3)
	store := storetest.NewMemory()
	gone, third := z.found(t, 0, store), z.found(t, 2, storetest.NewMemory())
	err := put(gone, ev("before"))
	if err == nil {
		err = meet(t, gone, third)
	}
	if err == nil {
		err = put(gone, ev("after"))
	}
	if err != nil {
		t.Fatal(err)
	}
	z.rule(t, func(r *roster.Roster) (*roster.Roster, error) { return r.Revoke(gone.Device()) }, third)
	d, err := gone.Difference(t.Context(), records.BranchRef{Log: gone.Certificate().Log(identity.LaneDetail)}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := third.AcceptDifference(t.Context(), d); !errors.Is(err, records.ErrNotAdmitted) {
		t.Fatal(err)
	}
	d.Certificate = identity.IssueCertificate(z.keys[1], zoneID, authorKey(t, store), 1)
	if err := third.AcceptDifference(t.Context(), d); !errors.Is(err, records.ErrNotAdmitted) {
		t.Error(err)
	}
	if n, _ := third.Frontier(records.BranchRef{Log: d.Head.Log}); n != 1 {
		t.Errorf("the log goes to %d", n)
	}
}
