package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/classmesh/classmesh/records/identity"
)

// backup stops a room, copies its data folder and starts it again.
func (r *room) backup() (folder string) {
	r.school.t.Helper()
	r.school.end(&r.p, os.Interrupt)
	folder = r.data + "-backup"
	if err := os.CopyFS(folder, os.DirFS(r.data)); err != nil {
		r.school.t.Fatal(err)
	}
	r.start()
	return folder
}

// restore stops a room and puts a backup in the place of its data folder.
func (r *room) restore(folder string) {
	r.school.t.Helper()
	r.school.end(&r.p, os.Interrupt)
	if err := os.RemoveAll(r.data); err != nil {
		r.school.t.Fatal(err)
	}
	if err := os.CopyFS(r.data, os.DirFS(folder)); err != nil {
		r.school.t.Fatal(err)
	}
}

// work lets Ana answer questions in a room, and returns how many she has answered.
func (r *room) work(answers int) uint64 {
	r.school.t.Helper()
	ana := r.open()
	ana.signIn("ana", "open sesame")
	for range answers {
		if err := ana.answer(testExercise); err != nil {
			r.school.t.Fatal(err)
		}
	}
	return ana.progress().Totals.Attempts
}

// safe waits until all that a room has is with the coordinator.
func (r *room) safe() {
	r.school.t.Helper()
	r.school.await("it is safe", func() bool {
		st := r.status()
		return st.Uplink.State == "connected" && st.Uplink.NotYetSafe == 0
	})
}

// healed checks that nothing is in trouble, and how many answers the last room has.
func (s *school) healed(answers int) {
	s.t.Helper()
	for _, r := range s.rooms {
		st := r.status()
		for _, l := range st.Logs {
			if l.Trouble != "" {
				s.t.Errorf("%s has a log in trouble: %+v", st.Name, l)
			}
		}
	}
	type place struct {
		Log     identity.LogID
		Counter uint64
	}
	// The continuations of a log may have a counter each, even for the same answer to
	// the same question; and two devices may have published one at the same time.
	type answer struct {
		place
		at   int64
		body string
	}
	found := map[answer]int{}
	for line := range strings.Lines(s.run("dump", "--data", s.rooms[len(s.rooms)-1].data)) {
		var event struct {
			Kind string
			place
			Origin *place
			At     int64
			Body   json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			s.t.Fatal(err)
		}
		if event.Kind == "attempt" {
			if event.Origin == nil {
				event.Origin = &event.place
			}
			found[answer{*event.Origin, event.At, string(event.Body)}]++
		}
	}
	if len(found) != answers {
		s.t.Errorf("there are %d answers of %d: %v", len(found), answers, found)
	}
}

// TestRestoredRoom puts an old copy of a device's data folder back, and lets
// somebody work on it before it meets anybody: that work, and what the copy
// lacks, is everywhere afterwards, and once.
func TestRestoredRoom(t *testing.T) {
	s := newSchool(t, 2)
	room := s.rooms[0]
	room.start()
	s.importPeople()
	room.work(3)
	room.safe()
	backup := room.backup()
	room.work(2)
	room.safe()
	room.restore(backup)
	s.end(&s.coordinator, os.Interrupt)
	room.start()
	if n := room.work(4); n != 7 {
		t.Fatalf("the restored device knows of %d answers", n)
	}
	s.end(&room.p, os.Kill)
	room.start()
	if n := room.work(1); n != 8 {
		t.Fatalf("the restored device knows of %d answers", n)
	}
	s.startCoordinator()
	room.safe()
	if st := room.status(); st.Again == nil || st.Again.Records < 5 || st.Again.Going {
		t.Errorf("%+v", st.Again)
	}
	if n := room.work(2); n != 10 {
		t.Errorf("the restored device knows of %d answers afterwards", n)
	}
	s.rooms[1].start()
	s.agree()
	s.sameDumps()
	// Of the two continuations of a count the larger one holds: 3 + 5, and 2 in the
	// new incarnation. The answers themselves are all there: 2 more.
	if n := s.rooms[1].work(0); n != 10 {
		t.Errorf("the other device counts %d answers", n)
	}
	s.healed(12)
}

// TestRestoredRoomOnLAN is the same where another device takes the work from the
// restored one on the LAN, and not what was lost, before either meets the
// coordinator.
func TestRestoredRoomOnLAN(t *testing.T) {
	s := newSchool(t, 2)
	s.lan = anyPort
	room, other := s.rooms[0], s.rooms[1]
	room.start()
	other.start()
	s.importPeople()
	room.work(3)
	s.agree()
	s.end(&other.p, os.Interrupt)
	backup := room.backup()
	room.work(2)
	room.safe()
	room.restore(backup)
	s.end(&s.coordinator, os.Interrupt)
	room.start()
	other.start()
	room.work(4)
	s.await("the other device has the work", func() bool { return room.status().Fingerprint == other.status().Fingerprint })
	s.startCoordinator()
	s.agree()
	s.sameDumps()
	if n := other.work(0); n != 7 {
		t.Errorf("the other device counts %d answers", n)
	}
	s.healed(9)
}
