package web

import (
	"net/http"
	"net/url"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/web/content"
)

// classesPage is what the template classes shows.
type classesPage struct {
	Classes []*classroom.Class
	Problem string
	Typed   string
}

func (s *Server) classes(w http.ResponseWriter, v *visit) error {
	return s.showClasses(w, v, http.StatusOK, classesPage{})
}

func (s *Server) showClasses(w http.ResponseWriter, v *visit, status int, data classesPage) error {
	dir, err := s.people(v.Context())
	if err != nil {
		return err
	}
	data.Classes = dir.roll.Classes
	return s.render(w, v, status, "classes", data)
}

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
// form is shown again with it.
func ofForm(err error) (*problem, bool) {
	if err == nil {
		return nil, false
	}
	p := problemOf(err)
	return p, p.Status < http.StatusInternalServerError
}

// classPage is what the template class shows.
type classPage struct {
	Class    *classroom.Class
	Classes  []*classroom.Class // to choose from
	Columns  []column
	Rows     []place
	Struggle []struggling
	Notice   string
	Problem  string
	Name     string // typed
	Username string
}

// column is a content, with how many learners are how far.
type column struct {
	ID, Kind, Title string
	Complete        int
}

// struggling is a learner who needs help.
type struggling struct {
	Person *classroom.Person
	Helps  []string // titles of the contents
}

func (s *Server) class(w http.ResponseWriter, v *visit) error {
	return s.showClass(w, v, http.StatusOK, classPage{})
}

func (s *Server) showClass(w http.ResponseWriter, v *visit, status int, data classPage) error {
	id, err := classroom.ParseGroupID(v.PathValue("class"))
	if err != nil {
		return errUnknownClass
	}
	dir, err := s.people(v.Context())
	if err != nil {
		return err
	}
	if data.Class, data.Rows, err = s.standingsOf(v.Context(), dir, id); err != nil {
		return err
	}
	data.Classes = dir.roll.Classes
	for _, c := range s.contents {
		data.Columns = append(data.Columns, column{ID: c.ID(), Kind: kindOf(c), Title: c.Title().In(v.lang.Tag)})
	}
	for _, p := range data.Rows {
		var helps []string
		for i := range p.Cells {
			switch col := &data.Columns[i]; p.Cells[i].Status {
			case classroom.StatusComplete:
				col.Complete++
			case classroom.StatusStruggling:
				helps = append(helps, col.Title)
			}
		}
		if helps != nil {
			data.Struggle = append(data.Struggle, struggling{p.person, helps})
		}
	}
	if name := v.URL.Query().Get("added"); name != "" {
		if data.Notice, err = v.lang.text("class.added", "name", name); err != nil {
			return err
		}
	}
	return s.render(w, v, status, "class", data)
}

func (s *Server) addLearner(w http.ResponseWriter, v *visit) error {
	if err := readForm(v); err != nil {
		return err
	}
	group, err := classroom.ParseGroupID(v.PathValue("class"))
	if err != nil {
		return errUnknownClass
	}
	u := classroom.NewUser{
		Name: v.PostFormValue("name"), Username: v.PostFormValue("username"), Password: v.PostFormValue("password"),
		Language: v.lang.Tag, Groups: []classroom.GroupID{group},
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
	http.Redirect(w, v.Request, "/classes/"+group.String()+"?added="+url.QueryEscape(u.Name), http.StatusSeeOther)
	return nil
}

// learnerInPath returns whom a page of the teacher is about.
func (s *Server) learnerInPath(v *visit) (*classroom.Person, error) {
	id, err := identity.ParseUserID(v.PathValue("learner"))
	if err != nil {
		return nil, errUnknownLearner
	}
	return s.learnerFor(v, id)
}

func (s *Server) learner(w http.ResponseWriter, v *visit) error {
	notice := ""
	if v.URL.Query().Get("password") == "changed" {
		notice = "learner.password_changed"
	}
	return s.showLearner(w, v, http.StatusOK, notice, nil)
}

func (s *Server) showLearner(w http.ResponseWriter, v *visit, status int, notice string, p *problem) error {
	person, err := s.learnerInPath(v)
	if err != nil {
		return err
	}
	data, err := s.progressPage(v, person)
	if err != nil {
		return err
	}
	if notice != "" {
		if data.Notice, err = v.lang.text(notice); err != nil {
			return err
		}
	}
	if p != nil {
		data.Problem = v.lang.words(p)
	}
	return s.render(w, v, status, "learner", data)
}

func (s *Server) resetPassword(w http.ResponseWriter, v *visit) error {
	if err := readForm(v); err != nil {
		return err
	}
	person, err := s.learnerInPath(v)
	if err != nil {
		return err
	}
	if person.Role > v.person.Role {
		return errForbidden
	}
	password := v.PostFormValue("password")
	if password == "" {
		return s.showLearner(w, v, http.StatusBadRequest, "", &problem{Status: http.StatusBadRequest, Code: "no_password"})
	}
	err = classroom.SetPassword(v.Context(), s.cfg.Replica, s.cfg.Gate, v.person.ID, person.ID, password)
	if p, ok := ofForm(err); ok {
		return s.showLearner(w, v, p.Status, "", p)
	} else if err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/learners/"+person.ID.String()+"?password=changed", http.StatusSeeOther)
	return nil
}

// attemptsPage is what the template attempts shows.
type attemptsPage struct {
	Person   *classroom.Person
	Exercise string
	Progress exerciseProgress
	Rows     []attemptView // newest first
	Missing  uint64        // attempts that are counted but not here
	Doubtful bool          // times are by clocks that nobody has set
}

// attemptView is an attempt in words.
type attemptView struct {
	classroom.AttemptRow
	Prompt string // empty: this device does not have the question
	Given  string // the answer, of a choice its text
	Device string // name
}

// shownAttempts is how many attempts are shown.
const shownAttempts = 200

func (s *Server) attempts(w http.ResponseWriter, v *visit) error {
	person, err := s.learnerInPath(v)
	if err != nil {
		return err
	}
	id := v.PathValue("exercise")
	e := s.cfg.Library.Exercise(id)
	if e == nil {
		return unknownContent("exercise")
	}
	data := attemptsPage{Person: person, Exercise: e.Title.In(v.lang.Tag)}
	var rows []classroom.AttemptRow
	err = s.cfg.Replica.Read(v.Context(), func(view *records.View) error {
		p, err := classroom.Progress(view, person.ID)
		if err != nil {
			return err
		}
		data.Progress = progressIn(e, summaryOf(p, id))
		rows, err = classroom.Attempts(view, person.ID, id)
		return err
	})
	if err != nil {
		return err
	}
	data.Missing = data.Progress.Attempts - min(data.Progress.Attempts, uint64(len(rows)))
	roster := s.cfg.Replica.Roster()
	for i := len(rows) - 1; i >= 0 && len(data.Rows) < shownAttempts; i-- {
		a := attemptView{AttemptRow: rows[i], Given: rows[i].Answer}
		if q, err := e.Question(a.Item, a.Seed, v.lang.Tag); err == nil {
			a.Prompt, a.Given = q.Prompt, givenAnswer(&q, a.Answer)
		}
		if d, ok := roster.Device(rows[i].Device); ok {
			a.Device = d.Name
		}
		data.Doubtful = data.Doubtful || a.Quality == records.TimeFree
		data.Rows = append(data.Rows, a)
	}
	return s.render(w, v, http.StatusOK, "attempts", data)
}

// givenAnswer returns an answer as the learner saw it.
func givenAnswer(q *content.Question, answer string) string {
	for _, o := range q.Options {
		if o.ID == answer {
			return o.Text
		}
	}
	return answer
}
