package web

import (
	"net/http"
	"time"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/web/content"
)

// userJSON is a person, as programs are told of one.
type userJSON struct {
	ID       identity.UserID `json:"id"`
	Name     string          `json:"name"`
	Username string          `json:"username"`
	Role     classroom.Role  `json:"role"`
}

func newUserJSON(p *classroom.Person) userJSON { return userJSON{p.ID, p.Name, p.Username, p.Role} }

func (s *Server) apiSignIn(w http.ResponseWriter, v *visit) (any, error) {
	ask, err := readJSON[struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}](v)
	if err != nil {
		return nil, err
	}
	p, err := s.signIn(w, v, ask.Username, ask.Password)
	if err != nil {
		return nil, err
	}
	return map[string]userJSON{"user": newUserJSON(p)}, nil
}

func (s *Server) apiSignOut(w http.ResponseWriter, v *visit) (any, error) {
	s.signOut(w, v)
	return nil, nil
}

func (s *Server) apiAttempt(_ http.ResponseWriter, v *visit) (any, error) {
	ask, err := readJSON[answerAsk](v)
	if err != nil {
		return nil, err
	}
	return s.answer(v, ask)
}

func (s *Server) apiViewing(_ http.ResponseWriter, v *visit) (any, error) {
	ask, err := readJSON[viewingAsk](v)
	if err != nil {
		return nil, err
	}
	return s.viewing(v, ask)
}

// questionJSON is a question, without its answer.
type questionJSON struct {
	Exercise string       `json:"exercise"`
	Item     string       `json:"item"`
	Seed     uint64       `json:"seed"`
	Kind     content.Kind `json:"kind"`
	Prompt   string       `json:"prompt"`
	Options  []optionJSON `json:"options,omitempty"` // of a choice
	Hints    []string     `json:"hints"`
}

type optionJSON struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

func (s *Server) apiQuestion(_ http.ResponseWriter, v *visit) (any, error) {
	e := s.cfg.Library.Exercise(v.PathValue("exercise"))
	if e == nil {
		return nil, unknownContent("exercise")
	}
	progress, err := s.progressOf(v.Context(), v.person.ID)
	if err != nil {
		return nil, err
	}
	q, err := nextQuestion(e, v.person.ID, summaryOf(progress, e.ID).Attempts, v.lang.Tag)
	if err != nil {
		return nil, err
	}
	answer := questionJSON{Exercise: e.ID, Item: q.Item, Seed: q.Seed, Kind: q.Kind, Prompt: q.Prompt, Hints: append([]string{}, q.Hints...)}
	for _, o := range q.Options {
		answer.Options = append(answer.Options, optionJSON(o))
	}
	return answer, nil
}

// progressJSON is a person's progress.
type progressJSON struct {
	Name     string `json:"name"`
	Username string `json:"username"`
	*classroom.LearnerProgress
}

func (s *Server) apiProgress(_ http.ResponseWriter, v *visit) (any, error) {
	p := v.person
	if text := v.URL.Query().Get("learner"); text != "" {
		id, err := identity.ParseUserID(text)
		if err != nil {
			return nil, badRequest("learner is not a user ID")
		}
		if p, err = s.learnerFor(v, id); err != nil {
			return nil, err
		}
	}
	progress, err := s.progressOf(v.Context(), p.ID)
	if err != nil {
		return nil, err
	}
	return progressJSON{p.Name, p.Username, progress}, nil
}

// learnerFor returns a person about whom somebody wants to know something:
// oneself, or for staff anybody. Learners are told nothing of who exists.
func (s *Server) learnerFor(v *visit, id identity.UserID) (*classroom.Person, error) {
	dir, err := s.people(v.Context())
	if err != nil {
		return nil, err
	}
	p := dir.roll.Person(id)
	switch {
	case !v.isStaff() && (p == nil || p.ID != v.person.ID):
		return nil, errForbidden
	case p == nil || p.Hidden:
		return nil, errUnknownLearner
	}
	return p, nil
}

type contentJSON struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Title string `json:"title"`
}

type classJSON struct {
	ID   classroom.GroupID `json:"id"`
	Name string            `json:"name"`
}

// tableJSON is a class table, and which others there are.
type tableJSON struct {
	Classes  []classJSON   `json:"classes"`
	Class    *classJSON    `json:"class"` // null: there are no classes
	Contents []contentJSON `json:"contents"`
	Rows     []rowJSON     `json:"rows"`
}

type rowJSON struct {
	Learner userJSON         `json:"learner"`
	Totals  classroom.Totals `json:"totals"`
	Cells   []classroom.Cell `json:"cells"`
}

func (s *Server) apiClass(_ http.ResponseWriter, v *visit) (any, error) {
	if !v.isStaff() {
		return nil, errForbidden
	}
	dir, err := s.people(v.Context())
	if err != nil {
		return nil, err
	}
	answer := tableJSON{Classes: []classJSON{}, Contents: []contentJSON{}, Rows: []rowJSON{}}
	for _, c := range dir.roll.Classes {
		answer.Classes = append(answer.Classes, classJSON{c.ID, c.Name})
	}
	for _, c := range s.cfg.Library.Contents() {
		answer.Contents = append(answer.Contents, contentJSON{c.ID(), kindOf(c), c.Title().In(v.lang.Tag)})
	}
	var group classroom.GroupID
	if text := v.URL.Query().Get("class"); text != "" {
		if group, err = classroom.ParseGroupID(text); err != nil {
			return nil, badRequest("class is not a group ID")
		}
	} else if len(answer.Classes) > 0 {
		group = answer.Classes[0].ID
	} else {
		return answer, nil
	}
	class, standings, err := s.standingsOf(v.Context(), dir, group)
	if err != nil {
		return nil, err
	}
	answer.Class = &classJSON{class.ID, class.Name}
	for _, st := range standings {
		answer.Rows = append(answer.Rows, rowJSON{newUserJSON(st.person), st.Totals, st.Cells})
	}
	return answer, nil
}

func kindOf(c content.Content) string {
	if c.Video != nil {
		return "video"
	}
	return "exercise"
}

// syncJSON is how far the exchange is.
type syncJSON struct {
	Device      identity.DeviceID `json:"device"`
	Name        string            `json:"name"`
	Zone        string            `json:"zone"`
	RosterEpoch roster.Epoch      `json:"roster_epoch"`
	Fingerprint identity.Hash     `json:"fingerprint"`
	Safe        bool              `json:"safe"`
	Words       *syncSummary      `json:"words"`
	Uplink      uplinkJSON        `json:"uplink"`
	Logs        []SyncLog         `json:"logs"`
	Peers       []peerJSON        `json:"peers"`
}

type uplinkJSON struct {
	State      SyncState  `json:"state"`
	LastOK     *time.Time `json:"last_ok"` // null: not since the start
	NotYetSafe uint64     `json:"not_yet_safe"`
	Address    string     `json:"address"`
	Transport  string     `json:"transport"`
}

type peerJSON struct {
	Device    identity.DeviceID `json:"device"`
	Name      string            `json:"name"`
	Address   string            `json:"address"`
	Transport string            `json:"transport"`
	Since     time.Time         `json:"since"`
	Equal     bool              `json:"equal"`
}

func (s *Server) apiSync(_ http.ResponseWriter, v *visit) (any, error) {
	sync, state := s.cfg.Sync(), s.cfg.Replica.State()
	answer := syncJSON{
		Device: s.cfg.Replica.Device(), Name: s.cfg.Name, Zone: s.cfg.ZoneName(),
		RosterEpoch: state.Epoch, Fingerprint: state.Fingerprint,
		Safe: sync.safety(s.cfg.Replica.Device()) == safe, Words: sync.summary(s, v.lang),
		Uplink: uplinkJSON{State: sync.State, NotYetSafe: sync.NotYetSafe, Address: sync.Address, Transport: sync.Transport},
		Logs:   append([]SyncLog{}, sync.Logs...), Peers: []peerJSON{},
	}
	if !sync.LastOK.IsZero() {
		at := sync.LastOK.UTC()
		answer.Uplink.LastOK = &at
	}
	for _, p := range sync.Peers {
		answer.Peers = append(answer.Peers, peerJSON{p.Device, p.Name, p.Address, p.Transport, p.Since.UTC(), p.Equal})
	}
	return answer, nil
}
