package web

import (
	"cmp"
	"net/http"
	"slices"
)

// syncSummary says in words how safe everything is.
type syncSummary struct {
	Level      safety `json:"level"`
	Badge      string `json:"badge"`      // in a few words
	Everything string `json:"everything"` // is everything safe?
	Leave      string `json:"leave"`      // may the children leave now?
	Advice     string `json:"advice"`     // what to do; may be empty
}

// summary puts the state of the exchange into words.
func (y *Sync) summary(s *Server, l *language) *syncSummary {
	sum := &syncSummary{Level: y.safety(s.cfg.Replica.Device())}
	for _, t := range []struct {
		to   *string
		what string
	}{{&sum.Badge, "badge"}, {&sum.Everything, "everything"}, {&sum.Leave, "leave"}, {&sum.Advice, "advice"}} {
		key := "status." + string(sum.Level) + "." + t.what
		var err error
		if *t.to, err = l.text(key, "n", y.NotYetSafe); err != nil {
			s.cfg.Logger.Error("put status into words", "error", err)
			*t.to = string(sum.Level)
		}
	}
	return sum
}

func (s *Server) syncSummary(l *language) *syncSummary {
	y := s.cfg.Sync()
	return y.summary(s, l)
}

// statusPage is what the template status shows.
type statusPage struct {
	*Sync
	Summary  *syncSummary
	Seen     string // when the coordinator was last reached, in words
	CanSync  bool
	Asked    bool // for an exchange
	Devices  []deviceState
	LinkText string   // the state of the uplink in words
	Why      string   // what it means and what to do, for staff
	Problems []string // what keeps this device from others, in words, for staff
}

// deviceState is how much of a device's records is here and safe, over all of
// its logs.
type deviceState struct {
	Name       string
	Records    uint64
	NotYetSafe uint64
	Here       bool // this device
	Trouble    bool // somebody must look at one of its logs
}

func (s *Server) status(w http.ResponseWriter, v *visit) error {
	y := s.cfg.Sync()
	data := statusPage{
		Sync: &y, Summary: y.summary(s, v.lang), CanSync: s.cfg.SyncNow != nil && v.isStaff(),
		Asked: v.URL.Query().Get("asked") == "1", Devices: s.deviceStates(&y),
	}
	var err error
	if data.LinkText, err = v.lang.text("status.link." + string(linkState(y.State))); err != nil {
		return err
	}
	if data.Seen, err = v.lang.text("status.never"); err != nil {
		return err
	}
	if !y.LastOK.IsZero() {
		if data.Seen, err = v.lang.ago(s.cfg.Now().Sub(y.LastOK)); err != nil {
			return err
		}
	}
	if v.isStaff() {
		p := phrases{l: v.lang}
		data.Why = p.known("uplink.", y.Reason, y.Words)
		for _, problem := range s.cfg.Mesh().Problems {
			data.Problems = append(data.Problems, p.problem(problem))
		}
		if p.err != nil {
			return p.err
		}
	}
	return s.render(w, v, http.StatusOK, "status", data)
}

// linkState returns a state that there are words for.
func linkState(s SyncState) SyncState {
	switch s {
	case StateNone, StateConnecting, StateConnected, StateRefused:
		return s
	}
	return StateOffline
}

// deviceStates adds up logs by device, this device first.
func (s *Server) deviceStates(y *Sync) []deviceState {
	roster, own := s.cfg.Replica.Roster(), s.cfg.Replica.Device()
	var list []deviceState
	index := map[string]int{}
	for _, l := range y.Logs {
		name := l.Device.String()
		i, ok := index[name]
		if !ok {
			i = len(list)
			index[name] = i
			d := deviceState{Name: name[:7] + "…", Here: l.Device == own}
			if known, ok := roster.Device(l.Device); ok {
				d.Name = known.Name
			}
			list = append(list, d)
		}
		list[i].Trouble = list[i].Trouble || l.Trouble != ""
		list[i].Records += l.Counter
		list[i].NotYetSafe += l.Counter - min(l.Counter, l.Receipt)
	}
	sortDevices(list)
	return list
}

func (s *Server) syncNow(w http.ResponseWriter, v *visit) error {
	if s.cfg.SyncNow == nil {
		return errNotFound
	}
	s.cfg.SyncNow()
	http.Redirect(w, v.Request, "/status?asked=1", http.StatusSeeOther)
	return nil
}

// sortDevices puts this device first, then goes by name.
func sortDevices(list []deviceState) {
	slices.SortFunc(list, func(a, b deviceState) int {
		if a.Here != b.Here {
			if a.Here {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
}
