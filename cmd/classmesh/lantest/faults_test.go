//go:build linux

package lantest

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// cutFor is how long a partition lasts: until connections have ended, and
// membership has forgotten who is on the other side.
func cutFor() time.Duration {
	if os.Getenv("CLASSMESH_LAN_LONG") != "" {
		return 2 * time.Minute
	}
	return 70 * time.Second
}

// A cut that nobody is told of separates eight devices into halves. Both go on
// working, and are one again soon after the cut is mended, without help.
func TestPartition(t *testing.T) {
	s := newSchool(t, 8)
	s.startAll()
	s.mesh(s.rooms...)
	s.rooms[0].work(1)
	s.agree(s.rooms...)

	s.Halve(4)
	left, right := s.rooms[:4], s.rooms[4:]
	s.lesson(cutFor(), left[0], right[3], left[1], right[2], left[2], right[1], left[3], right[0])
	for _, half := range [][]*room{left, right} {
		s.all(half, patience, "halves", func(r *room) bool { return r.status().linked() == 3 })
		prints := map[string]bool{}
		for _, r := range half {
			prints[r.status().Fingerprint] = true
		}
		if len(prints) != 1 {
			t.Errorf("half of the devices hold %d different things", len(prints))
		}
	}
	if left[0].seen() == s.answers || right[0].seen() == s.answers {
		t.Fatal("there was no cut")
	}

	s.Filter("")
	t.Logf("all agree %v after a cut of %v", s.agree(s.rooms...), cutFor())
	t.Logf("and are connected %v later", s.mesh(s.rooms...))
	s.finish()
}

// The network lets membership through and no connections, as a firewall does that
// was told half of it: the others hear that there is work that they lack, and
// whose it is, and have it when there is a way.
func TestWorkIsHeardOf(t *testing.T) {
	s := newSchool(t, 3)
	s.startAll()
	s.mesh(s.rooms...)
	s.rooms[0].work(1)
	s.agree(s.rooms...)

	s.Filter(noLinks)
	s.rooms[0].work(2)
	late := func(r *room) (names []string) {
		for _, p := range r.status().Peers {
			if p.Late {
				names = append(names, p.Name)
			}
		}
		return names
	}
	t.Logf("all have heard of it after %v", s.all(s.rooms[1:], patience, "the others hear of work that they lack", func(r *room) bool {
		return slices.Equal(late(r), []string{s.rooms[0].name})
	}))
	for _, r := range s.rooms[1:] {
		if r.seen() == s.answers {
			t.Errorf("%s has it, although nothing lets it through", r.name)
		}
	}

	s.Filter("")
	t.Logf("all agree %v after there was a way again", s.agree(s.rooms...))
	for _, r := range s.rooms {
		if names := late(r); names != nil {
			t.Errorf("%s still awaits work of %v", r.name, names)
		}
	}
	s.finish()
}

// A third of the devices lose power while they receive weeks of work.
func TestKilledDuringSync(t *testing.T) {
	s := newSchool(t, 6)
	s.startAll()
	s.mesh(s.rooms...)
	victims := s.rooms[4:]
	generated := make(chan string, 1)
	go func() {
		out, err := s.try("generate", "--data", s.rooms[0].data, "--learners", "60", "--days", "40", "--batch", "64")
		generated <- fmt.Sprint(out, err)
	}()
	caught := 0 // in the middle of it; on a quick machine not in every round
	for round := range 3 {
		for _, r := range victims {
			before := r.counters()
			s.await(patience, r.name+" receives, or has all", func() bool {
				if r.counters() > before {
					caught++
					return true
				}
				return len(generated) > 0 && r.counters() == s.rooms[0].counters()
			})
			r.kill()
		}
		for _, r := range victims {
			s.command("fsck", "--data", r.data)
			r.start()
		}
		t.Logf("round %d: they are on again", round+1)
		select {
		case out := <-generated:
			t.Logf("generated: %s", out)
			generated <- out
		default:
		}
	}
	<-generated
	if t.Logf("killed %d times while receiving", caught); caught == 0 {
		t.Error("nobody was killed while receiving")
	}
	for _, r := range s.rooms {
		r.work(1)
	}
	s.finish()
}

// Of ten packets two get lost.
func TestLoss(t *testing.T) {
	s := newSchool(t, 4)
	s.Filter(loss20)
	s.startAll()
	t.Logf("all connected after %v", s.mesh(s.rooms...))
	for range 5 {
		for _, r := range s.rooms {
			r.work(1)
		}
	}
	t.Logf("all agree after %v", s.agree(s.rooms...))
	s.command("generate", "--data", s.rooms[1].data, "--learners", "30", "--days", "7")
	s.finish()
	if n := s.Dropped(); n < 50 {
		t.Errorf("only %d packets were lost", n)
	} else {
		t.Logf("%d packets were lost", n)
	}
}

// Every device sends at the pace of an old modem. A week of a class gets
// through, and new work does not wait for all of it.
func TestThinLines(t *testing.T) {
	s := newSchool(t, 4)
	s.Rate("64kbit")
	s.startAll()
	t.Logf("all connected after %v", s.mesh(s.rooms...))
	s.command("generate", "--data", s.rooms[0].data, "--learners", "15", "--days", "7")
	for _, r := range s.rooms {
		r.work(3)
	}
	t.Logf("all agree after %v", s.agree(s.rooms...))
	s.finish()
}

// The fuse of the whole school.
func TestAllRestartedAtOnce(t *testing.T) {
	s := newSchool(t, 6)
	s.startAll()
	s.mesh(s.rooms...)
	for _, r := range s.rooms {
		r.work(1)
	}
	for range 2 {
		var off sync.WaitGroup
		for _, r := range s.rooms {
			off.Go(r.kill)
		}
		off.Wait()
		s.startAll()
		t.Logf("all connected again after %v", s.mesh(s.rooms...))
		for _, r := range s.rooms {
			r.work(1)
		}
	}
	s.finish()
}
