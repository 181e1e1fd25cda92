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

// MaxVideo is the length of the longest video.
const MaxVideo = 24 * time.Hour

// completeCoverage is the part of a video that must be passed to complete it.
const completeCoverage = 0.95

// WatchedSpan is a stretch of a video that a learner has watched.
type WatchedSpan struct {
	Learner  identity.UserID
	Video    string
	From, To time.Duration // from the beginning; rounded to seconds
	Language string

	// From the content.
	Duration time.Duration // at most MaxVideo
	Worth    int           // points for all of it

	// Optional.
	SpeedPercent uint32
	Assignment   AssignmentID
	Day          Day // where the learner is; 0 for today in UTC
}

func (s *WatchedSpan) check() error {
	switch {
	case s.Learner.IsZero():
		return fmt.Errorf("no learner is named: %w", ErrInput)
	case badID(s.Video, maxContentIDBytes):
		return fmt.Errorf("video is missing or too long: %w", ErrInput)
	case s.Duration < time.Second || s.Duration > MaxVideo || s.Worth < 0 || s.Worth > math.MaxInt32:
		return fmt.Errorf("video %s of %v: %w", s.Video, s.Duration, ErrInput)
	case s.From < 0 || s.To < s.From || s.From > s.Duration:
		return fmt.Errorf("from %v to %v of a video of %v: %w", s.From, s.To, s.Duration, ErrInput)
	case len(s.Language) > MaxLanguageBytes || !utf8.ValidString(s.Language):
		return fmt.Errorf("language: %w", ErrInput)
	}
	return nil
}

// RecordViewing records that a learner has watched a part of a video and
// returns the progress in the video that follows from it and from all that
// this device has of others. When it returns, everything is on disk.
//
// It writes the [Viewing], this log's [VideoProgress] and [ActivityDay], and,
// with the span that completes the video, the latch and an [Award]. A span
// that rounds to no second changes the position only.
func RecordViewing(ctx context.Context, r *records.Replica, span WatchedSpan) (s VideoState, err error) {
	if err := span.check(); err != nil {
		return s, fmt.Errorf("record viewing: %w", err)
	}
	err = write(ctx, r, identity.UserID{}, "record viewing", func(w *writer) error {
		s, err = w.viewing(&span)
		return err
	})
	return s, err
}

func (w *writer) viewing(span *WatchedSpan) (s VideoState, err error) {
	created, now := w.Roster().Created, w.Now()
	person, err := personOf(&w.View, span.Learner)
	if err != nil {
		return s, err
	}
	key := records.RegisterKey{Kind: KindVideoProgress, Learner: span.Learner, Key: span.Video}
	body, err := progressOf(w, person, key, s.add)
	if err != nil {
		return s, err
	}

	duration := seconds(span.Duration)
	watched := Span{min(seconds(span.From), duration), min(seconds(span.To), duration)}
	played := uint64(watched.To - watched.From)
	if played > 0 {
		body.SpanSteps = unpack(body.SpanSteps).Merge(Spans{watched}).pack()
		body.PlayedS += played
	}
	body.Position.set(w.Clock(), watched.To)
	if span.Language != s.Language.Value() {
		body.Language.set(w.Clock(), span.Language)
	}
	body.DurationS = least(body.DurationS, duration)
	body.Worth = max(body.Worth, uint32(span.Worth))

	wasComplete := s.Complete()
	source := w.source(KindVideoProgress.Lane(), span.Learner)
	s.add(created, Version[VideoProgress]{Source: source, Body: body})
	if s.Coverage() > completeCoverage {
		if !wasComplete {
			body.Completion = &Completion{At: now}
		}
		if times := float64(s.PlayedS.Total()) / float64(duration); times > float64(s.Completions.Total())+completeCoverage {
			body.Completions++
			body.LastCompletion = max(body.LastCompletion, now)
		}
		s.add(created, Version[VideoProgress]{Source: source, Body: body})
	}

	if played > 0 {
		event := Viewing{
			Video: span.Video, FromS: watched.From, ToS: watched.To,
			SpeedPercent: span.SpeedPercent, Language: span.Language,
		}
		if span.Assignment != (AssignmentID{}) {
			event.Context = span.Assignment[:]
		}
		if err := w.event(KindViewing, span.Learner, &event); err != nil {
			return s, err
		}
		if err := w.active(span.Learner, span.Day, ActivityVideo, played*1000); err != nil {
			return s, err
		}
	}
	if err := w.put(key, &body); err != nil {
		return s, err
	}
	if s.Complete() {
		given, err := w.completed(person, span.Learner, span.Video, s.Points(), !wasComplete)
		if err != nil {
			return s, err
		}
		s = s.WithAward(given)
	}
	return s, nil
}

// seconds rounds to whole seconds.
func seconds(d time.Duration) uint32 {
	return uint32(min(d, MaxVideo).Round(time.Second) / time.Second)
}
