package classroom_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

var pupil = identity.UserID{7}

func TestExerciseCompletes(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	var s classroom.ExerciseState
	for range 7 {
		s = z.answer(0, pupil, "ex", true)
	}
	if s.Complete() || s.Points() != 7*13 || s.Status() != classroom.StatusInProgress {
		t.Errorf("after 7 right: complete %v, %d points", s.Complete(), s.Points())
	}
	z.answer(0, pupil, "ex", false)
	s = z.answer(0, pupil, "ex", true)
	if !s.Complete() || s.Points() != 8*13 || s.Completion.Attempts != 9 {
		t.Errorf("after 8 right of 9: %+v, %d points", s.Completion, s.Points())
	}
	for range 12 {
		s = z.answer(0, pupil, "ex", false)
	}
	if !s.Complete() || s.Points() != 8*13 || s.Recent.Right() != 0 || s.Attempts.Total() != 21 {
		t.Errorf("after 12 wrong: complete %v, %d points, %d attempts", s.Complete(), s.Points(), s.Attempts.Total())
	}
	p := z.progress(0, pupil)
	if p.Totals.Points != 8*13 || p.Totals.ExercisesComplete != 1 || p.Totals.ActiveMS != 21*5000 {
		t.Errorf("totals %+v", p.Totals)
	}
	want := []classroom.DaySummary{{Day: classroom.DayOf(z.clock.UTC()), Answers: 21, ActiveMS: 21 * 5000}}
	if d := cmp.Diff(want, p.Days); d != "" {
		t.Error(d)
	}
}

func TestHintCountsAsWrong(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	s, err := classroom.RecordAttempt(t.Context(), z.devices[0], classroom.MarkedAnswer{
		Learner: pupil, Exercise: "ex", Item: "i", Correct: true, Hinted: true, Needed: 8, Base: 10,
	})
	if err != nil || s.Right.Total() != 0 || s.Points() != 0 || s.Attempts.Total() != 1 {
		t.Errorf("%d right, %d points, %v", s.Right.Total(), s.Points(), err)
	}
}

func TestStruggling(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	for i := range classroom.StrugglingAttempts + 1 {
		if s := z.answer(0, pupil, "ex", false); (s.Status() == classroom.StatusStruggling) != (i == classroom.StrugglingAttempts) {
			t.Errorf("after %d attempts: %v", i+1, s.Status())
		}
	}
}

// TestWorkOnTwoDevices: the same exercise done on two devices that did not
// know of each other gives what it is worth, once.
func TestWorkOnTwoDevices(t *testing.T) {
	z := newZone(t, roster.RolePlain, roster.RolePlain)
	for range 8 {
		z.answer(0, pupil, "ex", true)
		z.answer(1, pupil, "ex", true)
	}
	for range 5 {
		z.answer(0, pupil, "half", true)
		z.answer(1, pupil, "half", true)
	}
	z.pull(0, 1)
	z.pull(1, 0)
	p := z.progress(0, pupil)
	if d := cmp.Diff(p, z.progress(1, pupil)); d != "" {
		t.Errorf("devices disagree: %s", d)
	}
	if p.Exercises[0].Points != 8*13 || p.Exercises[0].Attempts != 16 || p.Totals.ExercisesComplete != 1 {
		t.Errorf("done twice: %+v", p.Exercises[0])
	}
	// Both halves together are worth all of it, and the next answer, even a
	// wrong one, completes it: 8 of the last 10 are right.
	if p.Exercises[1].Points != 8*13 || p.Exercises[1].Status != classroom.StatusInProgress {
		t.Errorf("done by halves: %+v", p.Exercises[1])
	}
	if s := z.answer(0, pupil, "half", false); !s.Complete() || s.Attempts.Total() != 11 {
		t.Errorf("after the next answer: complete %v", s.Complete())
	}
}

func TestVideo(t *testing.T) {
	z := newZone(t, roster.RoleClassroom, roster.RoleClassroom)
	z.watch(0, pupil, "v", 0, 60)
	s := z.watch(1, pupil, "v", 50, 90)
	if s.Points() != 300 || s.Position.Value() != 90 || s.Status() != classroom.StatusInProgress {
		t.Errorf("40 of 100 seconds: %d points", s.Points())
	}
	z.pull(0, 1)
	if p := z.progress(0, pupil); p.Videos[0].Points != 675 || p.Videos[0].PlayedS != 100 {
		t.Errorf("90 of 100 seconds on two devices: %+v", p.Videos[0])
	}
	s = z.watch(0, pupil, "v", 20, 40) // again: gives nothing, and the position goes back
	if s.Points() != 675 || s.Position.Value() != 40 || s.Complete() {
		t.Errorf("watched again: %d points at %d s", s.Points(), s.Position.Value())
	}
	s = z.watch(0, pupil, "v", 90, 100)
	if !s.Complete() || s.Points() != 750 || s.Completions.Total() != 1 {
		t.Errorf("all watched: complete %v, %d points, %d times", s.Complete(), s.Points(), s.Completions.Total())
	}
	if got := z.progress(0, pupil).Totals; got.Points != 750 || got.VideosComplete != 1 {
		t.Errorf("totals %+v", got)
	}
}

func TestBadInput(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	good := classroom.MarkedAnswer{Learner: pupil, Exercise: "e", Item: "i", Needed: 8, Base: 10}
	for name, change := range map[string]func(*classroom.MarkedAnswer){
		"nobody":        func(a *classroom.MarkedAnswer) { a.Learner = identity.UserID{} },
		"no exercise":   func(a *classroom.MarkedAnswer) { a.Exercise = "" },
		"long item":     func(a *classroom.MarkedAnswer) { a.Item = fmt.Sprintf("%065d", 0) },
		"long answer":   func(a *classroom.MarkedAnswer) { a.Answer = fmt.Sprintf("%0257d", 0) },
		"not text":      func(a *classroom.MarkedAnswer) { a.Answer = "\xff" },
		"bad language":  func(a *classroom.MarkedAnswer) { a.Language = "\xff" },
		"needed 0":      func(a *classroom.MarkedAnswer) { a.Needed = 0 },
		"needed 11":     func(a *classroom.MarkedAnswer) { a.Needed = 11 },
		"negative base": func(a *classroom.MarkedAnswer) { a.Base = -1 },
		"long run":      func(a *classroom.MarkedAnswer) { a.Run = make([]byte, 17) },
	} {
		a := good
		change(&a)
		if _, err := classroom.RecordAttempt(t.Context(), z.devices[0], a); !errors.Is(err, classroom.ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	span := classroom.WatchedSpan{Learner: pupil, Video: "v", To: time.Second, Duration: time.Minute}
	for name, change := range map[string]func(*classroom.WatchedSpan){
		"nobody":       func(s *classroom.WatchedSpan) { s.Learner = identity.UserID{} },
		"no video":     func(s *classroom.WatchedSpan) { s.Video = "" },
		"no duration":  func(s *classroom.WatchedSpan) { s.Duration = 0 },
		"backwards":    func(s *classroom.WatchedSpan) { s.From = 2 * time.Second },
		"before 0":     func(s *classroom.WatchedSpan) { s.From = -time.Second },
		"beyond end":   func(s *classroom.WatchedSpan) { s.From, s.To = time.Hour, 2*time.Hour },
		"two days":     func(s *classroom.WatchedSpan) { s.Duration = 48 * time.Hour },
		"no such tag":  func(s *classroom.WatchedSpan) { s.Language = "\xff" },
		"minus points": func(s *classroom.WatchedSpan) { s.Worth = -1 },
	} {
		s := span
		change(&s)
		if _, err := classroom.RecordViewing(t.Context(), z.devices[0], s); !errors.Is(err, classroom.ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if rows := z.devices[0].State().Rows; len(rows) > 0 {
		t.Errorf("refused input left %d logs", len(rows))
	}
}

// TestTimeIsBounded: a page left open is not work, and no clock makes it so.
func TestTimeIsBounded(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	for _, taken := range []time.Duration{-time.Hour, 1 << 62} {
		_, err := classroom.RecordAttempt(t.Context(), z.devices[0], classroom.MarkedAnswer{
			Learner: pupil, Exercise: "e", Item: "i", Needed: 8, Base: 10, Taken: taken,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := z.progress(0, pupil).Totals.ActiveMS; got != uint64(classroom.MaxActive.Milliseconds()) {
		t.Errorf("%d ms active", got)
	}
}

// TestNothingIsLostAndNothingFalls lets three devices record and exchange in
// any order, with and without the lane detail: what a device shows never
// falls, and in the end all show the same, and all of it.
func TestNothingIsLostAndNothingFalls(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		z := newZone(t, roster.RolePlain, roster.RolePlain, roster.RolePlain)
		n := len(z.devices)
		shown := make([]classroom.Totals, n)
		answers, spans := 0, uint64(0)
		look := func(device int) {
			p := z.progress(device, pupil)
			now, old := p.Totals, shown[device]
			if now.Points < old.Points || now.Attempts < old.Attempts || now.Right < old.Right || now.ActiveMS < old.ActiveMS ||
				now.ExercisesComplete < old.ExercisesComplete || now.VideosComplete < old.VideosComplete {
				rt.Fatalf("device %d showed %+v, now %+v", device, old, now)
			}
			sum := int64(0)
			for _, e := range p.Exercises {
				sum += int64(e.Points)
			}
			for _, v := range p.Videos {
				sum += int64(v.Points)
			}
			if sum != now.Points {
				rt.Fatalf("contents give %d points, the total is %d", sum, now.Points)
			}
			shown[device] = now
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			device := rapid.IntRange(0, n-1).Draw(rt, "device")
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0, 1:
				content := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "exercise")
				s := z.answer(device, pupil, content, rapid.IntRange(0, 4).Draw(rt, "right") > 0)
				answers++
				p := z.progress(device, pupil)
				i := slices.IndexFunc(p.Exercises, func(e classroom.ExerciseSummary) bool { return e.ID == content })
				if d := cmp.Diff(s.Summary(content), p.Exercises[i]); d != "" {
					rt.Fatalf("the answer's result is not what progress shows: %s", d)
				}
			case 2:
				from := rapid.IntRange(0, 99).Draw(rt, "from")
				to := rapid.IntRange(from+1, 100).Draw(rt, "to")
				s := z.watch(device, pupil, "film", from, to)
				spans += uint64(to - from)
				if d := cmp.Diff(s.Summary("film"), z.progress(device, pupil).Videos[0]); d != "" {
					rt.Fatalf("the span's result is not what progress shows: %s", d)
				}
			case 3:
				z.pull(device, rapid.IntRange(0, n-1).Draw(rt, "from device"))
			case 4:
				z.pull(device, rapid.IntRange(0, n-1).Draw(rt, "from device"), identity.LaneProgress)
			}
			look(device)
		}
		for range 2 {
			for to := range n {
				for from := range n {
					z.pull(to, from, identity.LaneZone, identity.LaneProgress)
				}
				look(to)
			}
		}
		for device := range n {
			if d := cmp.Diff(z.progress(0, pupil), z.progress(device, pupil)); d != "" {
				rt.Fatalf("devices disagree: %s", d)
			}
			if got := shown[device]; got.Attempts != uint64(answers) || got.ActiveMS != uint64(answers)*5000+spans*1000 {
				rt.Fatalf("%d answers and %d s became %+v", answers, spans, got)
			}
		}
	})
}

func TestAttemptsNeedTheLaneDetail(t *testing.T) {
	z := newZone(t, roster.RoleClassroom, roster.RoleClassroom)
	for i := range 3 {
		z.answer(0, pupil, "ex", i%2 == 0)
		z.answer(0, pupil, "other", true)
	}
	attempts := func(device int) []classroom.AttemptRow {
		return read(z, device, func(v *records.View) ([]classroom.AttemptRow, error) { return classroom.Attempts(v, pupil, "ex") })
	}
	z.pull(1, 0, identity.LaneZone, identity.LaneProgress)
	if got := attempts(1); len(got) != 0 {
		t.Errorf("%d attempts without the lane detail", len(got))
	}
	if d := cmp.Diff(z.progress(0, pupil), z.progress(1, pupil)); d != "" {
		t.Errorf("progress without the lane detail: %s", d)
	}
	z.pull(1, 0)
	got := attempts(1)
	if len(got) != 3 || !got[0].Correct || got[1].Correct || got[0].Answer != "3/4" || got[0].At != z.clock.UnixMilli() {
		t.Errorf("attempts %+v", got)
	}
}

// TestSaltOfAttempts: what a learner worded is salted, a number is not.
func TestSaltOfAttempts(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	for i, c := range []struct {
		answer string
		chosen bool
		salted bool
	}{
		{"3/4", false, false}, {" −1 200,5 ", false, false}, {"٠٫٥", false, false}, {"", false, false},
		{"Ada", false, true}, {"Ada", true, false}, {"3 apples", false, true},
	} {
		exercise := fmt.Sprint("ex", i)
		_, err := classroom.RecordAttempt(t.Context(), z.devices[0], classroom.MarkedAnswer{
			Learner: pupil, Exercise: exercise, Item: "i", Answer: c.answer, Chosen: c.chosen, Needed: 8, Base: 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		got := read(z, 0, func(v *records.View) ([]classroom.AttemptRow, error) { return classroom.Attempts(v, pupil, exercise) })
		if (got[0].Salt != classroom.Salt{}) != c.salted {
			t.Errorf("answer %q, chosen %v: salted %v", c.answer, c.chosen, !c.salted)
		}
	}
}

func TestAttemptsAreSmall(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	z.answer(0, pupil, "fractions-add", true)
	size := 0
	err := z.devices[0].Read(t.Context(), func(v *records.View) error {
		return v.Events(pupil, identity.LaneDetail, func(row records.EventRow) error { size = len(row.Body); return nil })
	})
	if err != nil || size > 45 {
		t.Errorf("the body of an attempt has %d bytes (%v)", size, err)
	}
}
