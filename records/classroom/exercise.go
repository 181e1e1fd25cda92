package classroom

import (
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/message"
)

// ExerciseProgress is the register of what a learner did in an exercise, as
// far as it was done in this log.
type ExerciseProgress struct {
	Attempts uint64 `json:"attempts"`  // first answers
	Right    uint64 `json:"right"`     // correct without a hint
	ActiveMS uint64 `json:"active_ms"` // time taken
	// Points are what the right answers in this log were worth, and Limit is
	// what the exercise can be worth at most.
	Points uint64 `json:"points"`
	Limit  uint64 `json:"limit"`
	// ClockSteps are the clocks of the newest answers, at most Window of
	// them: the first as it is, each of the others as the difference from the
	// one before. Bit i of RightBits is set if answer i was right.
	ClockSteps []uint64    `json:"clock_steps"`
	RightBits  uint32      `json:"right_bits"`
	Completion *Completion `json:"completion"`
	Former     []Former    `json:"former,omitempty"`
	Unknown    []byte      `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *ExerciseProgress) Fields(v *message.Visitor) {
	v.Uint64(1, &b.Attempts)
	v.Uint64(2, &b.Right)
	v.Uint64(3, &b.ActiveMS)
	v.Uint64(4, &b.Points)
	v.Uint64(5, &b.Limit)
	v.Packed(6, &b.ClockSteps, Window)
	v.Uint32(7, &b.RightBits)
	message.Optional(v, 8, &b.Completion)
	message.List(v, 15, &b.Former, maxFormers)
	v.Unknown(&b.Unknown)
}

func (b *ExerciseProgress) formers() *[]Former { return &b.Former }

// recent returns the newest answers of this log, newest first.
func (b *ExerciseProgress) recent(source Source) Recent {
	n := len(b.ClockSteps)
	r := make(Recent, n)
	clock := uint64(0)
	for i, step := range b.ClockSteps {
		clock += step
		r[n-1-i] = Answer{
			Clock: records.Clock(clock), Source: source,
			Number: b.Attempts - uint64(n-1-i), Right: b.RightBits>>i&1 == 1,
		}
	}
	return r
}

// push adds an answer to the newest ones.
func (b *ExerciseProgress) push(clock records.Clock, right bool) {
	newest := uint64(0)
	for _, step := range b.ClockSteps {
		newest += step
	}
	if n := len(b.ClockSteps); n == Window {
		steps := make([]uint64, 0, Window)
		b.ClockSteps = append(append(steps, b.ClockSteps[0]+b.ClockSteps[1]), b.ClockSteps[2:]...)
		b.RightBits >>= 1
	}
	if right {
		b.RightBits |= 1 << len(b.ClockSteps)
	}
	b.ClockSteps = append(b.ClockSteps, uint64(clock)-newest)
}

// ExerciseState is a learner's progress in an exercise as all logs together
// say.
type ExerciseState struct {
	Attempts, Right, ActiveMS Sum
	Recent                    Recent
	Completion                *First // nil until complete
	earned                    Sum
	limit                     uint64
	awarded                   uint64
}

// MergeExercise merges versions of one learner's register for one exercise.
// created is when the zone was, in milliseconds since 1970.
func MergeExercise(created int64, versions ...Version[ExerciseProgress]) (s ExerciseState) {
	for _, v := range versions {
		s.add(created, v)
	}
	return s
}

func (s *ExerciseState) add(created int64, v Version[ExerciseProgress]) {
	expand(v, func(v Version[ExerciseProgress]) {
		b := &v.Body
		s.Attempts = s.Attempts.with(v.Source, b.Attempts)
		s.Right = s.Right.with(v.Source, b.Right)
		s.ActiveMS = s.ActiveMS.with(v.Source, b.ActiveMS)
		s.earned = s.earned.with(v.Source, b.Points)
		s.limit = max(s.limit, b.Limit)
		s.Recent = s.Recent.Merge(b.recent(v.Source))
		s.Completion = s.Completion.Merge(b.Completion.first(v.Source, created))
	})
}

// Merge returns what both know together.
func (s ExerciseState) Merge(t ExerciseState) ExerciseState {
	return ExerciseState{
		Attempts: s.Attempts.Merge(t.Attempts), Right: s.Right.Merge(t.Right), ActiveMS: s.ActiveMS.Merge(t.ActiveMS),
		Recent: s.Recent.Merge(t.Recent), Completion: s.Completion.Merge(t.Completion),
		earned: s.earned.Merge(t.earned), limit: max(s.limit, t.limit), awarded: max(s.awarded, t.awarded),
	}
}

// WithAward returns the state that also knows of what an [Award] for
// completing the exercise gave.
func (s ExerciseState) WithAward(points uint64) ExerciseState {
	s.awarded = max(s.awarded, points)
	return s
}

// Points returns what the learner has earned: what the right answers in each
// log were worth, added, and limited to what the exercise is worth. All that
// it is made of only grows, so it never falls while data arrives, and doing
// the same exercise on two devices gives no more than doing it on one.
func (s ExerciseState) Points() uint64 {
	return max(min(s.earned.Total(), s.limit), s.awarded)
}

// Complete reports whether the exercise was completed.
func (s ExerciseState) Complete() bool { return s.Completion != nil }

// StrugglingAttempts is how many attempts without completion are struggling,
// if exceeded.
const StrugglingAttempts = 20

// Status returns in which of the four states of a class table it is.
func (s ExerciseState) Status() Status {
	attempts := s.Attempts.Total()
	switch {
	case s.Complete():
		return StatusComplete
	case attempts > StrugglingAttempts:
		return StatusStruggling
	case attempts > 0:
		return StatusInProgress
	}
	return StatusNone
}

// Status is how far a learner is with a content.
type Status uint8

// The states of a cell in a class table.
const (
	StatusNone Status = iota
	StatusInProgress
	StatusStruggling
	StatusComplete
)

// String returns "none", "in_progress", "struggling" or "complete".
func (s Status) String() string {
	switch s {
	case StatusNone:
		return "none"
	case StatusInProgress:
		return "in_progress"
	case StatusStruggling:
		return "struggling"
	case StatusComplete:
		return "complete"
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// MarshalText is String.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
