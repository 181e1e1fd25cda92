package web

import (
	"net/http"
	"slices"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
)

// mayChange reports whether who makes the request may change somebody: staff whoever has
// a lesser role.
func (v *visit) mayChange(p *classroom.Person) bool { return v.isStaff() && p.Role < v.person.Role }

// maySetPassword reports whether who makes the request may give somebody a password: who may
// change the person, staff themselves, and administrators each other, as one who has
// forgotten it could not be helped otherwise.
func (v *visit) maySetPassword(p *classroom.Person) bool {
	return v.mayChange(p) || v.isStaff() && p.ID == v.person.ID || v.person.Role == classroom.RoleAdministrator
}

// refusal says why somebody cannot be changed on this device, or nothing.
func (v *visit) refusal(p *classroom.Person) error {
	switch {
	case !v.mayEnrol:
		return classroom.ErrNotClassroom
	case p.Role.IsStaff() && !v.mayEnrolStaff:
		return classroom.ErrNotAdministrates
	}
	return nil
}

// learnerPage is what the template learner shows.
type learnerPage struct {
	*progressPage
	Change   *changeForm         // nil: who looks may not change the person, or not here
	Password bool                // may be set by who looks
	Alike    []*classroom.Person // who may be the same
}

// changeForm is the form by which somebody gets another name, language or class. With it
// goes what it showed, so that only what was changed is written: somebody else may have
// changed the rest.
type changeForm struct {
	Name, Username       string
	WasName, WasUsername string
	Languages            []choice
	Classes              []choice
	Problem              string
}

// choice is one of several to choose from.
type choice struct {
	Value, Text string
	Was, Chosen bool
}

// learnerInPath returns whom a page of the teacher is about.
func (s *Server) learnerInPath(v *visit) (*classroom.Person, error) {
	id, err := identity.ParseUserID(v.PathValue("learner"))
	if err != nil {
		return nil, errUnknownLearner
	}
	return s.learnerFor(v, id)
}

// doneNotices are what the page of a learner says when something was done about the
// learner: by what its address then says.
var doneNotices = []string{"password", "changed", "shown", "joined", "parted"}

func (s *Server) learner(w http.ResponseWriter, v *visit) error {
	notice := ""
	if done := v.URL.Query().Get("done"); slices.Contains(doneNotices, done) {
		notice = "learner.done_" + done
	}
	return s.showLearner(w, v, http.StatusOK, notice, nil, nil)
}

// showLearner shows the page of a learner: with a notice, and if a form was refused, why.
func (s *Server) showLearner(w http.ResponseWriter, v *visit, status int, notice string, password, change *problem) error {
	person, err := s.learnerInPath(v)
	if err != nil {
		return err
	}
	progress, err := s.progressPage(v, person)
	if err != nil {
		return err
	}
	data := learnerPage{progressPage: progress}
	if notice != "" {
		if data.Notice, err = v.lang.text(notice); err != nil {
			return err
		}
	}
	if password != nil {
		data.Problem = v.lang.words(password)
	}
	data.Password = v.maySetPassword(person) && v.refusal(person) == nil
	if v.mayChange(person) && v.refusal(person) == nil {
		dir, err := s.people(v.Context())
		if err != nil {
			return err
		}
		if data.Change, err = s.newChangeForm(v, dir, person); err != nil {
			return err
		}
		if change != nil {
			data.Change.typed(v, v.lang.words(change))
		}
		if !person.Role.IsStaff() {
			data.Alike = dir.roll.Alike(person)
		}
	}
	return s.render(w, v, status, "learner", data)
}

func (s *Server) newChangeForm(v *visit, dir *directory, p *classroom.Person) (*changeForm, error) {
	f := &changeForm{Name: p.Name, Username: p.Username, WasName: p.Name, WasUsername: p.Username}
	none, err := v.lang.text("learner.language_none")
	if err != nil {
		return nil, err
	}
	add := func(tag, text string) {
		f.Languages = append(f.Languages, choice{tag, text, tag == p.Language, tag == p.Language})
	}
	add("", none)
	for _, l := range s.texts.languages {
		add(l.Tag, s.texts.nameOf(l.Tag))
	}
	if p.Language != "" && !s.speaks(p.Language) { // by a file, say: it may be kept
		add(p.Language, s.texts.nameOf(p.Language))
	}
	for _, c := range dir.roll.Classes {
		in := slices.Contains(p.Groups, c.ID)
		f.Classes = append(f.Classes, choice{c.ID.String(), c.Name, in, in})
	}
	return f, nil
}

// typed puts into the form what somebody has chosen in it, and what it showed then: what has
// been changed by others since is none of the form's changes.
func (f *changeForm) typed(v *visit, problem string) {
	f.Problem = problem
	f.Name, f.WasName = v.PostFormValue("name"), v.PostFormValue("was_name")
	f.Username, f.WasUsername = v.PostFormValue("username"), v.PostFormValue("was_username")
	choose(f.Languages, v.PostForm["language"], v.PostForm["was_language"])
	choose(f.Classes, v.PostForm["class"], v.PostForm["was_class"])
}

func choose(choices []choice, chosen, were []string) {
	for i := range choices {
		choices[i].Chosen = slices.Contains(chosen, choices[i].Value)
		choices[i].Was = slices.Contains(were, choices[i].Value)
	}
}

// editIn returns what the form asks to change.
func (s *Server) editIn(v *visit) (e classroom.PersonEdit, err error) {
	changed := func(field string) *string {
		if to := v.PostFormValue(field); to != v.PostFormValue("was_"+field) {
			return &to
		}
		return nil
	}
	e.Name, e.Username, e.Language = changed("name"), changed("username"), changed("language")
	if e.Language != nil && *e.Language != "" && !s.speaks(*e.Language) {
		return e, badRequest("language")
	}
	now, was := v.PostForm["class"], v.PostForm["was_class"]
	if e.Enter, err = groupsBeside(now, was); err != nil {
		return e, err
	}
	if e.Leave, err = groupsBeside(was, now); err != nil {
		return e, err
	}
	dir, err := s.people(v.Context())
	if err != nil {
		return e, err
	}
	for _, id := range e.Enter {
		if c := dir.roll.Class(id); c == nil || c.Hidden {
			return e, errUnknownClass
		}
	}
	return e, nil
}

// groupsBeside returns the groups of a list that are not in another.
func groupsBeside(list, other []string) (groups []classroom.GroupID, err error) {
	for _, text := range list {
		if slices.Contains(other, text) {
			continue
		}
		id, err := classroom.ParseGroupID(text)
		if err != nil {
			return nil, errUnknownClass
		}
		groups = append(groups, id)
	}
	return groups, nil
}

// speaks reports whether there are texts in a language.
func (s *Server) speaks(tag string) bool {
	return slices.ContainsFunc(s.texts.languages, func(l *language) bool { return l.Tag == tag })
}

// personInForm reads a form that was sent about somebody whom who sends it may change.
func (s *Server) personInForm(v *visit) (*classroom.Person, error) {
	if err := readForm(v); err != nil {
		return nil, err
	}
	return s.changeable(v, v.PathValue("learner"))
}

// changeable returns somebody whom who makes the request may change.
func (s *Server) changeable(v *visit, id string) (*classroom.Person, error) {
	p, err := s.changeableOrHidden(v, id)
	if err == nil && p.Hidden {
		return nil, errUnknownLearner
	}
	return p, err
}

func (s *Server) changeableOrHidden(v *visit, id string) (*classroom.Person, error) {
	dir, err := s.people(v.Context())
	if err != nil {
		return nil, err
	}
	user, err := identity.ParseUserID(id)
	if err != nil {
		return nil, errUnknownLearner
	}
	switch p := dir.roll.Person(user); {
	case p == nil:
		return nil, errUnknownLearner
	case !v.mayChange(p):
		return nil, errForbidden
	default:
		return p, v.refusal(p)
	}
}

// done leads to the page of a learner, which then says what was done.
func (s *Server) done(w http.ResponseWriter, v *visit, p *classroom.Person, what string) error {
	http.Redirect(w, v.Request, "/learners/"+p.ID.String()+"?done="+what, http.StatusSeeOther)
	return nil
}

func (s *Server) changeLearner(w http.ResponseWriter, v *visit) error {
	person, err := s.personInForm(v)
	if err != nil {
		return err
	}
	edit, err := s.editIn(v)
	if err == nil {
		err = classroom.EditPerson(v.Context(), s.cfg.Replica, v.person.ID, person.ID, edit)
	}
	if p, ok := ofForm(err); ok {
		return s.showLearner(w, v, p.Status, "", nil, p)
	} else if err != nil {
		return err
	}
	return s.done(w, v, person, "changed")
}

// hideLearner takes somebody out of all lists, or puts them there again.
func (s *Server) hideLearner(w http.ResponseWriter, v *visit) error {
	if err := readForm(v); err != nil {
		return err
	}
	person, err := s.changeableOrHidden(v, v.PathValue("learner"))
	if err != nil {
		return err
	}
	target := classroom.UserTarget(person.ID)
	if v.PostFormValue("hidden") == "no" {
		if err := classroom.Unhide(v.Context(), s.cfg.Replica, v.person.ID, target); err != nil {
			return err
		}
		return s.done(w, v, person, "shown")
	}
	if err := classroom.Hide(v.Context(), s.cfg.Replica, v.person.ID, target, ""); err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/people?person="+person.ID.String(), http.StatusSeeOther)
	return nil
}

// joinLearner makes one person of two who were added on different devices.
func (s *Server) joinLearner(w http.ResponseWriter, v *visit) error {
	person, err := s.personInForm(v)
	if err != nil {
		return err
	}
	other, err := s.changeable(v, v.PostFormValue("other"))
	if err != nil {
		return err
	}
	if other == person && len(person.IDs) > 1 { // a second tap: they are one already
		return s.done(w, v, person, "joined")
	}
	if err := classroom.Join(v.Context(), s.cfg.Replica, v.person.ID, person.ID, other.ID, true, ""); err != nil {
		return err
	}
	return s.done(w, v, person, "joined")
}

func (s *Server) partLearner(w http.ResponseWriter, v *visit) error {
	person, err := s.personInForm(v)
	if err != nil {
		return err
	}
	if err := classroom.Part(v.Context(), s.cfg.Replica, v.person.ID, person.ID, ""); err != nil {
		return err
	}
	dir, err := s.people(v.Context())
	if err != nil {
		return err
	}
	for _, id := range person.IDs { // one of them may have been removed
		if p := dir.roll.Account(id); p != nil {
			return s.done(w, v, p, "parted")
		}
	}
	http.Redirect(w, v.Request, "/people", http.StatusSeeOther)
	return nil
}

func (s *Server) resetPassword(w http.ResponseWriter, v *visit) error {
	if err := readForm(v); err != nil {
		return err
	}
	person, err := s.learnerInPath(v)
	if err != nil {
		return err
	}
	if !v.maySetPassword(person) {
		return errForbidden
	}
	password := v.PostFormValue("password")
	if password == "" {
		p := &problem{Status: http.StatusBadRequest, Code: "no_password"}
		return s.showLearner(w, v, p.Status, "", p, nil)
	}
	err = classroom.SetPassword(v.Context(), s.cfg.Replica, s.cfg.Gate, v.person.ID, person.ID, password)
	if p, ok := ofForm(err); ok {
		return s.showLearner(w, v, p.Status, "", p, nil)
	} else if err != nil {
		return err
	}
	return s.done(w, v, person, "password")
}

// setLanguage gives who makes the request another language.
func (s *Server) setLanguage(w http.ResponseWriter, v *visit) error {
	if err := readForm(v); err != nil {
		return err
	}
	tag := v.PostFormValue("language")
	if !s.speaks(tag) {
		return badRequest("language")
	}
	err := classroom.EditPerson(v.Context(), s.cfg.Replica, v.account, v.account, classroom.PersonEdit{Language: &tag})
	if err != nil {
		return err
	}
	http.Redirect(w, v.Request, localPath(v.PostFormValue("next")), http.StatusSeeOther)
	return nil
}
