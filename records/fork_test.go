package records_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/storetest"
)

// twins are two copies of one author that a snapshot of its memory has made:
// they cannot be told apart by their starts.
func twins(t *testing.T, z *zone, segments [2]uint64, common int) (twin [2]*records.Replica) {
	t.Helper()
	var stores [2]*storetest.Memory
	stores[0] = storetest.NewMemory()
	a := short(t, z, 0, stores[0])
	rewrite(t, a, 50, common)
	stores[1] = stores[0].Clone()
	for n := range twin {
		c := z.config(0, stores[n])
		c.Random = rand.NewChaCha8([32]byte{7})
		var err error
		if twin[n], err = records.Open(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		twin[n].EndSegmentsAfter(segments[n])
		for i := range 25 + 20*n {
			if err := put(twin[n], reg(fmt.Sprint("k", i%30), fmt.Sprint("twin ", n))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return twin
}

// Copies within one start are noticed by what they have written, wherever the
// transfer stands; nothing that is shown is lost, nothing of the other is taken
// for the log, and other logs go on.
func TestTwinsAreNoticed(t *testing.T) {
	forked := 0
	for _, common := range []int{0, 9} {
		for _, segments := range [][2]uint64{{4, 4}, {4, 5}, {5, 3}} {
			for first := range 2 {
				for _, fetched := range []int{0, 1, 3, 6, 7} {
					t.Run(fmt.Sprint(common, segments, first, fetched), func(t *testing.T) {
						z := newZone(t, 3)
						twin := twins(t, z, segments, common)
						b, c := z.found(t, 1, storetest.NewMemory()), z.found(t, 2, storetest.NewMemory())
						ref := stageLog(twin[0])
						one, other := twin[first], twin[1-first]
						l, p := list(t, b, one, ref)
						if fetched == 7 {
							finish(t, b, one, ref, l, p)
						} else {
							for _, n := range p.Needs[:min(fetched, len(p.Needs))] {
								if err := b.AcceptSegmentData(t.Context(), segment(t, one, ref, l, n)); err != nil {
									t.Fatal(err)
								}
							}
						}
						before, rows := promoted(t, b, ref), b.State().Rows
						err := transferAll(t, b, other, ref)
						if err != nil && !errors.Is(err, records.ErrForked) && !errors.Is(err, records.ErrStale) {
							t.Errorf("the other twin: %v", err)
						}
						if errors.Is(err, records.ErrForked) {
							forked++
							if forks, err := b.Forks(t.Context()); err != nil || len(forks) == 0 {
								t.Errorf("%d forks: %v", len(forks), err)
							}
							if got := b.State().Rows; got[0].Counter != rows[0].Counter || !slices.Equal(promoted(t, b, ref), before) {
								t.Errorf("was at %d, is at %d", rows[0].Counter, got[0].Counter)
							}
						}
						if err := put(c, reg("x", "1")); err != nil {
							t.Fatal(err)
						}
						for _, row := range c.State().Rows {
							d, err := c.Difference(t.Context(), row.BranchRef, 0, 0)
							if err == nil {
								err = b.AcceptDifference(t.Context(), d)
							}
							if err != nil {
								t.Errorf("another log: %v", err)
							}
						}
						// The one that was there first can be completed.
						if err := transferAll(t, b, one, ref); err != nil && !errors.Is(err, records.ErrStale) && !errors.Is(err, records.ErrForked) {
							t.Errorf("the one again: %v", err)
						}
					})
				}
			}
		}
	}
	if forked < 20 {
		t.Errorf("only %d forks of 60 were noticed", forked)
	}
}

// promoted is what is held completely of a log.
func promoted(t *testing.T, r *records.Replica, ref records.BranchRef) (list []string) {
	t.Helper()
	d, err := r.Difference(t.Context(), ref, 0, 0)
	if errors.Is(err, records.ErrUnknownBranch) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range d.Entries {
		list = append(list, fmt.Sprint(e.Counter, string(e.Envelope), string(e.Body)))
	}
	return list
}

// transferAll takes all of a log by segments and returns the first error that
// is not to be expected of an honest peer.
func transferAll(t *testing.T, to, from *records.Replica, ref records.BranchRef) error {
	t.Helper()
	base, starts := to.Frontier(ref)
	l, err := from.SegmentList(t.Context(), ref, base, starts)
	if errors.Is(err, records.ErrUnknownBranch) {
		return records.ErrStale
	}
	if err != nil {
		t.Fatal(err)
	}
	before := to.State().Rows
	p, err := to.AcceptSegmentList(t.Context(), l)
	if err != nil && !slices.Equal(to.State().Rows, before) {
		t.Errorf("the refused list changed %v to %v", before, to.State().Rows)
	}
	for range 3 * len(l.Rows) {
		if err != nil || p.Done {
			return err
		}
		for _, n := range p.Needs {
			err := to.AcceptSegmentData(t.Context(), segment(t, from, ref, l, n))
			if err != nil && !(n.From > 0 && errors.Is(err, records.ErrMismatch)) {
				return err
			}
		}
		p, err = to.Promote(t.Context(), ref, l.Head.Counter)
	}
	return fmt.Errorf("the transfer does not end: %v", p)
}
