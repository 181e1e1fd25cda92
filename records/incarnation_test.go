package records_test

import (
	"errors"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

// A store that was restored from a backup meets somebody who has what it wrote
// since: it begins a new incarnation before it writes anything more, takes its
// own lost records back, and all agree.
func TestRestoredBackup(t *testing.T) {
	for _, way := range []string{"a difference", "a list", "a head", "a copy"} {
		z := newZone(t, 2)
		store := storetest.NewMemory()
		a, b := z.found(t, 0, store), z.found(t, 1, storetest.NewMemory())
		if err := put(a, reg("a", "1"), ev("before")); err != nil {
			t.Fatal(err)
		}
		backup := store.Clone()
		if err := put(a, reg("a", "2"), ev("after")); err != nil {
			t.Fatal(err)
		}
		pull(t, b, a)
		former := a.Certificate()
		a, err := records.Open(t.Context(), z.config(0, backup))
		if err != nil {
			t.Fatal(err)
		}
		ref := records.BranchRef{Log: former.Log(identity.LaneProgress)}
		renewed := true
		switch way {
		case "a difference":
			d, err := b.Difference(t.Context(), ref, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			if a.AcceptDifference(t.Context(), d) == nil {
				t.Error("the lost records were taken into a log that could have grown")
			}
		case "a list":
			l, err := b.SegmentList(t.Context(), ref, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.AcceptSegmentList(t.Context(), l); err == nil {
				t.Error("the lost records were staged in a log that could have grown")
			}
		case "a head":
			h, _ := b.Head(ref)
			renewed, err = a.Behind(t.Context(), &h, identity.DeviceID{})
		case "a copy":
			renewed, err = a.Behind(t.Context(), &records.Head{}, identity.DeviceID{})
		}
		if err != nil || !renewed {
			t.Errorf("%s: renewed %v, %v", way, renewed, err)
		}
		if now := a.Certificate(); now.Author == former.Author || now.Sequence != former.Sequence+1 {
			t.Errorf("%s: incarnation %d after %d", way, now.Sequence, former.Sequence)
		}
		if err := put(a, reg("a", "3"), ev("later")); err != nil {
			t.Fatal(err)
		}
		pull(t, a, b)
		pull(t, b, a)
		if len(seen(t, a)) != 5 || a.State().Fingerprint != b.State().Fingerprint {
			t.Errorf("%s: seen %q", way, seen(t, a))
		}
		if again, err := a.Behind(t.Context(), &records.Head{Log: ref.Log, Counter: 1}, identity.DeviceID{}); again || err != nil {
			t.Errorf("%s: a head of a former log renewed again: %v", way, err)
		}
		if list := findings(t, backup); len(list) > 0 {
			t.Errorf("%s: found %q", way, list)
		}
	}
}

// A log that was closed still comes to those who do not have it yet, up to its
// end and no further.
func TestClosedLogArrives(t *testing.T) {
	z := newZone(t, 3)
	a, b, c := z.found(t, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory()), z.found(t, 2, storetest.NewMemory())
	if err := put(a, ev("1"), ev("2")); err != nil {
		t.Fatal(err)
	}
	pull(t, b, a)
	log := a.Certificate().Log(identity.LaneDetail)
	end, _ := b.Head(records.BranchRef{Log: log})
	if err := put(a, ev("after the end")); err != nil {
		t.Fatal(err)
	}
	ros := b.Roster()
	ros, err := ros.ListIncarnation(a.Certificate())
	if err == nil {
		ros, err = ros.Revoke(a.Certificate().Device.ID(), roster.Closure{Log: log, Branches: []roster.Branch{
			{Start: end.Start(), Counter: end.Counter, Fingerprint: end.Fingerprint},
		}})
	}
	if err != nil {
		t.Fatal(err)
	}
	encoded := ros.Sign(z.coordinator, 2).Encode()
	for _, r := range []*records.Replica{b, c} {
		if err := r.AcceptRoster(t.Context(), encoded); err != nil {
			t.Fatal(err)
		}
	}
	beyond, err := a.Difference(t.Context(), records.BranchRef{Log: log}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AcceptDifference(t.Context(), beyond); !errors.Is(err, records.ErrNotAdmitted) {
		t.Errorf("beyond the end: %v", err)
	}
	pull(t, c, b)
	if got := seen(t, c); len(got) != 2 || c.State().Fingerprint != b.State().Fingerprint {
		t.Errorf("seen %q", got)
	}
}

// A receipt for another continuation of a log than the one that is held never
// makes what is here look safe.
func TestReceiptOfTheOtherContinuation(t *testing.T) {
	z := newZone(t, 2)
	store := storetest.NewMemory()
	a, b := z.found(t, 0, store), z.found(t, 1, storetest.NewMemory())
	if err := put(a, ev("1")); err != nil {
		t.Fatal(err)
	}
	copied, err := records.Open(t.Context(), z.config(0, store.Clone()))
	if err != nil {
		t.Fatal(err)
	}
	if err := put(a, ev("2"), ev("3"), ev("4")); err != nil {
		t.Fatal(err)
	}
	if err := put(copied, ev("other 2")); err != nil {
		t.Fatal(err)
	}
	pull(t, b, copied)
	log := a.Certificate().Log(identity.LaneDetail)
	head, _ := a.Head(records.BranchRef{Log: log})
	signed := records.IssueReceipt(z.coordinator, zoneID, 1, 1, []records.ReceiptItem{
		{Log: log, Start: head.Start(), Counter: head.Counter, Fingerprint: head.Fingerprint},
	})
	receipt := signed.Encode()

	former := copied.Certificate()
	if err := copied.AcceptReceipt(t.Context(), receipt); err != nil {
		t.Error(err)
	}
	if copied.Receipted(log) != 0 || copied.Certificate() == former {
		t.Errorf("the copy takes %d for safe", copied.Receipted(log))
	}
	// A third device may take the receipt for one of what it has not got yet,
	// until it learns of the fork.
	if err := b.AcceptReceipt(t.Context(), receipt); err != nil {
		t.Fatal(err)
	}
	d, err := a.Difference(t.Context(), records.BranchRef{Log: log}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AcceptDifference(t.Context(), d); !errors.Is(err, records.ErrForked) {
		t.Fatal(err)
	}
	if n := b.Receipted(log); n != 0 {
		t.Errorf("a third device takes %d for safe", n)
	}
	if err := b.AcceptReceipt(t.Context(), receipt); !errors.Is(err, records.ErrStale) {
		t.Errorf("again: %v", err)
	}
}
