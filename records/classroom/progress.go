package classroom

import (
	"fmt"
	"math"
	"slices"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Totals is what a learner has done in all. All of it only grows while data
// arrives, except Points where points are spent.
type Totals struct {
	Points            int64  `json:"points"`
	Attempts          uint64 `json:"attempts"`
	Right             uint64 `json:"right"`
	ExercisesComplete int    `json:"exercises_complete"`
	VideosComplete    int    `json:"videos_complete"`
	ActiveMS          uint64 `json:"active_ms"`
	LastActive        int64  `json:"last_active"` // milliseconds since 1970, 0 for never
}

// ExerciseSummary is a learner's progress in one exercise.
type ExerciseSummary struct {
	ID       string `json:"id"`
	Status   Status `json:"status"`
	Points   uint64 `json:"points"`
	Attempts uint64 `json:"attempts"`
	Right    uint64 `json:"right"`
	ActiveMS uint64 `json:"active_ms"`
	// Recent are the newest answers, right or not, oldest first, at most
	// Window of them.
	Recent      []bool `json:"recent"`
	CompletedAt int64  `json:"completed_at"` // milliseconds since 1970, 0 for not yet
}

// Summary gives the state as a summary.
func (s ExerciseState) Summary(exercise string) ExerciseSummary {
	sum := ExerciseSummary{
		ID: exercise, Status: s.Status(), Points: s.Points(),
		Attempts: s.Attempts.Total(), Right: s.Right.Total(), ActiveMS: s.ActiveMS.Total(),
		Recent: make([]bool, 0, len(s.Recent)),
	}
	for _, a := range slices.Backward(s.Recent) {
		sum.Recent = append(sum.Recent, a.Right)
	}
	if s.Completion != nil {
		sum.CompletedAt = s.Completion.At
	}
	return sum
}

// VideoSummary is a learner's progress in one video.
type VideoSummary struct {
	ID          string  `json:"id"`
	Status      Status  `json:"status"`
	Points      uint64  `json:"points"`
	Coverage    float64 `json:"coverage"` // 0 to 1
	PlayedS     uint64  `json:"played_s"`
	PositionS   uint32  `json:"position_s"` // where to go on
	Completions uint64  `json:"completions"`
	CompletedAt int64   `json:"completed_at"` // milliseconds since 1970, 0 for not yet
}

// Summary gives the state as a summary.
func (s VideoState) Summary(video string) VideoSummary {
	sum := VideoSummary{
		ID: video, Status: s.Status(), Points: s.Points(), Coverage: s.Coverage(),
		PlayedS: s.PlayedS.Total(), PositionS: s.Position.Value(), Completions: s.Completions.Total(),
	}
	if s.Completion != nil {
		sum.CompletedAt = s.Completion.At
	}
	return sum
}

// DaySummary is what a learner did on one day.
type DaySummary struct {
	Day      Day    `json:"day"`
	Answers  uint64 `json:"answers"`
	Viewings uint64 `json:"viewings"`
	ActiveMS uint64 `json:"active_ms"`
}

// LearnerProgress is a learner's progress, as the learner sees it.
type LearnerProgress struct {
	Learner   identity.UserID   `json:"learner"` // the person's smallest ID
	Totals    Totals            `json:"totals"`
	Exercises []ExerciseSummary `json:"exercises"` // by ID
	Videos    []VideoSummary    `json:"videos"`    // by ID
	Days      []DaySummary      `json:"days"`      // ascending
}

// Progress reads the progress of the person who has a user ID: for each of
// the person's IDs one range scan of each kind in the lane progress. Whether
// the replica has anything of the lane detail makes no difference.
func Progress(v *records.View, learner identity.UserID) (*LearnerProgress, error) {
	person, err := personOf(v, learner)
	if err != nil {
		return nil, fmt.Errorf("read progress: %w", err)
	}
	w, err := readWork(v, person)
	if err != nil {
		return nil, fmt.Errorf("read progress: %w", err)
	}
	p := &LearnerProgress{Learner: person[0], Totals: w.totals(), Exercises: []ExerciseSummary{}, Videos: []VideoSummary{}}
	for _, id := range sortedKeys(w.exercises) {
		p.Exercises = append(p.Exercises, w.exercises[id].Summary(id))
	}
	for _, id := range sortedKeys(w.videos) {
		p.Videos = append(p.Videos, w.videos[id].Summary(id))
	}
	if p.Days, err = readDays(v, person); err != nil {
		return nil, fmt.Errorf("read progress: %w", err)
	}
	return p, nil
}

// LearnerTotals reads what [Progress] has as Totals.
func LearnerTotals(v *records.View, learner identity.UserID) (Totals, error) {
	person, err := personOf(v, learner)
	if err != nil {
		return Totals{}, fmt.Errorf("read totals: %w", err)
	}
	w, err := readWork(v, person)
	if err != nil {
		return Totals{}, fmt.Errorf("read totals: %w", err)
	}
	return w.totals(), nil
}

// work is what a person has done, by content.
type work struct {
	exercises  map[string]*ExerciseState
	videos     map[string]*VideoState
	extra      int64 // points that no content gave
	lastActive int64
}

func readWork(v *records.View, person []identity.UserID) (*work, error) {
	w := &work{exercises: map[string]*ExerciseState{}, videos: map[string]*VideoState{}}
	created := v.Roster().Created
	for _, id := range person {
		err := scan(v, records.RegisterPrefix{Kind: KindExerciseProgress, Learner: &id},
			func(row *records.RegisterRow, ver Version[ExerciseProgress]) {
				entry(w.exercises, row.Key.Key).add(created, ver)
				w.lastActive = max(w.lastActive, row.Envelope.Wall)
			})
		if err != nil {
			return nil, err
		}
		err = scan(v, records.RegisterPrefix{Kind: KindVideoProgress, Learner: &id},
			func(row *records.RegisterRow, ver Version[VideoProgress]) {
				entry(w.videos, row.Key.Key).add(created, ver)
				w.lastActive = max(w.lastActive, row.Envelope.Wall)
			})
		if err != nil {
			return nil, err
		}
	}
	awards, err := readAwards(v, person)
	if err != nil {
		return nil, err
	}
	completions := map[string]uint64{}
	for k, amount := range awards {
		if k.Reason == ReasonCompletion {
			completions[k.Item] = max(completions[k.Item], uint64(max(amount, 0)))
		} else {
			w.extra = addPoints(w.extra, amount)
		}
	}
	for item, points := range completions {
		if s := w.exercises[item]; s != nil {
			*s = s.WithAward(points)
		} else if s := w.videos[item]; s != nil {
			*s = s.WithAward(points)
		} else { // the register has not arrived yet
			w.extra = addPoints(w.extra, asPoints(points))
		}
	}
	return w, nil
}

// entry returns the value of a key, which it makes if it is not there.
func entry[S any](m map[string]*S, key string) *S {
	s := m[key]
	if s == nil {
		s = new(S)
		m[key] = s
	}
	return s
}

func sortedKeys[S any](m map[string]S) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// readAwards merges the awards of all of a person's IDs.
func readAwards(v *records.View, person []identity.UserID) (Awards, error) {
	awards := Awards{}
	for _, id := range person {
		err := v.Events(id, KindAward.Lane(), func(row records.EventRow) error {
			var a Award
			if row.Envelope.Kind == KindAward && decodes(row.Body, &a) {
				awards.add(&a)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return awards, nil
}

func (w *work) totals() Totals {
	t := Totals{Points: w.extra, LastActive: w.lastActive}
	for _, s := range w.exercises {
		t.Points = addPoints(t.Points, asPoints(s.Points()))
		t.Attempts = saturatingAdd(t.Attempts, s.Attempts.Total())
		t.Right = saturatingAdd(t.Right, s.Right.Total())
		t.ActiveMS = saturatingAdd(t.ActiveMS, s.ActiveMS.Total())
		if s.Complete() {
			t.ExercisesComplete++
		}
	}
	for _, s := range w.videos {
		t.Points = addPoints(t.Points, asPoints(s.Points()))
		t.ActiveMS = saturatingAdd(t.ActiveMS, min(s.PlayedS.Total(), math.MaxUint64/1000)*1000)
		if s.Complete() {
			t.VideosComplete++
		}
	}
	return t
}

func asPoints(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// addPoints adds without overflow.
func addPoints(a, b int64) int64 {
	switch {
	case b > 0 && a > math.MaxInt64-b:
		return math.MaxInt64
	case b < 0 && a < math.MinInt64-b:
		return math.MinInt64
	}
	return a + b
}

func readDays(v *records.View, person []identity.UserID) ([]DaySummary, error) {
	states := map[Day]map[Activity]*DayState{}
	for _, id := range person {
		err := scan(v, records.RegisterPrefix{Kind: KindActivityDay, Learner: &id},
			func(row *records.RegisterRow, ver Version[ActivityDay]) {
				day, activity, ok := dayOfKey(row.Key.Key)
				if !ok {
					return
				}
				if states[day] == nil {
					states[day] = map[Activity]*DayState{}
				}
				if states[day][activity] == nil {
					states[day][activity] = new(DayState)
				}
				states[day][activity].add(ver)
			})
		if err != nil {
			return nil, err
		}
	}
	days := make([]DaySummary, 0, len(states))
	for day, activities := range states {
		d := DaySummary{Day: day}
		for activity, s := range activities {
			d.ActiveMS = saturatingAdd(d.ActiveMS, s.ActiveMS.Total())
			switch activity {
			case ActivityExercise:
				d.Answers = s.Count.Total()
			case ActivityVideo:
				d.Viewings = s.Count.Total()
			}
		}
		days = append(days, d)
	}
	slices.SortFunc(days, func(a, b DaySummary) int { return int(a.Day) - int(b.Day) })
	return days, nil
}
