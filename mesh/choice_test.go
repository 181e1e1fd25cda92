//go:build !race

// Towns of hundreds of devices that choose: one goroutine, without the race detector,
// which makes them several times slower.

package mesh_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records/identity"
)

// town is many devices that choose their links, in virtual time. They learn of
// each other by announcements, and that one is not there by dialling it.
type town struct {
	t      *testing.T
	random *rand.Rand
	now    time.Time
	houses []*house
	number map[identity.DeviceID]int
	cut    func(a, b int) bool // whether there is no way between two
	dials  int
	most   int // the highest degree seen
}

type house struct {
	id     identity.DeviceID
	choice mesh.Choice
	up     bool
	uplink bool
	phase  int // of a second, in tenths, when it looks around
	links  map[int]bool
	known  map[int]sight
	again  time.Time // when to look around even if nothing has changed
	dirty  bool      // something has
}

// sight is what a device knows of another.
type sight struct {
	absent bool      // it did not answer when it was last dialled
	heard  time.Time // of it, or from it
	asked  time.Time // not to be dialled before
}

const freshFor = 10 * time.Minute

func (h *house) hear(i int, now time.Time) {
	k, known := h.known[i]
	h.dirty = h.dirty || !known || k.absent
	k.absent, k.heard = false, now
	h.known[i] = k
}

func newTown(t *testing.T, n int, seed uint64) *town {
	w := &town{
		t: t, random: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(0, 0),
		number: map[identity.DeviceID]int{}, cut: func(int, int) bool { return false },
	}
	for i := range n {
		h := &house{up: true, phase: w.random.IntN(10), known: map[int]sight{}, links: map[int]bool{}}
		for j := 0; j < len(h.id); j += 8 {
			binary.BigEndian.PutUint64(h.id[j:], w.random.Uint64())
		}
		h.choice = mesh.NewChoice(h.id, w.random.IntN)
		w.houses = append(w.houses, h)
		w.number[h.id] = i
	}
	return w
}

func (w *town) candidates(h *house) (all []mesh.Candidate) {
	for i, k := range h.known {
		all = append(all, mesh.Candidate{
			Device: w.houses[i].id, Likely: !k.absent, Stale: w.now.Sub(k.heard) > freshFor, Uplink: w.houses[i].uplink && !k.absent,
		})
	}
	// The order must not matter, but the seed must decide everything.
	slices.SortFunc(all, func(a, b mesh.Candidate) int { return a.Device.Compare(b.Device) })
	return all
}

func (w *town) linksOf(h *house) (links []identity.DeviceID) {
	for i := range h.links {
		links = append(links, w.houses[i].id)
	}
	slices.SortFunc(links, identity.DeviceID.Compare)
	return links
}

// announce tells some of those that can hear that a device is there.
func (w *town) announce(i int, share float64) {
	for j, other := range w.houses {
		if j != i && other.up && !w.cut(i, j) && w.random.Float64() < share {
			other.hear(i, w.now)
		}
	}
}

func (w *town) link(i, j int) {
	a, b := w.houses[i], w.houses[j]
	a.links[j], b.links[i], a.dirty, b.dirty = true, true, true, true
	a.hear(j, w.now)
	b.hear(i, w.now)
}

func (w *town) unlink(i, j int) {
	a, b := w.houses[i], w.houses[j]
	delete(a.links, j)
	delete(b.links, i)
	a.dirty, b.dirty = true, true
}

// drop ends the links between devices that do not reach each other any more.
func (w *town) drop() {
	for i, h := range w.houses {
		for j := range h.links {
			if !h.up || !w.houses[j].up || w.cut(i, j) {
				w.unlink(i, j)
			}
		}
	}
}

// run lets d pass; each device looks around once a second and announces itself
// every now and then.
func (w *town) run(d time.Duration, share float64) {
	for range int(d / (100 * time.Millisecond)) {
		w.now = w.now.Add(100 * time.Millisecond)
		tick := int(w.now.UnixMilli() / 100)
		for i, h := range w.houses {
			if h.up && tick%10 == h.phase && (h.dirty || !h.again.After(w.now)) {
				w.look(i)
			}
			if h.up && tick%200 == i%200 && share > 0 {
				w.announce(i, share)
			}
		}
	}
}

func (w *town) look(i int) {
	h := w.houses[i]
	h.dirty = false
	dial, shut, probes, again := h.choice.Step(w.now, w.candidates(h), w.linksOf(h))
	if h.again = again; again.IsZero() {
		h.again = w.now.Add(time.Hour)
	}
	for _, d := range shut {
		w.unlink(i, w.number[d])
		w.houses[w.number[d]].choice.Rest(h.id, w.now.Add(mesh.RestAfter))
	}
	slices.SortFunc(dial, identity.DeviceID.Compare)
	slices.SortFunc(probes, identity.DeviceID.Compare)
	w.random.Shuffle(len(probes), func(a, b int) { probes[a], probes[b] = probes[b], probes[a] })
	for _, d := range dial {
		w.dial(i, w.number[d], false)
	}
	for _, d := range probes[:min(len(probes), 4)] {
		w.dial(i, w.number[d], true)
	}
}

// dial tries another device; a probe only asks whether it is there unless a
// link is wanted.
func (w *town) dial(i, j int, probe bool) {
	h, other := w.houses[i], w.houses[j]
	k := h.known[j]
	if h.links[j] {
		return
	}
	if w.now.Before(k.asked) {
		if k.asked.Before(h.again) {
			h.again = k.asked
		}
		return
	}
	w.dials++
	h.dirty = true
	switch {
	case !other.up || w.cut(i, j):
		k.absent, k.asked = true, w.now.Add(15*time.Second)
		h.known[j] = k
		h.choice.Failed(other.id)
	case probe && !h.choice.Wants(w.candidates(h), w.linksOf(h), other.id):
		h.hear(j, w.now)
	case other.choice.Admits(w.candidates(other), w.linksOf(other), h.id):
		w.link(i, j)
	default:
		h.hear(j, w.now)
		h.choice.Rest(other.id, w.now.Add(mesh.RestAfter))
	}
	w.most = max(w.most, len(h.links), len(other.links))
}

// hops returns how far it is from a device to those that it reaches, and how
// many these are.
func (w *town) hops(from int) (farthest, reached int) {
	depth := map[int]int{from: 0}
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		i := queue[0]
		farthest = depth[i]
		for j := range w.houses[i].links {
			if _, seen := depth[j]; !seen {
				depth[j] = depth[i] + 1
				queue = append(queue, j)
			}
		}
	}
	return farthest, len(depth)
}

// check demands that those of a group that are up are joined, and have as many
// links as they should.
func (w *town) check(what string, group func(i int) bool) {
	w.t.Helper()
	var members []int
	for i, h := range w.houses {
		if h.up && group(i) {
			members = append(members, i)
		}
	}
	for _, i := range members {
		degree := len(w.houses[i].links)
		if least := min(fewest(len(members)), len(members)-1); degree < least || degree > max(mesh.ManyLinks, min(mesh.FullMesh, len(members)-1)) {
			w.t.Errorf("%s: device %d of %d has %d links", what, i, len(members), degree)
		}
	}
	far, reached := w.hops(members[0])
	if reached != len(members) || far > 6 {
		w.t.Errorf("%s: of %d devices %d are joined, %d hops away", what, len(members), reached, far)
	}
}

// fewest is how many links a device has at least where there are n. One below
// what it tries for is borne: a link that gives way, and is about to be
// replaced.
func fewest(n int) int {
	if n <= mesh.FullMesh+1 {
		return n - 1
	}
	return mesh.FewLinks - 1
}

func everybody(int) bool { return true }

// Two hundred devices that start at once are joined within seconds, have few
// links each, and a record gets to all in few hops.
func TestChoiceOfManyAtOnce(t *testing.T) {
	for seed := range uint64(2) {
		w := newTown(t, 200, seed)
		for i := range w.houses {
			w.announce(i, 0.95)
		}
		w.run(30*time.Second, 0.95)
		w.check("after the start", everybody)
		w.dials = 0
		w.run(10*time.Minute, 0.95)
		w.check("ten minutes later", everybody)
		if w.most > mesh.FullMesh+2 {
			t.Errorf("a device had %d links", w.most)
		}
		// Each device replaces a link every five minutes, and may be turned away.
		if w.dials > 200*40 {
			t.Errorf("%d dials in ten quiet minutes", w.dials)
		}
	}
}

// Devices that know of few others each are joined all the same.
func TestChoiceWithLittleKnown(t *testing.T) {
	for seed := range uint64(2) {
		w := newTown(t, 200, 10+seed)
		for i := range w.houses {
			w.announce(i, 0.1)
		}
		w.run(time.Minute, 0)
		if far, reached := w.hops(0); reached != 200 || far > 7 {
			t.Errorf("seed %d: %d joined, %d hops", seed, reached, far)
		}
	}
}

// Up to eleven devices are all linked to each other; when there are more, no
// longer, and when there are fewer again, again.
func TestChoiceAroundFullMesh(t *testing.T) {
	for n := 2; n <= 14; n++ {
		w := newTown(t, n, uint64(n))
		for i := range w.houses {
			w.announce(i, 1)
		}
		w.run(time.Minute, 1)
		w.check("small", everybody)
	}
	w := newTown(t, 30, 3)
	for i := range w.houses {
		w.announce(i, 1)
	}
	w.run(time.Minute, 1)
	w.check("thirty", everybody)
	for _, h := range w.houses[8:] {
		h.up = false
	}
	w.drop()
	w.run(freshFor+5*time.Minute, 1)
	w.check("eight are left", everybody)
}

// Whatever devices come and go, the others stay joined, and all are when it is
// over.
func TestChoiceUnderChurn(t *testing.T) {
	apart, looks := 0, 0
	for seed := range uint64(2) {
		w := newTown(t, 200, 20+seed)
		for i := range w.houses {
			w.announce(i, 0.9)
		}
		w.run(30*time.Second, 0.9)
		for range 60 {
			for range 8 {
				i := w.random.IntN(len(w.houses))
				h := w.houses[i]
				h.up = !h.up
				if h.up {
					h.choice, h.dirty = mesh.NewChoice(h.id, w.random.IntN), true
					w.announce(i, 0.9)
				}
			}
			w.drop()
			w.run(5*time.Second, 0.9)
			first := slices.IndexFunc(w.houses, func(h *house) bool { return h.up })
			up := 0
			for _, h := range w.houses {
				if h.up {
					up++
				}
			}
			looks++
			if _, reached := w.hops(first); reached < up {
				apart++
			}
		}
		w.run(3*time.Minute, 0.9)
		w.check("after the churn", everybody)
	}
	if apart > looks/50 {
		t.Errorf("not joined at %d of %d looks", apart, looks)
	}
}

// Two halves that are cut off from each other are joined in themselves, and
// with each other soon after there is a way again, announced or not.
func TestChoiceAfterPartition(t *testing.T) {
	for seed := range uint64(2) {
		for _, share := range []float64{0.9, 0} {
			w := newTown(t, 200, 30+seed)
			for i := range w.houses {
				w.announce(i, 1)
			}
			w.run(time.Minute, share)
			half := func(i int) bool { return i < 100 }
			w.cut = func(i, j int) bool { return half(i) != half(j) }
			w.drop()
			w.run(5*time.Minute, share)
			w.check("one half", half)
			w.check("other half", func(i int) bool { return !half(i) })
			w.cut = func(int, int) bool { return false }
			healed := w.now
			for {
				if _, reached := w.hops(0); reached == 200 {
					break
				}
				w.run(time.Second, share)
				if w.now.Sub(healed) > 2*time.Minute {
					t.Fatalf("seed %d: still apart after %v", seed, w.now.Sub(healed))
				}
			}
			if took := w.now.Sub(healed); took > 30*time.Second {
				t.Errorf("seed %d: joined after %v", seed, took)
			}
			w.run(5*time.Minute, share)
			w.check("healed", everybody)
		}
	}
}

// Where some devices have an uplink, each device is linked to one of them if
// they have room.
func TestChoiceOfUplink(t *testing.T) {
	w := newTown(t, 100, 40)
	for i, h := range w.houses {
		h.uplink = i%4 == 0
	}
	for i := range w.houses {
		w.announce(i, 1)
	}
	w.run(5*time.Minute, 1)
	w.check("with uplinks", everybody)
	without := 0
	for _, h := range w.houses {
		found := false
		for j := range h.links {
			found = found || w.houses[j].uplink
		}
		if !found {
			without++
		}
	}
	if without > 5 {
		t.Errorf("%d of 100 devices have no link to one with an uplink", without)
	}
}

// A device that is sought gets a link although there are links enough, once.
func TestChoiceSeeks(t *testing.T) {
	w := newTown(t, 30, 50)
	for i := range w.houses {
		w.announce(i, 1)
	}
	w.run(2*time.Minute, 1)
	h := w.houses[0]
	sought := slices.IndexFunc(w.houses[1:], func(o *house) bool { return !h.links[w.number[o.id]] }) + 1
	d := w.houses[sought].id
	if dial, _, _, _ := h.choice.Step(w.now, w.candidates(h), w.linksOf(h)); slices.Contains(dial, d) {
		t.Fatal("it is called anyway")
	}
	h.choice.Seek(d)
	if dial, _, _, _ := h.choice.Step(w.now, w.candidates(h), w.linksOf(h)); !slices.Contains(dial, d) {
		t.Errorf("not called: %v are", dial)
	}
	w.link(0, sought)
	w.run(2*time.Minute, 1)
	if n := len(h.links); n > mesh.ManyLinks {
		t.Errorf("%d links", n)
	}
	h.choice.Seek(d)
	h.known[sought] = sight{absent: true}
	delete(h.links, sought)
	if dial, _, _, _ := h.choice.Step(w.now, w.candidates(h), w.linksOf(h)); slices.Contains(dial, d) {
		t.Error("called although it did not answer")
	}
}
