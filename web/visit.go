package web

import (
	"net/http"
	"strings"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
)

// visit is one request and who makes it.
type visit struct {
	*http.Request
	lang *language

	// The rest is zero if nobody has signed in.

	person  *classroom.Person
	account identity.UserID // which of the person's IDs: what the person does is recorded under it
	token   token           // of the session

	mayEnrol, mayEnrolStaff bool // on this device, whoever it is
}

func (v *visit) isStaff() bool { return v.person != nil && v.person.Role.IsStaff() }

// newVisit returns a visit by nobody.
func (s *Server) newVisit(r *http.Request) *visit {
	return &visit{Request: r, lang: s.texts.choose("", r.Header.Get("Accept-Language"))}
}

// recognise finds out who makes the request, if anybody has signed in.
func (s *Server) recognise(r *http.Request) (*visit, error) {
	v := s.newVisit(r)
	t, ok := s.sessions.read(r)
	if !ok {
		return v, nil
	}
	dir, err := s.people(r.Context())
	if err != nil {
		return v, err
	}
	p := dir.roll.Account(t.user)
	if p == nil || !s.sessions.valid(t, dir.stamp(p, t.user), s.cfg.Now()) {
		return v, nil
	}
	v.person, v.account, v.token = p, t.user, t
	v.mayEnrol, v.mayEnrolStaff = classroom.MayEnrol(s.cfg.Replica.Roster(), s.cfg.Replica.Device())
	v.lang = s.texts.choose(p.Language, r.Header.Get("Accept-Language"))
	return v, nil
}

type pageFunc func(http.ResponseWriter, *visit) error

// openPage serves a page to anybody.
func (s *Server) openPage(f pageFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		v, err := s.recognise(r)
		if err == nil {
			err = f(w, v)
		}
		if err != nil {
			s.fail(w, v, err)
		}
	})
}

// page serves a page to those who have signed in; others sign in first.
func (s *Server) page(f pageFunc) http.Handler {
	return s.openPage(func(w http.ResponseWriter, v *visit) error {
		if v.person == nil {
			to := "/signin"
			if v.Method == http.MethodGet && v.URL.Path != "/" {
				to += "?next=" + queryEscape(v.URL.RequestURI())
			}
			http.Redirect(w, v.Request, to, http.StatusSeeOther)
			return nil
		}
		return f(w, v)
	})
}

// staffPage serves a page to teachers and administrators.
func (s *Server) staffPage(f pageFunc) http.Handler {
	return s.page(func(w http.ResponseWriter, v *visit) error {
		if !v.isStaff() {
			return errForbidden
		}
		return f(w, v)
	})
}

// isAPI reports whether an answer is for a program.
func (v *visit) isAPI() bool { return strings.HasPrefix(v.URL.Path, "/api/") }
