package records_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/storetest"
)

// liars are copies beside which a member of the zone forks its own logs on purpose,
// and says of what it writes that it stood first in logs of others, or of its own.
type liars struct {
	copies
	faces []*body // continuations of device 2
}

// given lets a replica take what another one has, which hears nothing of it.
func given(t testing.TB, to, from *records.Replica) error {
	t.Helper()
	for _, row := range from.State().Rows {
		base, starts := to.Frontier(row.BranchRef)
		if base >= row.Counter && to.Passed(row.Log, row.Start[:], row.Counter) {
			continue
		}
		if base >= row.Counter {
			base, starts = row.Counter, 0
		}
		d, err := from.Difference(t.Context(), row.BranchRef, base, starts)
		if err == nil {
			err = to.AcceptDifference(t.Context(), d)
		}
		if errors.Is(err, records.ErrStarts) {
			if d, err = from.Difference(t.Context(), row.BranchRef, base, 0); err == nil {
				err = to.AcceptDifference(t.Context(), d)
			}
		}
		if errors.Is(err, records.ErrForked) || errors.Is(err, records.ErrGap) {
			_, err = to.Behind(t.Context(), &d.Head, from.Device())
		}
		if err != nil && !errors.Is(err, records.ErrStale) && !errors.Is(err, records.ErrUnknownBranch) {
			return err
		}
	}
	return nil
}

// place returns where a record of an honest device stands, or one of the liar.
func (w *liars) place() *records.Origin {
	var list []records.Origin
	for _, b := range append([]*body{w.third, w.faces[w.random.IntN(len(w.faces))]}, w.bodies...) {
		err := b.memory.View(w.t.Context(), func(tx records.Tx) error {
			return tx.Branches(func(br records.Branch) error {
				return tx.Entries(br.Slot, 0, ^uint64(0), func(e records.Entry) error {
					list = append(list, records.Origin{Log: br.Log(), Counter: e.Counter, Leaf: e.Leaf(br.Log())})
					return nil
				})
			})
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	if len(list) == 0 {
		return nil
	}
	o := list[w.random.IntN(len(list))]
	switch w.random.IntN(12) {
	case 0:
		o.Leaf[0]++
	case 1:
		o.Counter += w.random.Uint64N(5)
	}
	return &o
}

// lie lets the liar do something.
func (w *liars) lie() {
	i := w.random.IntN(len(w.faces))
	face := w.faces[i]
	err := error(nil)
	switch n := w.random.IntN(12); {
	case n < 4:
		var list []records.Record
		for range 1 + w.random.IntN(12) {
			rec := ev("lie")
			if w.random.IntN(2) == 0 {
				rec = reg(fmt.Sprint("lie ", w.random.IntN(12)), "1")
			}
			rec.Origin = w.place()
			list = append(list, rec)
		}
		err = put(face.Replica, list...)
		w.log("the liar's %p writes %d", face, len(list))
	case n < 6:
		c := face.clone()
		w.open(c)
		if len(w.faces) < 4 {
			w.faces = append(w.faces, c)
		} else {
			w.faces[w.random.IntN(len(w.faces))] = c
		}
		w.log("the liar has another face, %p of %p", c, face)
	case n < 7:
		h, ok := face.Head(records.BranchRef{Log: face.Certificate().Log(identity.LaneDetail)})
		if !ok {
			return
		}
		h.Counter += 1 << w.random.IntN(60)
		h.Fingerprint[0]++
		h.StartCount++
		h.StartsHash[0]++
		h.Sign(authorKey(w.t, face.memory))
		_, err = w.third.Behind(w.t.Context(), &h, face.Device())
		w.log("the liar's %p speaks of %d: %v", face, h.Counter, err)
	default:
		to := append([]*body{w.third, w.hub}, w.bodies...)[w.random.IntN(2+len(w.bodies))]
		err = given(w.t, to.Replica, face.Replica)
		w.log("the liar's %p gives to %p: %v", face, to, err)
		if to.faulty.View(w.t.Context(), func(records.Tx) error { return nil }) != nil {
			w.open(to)
		}
	}
	if err != nil && !errors.Is(err, storetest.ErrInjected) {
		w.t.Fatalf("%v\n%v", w.trail, err)
	}
}

// authorKey returns the author key of a store.
func authorKey(t testing.TB, s records.Store) (key identity.AuthorKey) {
	t.Helper()
	err := s.View(t.Context(), func(tx records.Tx) error {
		v, err := tx.Value("incarnation")
		if err == nil {
			key, err = identity.AuthorKeyFromSeed(v[:identity.SeedBytes])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Whatever a member says of its own logs and of others', nothing is lost of what
// others wrote, and they hold the same in the end.
func TestLiarsHideNothing(t *testing.T) {
	first, gave := firstHistory(), 0
	for seed := first; seed < first+histories(60); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &liars{copies: copies{
				t: t, z: newZone(t, 3), random: rand.New(rand.NewPCG(seed, 2)), now: time.UnixMilli(1000), ever: map[firstPlace]int{},
			}}
			w.bodies, w.hub, w.third, w.faces = []*body{w.found(0)}, w.found(-1), w.found(1), []*body{w.found(2)}
			for range 80 {
				if w.random.IntN(2) == 0 {
					w.step()
				} else {
					w.lie()
				}
			}
			w.convergeOf(w.faces[0].Device())
			if t.Failed() {
				for _, line := range w.trail {
					t.Log(line)
				}
			}
			for _, a := range w.third.Asides() {
				if a.Device == w.faces[0].Device() {
					gave++
				}
			}
		})
	}
	if gave == 0 {
		t.Error("nobody has given way to the liar")
	}
	t.Log("given way to the liar:", gave)
}
