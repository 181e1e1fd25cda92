package records_test

import (
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
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
			renewed, err = a.Behind(t.Context(), &h)
		case "a copy":
			renewed, err = a.Behind(t.Context(), &records.Head{})
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
		if again, err := a.Behind(t.Context(), &records.Head{Log: ref.Log, Counter: 1}); again || err != nil {
			t.Errorf("%s: a head of a former log renewed again: %v", way, err)
		}
		if list := findings(t, backup); len(list) > 0 {
			t.Errorf("%s: found %q", way, list)
		}
	}
}
