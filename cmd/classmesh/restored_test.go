package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/classmesh/classmesh/records/identity"
)

// TestRestoredRoom puts an old copy of a device's data folder back, and lets
// somebody work on it before it meets anybody: that work, and what the copy
// lacks, is everywhere afterwards, and once.
func TestRestoredRoom(t *testing.T) {
	s := newSchool(t, 2)
	room := s.rooms[0]
	room.start()
	s.importPeople()
	work := func(answers int) uint64 {
		t.Helper()
		ana := room.open()
		ana.signIn("ana", "open sesame")
		for range answers {
			if err := ana.answer(testExercise); err != nil {
				t.Fatal(err)
			}
		}
		return ana.progress().Totals.Attempts
	}
	safe := func() {
		t.Helper()
		s.await("it is safe", func() bool { st := room.status(); return st.Uplink.State == "connected" && st.Uplink.NotYetSafe == 0 })
	}
	work(3)
	safe()
	s.end(&room.p, os.Interrupt)
	backup := room.data + "-backup"
	if err := os.CopyFS(backup, os.DirFS(room.data)); err != nil {
		t.Fatal(err)
	}
	room.start()
	work(2)
	safe()
	s.end(&room.p, os.Interrupt)

	if err := os.RemoveAll(room.data); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(room.data, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	s.end(&s.coordinator, os.Interrupt)
	room.start()
	if n := work(4); n != 7 {
		t.Fatalf("the restored device knows of %d answers", n)
	}
	s.end(&room.p, os.Kill)
	room.start()
	if n := work(1); n != 8 {
		t.Fatalf("the restored device knows of %d answers", n)
	}
	s.startCoordinator()
	safe()
	if st := room.status(); st.Again == nil || st.Again.Records < 5 || st.Again.Going {
		t.Errorf("%+v", st.Again)
	}
	if n := work(2); n != 10 {
		t.Errorf("the restored device knows of %d answers afterwards", n)
	}
	s.rooms[1].start()
	s.agree()
	s.sameDumps()
	ana := s.rooms[1].open()
	ana.signIn("ana", "open sesame")
	// Of the two continuations of a count the larger one holds: 3 + 5, and 2 in the
	// new incarnation. The answers themselves are all there: 2 more.
	if n := ana.progress().Totals.Attempts; n != 10 {
		t.Errorf("the other device counts %d answers", n)
	}
	type place struct {
		Log     identity.LogID
		Counter uint64
	}
	answers := map[place]int{}
	for line := range strings.Lines(s.run("dump", "--data", s.rooms[1].data)) {
		var event struct {
			Kind string
			place
			Origin *place
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		if event.Kind == "attempt" {
			if event.Origin == nil {
				event.Origin = &event.place
			}
			answers[*event.Origin]++
		}
	}
	total := 0
	for _, n := range answers {
		total += n
	}
	if total != 12 {
		t.Errorf("the other device has %d answers: %v", total, answers)
	}
	for _, st := range []statusReport{room.status(), s.rooms[1].status()} {
		for _, l := range st.Logs {
			if l.Trouble != "" {
				t.Errorf("%s has a log in trouble: %+v", st.Name, l)
			}
		}
	}
}
