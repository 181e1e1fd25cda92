package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/web/content"
)

// problem is an error as people and programs are told of it. Its words are the
// text "problem." and the code in the catalogue.
type problem struct {
	Status int
	Code   string
	// Detail goes into the words where they ask for it. It is never about
	// anything that who asks may not know.
	Detail string
	Retry  time.Duration // when it is worth trying again, or 0
}

// Error gives code and detail.
func (p *problem) Error() string {
	if p.Detail == "" {
		return p.Code
	}
	return p.Code + ": " + p.Detail
}

// The problems that handlers tell of by themselves.
var (
	errNotFound       = &problem{Status: http.StatusNotFound, Code: "not_found"}
	errNotSignedIn    = &problem{Status: http.StatusUnauthorized, Code: "not_signed_in"}
	errForbidden      = &problem{Status: http.StatusForbidden, Code: "forbidden"}
	errCrossOrigin    = &problem{Status: http.StatusForbidden, Code: "cross_origin"}
	errIDReused       = &problem{Status: http.StatusConflict, Code: "id_reused"}
	errBusy           = &problem{Status: http.StatusServiceUnavailable, Code: "busy", Retry: 2 * time.Second}
	errUnknownLearner = &problem{Status: http.StatusNotFound, Code: "unknown_learner"}
	errUnknownClass   = &problem{Status: http.StatusNotFound, Code: "unknown_class"}

	// errInterrupted: a request ended without an answer.
	errInterrupted = errors.New("the request was interrupted")
)

func badRequest(format string, args ...any) *problem {
	return &problem{Status: http.StatusBadRequest, Code: "bad_request", Detail: fmt.Sprintf(format, args...)}
}

func tooManyTries(wait time.Duration) *problem {
	seconds := int64((wait + time.Second - 1) / time.Second)
	return &problem{
		Status: http.StatusTooManyRequests, Code: "too_many_tries",
		Detail: strconv.FormatInt(seconds, 10), Retry: time.Duration(seconds) * time.Second,
	}
}

// problemOf says what is told of an error: the one place where errors become
// statuses. What is not known to be harmless is "internal" and says nothing.
func problemOf(err error) *problem {
	var p *problem
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &large):
		return &problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Detail: strconv.FormatInt(large.Limit, 10)}
	case errors.Is(err, classroom.ErrSignIn):
		return &problem{Status: http.StatusUnauthorized, Code: "wrong_password"}
	case errors.Is(err, content.ErrUnreadableAnswer):
		return &problem{Status: http.StatusUnprocessableEntity, Code: "unreadable_answer"}
	case errors.Is(err, content.ErrAnswerTooLong):
		return &problem{Status: http.StatusBadRequest, Code: "answer_too_long", Detail: strconv.Itoa(content.MaxAnswerBytes)}
	case errors.Is(err, content.ErrUnknownItem):
		return &problem{Status: http.StatusNotFound, Code: "unknown_item"}
	case errors.Is(err, classroom.ErrUnknown):
		return errNotFound
	case errors.Is(err, classroom.ErrEmpty):
		return &problem{Status: http.StatusBadRequest, Code: "empty"}
	case errors.Is(err, classroom.ErrTooLong):
		return &problem{Status: http.StatusBadRequest, Code: "too_long"}
	case errors.Is(err, classroom.ErrNoText):
		return &problem{Status: http.StatusBadRequest, Code: "no_text"}
	case errors.Is(err, classroom.ErrInput):
		return badRequest("%v", err)
	case errors.Is(err, classroom.ErrNotClassroom):
		return &problem{Status: http.StatusForbidden, Code: "not_on_this_device"}
	case errors.Is(err, classroom.ErrNotAdministrates):
		return &problem{Status: http.StatusForbidden, Code: "not_administrating"}
	case errors.Is(err, records.ErrFull):
		return &problem{Status: http.StatusInsufficientStorage, Code: "disk_full"}
	case errors.Is(err, records.ErrUncertain), errors.Is(err, records.ErrClosed):
		return &problem{Status: http.StatusServiceUnavailable, Code: "not_saving"}
	case errors.Is(err, records.ErrDamaged):
		return &problem{Status: http.StatusInternalServerError, Code: "damaged"}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errBusy
	}
	return &problem{Status: http.StatusInternalServerError, Code: "internal"}
}

// words returns what is said of a problem, in a language.
func (l *language) words(p *problem) string {
	text, err := l.text("problem."+p.Code, "detail", p.Detail, "n", p.Detail)
	if err != nil {
		return p.Error()
	}
	return text
}

// fail answers a request with an error, as JSON or as a page.
func (s *Server) fail(w http.ResponseWriter, v *visit, err error) {
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError && v.Context().Err() == nil {
		s.cfg.Logger.Error("request failed", "method", v.Method, "path", v.URL.Path, "error", err)
	}
	p.tellRetry(w)
	if v.isAPI() {
		writeJSON(w, v.Request, p.Status, map[string]any{"error": map[string]string{"code": p.Code, "message": v.lang.words(p)}})
		return
	}
	data := struct{ Title, Message string }{v.lang.titleOf(p), v.lang.words(p)}
	if err := s.render(w, v, p.Status, "problem", data); err != nil {
		s.cfg.Logger.Error("show problem", "path", v.URL.Path, "error", err)
		http.Error(w, v.lang.words(p), http.StatusInternalServerError)
	}
}

// tellRetry says in the header when it is worth trying again.
func (p *problem) tellRetry(w http.ResponseWriter) {
	if p.Retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.Retry/time.Second)))
	}
}

func (l *language) titleOf(p *problem) string {
	key := "problem.title"
	if p.Status == http.StatusNotFound {
		key = "problem.title_not_found"
	}
	text, err := l.text(key)
	if err != nil {
		return p.Code
	}
	return text
}
