package classroom

import (
	"github.com/classmesh/classmesh/records/message"
)

// VideoProgress is the register of what a learner watched of a video, as far
// as it was watched in this log.
type VideoProgress struct {
	// SpanSteps are the spans watched: alternately the gap before a span and
	// its length, in seconds.
	SpanSteps      []uint64        `json:"span_steps"`
	PlayedS        uint64          `json:"played_s"`    // seconds played, repetitions included
	Completions    uint64          `json:"completions"` // how often it was watched through
	Position       Setting[uint32] `json:"position"`    // where to go on, in seconds
	Language       Setting[string] `json:"language"`
	Completion     *Completion     `json:"completion"`
	LastCompletion int64           `json:"last_completion"` // milliseconds since 1970
	DurationS      uint32          `json:"duration_s"`      // of the video
	Worth          uint32          `json:"worth"`           // points for all of it
	Former         []Former        `json:"former,omitempty"`
	Unknown        []byte          `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *VideoProgress) Fields(v *message.Visitor) {
	v.Packed(1, &b.SpanSteps, 2*maxSpans)
	v.Uint64(2, &b.PlayedS)
	v.Uint64(3, &b.Completions)
	visitNumber(v, 4, &b.Position)
	visitText(v, 5, &b.Language, MaxLanguageBytes)
	message.Optional(v, 6, &b.Completion)
	v.Int64(7, &b.LastCompletion)
	v.Uint32(8, &b.DurationS)
	v.Uint32(9, &b.Worth)
	message.List(v, 15, &b.Former, maxFormers)
	v.Unknown(&b.Unknown)
}

func (b *VideoProgress) formers() *[]Former { return &b.Former }

// VideoState is a learner's progress in a video as all logs together say.
type VideoState struct {
	Watched              Spans
	PlayedS, Completions Sum
	Position             Latest[uint32]
	Language             Latest[string]
	Completion           *First // nil until complete
	LastCompletion       int64  // milliseconds since 1970, or 0
	durationS            uint32 // the least that any log was told; 0 if none was
	worth                uint32
	awarded              uint64
}

// MergeVideo merges versions of one learner's register for one video. created
// is when the zone was, in milliseconds since 1970.
func MergeVideo(created int64, versions ...Version[VideoProgress]) (s VideoState) {
	for _, v := range versions {
		s.add(created, v)
	}
	return s
}

func (s *VideoState) add(created int64, v Version[VideoProgress]) {
	expand(v, func(v Version[VideoProgress]) {
		b := &v.Body
		s.Watched = s.Watched.Merge(unpack(b.SpanSteps))
		s.PlayedS = s.PlayedS.with(v.Source, b.PlayedS)
		s.Completions = s.Completions.with(v.Source, b.Completions)
		s.Position = s.Position.with(Written[uint32]{b.Position, v.Source})
		s.Language = s.Language.with(Written[string]{b.Language, v.Source})
		s.Completion = s.Completion.Merge(b.Completion.first(v.Source, created))
		s.LastCompletion = max(s.LastCompletion, b.LastCompletion)
		s.durationS = least(s.durationS, b.DurationS)
		s.worth = max(s.worth, b.Worth)
	})
}

// Merge returns what both know together.
func (s VideoState) Merge(t VideoState) VideoState {
	return VideoState{
		Watched: s.Watched.Merge(t.Watched),
		PlayedS: s.PlayedS.Merge(t.PlayedS), Completions: s.Completions.Merge(t.Completions),
		Position: s.Position.Merge(t.Position), Language: s.Language.Merge(t.Language),
		Completion: s.Completion.Merge(t.Completion), LastCompletion: max(s.LastCompletion, t.LastCompletion),
		durationS: least(s.durationS, t.durationS), worth: max(s.worth, t.worth), awarded: max(s.awarded, t.awarded),
	}
}

// least returns the smaller duration that is known.
func least(a, b uint32) uint32 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// WithAward returns the state that also knows of what an [Award] for
// completing the video gave.
func (s VideoState) WithAward(points uint64) VideoState {
	s.awarded = max(s.awarded, points)
	return s
}

// Coverage returns which part of the video was watched, from 0 to 1.
func (s VideoState) Coverage() float64 {
	if s.durationS == 0 {
		return 0
	}
	return min(1, float64(s.Watched.Seconds())/float64(s.durationS))
}

// Points returns the part of the video's points that was earned, rounded
// down. It never falls while data arrives: seconds and worth only grow, and
// of different durations, which a new release of a pack may bring, the least
// counts.
func (s VideoState) Points() (points uint64) {
	if s.durationS > 0 {
		seconds := min(s.Watched.Seconds(), uint64(s.durationS))
		points = seconds * uint64(s.worth) / uint64(s.durationS)
	}
	return max(points, s.awarded)
}

// Complete reports whether the video was completed.
func (s VideoState) Complete() bool { return s.Completion != nil }

// Status returns in which of the states of a class table it is.
func (s VideoState) Status() Status {
	switch {
	case s.Complete():
		return StatusComplete
	case s.PlayedS.Total() > 0:
		return StatusInProgress
	}
	return StatusNone
}
