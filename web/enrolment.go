package web

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
)

// What staff do about classes and who is in them. That of one person is in person.go.

func (s *Server) addClass(w http.ResponseWriter, v *visit) error {
	if err := readForm(v); err != nil {
		return err
	}
	name := v.PostFormValue("name")
	id, err := classroom.AddGroup(v.Context(), s.cfg.Replica, v.person.ID, name, "")
	if p, ok := ofForm(err); ok {
		return s.showClasses(w, v, p.Status, classesPage{Problem: v.lang.words(p), Typed: name})
	} else if err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/classes/"+id.String(), http.StatusSeeOther)
	return nil
}

// ofForm reports whether an error is about what somebody typed, so that the
// form is shown again with it. What this device or person may not do has no form.
func ofForm(err error) (*problem, bool) {
	if err == nil {
		return nil, false
	}
	p := problemOf(err)
	return p, p.Status < http.StatusInternalServerError && p.Status != http.StatusForbidden
}

// renameForm is the form by which a class gets another name.
type renameForm struct {
	Name, WasName string
	Problem       string
}

func (s *Server) renameClass(w http.ResponseWriter, v *visit) error {
	class, err := s.openClassInForm(v)
	if err != nil {
		return err
	}
	name, was := v.PostFormValue("name"), v.PostFormValue("was_name")
	if name != was { // otherwise it may be the name that somebody has just replaced
		err = classroom.RenameGroup(v.Context(), s.cfg.Replica, v.person.ID, class.ID, name)
	}
	if p, ok := ofForm(err); ok {
		return s.showClass(w, v, p.Status, classPage{Rename: renameForm{name, was, v.lang.words(p)}})
	} else if err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/classes/"+class.ID.String()+"?renamed", http.StatusSeeOther)
	return nil
}

// hideClass takes a class out of all lists, or puts it there again.
func (s *Server) hideClass(w http.ResponseWriter, v *visit) error {
	class, err := s.classInForm(v)
	if err != nil {
		return err
	}
	target, to := classroom.GroupTarget(class.ID), "/people?class="+class.ID.String()
	if v.PostFormValue("hidden") == "no" {
		to = "/classes/" + class.ID.String()
		err = classroom.Unhide(v.Context(), s.cfg.Replica, v.person.ID, target)
	} else {
		err = classroom.Hide(v.Context(), s.cfg.Replica, v.person.ID, target, "")
	}
	if err != nil {
		return err
	}
	http.Redirect(w, v.Request, to, http.StatusSeeOther)
	return nil
}

// classInForm reads the form that was sent about a class, hidden or not.
func (s *Server) classInForm(v *visit) (*classroom.Class, error) {
	if err := readForm(v); err != nil {
		return nil, err
	}
	dir, err := s.people(v.Context())
	if err != nil {
		return nil, err
	}
	id, err := classroom.ParseGroupID(v.PathValue("class"))
	if err != nil {
		return nil, errUnknownClass
	}
	class := dir.roll.Class(id)
	if class == nil {
		return nil, errUnknownClass
	}
	return class, nil
}

// openClassInForm reads the form that was sent about a class that has not been removed.
func (s *Server) openClassInForm(v *visit) (*classroom.Class, error) {
	class, err := s.classInForm(v)
	if err == nil && class.Hidden {
		return nil, errUnknownClass
	}
	return class, err
}

func (s *Server) addLearner(w http.ResponseWriter, v *visit) error {
	class, err := s.openClassInForm(v)
	if err != nil {
		return err
	}
	u := classroom.NewUser{
		Name: v.PostFormValue("name"), Username: v.PostFormValue("username"), Password: v.PostFormValue("password"),
		Language: v.lang.Tag, Groups: []classroom.GroupID{class.ID},
	}
	refuse := func(p *problem) error {
		return s.showClass(w, v, p.Status, classPage{Problem: v.lang.words(p), Name: u.Name, Username: u.Username})
	}
	if u.Password == "" {
		return refuse(&problem{Status: http.StatusBadRequest, Code: "no_password"})
	}
	_, err = classroom.AddUser(v.Context(), s.cfg.Replica, s.cfg.Gate, v.person.ID, u)
	if p, ok := ofForm(err); ok {
		return refuse(p)
	} else if err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/classes/"+class.ID.String()+"?added="+url.QueryEscape(u.Name), http.StatusSeeOther)
	return nil
}

// peoplePage is what the template people shows: who is on no page of a class.
type peoplePage struct {
	Staff         []*classroom.Person // about whom who looks may do something
	Classless     []*classroom.Person
	Hidden        []removed
	HiddenClasses []*classroom.Class
	Notice        string
}

// removed is somebody who was removed, and may be shown again on this device or not.
type removed struct {
	*classroom.Person
	MayShow bool
}

func (s *Server) everybodyElse(w http.ResponseWriter, v *visit) error {
	dir, err := s.people(v.Context())
	if err != nil {
		return err
	}
	classless := func(p *classroom.Person) bool {
		return !slices.ContainsFunc(p.Groups, func(id classroom.GroupID) bool {
			c := dir.roll.Class(id)
			return c != nil && !c.Hidden
		})
	}
	data := peoplePage{HiddenClasses: dir.roll.HiddenClasses}
	for _, p := range dir.roll.People {
		switch {
		case p.Role.IsStaff():
			if v.mayChange(p) || v.maySetPassword(p) {
				data.Staff = append(data.Staff, p)
			}
		case v.mayChange(p) && classless(p):
			data.Classless = append(data.Classless, p)
		}
	}
	for _, p := range dir.roll.Hidden {
		if v.mayChange(p) {
			data.Hidden = append(data.Hidden, removed{p, v.refusal(p) == nil})
		}
	}
	if name := dir.hiddenName(v); name != "" {
		if data.Notice, err = v.lang.text("people.removed_now", "name", name); err != nil {
			return err
		}
	}
	return s.render(w, v, http.StatusOK, "people", data)
}

// hiddenName returns the name of the person or class that was just removed, if the
// address of the page says so, it still is, and who looks may undo it.
func (d *directory) hiddenName(v *visit) string {
	query := v.URL.Query()
	if id, err := identity.ParseUserID(query.Get("person")); err == nil {
		if p := d.roll.Person(id); p != nil && p.Hidden && v.mayChange(p) {
			return p.Name
		}
	}
	if id, err := classroom.ParseGroupID(query.Get("class")); err == nil {
		if c := d.roll.Class(id); c != nil && c.Hidden {
			return c.Name
		}
	}
	return ""
}
