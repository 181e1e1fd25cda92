package classroom

import (
	"context"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// MaxActive is the longest time that one answer counts as activity: a page
// left open over the holidays is not work.
const MaxActive = 10 * time.Minute

// maxTaken bounds the time that is recorded for one answer.
const maxTaken = 24 * time.Hour

// MarkedAnswer is a learner's first answer to a question, marked.
type MarkedAnswer struct {
	Learner  identity.UserID
	Exercise string
	Item     string
	Seed     uint64
	Answer   string // at most 256 bytes
	Chosen   bool   // Answer is the ID of an option, nothing that the learner worded
	Correct  bool
	Hinted   bool // a hint was asked for first: counts as wrong
	Taken    time.Duration
	Language string

	// From the content: how many of the newest [Window] answers must be right,
	// from 1 to Window, and the base of the points: each right answer gives
	// Base × 10 / Needed, rounded, and Needed of them give all there is.
	Needed int
	Base   int

	// Optional.
	Assignment AssignmentID
	Run        []byte // of a quiz, at most 16 bytes
	Steps      []Step
	Day        Day // where the learner is; 0 for today in UTC
}

func (a *MarkedAnswer) check() error {
	switch {
	case a.Learner.IsZero():
		return fmt.Errorf("no learner is named: %w", ErrInput)
	case badID(a.Exercise, maxContentIDBytes) || badID(a.Item, maxItemBytes):
		return fmt.Errorf("exercise or item is missing or too long: %w", ErrInput)
	case len(a.Answer) > maxAnswerBytes || !utf8.ValidString(a.Answer):
		return fmt.Errorf("the answer is longer than %d bytes or no text: %w", maxAnswerBytes, ErrInput)
	case a.Needed < 1 || a.Needed > Window || a.Base < 0 || a.Base > math.MaxInt32:
		return fmt.Errorf("exercise %s asks for %d right answers of %d: %w", a.Exercise, a.Needed, Window, ErrInput)
	}
	return nil
}

func badID(id string, maxBytes int) bool {
	return id == "" || len(id) > maxBytes || !utf8.ValidString(id)
}

// worth returns the points for a right answer.
func (a *MarkedAnswer) worth() uint64 {
	return (uint64(a.Base)*20 + uint64(a.Needed)) / (2 * uint64(a.Needed))
}

// RecordAttempt records a learner's first answer and returns the progress in
// the exercise that follows from it and from all that this device has of
// others. When it returns, everything is on disk.
//
// Of one exercise it writes the [Attempt], this log's [ExerciseProgress] and
// [ActivityDay], and, with the answer that completes it, the latch and an
// [Award] of all its points. After that practising goes on without points.
func RecordAttempt(ctx context.Context, r *records.Replica, a MarkedAnswer) (s ExerciseState, err error) {
	if err := a.check(); err != nil {
		return s, fmt.Errorf("record attempt: %w", err)
	}
	err = write(ctx, r, identity.UserID{}, "record attempt", func(w *writer) error {
		s, err = w.attempt(&a)
		return err
	})
	return s, err
}

func (w *writer) attempt(a *MarkedAnswer) (s ExerciseState, err error) {
	created, now := w.Roster().Created, w.Now()
	person, err := personOf(&w.View, a.Learner)
	if err != nil {
		return s, err
	}
	key := records.RegisterKey{Kind: KindExerciseProgress, Learner: a.Learner, Key: a.Exercise}
	body, err := progressOf(w, person, key, s.add)
	if err != nil {
		return s, err
	}
	event := Attempt{
		Exercise: a.Exercise, Item: a.Item, Seed: a.Seed, Answer: a.Answer, Correct: a.Correct, Hinted: a.Hinted,
		TakenMS: milliseconds(a.Taken, maxTaken), Language: a.Language, Run: a.Run, Steps: a.Steps,
	}
	if a.Assignment != (AssignmentID{}) {
		event.Context = a.Assignment[:]
	}
	if !a.Chosen && worded(a.Answer) || len(a.Steps) > 0 {
		if err := w.Random(event.Salt[:]); err != nil {
			return s, fmt.Errorf("draw salt: %w", err)
		}
	}

	active := milliseconds(a.Taken, MaxActive)
	body.Attempts++
	body.ActiveMS += active
	body.push(w.Clock(), event.Right())
	if event.Right() {
		body.Right++
	}
	wasComplete := s.Complete()
	if !wasComplete {
		body.Limit = max(body.Limit, a.worth()*uint64(a.Needed))
		if event.Right() {
			body.Points = min(body.Points+a.worth(), body.Limit)
		}
	}
	source := w.source(KindExerciseProgress.Lane(), a.Learner)
	s.add(created, Version[ExerciseProgress]{Source: source, Body: body})
	if !wasComplete && s.Recent.Right() >= a.Needed {
		body.Completion = &Completion{At: now, Attempts: s.Attempts.Total()}
		s.add(created, Version[ExerciseProgress]{Source: source, Body: body})
	}

	if err := w.event(KindAttempt, a.Learner, &event); err != nil {
		return s, err
	}
	if err := w.put(key, &body); err != nil {
		return s, err
	}
	if err := w.active(a.Learner, a.Day, ActivityExercise, active); err != nil {
		return s, err
	}
	if s.Complete() {
		given, err := w.completed(person, a.Learner, a.Exercise, s.Points(), !wasComplete)
		if err != nil {
			return s, err
		}
		s = s.WithAward(given)
	}
	return s, nil
}

// completed returns what awards gave for completing a content, after having
// written one if the content was completed just now.
func (w *writer) completed(person []identity.UserID, learner identity.UserID, item string, points uint64, now bool) (uint64, error) {
	if now {
		award := Award{Item: item, Reason: ReasonCompletion, Amount: int64(min(points, math.MaxInt64)), Rule: awardRule}
		if err := w.event(KindAward, learner, &award); err != nil {
			return 0, err
		}
	}
	awards, err := readAwards(&w.View, person)
	if err != nil {
		return 0, err
	}
	for k, amount := range awards {
		if k.Reason == ReasonCompletion && k.Item == item && amount > 0 {
			points = max(points, uint64(amount))
		}
	}
	return points, nil
}

// active adds to the day's activity.
func (w *writer) active(learner identity.UserID, day Day, activity Activity, ms uint64) error {
	if day == 0 {
		day = DayOf(time.UnixMilli(w.Now()).UTC())
	}
	key := records.RegisterKey{Kind: KindActivityDay, Learner: learner, Key: dayKey(day, activity)}
	body, err := ownCount[ActivityDay](w, key)
	if err != nil {
		return err
	}
	body.Count++
	body.ActiveMS += ms
	body.LastActive = max(body.LastActive, w.Now())
	return w.put(key, &body)
}

// milliseconds returns d within 0 and most.
func milliseconds(d, most time.Duration) uint64 {
	return uint64(min(max(d, 0), most).Milliseconds())
}
