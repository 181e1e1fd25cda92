package web

import (
	"net/http"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
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

// classPage is what the template class shows.
type classPage struct {
	Class    *classroom.Class
	Classes  []*classroom.Class // to choose from
	Columns  []column
	Rows     []place
	Struggle []struggling
	Notice   string
	Problem  string // of the form by which a learner is added
	Name     string // typed
	Username string
	Rename   renameForm
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
	if data.Rename.Problem == "" {
		data.Rename.Name, data.Rename.WasName = data.Class.Name, data.Class.Name
	}
	if v.URL.Query().Has("renamed") {
		if data.Notice, err = v.lang.text("class.renamed"); err != nil {
			return err
		}
	}
	if name := v.URL.Query().Get("added"); name != "" {
		if data.Notice, err = v.lang.text("class.added", "name", name); err != nil {
			return err
		}
	}
	return s.render(w, v, status, "class", data)
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
