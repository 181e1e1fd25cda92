package roster_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

func TestEditsThatAreRefused(t *testing.T) {
	r := school(t)
	last := *r
	last.Era, last.Epoch.Life, last.KeyNumber = math.MaxUint16, math.MaxUint32, 7
	edit := func(r *roster.Roster, err error) error {
		if err == nil {
			t.Errorf("allowed: %v", r.Epoch)
		}
		return err
	}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"add a member", edit(r.AddDevice(deviceKey(1).Public(), "again", roster.RolePlain, created)), roster.ErrKnownDevice},
		{"add a revoked device", edit(r.AddDevice(deviceKey(4).Public(), "again", roster.RolePlain, created)), roster.ErrRevoked},
		{"add the coordinator", edit(r.AddDevice(coordinator.Public(), "me", roster.RolePlain, created)), roster.ErrRoster},
		{"add with a long name", edit(r.AddDevice(deviceKey(5).Public(), strings.Repeat("x", 65), roster.RolePlain, created)), roster.ErrRoster},
		{"rename to no text", edit(r.RenameDevice(id(1), "\xff")), roster.ErrRoster},
		{"role of an unknown device", edit(r.SetRole(id(9), roster.RolePlain)), roster.ErrUnknownDevice},
		{"role of a revoked device", edit(r.SetRole(id(4), roster.RolePlain)), roster.ErrRevoked},
		{"lease of a revoked device", edit(r.RenewLease(id(4), created)), roster.ErrRevoked},
		{"lease of an unknown device", edit(r.RenewLease(id(9), created)), roster.ErrUnknownDevice},
		{"revoke twice", edit(r.Revoke(id(4))), roster.ErrRevoked},
		{"revoke the coordinator", edit(r.Revoke(coordinator.Public().ID())), roster.ErrUnknownDevice},
		{"revoke with another's log", edit(r.Revoke(id(1), roster.Closure{Log: log(2, 1, identity.LaneZone)})), roster.ErrRoster},
		{"close with an empty branch", edit(r.Close(roster.Closure{Log: identity.LogID{1}, Branches: []roster.Branch{{}}})), roster.ErrRoster},
		{"list what is not admitted", edit(r.ListIncarnation(certificate(1, 19))), roster.ErrSequence},
		{"the last era", edit(last.RaiseEra()), roster.ErrRoster},
		{"no key", edit(r.RaiseKeyNumber(0)), roster.ErrRoster},
		{"the same key", edit(last.RaiseKeyNumber(7)), roster.ErrRoster},
		{"an older key", edit(last.RaiseKeyNumber(6)), roster.ErrRoster},
		{"the last life", edit(last.NewLife(r.Epoch)), roster.ErrRoster},
		{"name of a zone", edit(roster.New(zone, strings.Repeat("x", 65), coordinator.Public(), created)), roster.ErrRoster},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
}

func TestEditsWithoutEffectMakeNoRoster(t *testing.T) {
	r := school(t)
	for name, edit := range map[string]func() (*roster.Roster, error){
		"list again":              func() (*roster.Roster, error) { return r.ListIncarnation(certificate(1, 2)) },
		"list of revoked":         func() (*roster.Roster, error) { return r.ListIncarnation(certificate(4, 2)) },
		"list of the coordinator": func() (*roster.Roster, error) { return r.ListIncarnation(certificate(0, 3)) },
		"renew a fresh lease":     func() (*roster.Roster, error) { return r.RenewLease(id(1), created+11*day) },
	} {
		if got := must(t)(edit()); got != r {
			t.Errorf("%s: a new roster", name)
		}
	}
	renewed := must(t)(r.RenewLease(id(1), created+12*day))
	if d, _ := renewed.Device(id(1)); d.LeaseUntil != created+192*day {
		t.Errorf("lease ends on day %d", (d.LeaseUntil-created)/day)
	}
	shorter := must(t)(must(t)(r.SetPolicy(roster.Policy{LeaseDays: 7})).RenewLease(id(1), created+day))
	if d, _ := shorter.Device(id(1)); d.LeaseUntil != created+8*day {
		t.Errorf("shorter lease ends on day %d", (d.LeaseUntil-created)/day)
	}
}

func TestClosuresAreRestatedUnderHigherNumbers(t *testing.T) {
	r := school(t)
	closed := log(4, 1, identity.LaneZone)
	restated := []roster.Branch{{Counter: 60}}
	r = must(t)(r.Close(roster.Closure{Log: closed, Number: 77, Branches: restated}))
	want := roster.Closure{Log: closed, Number: 2, Branches: restated}
	if got, _ := r.Closure(closed); !cmp.Equal(got, want) {
		t.Errorf("closure %+v, want %+v", got, want)
	}
	restated[0].Counter = 0
	if got, _ := r.Closure(closed); got.Branches[0].Counter != 60 {
		t.Error("the roster holds the caller's slice")
	}
	if _, err := r.Revoke(id(1), roster.Closure{Log: log(1, 1, identity.LaneZone), Branches: make([]roster.Branch, 2)}); !errors.Is(err, roster.ErrRoster) {
		t.Errorf("revoked with a closure that no roster can hold: %v", err)
	}
}

func TestNewLifeIsAboveAllThatWasSeen(t *testing.T) {
	r := school(t)
	for _, c := range []struct{ seen, want roster.Epoch }{
		{roster.Epoch{}, roster.Epoch{Life: 2, Number: 1}},
		{roster.Epoch{Life: 1, Number: 900}, roster.Epoch{Life: 2, Number: 1}},
		{roster.Epoch{Life: 5, Number: 3}, roster.Epoch{Life: 6, Number: 1}},
	} {
		if got := must(t)(r.NewLife(c.seen)); got.Epoch != c.want {
			t.Errorf("after %v: %v, want %v", c.seen, got.Epoch, c.want)
		}
	}
}

func TestSignedNeverFallsBack(t *testing.T) {
	r := empty(t).Sign(coordinator, 0)
	if r.Signed != created {
		t.Errorf("signed %d before the zone was created", r.Signed)
	}
	r = r.Sign(coordinator, created+day)
	if again := r.Sign(coordinator, created); again.Signed != created+day {
		t.Errorf("signed time fell back to %d", again.Signed)
	}
}

// Any chain of edits leaves each roster as it was, gives one that others can
// read, and takes nothing back that must stay.
func TestChainsOfEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, err := roster.New(zone, "zone", coordinator.Public(), created)
		if err != nil {
			t.Fatal(err)
		}
		r = r.Sign(coordinator, created)
		for range rapid.IntRange(1, 12).Draw(t, "edits") {
			before := r.Encode()
			n := rapid.IntRange(1, 4).Draw(t, "device")
			s := uint64(rapid.IntRange(1, 4).Draw(t, "sequence"))
			lane := rapid.SampledFrom(identity.Lanes[:]).Draw(t, "lane")
			closure := roster.Closure{Log: log(n, s, lane), Branches: []roster.Branch{{Counter: s}}}
			var next *roster.Roster
			var err error
			switch rapid.IntRange(0, 8).Draw(t, "edit") {
			case 0, 1:
				next, err = r.AddDevice(deviceKey(n).Public(), "name", roster.RoleClassroom, created)
			case 2, 3:
				next, err = r.ListIncarnation(certificate(n, s))
			case 4:
				next, err = r.SetRole(id(n), roster.Role(s%3))
			case 5:
				next, err = r.Revoke(id(n), closure)
			case 6:
				next, err = r.Close(closure)
			case 7:
				next, err = r.RaiseEra()
			case 8:
				next, err = r.RaiseKeyNumber(uint32(n))
			}
			if d := cmp.Diff(before, r.Encode()); d != "" {
				t.Fatalf("an edit changed the roster it started from: %s", d)
			}
			if err != nil {
				continue
			}
			if next != r {
				next = next.Sign(coordinator, created)
			}
			if next, err = roster.Accept(r, next.Encode(), coordinator.Public(), zone); err != nil {
				t.Fatal(err)
			}
			monotone(t, r, next)
			r = next
		}
	})
}

func monotone(t *rapid.T, r, next *roster.Roster) {
	t.Helper()
	if next.Era < r.Era || next.KeyNumber < r.KeyNumber || next.Epoch.Compare(r.Epoch) < 0 || next.Signed < r.Signed {
		t.Fatalf("from %v to %v", r.Epoch, next.Epoch)
	}
	for _, d := range r.Devices {
		later, ok := next.Device(d.ID())
		if !ok || later.State < d.State {
			t.Fatalf("device %s is gone, or no longer revoked", d.ID().Short())
		}
		for _, in := range d.Incarnations {
			c := identity.Certificate{Zone: zone, Device: d.Key, Author: in.Author, Sequence: in.Sequence}
			if err := next.Admits(c); err != nil {
				t.Fatalf("a listed incarnation: %v", err)
			}
		}
	}
	for _, c := range r.Closures {
		later, ok := next.Closure(c.Log)
		if !ok || later.Number < c.Number || later.Number == c.Number && !cmp.Equal(later, c) {
			t.Fatalf("closure %+v became %+v", c, later)
		}
	}
}
