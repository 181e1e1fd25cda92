package records_test

import (
	"fmt"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/storetest"
)

// read is what a page can find in a lane about the pupil.
func read(t testing.TB, r *records.Replica, lane identity.Lane) (text string) {
	t.Helper()
	err := r.Read(t.Context(), func(v *records.View) error {
		err := v.Registers(records.RegisterPrefix{Kind: register, Learner: &pupil}, func(row records.RegisterRow) error {
			text += fmt.Sprintf("%s of %s: %d %s\n", row.Key.Key, row.Log.Short(), row.Counter, row.Body)
			return nil
		})
		if err != nil {
			return err
		}
		return v.Events(pupil, lane, func(row records.EventRow) error {
			text += fmt.Sprintf("%d of %s: %s\n", row.Counter, row.Log.Short(), row.Body)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestRevisionRises: whatever happens among replicas (staging, promotion, lies,
// failing disks), as long as the revision is the same, so is what a page finds.
func TestRevisionRises(t *testing.T) {
	type kept struct {
		process       identity.StartID
		lane, learner records.Revision
		text          string
	}
	z := newZone(t, 6)
	changes, kepts := 0, 0
	seeds := max(2, histories(8))
	for seed := range seeds {
		w := newWorld(t, z, seed, 2, 4)
		seen := map[*peer]kept{}
		for range 160 {
			for _, p := range w.step() {
				w.check(p)
			}
			for _, p := range w.peers {
				now := kept{p.StartID(), p.Revision(identity.LaneProgress), p.LearnerRevision(identity.LaneProgress, pupil), ""}
				now.text = read(t, p.Replica, identity.LaneProgress)
				before := seen[p]
				if before.process == now.process && before.text != now.text {
					changes++
					if before.lane >= now.lane || before.learner >= now.learner {
						w.fail("%d: what a page finds has changed, the revision is %d, of the learner %d, before %d, %d:\n%s\nbefore:\n%s",
							p.n, now.lane, now.learner, before.lane, before.learner, now.text, before.text)
					}
				} else if before.learner == now.learner {
					kepts++
				}
				seen[p] = now
			}
		}
	}
	if changes < 25*int(seeds) || kepts < 25*int(seeds) {
		t.Errorf("%d changes and %d times none: this shows nothing", changes, kepts)
	}
}

// TestRevisionOfAnother: what is written about one learner in one lane raises
// no other number, and it has risen before the writer is answered.
func TestRevisionOfAnother(t *testing.T) {
	z := newZone(t, 1)
	r := z.found(t, 0, storetest.NewMemory())
	other := identity.UserID{0, 9}
	numbers := func() (list [6]records.Revision) {
		for i, lane := range identity.Lanes {
			list[2*i], list[2*i+1] = r.LearnerRevision(lane, pupil), r.LearnerRevision(lane, other)
		}
		return list
	}
	for _, c := range []struct {
		what   string
		record records.Record
		rises  int // which number
	}{
		{"a register of the pupil", reg("k", "body"), 2},
		{"an event of the pupil", ev("body"), 4},
		{"a register of another", records.Record{Kind: register, Register: true, Key: []byte("k"), Learner: other, Body: []byte("body")}, 3},
	} {
		before := numbers()
		if err := put(r, c.record); err != nil {
			t.Fatal(err)
		}
		for i, after := range numbers() {
			if rises := after > before[i]; rises != (i == c.rises) {
				t.Errorf("%s: number %d was %d and is %d", c.what, i, before[i], after)
			}
		}
	}
	// Whose records count is for the roster to say.
	before := numbers()
	next, err := r.Roster().NewLife(r.Roster().Epoch)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.AcceptRoster(t.Context(), next.Sign(z.coordinator, 3).Encode()); err != nil {
		t.Fatal(err)
	}
	for i, after := range numbers() {
		if after <= before[i] {
			t.Errorf("a new roster: number %d was %d and is %d", i, before[i], after)
		}
	}
}

// TestRevisionOfPacked: what comes packed, and is stored as it came, raises the
// numbers of those whom it is about.
func TestRevisionOfPacked(t *testing.T) {
	z := newZone(t, 2)
	author, r := z.found(t, 0, storetest.NewMemory()), z.found(t, 1, storetest.NewMemory())
	rewrite(t, author, 30, 30)
	ref := stageLog(author)
	base, starts := r.Frontier(ref)
	d, err := author.Difference(t.Context(), ref, base, starts)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := packing.NewCodec(1)
	if err != nil {
		t.Fatal(err)
	}
	d.Packed = codec.PackRuns(d.Entries)
	if len(d.Packed) == 0 {
		t.Fatal("nothing is packed")
	}
	other := identity.UserID{0, 9}
	lane, before, of := r.Revision(identity.LaneProgress), r.LearnerRevision(identity.LaneProgress, pupil), r.LearnerRevision(identity.LaneProgress, other)
	if err := r.AcceptDifference(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if read(t, r, identity.LaneProgress) != read(t, author, identity.LaneProgress) {
		t.Error("a page does not find what was accepted")
	}
	if r.Revision(identity.LaneProgress) == lane || r.LearnerRevision(identity.LaneProgress, pupil) == before {
		t.Error("the revision has not risen")
	}
	if r.LearnerRevision(identity.LaneProgress, other) != of {
		t.Error("the revision of another has risen")
	}
}
