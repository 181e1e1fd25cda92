package classroom_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

func (z *zone) dump(device int) string {
	z.t.Helper()
	var b bytes.Buffer
	err := z.devices[device].ReadPromoted(z.t.Context(), func(v *records.View) error { return classroom.Dump(v, &b) })
	if err != nil {
		z.t.Fatal(err)
	}
	return b.String()
}

// TestDumpIsTheSame has three devices work on the same things and exchange in
// different orders: in the end they dump the same bytes.
func TestDumpIsTheSame(t *testing.T) {
	z := newZone(t, roster.RoleAdministrates, roster.RoleClassroom, roster.RoleClassroom)
	class, err := classroom.AddGroup(t.Context(), z.devices[0], identity.UserID{}, "3A", "")
	if err != nil {
		t.Fatal(err)
	}
	ana := z.add(0, "ana", classroom.RoleLearner, class)
	ben := z.add(0, "ben", classroom.RoleTeacher)
	if err := classroom.SetPassword(t.Context(), z.devices[0], z.gate, ben, ana, "secret"); err != nil {
		t.Fatal(err)
	}
	for device := 1; device < 3; device++ {
		z.pull(device, 0)
	}
	for device := range z.devices {
		for n := range 12 {
			z.answer(device, ana, "e1", n != device)
		}
		z.watch(device, ana, "v1", 10*device, 10*device+25)
		name := "Ana " + string(rune('A'+device))
		if err := classroom.EditPerson(t.Context(), z.devices[device], ben, ana, classroom.PersonEdit{Name: &name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := classroom.EditPerson(t.Context(), z.devices[1], ben, ana, classroom.PersonEdit{Leave: []classroom.GroupID{class}}); err != nil {
		t.Fatal(err)
	}
	if err := classroom.Hide(t.Context(), z.devices[2], ben, classroom.GroupTarget(class), "last year"); err != nil {
		t.Fatal(err)
	}
	if z.dump(0) == z.dump(1) {
		t.Error("devices that hold different things dump the same")
	}
	for _, pull := range [][2]int{{0, 2}, {1, 0}, {2, 1}, {0, 1}, {1, 2}, {2, 0}, {0, 2}} {
		z.pull(pull[0], pull[1])
	}
	want := z.dump(0)
	for device := 1; device < 3; device++ {
		if d := cmp.Diff(want, z.dump(device)); d != "" {
			t.Errorf("device %d dumps otherwise than device 0: %s", device, d)
		}
	}
	seen := map[string]int{}
	for line := range strings.Lines(want) {
		var l struct {
			Kind, Learner, Key string
			Versions           []any
			Merged             map[string]any
			Body               map[string]any
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if seen[l.Kind]++; len(l.Versions) > 0 || l.Merged == nil && l.Body == nil {
			t.Errorf("not merged: %s", line)
		}
		if l.Kind == "exercise_progress" && (l.Merged["attempts"] != 36.0 || l.Learner != ana.String() || l.Key != "e1") {
			t.Errorf("not added over all devices: %s", line)
		}
		if l.Kind == "membership" && l.Merged["present"] != false {
			t.Errorf("the learner was taken out of the class: %s", line)
		}
	}
	for _, kind := range []string{"user", "learner_secret", "group", "membership", "role", "tombstone", "exercise_progress", "video_progress", "activity_day", "award", "attempt", "viewing"} {
		if seen[kind] == 0 {
			t.Errorf("no line of kind %s", kind)
		}
	}
	if seen["attempt"] != 36 || seen["user"] != 2 {
		t.Errorf("lines: %v", seen)
	}
	if strings.Contains(want, "argon2") {
		t.Error("a password hash is given away")
	}
}

// TestDumpUnknownKinds writes kinds that this release does not know, and a
// body that it cannot read: they appear as they are stored.
func TestDumpUnknownKinds(t *testing.T) {
	z := newZone(t, roster.RoleClassroom, roster.RoleClassroom)
	later := records.NewKind(identity.LaneProgress, roster.ClassAny, 4000)
	user := identity.UserID{7}
	for device := range z.devices {
		err := z.devices[device].Write(t.Context(), func(d *records.Draft) error {
			for _, rec := range []records.Record{
				{Kind: later, Register: true, Key: []byte{1, 2}, Learner: user, Body: []byte("later")},
				{Kind: later, Learner: user, Body: []byte("event")},
				{Kind: classroom.KindGroup, Register: true, Key: make([]byte, 16), Body: []byte("damaged")},
			} {
				if _, err := d.Put(rec); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	z.pull(0, 1)
	z.pull(1, 0)
	dump := z.dump(0)
	if d := cmp.Diff(dump, z.dump(1)); d != "" {
		t.Error(d)
	}
	for text, want := range map[string]int{
		`"key":"hex:0102"`: 1, `"raw":"bGF0ZXI="`: 2, `"raw":"ZXZlbnQ="`: 2, `"raw":"ZGFtYWdlZA=="`: 2, `"kind":"group"`: 1,
	} {
		if n := strings.Count(dump, text); n != want {
			t.Errorf("%s stands there %d times instead of %d:\n%s", text, n, want, dump)
		}
	}
}

var errPipe = errors.New("nobody reads")

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, errPipe }

func TestDumpSaysThatNobodyReads(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	z.add(0, "ana", classroom.RoleLearner)
	err := z.devices[0].Read(t.Context(), func(v *records.View) error { return classroom.Dump(v, closedPipe{}) })
	if !errors.Is(err, errPipe) {
		t.Errorf("got %v", err)
	}
}
