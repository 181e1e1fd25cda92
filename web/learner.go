package web

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/web/content"
)

// card is a content as learners are offered it.
type card struct {
	ID, Kind, Title, Description, Href string
	Status                             classroom.Status
	Points                             uint64
	Worth                              int // points for all of it
	Done, Of                           int // how far: of an exercise right answers, of a video percent
	Minutes                            int // length of a video, rounded up
}

// topicView is a topic with all beneath it.
type topicView struct {
	ID, Title, Description string
	Topics                 []topicView
	Cards                  []card
}

// topicsPage is what the templates topics and topic show.
type topicsPage struct {
	Totals   classroom.Totals
	Continue *card // what to go on with, if anything
	Topics   []topicView
}

func (s *Server) home(w http.ResponseWriter, v *visit) error {
	to := "/topics"
	if v.isStaff() {
		to = "/classes"
	}
	http.Redirect(w, v.Request, to, http.StatusSeeOther)
	return nil
}

func newCard(c content.Content, p *classroom.LearnerProgress, lang string) card {
	k := card{ID: c.ID(), Kind: kindOf(c), Title: c.Title().In(lang)}
	if v := c.Video; v != nil {
		sum := videoSummaryOf(p, v.ID)
		k.Href, k.Description = "/videos/"+v.ID, v.Description.In(lang)
		k.Status, k.Points, k.Worth = sum.Status, sum.Points, v.Points
		k.Done, k.Of = int(sum.Coverage*100), 100
		k.Minutes = int((v.Duration.Seconds() + 59) / 60)
		return k
	}
	e := c.Exercise
	sum := progressIn(e, summaryOf(p, e.ID))
	k.Href, k.Description = "/exercises/"+e.ID, e.Description.In(lang)
	k.Status, k.Points, k.Worth = sum.Status, sum.Points, worthOf(e)
	k.Done, k.Of = min(sum.RecentRight, e.Needed), e.Needed
	if sum.Status == classroom.StatusComplete {
		k.Done = e.Needed
	}
	return k
}

// worthOf returns the points that completing an exercise gives: each of the
// right answers that it takes gives Points × 10 ÷ Needed, rounded.
func worthOf(e *content.Exercise) int {
	return (e.Points*20 + e.Needed) / (2 * e.Needed) * e.Needed
}

func newTopicView(t *content.Topic, p *classroom.LearnerProgress, lang string) topicView {
	tv := topicView{ID: t.ID, Title: t.Title.In(lang), Description: t.Description.In(lang)}
	for _, c := range t.Contents {
		tv.Cards = append(tv.Cards, newCard(c, p, lang))
	}
	for _, sub := range t.Topics {
		tv.Topics = append(tv.Topics, newTopicView(sub, p, lang))
	}
	return tv
}

func (s *Server) topics(w http.ResponseWriter, v *visit) error {
	p, err := s.progressOf(v.Context(), v.person.ID)
	if err != nil {
		return err
	}
	data := topicsPage{Totals: p.Totals}
	for _, t := range s.cfg.Library.Topics() {
		data.Topics = append(data.Topics, newTopicView(t, p, v.lang.Tag))
	}
	data.Continue = nextContent(s.cfg.Library, p, v.lang.Tag)
	return s.render(w, v, http.StatusOK, "topics", data)
}

// nextContent returns what to go on with: the first that was begun and is not
// complete, else the first that was not begun.
func nextContent(l *content.Library, p *classroom.LearnerProgress, lang string) *card {
	var fresh *card
	for _, c := range l.Contents() {
		k := newCard(c, p, lang)
		switch {
		case k.Status == classroom.StatusComplete:
		case k.Status != classroom.StatusNone:
			return &k
		case fresh == nil:
			fresh = &k
		}
	}
	return fresh
}

func (s *Server) topic(w http.ResponseWriter, v *visit) error {
	t := s.cfg.Library.Topic(v.PathValue("topic"))
	if t == nil {
		return errNotFound
	}
	p, err := s.progressOf(v.Context(), v.person.ID)
	if err != nil {
		return err
	}
	return s.render(w, v, http.StatusOK, "topic", newTopicView(t, p, v.lang.Tag))
}

// captions is a track of a video.
type captions struct {
	Language, Name, Href string
	Default              bool
}

// videoPage is what the template video shows.
type videoPage struct {
	ID, Title, Description, Href, Type string
	Captions                           []captions
	Progress                           videoProgress
	Worth                              int
	Next                               *card
}

func (s *Server) video(w http.ResponseWriter, v *visit) error {
	video := s.cfg.Library.Video(v.PathValue("video"))
	if video == nil {
		return unknownContent("video")
	}
	p, err := s.progressOf(v.Context(), v.person.ID)
	if err != nil {
		return err
	}
	pack := s.cfg.Library.Pack(video.Pack)
	data := videoPage{
		ID: video.ID, Title: video.Title.In(v.lang.Tag), Description: video.Description.In(v.lang.Tag),
		Href: mediaAddress(pack, video.File), Type: content.MediaType(video.File), Worth: video.Points,
		Progress: videoProgress{videoSummaryOf(p, video.ID), int(video.Duration.Seconds())},
		Next:     s.after(video.ID, p, v.lang.Tag),
	}
	for _, lang := range sortedKeys(video.Captions) {
		data.Captions = append(data.Captions, captions{
			lang, s.texts.nameOf(lang), mediaAddress(pack, video.Captions[lang]), lang == v.lang.Tag,
		})
	}
	return s.render(w, v, http.StatusOK, "video", data)
}

// after returns the content that is taught after another, or nil.
func (s *Server) after(id string, p *classroom.LearnerProgress, lang string) *card {
	contents := s.cfg.Library.Contents()
	for i, c := range contents {
		if c.ID() == id && i+1 < len(contents) {
			k := newCard(contents[i+1], p, lang)
			return &k
		}
	}
	return nil
}

// exercisePage is what the template exercise shows.
type exercisePage struct {
	ID, Title, Description string
	Question               content.Question
	RequestID              string // of the answer to come
	Shown                  int64  // when, in milliseconds since 1970
	HintsShown             int
	Typed, Problem         string // an answer that could not be read, and why
	Progress               exerciseProgress
	Worth                  int
	Answered               *answered // instead of a question
	Next                   *card     // once complete
}

// answered is an answer that was just given.
type answered struct {
	answerResult
	Question content.Question
}

// formID names the answer to a question of a page, so that it counts once
// however often the form is sent.
func formID(item string, seed uint64) string { return fmt.Sprintf("page-%s-%d", item, seed) }

func (s *Server) exercise(w http.ResponseWriter, v *visit) error {
	e := s.cfg.Library.Exercise(v.PathValue("exercise"))
	if e == nil {
		return unknownContent("exercise")
	}
	data, err := s.exercisePage(v, e)
	if err != nil {
		return err
	}
	query := v.URL.Query()
	// What was answered is in memory only; if it is forgotten, the next
	// question comes.
	if r, ok := s.repeats.recall(v.request(query.Get("answered"))).(*answerResult); ok && r.Progress.ID == e.ID {
		seed, _ := strconv.ParseUint(query.Get("seed"), 10, 64)
		if q, err := e.Question(query.Get("item"), seed, v.lang.Tag); err == nil && formID(q.Item, q.Seed) == query.Get("answered") {
			data.Answered = &answered{*r, q}
			return s.render(w, v, http.StatusOK, "exercise", data)
		}
	}
	if err := s.ask(v, e, data); err != nil {
		return err
	}
	if n, err := strconv.Atoi(query.Get("hints")); err == nil {
		data.HintsShown = min(max(n, 0), len(data.Question.Hints))
	}
	return s.render(w, v, http.StatusOK, "exercise", data)
}

func (s *Server) exercisePage(v *visit, e *content.Exercise) (*exercisePage, error) {
	p, err := s.progressOf(v.Context(), v.person.ID)
	if err != nil {
		return nil, err
	}
	return &exercisePage{
		ID: e.ID, Title: e.Title.In(v.lang.Tag), Description: e.Description.In(v.lang.Tag),
		Progress: progressIn(e, summaryOf(p, e.ID)), Worth: worthOf(e),
		Shown: s.cfg.Now().UnixMilli(), Next: s.after(e.ID, p, v.lang.Tag),
	}, nil
}

// ask puts the next question on a page.
func (s *Server) ask(v *visit, e *content.Exercise, data *exercisePage) (err error) {
	data.Question, err = nextQuestion(e, v.person.ID, data.Progress.Attempts, v.lang.Tag)
	data.RequestID = formID(data.Question.Item, data.Question.Seed)
	return err
}

// answerByForm takes an answer from a browser without scripts.
func (s *Server) answerByForm(w http.ResponseWriter, v *visit) error {
	if err := readForm(v); err != nil {
		return err
	}
	e := s.cfg.Library.Exercise(v.PathValue("exercise"))
	if e == nil {
		return unknownContent("exercise")
	}
	seed, err := strconv.ParseUint(v.PostFormValue("seed"), 10, 64)
	if err != nil {
		return badRequest("seed is not a number")
	}
	ask := answerAsk{
		Exercise: e.ID, Item: v.PostFormValue("item"), Seed: seed,
		Answer: v.PostFormValue("answer"), Hinted: v.PostFormValue("hinted") == "1",
	}
	ask.ID = formID(ask.Item, seed)
	if shown, err := strconv.ParseInt(v.PostFormValue("shown"), 10, 64); err == nil {
		ask.MSTaken = uint64(max(0, s.cfg.Now().UnixMilli()-shown))
	}
	_, err = s.answer(v, ask)
	switch {
	case isUnreadable(err):
		return s.askAgain(w, v, e, ask, problemOf(err))
	case err != nil && !errors.Is(err, errIDReused): // only the first answer counts
		return err
	}
	query := url.Values{"answered": {ask.ID}, "item": {ask.Item}, "seed": {strconv.FormatUint(seed, 10)}}
	http.Redirect(w, v.Request, "/exercises/"+e.ID+"?"+query.Encode(), http.StatusSeeOther)
	return nil
}

// askAgain shows a question whose answer could not be read.
func (s *Server) askAgain(w http.ResponseWriter, v *visit, e *content.Exercise, ask answerAsk, p *problem) error {
	data, err := s.exercisePage(v, e)
	if err != nil {
		return err
	}
	if data.Question, err = e.Question(ask.Item, ask.Seed, v.lang.Tag); err != nil {
		return err
	}
	data.RequestID, data.Problem = ask.ID, v.lang.words(p)
	if len(ask.Answer) <= content.MaxAnswerBytes {
		data.Typed = ask.Answer
	}
	if ask.Hinted {
		data.HintsShown = len(data.Question.Hints)
	}
	return s.render(w, v, p.Status, "exercise", data)
}

// progressPage is what the templates progress and learner show.
type progressPage struct {
	Person   *classroom.Person
	Progress *classroom.LearnerProgress
	Cards    []progressCard // all contents, in the order of teaching
	Active   []classroom.DaySummary
	Classes  []*classroom.Class // of the person
	Notice   string             // what was just done
	Problem  string
	OfStaff  bool // the person is
}

// progressCard is a content and the newest answers in it. Its Href leads a
// learner to the content, and staff to the answers, if there can be any.
type progressCard struct {
	card
	Attempts, Right uint64
	Recent          ticks
	CompletedAt     int64
}

// ticks are the newest answers, right or not, oldest first, in a form that can
// be compared.
type ticks struct {
	n     int
	right [classroom.Window]bool
}

func newTicks(recent []bool) (t ticks) {
	t.n = copy(t.right[:], recent)
	return t
}

// List returns the answers.
func (t ticks) List() []bool { return t.right[:t.n] }

// shownDays is how many days of activity are shown.
const shownDays = 14

func (s *Server) progressPage(v *visit, person *classroom.Person) (*progressPage, error) {
	p, err := s.progressOf(v.Context(), person.ID)
	if err != nil {
		return nil, err
	}
	data := &progressPage{Person: person, Progress: p, OfStaff: person.Role.IsStaff()}
	for _, c := range s.contents {
		k := progressCard{card: newCard(c, p, v.lang.Tag)}
		if v.isStaff() {
			k.Href = ""
		}
		if c.Exercise != nil {
			sum := summaryOf(p, c.ID())
			k.Attempts, k.Right, k.Recent, k.CompletedAt = sum.Attempts, sum.Right, newTicks(sum.Recent), sum.CompletedAt
			if v.isStaff() {
				k.Href = "/learners/" + person.ID.String() + "/exercises/" + c.ID()
			}
		} else {
			k.CompletedAt = videoSummaryOf(p, c.ID()).CompletedAt
		}
		data.Cards = append(data.Cards, k)
	}
	for i := len(p.Days) - 1; i >= 0 && len(data.Active) < shownDays; i-- {
		data.Active = append(data.Active, p.Days[i])
	}
	dir, err := s.people(v.Context())
	if err != nil {
		return nil, err
	}
	for _, id := range person.Groups {
		if c := dir.roll.Class(id); c != nil && !c.Hidden {
			data.Classes = append(data.Classes, c)
		}
	}
	return data, nil
}

func (s *Server) ownProgress(w http.ResponseWriter, v *visit) error {
	data, err := s.progressPage(v, v.person)
	if err != nil {
		return err
	}
	return s.render(w, v, http.StatusOK, "progress", data)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
