package web

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/web/content"
)

// answerAsk is an answer to a question, as pages and programs send it.
type answerAsk struct {
	ID       string `json:"id"`
	Exercise string `json:"exercise"`
	Item     string `json:"item"`
	Seed     uint64 `json:"seed"`
	Answer   string `json:"answer"`
	Hinted   bool   `json:"hinted"`
	MSTaken  uint64 `json:"ms_taken"`
}

// answerResult is what becomes of it.
type answerResult struct {
	Correct   bool             `json:"correct"`
	Counts    bool             `json:"counts"`    // correct, without a hint
	Completed bool             `json:"completed"` // it completed the exercise
	Repeated  bool             `json:"repeated"`  // it had been recorded before
	Progress  exerciseProgress `json:"progress"`
}

// exerciseProgress is a learner's progress in an exercise.
type exerciseProgress struct {
	classroom.ExerciseSummary
	RecentRight int `json:"recent_right"` // right ones of the newest answers
	Needed      int `json:"needed"`       // as many complete the exercise
}

func progressIn(e *content.Exercise, sum classroom.ExerciseSummary) exerciseProgress {
	p := exerciseProgress{ExerciseSummary: sum, Needed: e.Needed}
	for _, right := range sum.Recent {
		if right {
			p.RecentRight++
		}
	}
	return p
}

// Bounds of what is sent.
const (
	maxIDBytes = 128
	maxSeed    = 1 << 53 // what a number in JSON holds exactly
)

func unknownContent(kind string) *problem {
	return &problem{Status: http.StatusNotFound, Code: "unknown_" + kind}
}

// answer marks an answer and records it, once.
func (s *Server) answer(v *visit, a answerAsk) (answerResult, error) {
	ctx, p, lang := v.Context(), v.person, v.lang.Tag
	e := s.cfg.Library.Exercise(a.Exercise)
	switch {
	case e == nil:
		return answerResult{}, unknownContent("exercise")
	case a.Seed >= maxSeed:
		return answerResult{}, badRequest("seed is 2^53 or more")
	case len(a.ID) > maxIDBytes:
		return answerResult{}, badRequest("id is longer than %d bytes", maxIDBytes)
	}
	question, err := e.Question(a.Item, a.Seed, lang)
	if err != nil {
		return answerResult{}, err
	}
	marking, err := e.Mark(a.Item, a.Seed, a.Answer)
	if err != nil {
		return answerResult{}, err
	}
	ask := a
	ask.MSTaken = 0 // of a form that is sent twice it differs
	result, repeated, err := s.repeats.once(ctx, v.request(a.ID), ask, func() (any, error) {
		former, err := s.answeredBefore(ctx, p, e, a)
		if err != nil || former != nil {
			return former, err
		}
		s.noteFresh(p.ID, a, +1)
		// From here on the answer is recorded even if who asks has gone: what
		// is sent again finds it.
		state, err := classroom.RecordAttempt(context.WithoutCancel(ctx), s.cfg.Replica, classroom.MarkedAnswer{
			Learner: v.account, Exercise: e.ID, Item: a.Item, Seed: a.Seed,
			Answer: a.Answer, Chosen: question.Kind == content.KindChoice,
			Correct: marking.Correct, Hinted: a.Hinted,
			Taken: time.Duration(min(a.MSTaken, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond, Language: lang,
			Needed: e.Needed, Base: e.Points, Day: classroom.DayOf(s.cfg.Now()),
		})
		if err != nil {
			s.noteFresh(p.ID, a, -1)
			return nil, err
		}
		return &answerResult{
			Correct: marking.Correct, Counts: marking.Correct && !a.Hinted,
			Completed: state.Complete() && state.Completion.Attempts == state.Attempts.Total(),
			Progress:  progressIn(e, state.Summary(e.ID)),
		}, nil
	})
	if err != nil {
		return answerResult{}, err
	}
	r := *result.(*answerResult)
	r.Repeated = r.Repeated || repeated
	return r, nil
}

// repeatedAfterStart is how long after a start of the program an answer may be
// one that was recorded before the start, and whose reply was lost with it.
const repeatedAfterStart = 15 * time.Minute

// freshAnswers counts, as long as that takes, the equal answers that were
// recorded since the start. Times cannot tell: clocks may wake up in the past.
type freshAnswers struct {
	mu   sync.Mutex
	list map[freshAnswer]int
}

type freshAnswer struct {
	user identity.UserID
	answerAsk
}

func (s *Server) isFresh() bool { return time.Since(s.started) <= repeatedAfterStart }

// noteFresh adds n to the count of an answer, whatever its ID.
func (s *Server) noteFresh(user identity.UserID, a answerAsk, n int) {
	a.ID = ""
	s.fresh.mu.Lock()
	defer s.fresh.mu.Unlock()
	switch {
	case !s.isFresh():
		s.fresh.list = nil
		return
	case s.fresh.list == nil:
		s.fresh.list = map[freshAnswer]int{}
	}
	s.fresh.list[freshAnswer{user, a}] += n
}

// count returns how often an answer was recorded since the start.
func (f *freshAnswers) count(user identity.UserID, a answerAsk) int {
	a.ID = ""
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list[freshAnswer{user, a}]
}

// answeredBefore returns the result of an answer with an ID if the same was
// recorded before the program was started, or a nil any.
func (s *Server) answeredBefore(ctx context.Context, p *classroom.Person, e *content.Exercise, a answerAsk) (any, error) {
	if a.ID == "" || !s.isFresh() {
		return nil, nil
	}
	found, equal := (*answerResult)(nil), 0
	err := s.cfg.Replica.Read(ctx, func(v *records.View) error {
		attempts, err := classroom.Attempts(v, p.ID, a.Exercise)
		if err != nil {
			return err
		}
		for _, b := range attempts {
			if b.Item == a.Item && b.Seed == a.Seed && b.Answer == a.Answer && b.Hinted == a.Hinted &&
				b.TakenMS == a.MSTaken && b.Device == s.cfg.Replica.Device() {
				equal++
				found = &answerResult{Correct: b.Correct, Counts: b.Right(), Repeated: true}
			}
		}
		if equal <= s.fresh.count(p.ID, a) {
			found = nil
			return nil
		}
		progress, err := classroom.Progress(v, p.ID)
		if err != nil {
			return err
		}
		found.Progress = progressIn(e, summaryOf(progress, e.ID))
		return nil
	})
	if err != nil || found == nil {
		return nil, err
	}
	return found, nil
}

// viewingAsk is a stretch of a video that was watched.
type viewingAsk struct {
	ID    string   `json:"id"`
	Video string   `json:"video"`
	FromS *float64 `json:"from_s"`
	ToS   *float64 `json:"to_s"`
}

type viewingResult struct {
	Repeated bool          `json:"repeated"`
	Progress videoProgress `json:"progress"`
}

// videoProgress is a learner's progress in a video.
type videoProgress struct {
	classroom.VideoSummary
	DurationS int `json:"duration_s"`
}

// viewing records that something was watched, once.
func (s *Server) viewing(v *visit, a viewingAsk) (viewingResult, error) {
	video := s.cfg.Library.Video(a.Video)
	switch {
	case video == nil:
		return viewingResult{}, unknownContent("video")
	case a.FromS == nil || a.ToS == nil:
		return viewingResult{}, badRequest("from_s or to_s is missing")
	case !(*a.FromS >= 0 && *a.FromS <= *a.ToS && *a.FromS <= video.Duration.Seconds()):
		return viewingResult{}, badRequest("from_s to to_s is no part of a video of %d seconds", int(video.Duration.Seconds()))
	case len(a.ID) > maxIDBytes:
		return viewingResult{}, badRequest("id is longer than %d bytes", maxIDBytes)
	}
	span := [2]time.Duration{inVideo(video, *a.FromS), inVideo(video, *a.ToS)}
	result, repeated, err := s.repeats.once(v.Context(), v.request(a.ID), viewingKey{a.Video, span}, func() (any, error) {
		state, err := classroom.RecordViewing(context.WithoutCancel(v.Context()), s.cfg.Replica, classroom.WatchedSpan{
			Learner: v.account, Video: video.ID, From: span[0], To: span[1], Language: v.lang.Tag,
			Duration: video.Duration, Worth: video.Points, Day: classroom.DayOf(s.cfg.Now()),
		})
		if err != nil {
			return nil, err
		}
		return &viewingResult{Progress: videoProgress{state.Summary(video.ID), int(video.Duration.Seconds())}}, nil
	})
	if err != nil {
		return viewingResult{}, err
	}
	r := *result.(*viewingResult)
	r.Repeated = repeated
	return r, nil
}

// viewingKey tells whether a viewing that is sent again is the same.
type viewingKey struct {
	video string
	span  [2]time.Duration
}

// inVideo returns a position, at most the end.
func inVideo(v *content.Video, seconds float64) time.Duration {
	return time.Duration(min(seconds, v.Duration.Seconds()) * float64(time.Second))
}

// nextQuestion returns the question that a learner has to answer next: the
// same until it is answered, so that loading the page again gains nothing.
func nextQuestion(e *content.Exercise, user identity.UserID, attempts uint64, lang string) (content.Question, error) {
	h := sha256.Sum256(append(user[:], e.ID...))
	item, seed := e.Next(binary.BigEndian.Uint64(h[:]) + attempts)
	return e.Question(item, seed, lang)
}

// progressOf reads a person's progress.
func (s *Server) progressOf(ctx context.Context, user identity.UserID) (p *classroom.LearnerProgress, err error) {
	err = s.cfg.Replica.Read(ctx, func(v *records.View) (err error) {
		p, err = classroom.Progress(v, user)
		return err
	})
	return p, err
}

// summaryOf returns the progress in one exercise, also if there is none.
func summaryOf(p *classroom.LearnerProgress, exercise string) classroom.ExerciseSummary {
	for _, e := range p.Exercises {
		if e.ID == exercise {
			return e
		}
	}
	return classroom.ExerciseSummary{ID: exercise, Recent: []bool{}}
}

// videoSummaryOf returns the progress in one video, also if there is none.
func videoSummaryOf(p *classroom.LearnerProgress, video string) classroom.VideoSummary {
	for _, v := range p.Videos {
		if v.ID == video {
			return v
		}
	}
	return classroom.VideoSummary{ID: video}
}

// isUnreadable reports whether an answer was not of the kind asked for, so
// that it is to be asked again.
func isUnreadable(err error) bool {
	return errors.Is(err, content.ErrUnreadableAnswer) || errors.Is(err, content.ErrAnswerTooLong)
}
