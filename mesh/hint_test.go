package mesh_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// expectations is what authors have told of, and a replica that holds logs up
// to some counters.
type expectations struct {
	mesh.Awaiting
	t      *testing.T
	now    time.Time
	holds  map[identity.LogID]uint64
	closed map[identity.LogID]bool
}

func newExpectations(t *testing.T) *expectations {
	return &expectations{
		Awaiting: mesh.NewAwaiting(func(int) int { return 0 }), t: t, now: time.Unix(1000, 0),
		holds: map[identity.LogID]uint64{}, closed: map[identity.LogID]bool{},
	}
}

func (e *expectations) held(log identity.LogID) (uint64, bool) { return e.holds[log], !e.closed[log] }

// hear is how a head is heard that its author has signed.
func (e *expectations) hear(n byte, counter uint64) bool {
	log := identity.LogID{n}
	news := e.News(e.now, log, identity.DeviceID{n}, counter, e.holds[log])
	if news {
		e.Add(e.now, log, identity.DeviceID{n}, counter)
	}
	return news
}

// during lets time pass and returns when peers were asked, counted from now, and
// for how many authors' work in vain.
func (e *expectations) during(d time.Duration) (asked []time.Duration, vain int) {
	e.t.Helper()
	from := e.now
	for {
		ask, authors, again := e.Step(e.now, e.held)
		if ask {
			asked, vain = append(asked, e.now.Sub(from)), vain+len(authors)
		}
		if again.IsZero() || again.Sub(from) > d {
			e.now = from.Add(d)
			return asked, vain
		}
		if !again.After(e.now) {
			e.t.Fatalf("after %v there is another look %v later", e.now.Sub(from), again.Sub(e.now))
		}
		e.now = again
	}
}

// What comes by itself is not asked for; what does not is, less and less often.
func TestAwaiting(t *testing.T) {
	e := newExpectations(t)
	if e.holds[identity.LogID{1}] = 5; e.hear(1, 5) || e.hear(1, 4) || e.Len() > 0 {
		t.Error("what is here is awaited")
	}
	if !e.hear(1, 7) || e.hear(1, 7) || e.hear(1, 6) || !e.hear(1, 8) {
		t.Error("not what is higher than before, and only that, is news")
	}
	if asked, _ := e.during(mesh.Grace - time.Second); asked != nil || len(e.Late(e.held)) > 0 {
		t.Errorf("asked at %v", asked)
	}
	e.holds[identity.LogID{1}] = 8
	if asked, _ := e.during(time.Hour); asked != nil || e.Len() > 0 {
		t.Errorf("it came, and peers were asked at %v; %d are awaited", asked, e.Len())
	}

	e.hear(1, 9)
	asked, vain := e.during(time.Hour)
	want := []time.Duration{mesh.Grace}
	for wait := mesh.AskAgain; ; wait = min(2*wait, mesh.LongestAsk) {
		next := want[len(want)-1] + wait
		if next > time.Hour {
			break
		}
		want = append(want, next)
	}
	if !slices.Equal(asked, want) || len(want) > 9 || vain != len(want)-1 || !e.Late(e.held)[identity.DeviceID{1}] {
		t.Errorf("asked at %v, in vain %d times, want %v; late %v", asked, vain, want, e.Late(e.held))
	}
	e.holds[identity.LogID{1}] = 9
	if asked, _ := e.during(time.Hour); asked != nil || e.Len() > 0 || len(e.Late(e.held)) > 0 {
		t.Errorf("it came, and peers were asked at %v", asked)
	}

	e.hear(2, 3)
	e.closed[identity.LogID{2}] = true
	if asked, _ := e.during(time.Hour); asked != nil || e.Len() > 0 {
		t.Errorf("of a log that is closed peers were asked at %v", asked)
	}
}

// An author at work, whose pushes come a moment after what it tells, or before,
// costs nothing; when they stop coming, that is noticed.
func TestAwaitingOfBusyAuthor(t *testing.T) {
	e := newExpectations(t)
	log := identity.LogID{1}
	for n := uint64(1); n <= 2000; n++ {
		e.hear(1, 2*n)
		if asked, _ := e.during(100 * time.Millisecond); asked != nil {
			t.Fatalf("asked at %v", asked)
		}
		e.holds[log] = 2*n - n%2
		if asked, _ := e.during(900 * time.Millisecond); asked != nil {
			t.Fatalf("head %d: asked at %v", n, asked)
		}
	}
	began := e.now
	for n := uint64(4001); ; n++ {
		e.hear(1, n)
		if asked, _ := e.during(time.Second); asked != nil {
			break
		}
		if e.now.Sub(began) > 3*mesh.Grace {
			t.Fatal("that nothing comes any more is not noticed")
		}
	}
}

// Whatever hints say, peers are asked seldom, signatures checked slowly, and
// memory is bounded.
func TestAwaitingIsBounded(t *testing.T) {
	e := newExpectations(t)
	// A real head after the other that nobody can deliver.
	var asked []time.Duration
	for n := range uint64(3600) {
		if !e.hear(1, n+1) {
			t.Fatal("a higher head is no news")
		}
		now, _ := e.during(time.Second)
		for range now {
			asked = append(asked, time.Duration(n)*time.Second)
		}
	}
	if len(asked) < 3 || len(asked) > 9 {
		t.Errorf("for heads that rise each second peers were asked %d times in an hour: %v", len(asked), asked)
	}
	// The same of as many logs as there may be, and some.
	e = newExpectations(t)
	for n := range 4 * mesh.MaxAwaited {
		e.now = e.now.Add(time.Second / mesh.ChecksPerSec)
		log, author := identity.LogID{1, byte(n), byte(n >> 8)}, identity.DeviceID{byte(n % 100)}
		if news := e.News(e.now, log, author, 1, 0); news {
			e.Add(e.now, log, author, 1)
		}
	}
	if e.Len() != mesh.MaxAwaited {
		t.Errorf("%d logs are awaited", e.Len())
	}
	asked, _ = e.during(time.Hour)
	if most := int(time.Hour / mesh.AskEvery); len(asked) > most {
		t.Errorf("asked %d times in an hour", len(asked))
	}
	// As many logs of one device: there is room for others, and for it when they came.
	e = newExpectations(t)
	for n := range 4 * mesh.MaxOfOne {
		log := identity.LogID{1, byte(n), byte(n >> 8)}
		if e.News(e.now.Add(time.Duration(n)*time.Second), log, identity.DeviceID{1}, 1, 0) {
			e.Add(e.now, log, identity.DeviceID{1}, 1)
		}
	}
	e.now = e.now.Add(time.Hour)
	if e.Len() != mesh.MaxOfOne || !e.hear(2, 1) {
		t.Errorf("of one device %d logs are awaited", e.Len())
	}
	e.holds[identity.LogID{1, 3}] = 1
	if e.during(time.Second); e.Len() != mesh.MaxOfOne || !e.News(e.now, identity.LogID{1, 200}, identity.DeviceID{1}, 1, 0) {
		t.Error("what came still takes room")
	}
	// As many signatures as anybody likes.
	e, checks := newExpectations(t), 0
	for range 100_000 {
		if e.News(e.now, identity.LogID{1}, identity.DeviceID{1}, 1, 0) {
			checks++
		}
		e.now = e.now.Add(100 * time.Microsecond)
	}
	if checks < mesh.ChecksAtOnce || checks > mesh.ChecksAtOnce+10*mesh.ChecksPerSec {
		t.Errorf("in 10 s %d signatures were checked", checks)
	}
}

// headsOf are the encoded heads of the logs of device i.
func (w *network) headsOf(i int) (heads [][]byte) {
	for _, h := range w.devices[i].replica.HeadsOf(w.devices[i].replica.Device()) {
		heads = append(heads, h.Encode())
	}
	return heads
}

// tell has device j hear the heads of device i.
func (w *network) tell(i, j int) {
	for _, h := range w.headsOf(i) {
		w.devices[j].node.HearHead(h)
	}
}

// pairOnLAN is two devices that have been linked for hours, each with a log that
// the other knows.
func pairOnLAN(t *testing.T, seed uint64) *network {
	w := newNetwork(t, 2, seed)
	w.start(1, 2)
	w.write(1, 2)
	w.write(2, 2)
	w.after(2 * time.Hour)
	if !w.equal(1, 2) {
		t.Fatal("not equal before anything went wrong")
	}
	return w
}

// The first work of an author gets lost. Its head is believed if the roster lists the
// author; otherwise nobody knows whose log it is.
func TestHintOfFirstWork(t *testing.T) {
	for _, known := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newNetwork(t, 2, 65)
			defer w.stopAll()
			w.start(1, 2)
			w.write(1, 1)
			if known {
				r, err := w.zone.roster.ListIncarnation(w.devices[2].replica.Certificate())
				if err != nil {
					t.Fatal(err)
				}
				if err := w.devices[1].replica.AcceptRoster(t.Context(), r.Sign(w.zone.keys[0], 2).Encode()); err != nil {
					t.Fatal(err)
				}
			}
			w.after(2 * time.Hour)
			w.lose = func(c *memConn, typ wire.Type) bool {
				return c.other() == 1 && (typ == wire.TypePush || typ == wire.TypeHave || typ == wire.TypeCountersSum)
			}
			w.write(2, 3)
			w.tell(2, 1)
			if w.after(10 * time.Second); w.equal(1, 2) != known {
				t.Errorf("the author is known: %t, equal: %t", known, !known)
			}
		})
	}
}

// Of a link nothing comes any more that its other side says by itself. What was
// written there arrives seconds after a hint, and without one not for minutes.
func TestHintOfLostPush(t *testing.T) {
	for author := 1; author <= 2; author++ {
		for _, hinted := range []bool{true, false} {
			t.Run(fmt.Sprintf("author %d, hinted %t", author, hinted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := pairOnLAN(t, 60)
					defer w.stopAll()
					w.lose = func(c *memConn, typ wire.Type) bool {
						return c.other() != author && (typ == wire.TypePush || typ == wire.TypeHave || typ == wire.TypeCountersSum)
					}
					w.write(author, 3)
					if hinted {
						w.tell(author, 3-author)
					}
					time.Sleep(2 * time.Second)
					if w.equal(1, 2) {
						t.Fatal("nothing was lost, or it was asked for too soon")
					}
					time.Sleep(8 * time.Second)
					if w.equal(1, 2) != hinted {
						t.Errorf("equal after 10 s: %t", !hinted)
					}
					if w.after(4 * time.Minute); w.equal(1, 2) != hinted {
						t.Errorf("equal after minutes: %t", !hinted)
					}
				})
			})
		}
	}
}

// A peer says nothing any more, though its connection lives. After a hint that is
// noticed, and a new connection brings what it has.
func TestHintOfFrozenPeer(t *testing.T) {
	for _, hinted := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := pairOnLAN(t, 61)
			defer w.stopAll()
			frozen := map[*memPair]bool{}
			w.mu.Lock()
			for p := range w.conns {
				frozen[p] = true
			}
			w.mu.Unlock()
			w.lose = func(c *memConn, _ wire.Type) bool { return frozen[c.pair] }
			w.write(1, 3)
			if hinted {
				w.tell(1, 2)
			}
			if w.after(20 * time.Second); w.equal(1, 2) {
				t.Fatal("the peer is not frozen")
			}
			if w.after(25 * time.Second); w.equal(1, 2) != hinted {
				t.Errorf("hinted %t, equal after 45 s: %t", hinted, !hinted)
			}
			if w.after(3 * time.Minute); w.equal(1, 2) != hinted {
				t.Errorf("hinted %t, equal after minutes: %t", hinted, !hinted)
			}
		})
	}
}

// Hints that are wrong, old, of nobody's log, or of what nobody has, cost a
// comparison now and then at most, however often they come. What they tell of that
// is true comes when there is a way.
func TestHintsThatBringNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 3, 62)
		defer w.stopAll()
		w.start(1, 2, 3)
		for i := 1; i <= 3; i++ {
			w.write(i, 2)
		}
		w.after(time.Hour)
		old := w.headsOf(1)
		w.setCut(func(a, b int) bool { return a == 1 || b == 1 }, false)
		hour := func(hear func(heard func([]byte))) (counters int) {
			w.tally.reset()
			for range 360 {
				hear(w.devices[2].node.HearHead)
				time.Sleep(10 * time.Second)
			}
			frames, _ := w.tally.of(wire.TypeCounters, wire.TypeCountersSum, wire.TypeVector)
			return frames
		}
		nothing := hour(func(func([]byte)) {})
		w.write(1, 3)
		fresh := w.headsOf(1)
		altered := bytes.Clone(fresh[0])
		altered[len(altered)-1] ^= 1
		unknown := bytes.Clone(fresh[0])
		unknown[5] ^= 1
		for name, lies := range map[string][][]byte{
			"old": old, "altered": {altered}, "of an unknown log": {unknown}, "nothing": {nil, {1}, bytes.Repeat([]byte{1}, 256)},
			"its own": w.headsOf(2),
		} {
			if n := hour(func(hear func([]byte)) {
				for _, lie := range lies {
					hear(lie)
				}
			}); n > nothing || w.devices[2].node.Awaited() > 0 {
				t.Errorf("%s: %d frames instead of %d; %d are awaited", name, n, nothing, w.devices[2].node.Awaited())
			}
		}
		if n := hour(func(hear func([]byte)) {
			w.write(1, 1)
			for _, h := range w.headsOf(1) {
				hear(h)
			}
		}); n <= nothing || n > nothing+2*9 {
			t.Errorf("what nobody can deliver: %d frames instead of %d", n, nothing)
		}
		late := func() (list []int) {
			for _, p := range w.devices[2].node.Status().Peers {
				if p.Late {
					list = append(list, slices.IndexFunc(w.zone.keys, func(k identity.DeviceKey) bool { return k.Public().ID() == p.Device }))
				}
			}
			return list
		}
		if got := late(); !slices.Equal(got, []int{1}) {
			t.Errorf("late are %v", got)
		}
		w.setCut(func(int, int) bool { return false }, false)
		w.after(30 * time.Second)
		if got := late(); !w.equal(1, 2, 3) || got != nil {
			t.Errorf("when there is a way: equal %t, late %v", w.equal(1, 2, 3), got)
		}
		w.devices[2].node.HearHead(w.headsOf(1)[0])
		w.after(time.Hour)
		if n := w.devices[2].node.Awaited(); n > 0 {
			t.Errorf("%d logs are awaited of which all is here", n)
		}
	})
}

// A head that is awaited although its author was removed meanwhile is not asked
// for any more.
func TestHintOfRemovedAuthor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pairOnLAN(t, 63)
		defer w.stopAll()
		w.lose = func(c *memConn, typ wire.Type) bool { return true }
		w.write(1, 1)
		w.tell(1, 2)
		if n := w.devices[2].node.Awaited(); n != 1 {
			t.Fatalf("%d logs are awaited", n)
		}
		r, err := w.zone.roster.Revoke(w.zone.keys[1].Public().ID())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.devices[2].replica.AcceptRoster(t.Context(), r.Sign(w.zone.keys[0], 2).Encode()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if n := w.devices[2].node.Awaited(); n != 0 {
			t.Errorf("%d logs are awaited", n)
		}
		w.tell(1, 2)
		if n := w.devices[2].node.Awaited(); n != 0 {
			t.Error("a hint of a removed device is heeded")
		}
	})
}

// FuzzHearHead: only what an admitted author has signed, beyond what is here, is
// awaited, whatever else is heard.
func FuzzHearHead(f *testing.F) {
	z := newZone(f, 2, false)
	cfg := z.config(1)
	cfg.Clock = new(hastyClock)
	cfg.Replica = &reader{still: z.all[1], author: z.all[2].cert, counter: 5}
	var signed [][]byte
	for _, counter := range []uint64{5, 6, 1 << 40} {
		h := z.head(2, counter)
		signed = append(signed, h.Encode())
		h.Sign(z.authors[1])
		f.Add(h.Encode())
	}
	for _, b := range signed {
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		book, err := discovery.New(discovery.Config{})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Book = book
		node := z.node(cfg)
		node.HearHead(b)
		want := slices.ContainsFunc(signed[1:], func(h []byte) bool { return bytes.Equal(h, b) })
		if n := node.Awaited(); (n > 0) != want {
			t.Errorf("after %x %d logs are awaited", b, n)
		}
	})
}

// reader is a replica that holds one log of another device up to a counter.
type reader struct {
	*still
	author  identity.Certificate
	counter uint64
}

func (r *reader) AuthorOf(log identity.LogID) (identity.Certificate, bool) {
	return r.author, r.author.Log(identity.LaneDetail) == log
}

func (r *reader) Frontier(ref records.BranchRef) (uint64, int) {
	if _, ok := r.AuthorOf(ref.Log); !ok {
		return 0, 0
	}
	return r.counter, 1
}

// hastyClock is a clock by which an hour passes between two looks.
type hastyClock struct {
	exchange.SystemClock
	looks atomic.Int64
}

func (c *hastyClock) Now() time.Time {
	return time.Unix(0, 0).Add(time.Duration(c.looks.Add(1)) * time.Hour)
}
