package web

import (
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/classmesh/classmesh/records/classroom"
)

// signIn checks a password and begins a session.
func (s *Server) signIn(w http.ResponseWriter, v *visit, username, password string) (*classroom.Person, error) {
	if strings.TrimSpace(username) == "" || len(username) > classroom.MaxUsernameBytes || password == "" {
		return nil, classroom.ErrSignIn
	}
	address := v.RemoteAddr
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	if wait := s.tries.wait(username, address, s.cfg.Now()); wait > 0 {
		return nil, tooManyTries(wait)
	}
	select {
	case s.entrance <- struct{}{}:
		defer func() { <-s.entrance }()
	default:
		return nil, errBusy
	}
	// Read before the password is checked: should it change meanwhile, the
	// session is of the old one and not valid.
	dir, err := s.people(v.Context())
	if err != nil {
		return nil, err
	}
	_, account, err := s.cfg.Gate.Authenticate(v.Context(), s.cfg.Replica, username, password)
	if errors.Is(err, classroom.ErrSignIn) {
		s.tries.wrong(username, address, s.cfg.Now())
	}
	if err != nil {
		return nil, err
	}
	s.tries.right(username, address)
	p := dir.roll.Account(account)
	if p == nil { // added meanwhile
		return nil, errBusy
	}
	cookie, err := s.sessions.start(account, dir.stamp(p, account), s.cfg.Now(), s.cfg.Random)
	if err != nil {
		return nil, err
	}
	if v.person != nil {
		s.sessions.end(v.token, s.cfg.Now())
	}
	http.SetCookie(w, cookie)
	return p, nil
}

func (s *Server) signOut(w http.ResponseWriter, v *visit) {
	if v.person != nil {
		s.sessions.end(v.token, s.cfg.Now())
	}
	http.SetCookie(w, newCookie("", -1))
}

// signInPage is what the template signin shows.
type signInPage struct {
	Username, Next, Problem string
}

func (s *Server) signInForm(w http.ResponseWriter, v *visit) error {
	if v.person != nil {
		http.Redirect(w, v.Request, "/", http.StatusSeeOther)
		return nil
	}
	return s.render(w, v, http.StatusOK, "signin", signInPage{Next: localPath(v.FormValue("next"))})
}

func (s *Server) signInByForm(w http.ResponseWriter, v *visit) error {
	if err := readForm(v); err != nil {
		return err
	}
	username, next := v.PostFormValue("username"), localPath(v.PostFormValue("next"))
	_, err := s.signIn(w, v, username, v.PostFormValue("password"))
	if err == nil {
		http.Redirect(w, v.Request, next, http.StatusSeeOther)
		return nil
	}
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		return err
	}
	if len(username) > classroom.MaxUsernameBytes {
		username = ""
	}
	p.tellRetry(w)
	return s.render(w, v, p.Status, "signin", signInPage{username, next, v.lang.words(p)})
}

func (s *Server) signOutByForm(w http.ResponseWriter, v *visit) error {
	s.signOut(w, v)
	http.Redirect(w, v.Request, "/signin", http.StatusSeeOther)
	return nil
}

// localPath returns an address on this site, "/" if s is none.
func localPath(s string) string {
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n\t") {
		return "/"
	}
	return s
}

func readForm(v *visit) error {
	if err := v.ParseForm(); err != nil {
		if p := problemOf(err); p.Code == "too_large" {
			return err
		}
		return badRequest("the form could not be read")
	}
	return nil
}
