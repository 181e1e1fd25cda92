package web

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/web/content"
)

// SessionKeyBytes is the size of [Config.SessionKey].
const SessionKeyBytes = 32

// Config is what a Server is built from. Replica, Gate, Library and SessionKey
// are required.
type Config struct {
	Replica *records.Replica
	Gate    *classroom.Gate
	Library *content.Library

	// SessionKey authenticates the cookies of those who have signed in. It is
	// secret, and kept for as long as sessions are to outlive restarts.
	SessionKey []byte

	Name     string        // of the device, for people
	ZoneName func() string // nil: no name
	// Sync says how far the exchange with others is; it is called often and
	// must be quick. Nil: this device exchanges nothing.
	Sync func() Sync
	// Mesh says how the devices of the zone hang together. Nil: this device
	// exchanges nothing with others.
	Mesh func() Mesh
	// SyncNow asks for an exchange at once and does not wait for it. Nil: it
	// cannot be asked for.
	SyncNow func()

	Now    func() time.Time // nil: time.Now. Its location decides where a day begins.
	Random io.Reader        // cryptographic; safe for concurrent use; required
	Logger *slog.Logger     // nil: nothing is logged
}

// Server serves the pages and the JSON interface of one device. It is safe for
// concurrent use.
type Server struct {
	cfg Config

	contents   []content.Content // of the library, in the order of teaching
	contentIDs []string

	directory directoryCache
	standings standingCache
	memo      memo
	sessions  sessions
	tries     tries
	repeats   repeats
	entrance  chan struct{} // who waits for a password to be checked
	texts     *catalogue
	pages     pageSet
	assets    assets
	started   time.Time // by a monotonic clock
	fresh     freshAnswers
	handler   http.Handler
}

// maxEntrance is how many people may wait for their passwords to be checked:
// a few classes at once.
const maxEntrance = 200

// New builds a Server. It starts nothing.
func New(c Config) (*Server, error) {
	switch {
	case c.Replica == nil || c.Gate == nil || c.Library == nil || c.Random == nil:
		return nil, errors.New("build pages: replica, gate, library and randomness are required")
	case len(c.SessionKey) != SessionKeyBytes:
		return nil, fmt.Errorf("build pages: the session key has %d bytes instead of %d", len(c.SessionKey), SessionKeyBytes)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.ZoneName == nil {
		c.ZoneName = func() string { return "" }
	}
	if c.Sync == nil {
		c.Sync = func() Sync { return Sync{State: StateNone} }
	}
	if c.Mesh == nil {
		c.Mesh = func() Mesh { return Mesh{Off: true} }
	}
	s := &Server{cfg: c, entrance: make(chan struct{}, maxEntrance), started: time.Now()}
	s.sessions.key = c.SessionKey
	s.contents = c.Library.Contents()
	for _, lesson := range s.contents {
		s.contentIDs = append(s.contentIDs, lesson.ID())
	}
	var err error
	if s.texts, err = loadCatalogue(); err != nil {
		return nil, fmt.Errorf("build pages: %w", err)
	}
	if s.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("build pages: %w", err)
	}
	if s.pages, err = loadPages(); err != nil {
		return nil, fmt.Errorf("build pages: %w", err)
	}
	s.handler = s.guard(s.routes())
	return s, nil
}

// Handler serves everything.
func (s *Server) Handler() http.Handler { return s.handler }

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()

	mux.Handle("GET /{$}", s.page(s.home))
	mux.Handle("GET /signin", s.openPage(s.signInForm))
	mux.Handle("POST /signin", s.openPage(s.signInByForm))
	mux.Handle("POST /signout", s.openPage(s.signOutByForm))

	mux.Handle("POST /language", s.page(s.setLanguage))

	mux.Handle("GET /topics", s.page(s.topics))
	mux.Handle("GET /topics/{topic}", s.page(s.topic))
	mux.Handle("GET /videos/{video}", s.page(s.video))
	mux.Handle("GET /exercises/{exercise}", s.page(s.exercise))
	mux.Handle("POST /exercises/{exercise}", s.page(s.answerByForm))
	mux.Handle("GET /progress", s.page(s.ownProgress))

	mux.Handle("GET /classes", s.staffPage(s.classes))
	mux.Handle("POST /classes", s.staffPage(s.addClass))
	mux.Handle("GET /classes/{class}", s.staffPage(s.class))
	mux.Handle("POST /classes/{class}", s.staffPage(s.renameClass))
	mux.Handle("POST /classes/{class}/hidden", s.staffPage(s.hideClass))
	mux.Handle("POST /classes/{class}/learners", s.staffPage(s.addLearner))
	mux.Handle("GET /people", s.staffPage(s.everybodyElse))
	mux.Handle("GET /learners/{learner}", s.staffPage(s.learner))
	mux.Handle("POST /learners/{learner}", s.staffPage(s.changeLearner))
	mux.Handle("POST /learners/{learner}/hidden", s.staffPage(s.hideLearner))
	mux.Handle("POST /learners/{learner}/join", s.staffPage(s.joinLearner))
	mux.Handle("POST /learners/{learner}/part", s.staffPage(s.partLearner))
	mux.Handle("POST /learners/{learner}/password", s.staffPage(s.resetPassword))
	mux.Handle("GET /learners/{learner}/exercises/{exercise}", s.staffPage(s.attempts))

	mux.Handle("GET /status", s.page(s.status))
	mux.Handle("GET /status/mesh", s.staffPage(s.mesh))
	mux.Handle("POST /status/sync", s.staffPage(s.syncNow))

	mux.Handle("POST /api/v1/session", s.openAPI(s.apiSignIn))
	mux.Handle("DELETE /api/v1/session", s.openAPI(s.apiSignOut))
	mux.Handle("POST /api/v1/attempts", s.api(s.apiAttempt))
	mux.Handle("POST /api/v1/viewings", s.api(s.apiViewing))
	mux.Handle("GET /api/v1/exercises/{exercise}/question", s.api(s.apiQuestion))
	mux.Handle("GET /api/v1/progress", s.api(s.apiProgress))
	mux.Handle("GET /api/v1/class", s.api(s.apiClass))
	mux.Handle("GET /api/v1/sync", s.api(s.apiSync))
	mux.Handle("/api/", s.openAPI(apiFallback(mux)))

	mux.HandleFunc("GET /media/{pack}/{file...}", s.media)
	mux.HandleFunc("GET /static/{version}/{file}", s.asset)
	mux.Handle("/", s.openPage(func(http.ResponseWriter, *visit) error { return errNotFound }))
	return mux
}

// guard stands before every request: what other sites send in somebody's name
// is refused, and answers say what browsers may do with them.
func (s *Server) guard(next http.Handler) http.Handler {
	// The cookie is SameSite=Lax as well; this also holds for browsers that
	// do not know that.
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, s.newVisit(r), errCrossOrigin)
	}))
	next = protection.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		// Tablets are shared: nothing of a person may be found in a cache.
		// What is the same for everybody says otherwise.
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
