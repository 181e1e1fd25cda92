package records

import (
	"context"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// View reads what counts: entries whose author the roster does not allow
// their kind, entries in a lane that is not their kind's, stubs, and entries
// of an era that the roster does not have yet do not appear.
type View struct {
	tx       Tx
	roster   *roster.Roster
	authors  map[Slot]*authorInfo
	promoted bool // what is staged does not appear
}

// authorInfo is what a view needs to know of a branch.
type authorInfo struct {
	log    identity.LogID
	device identity.DeviceID
	lane   identity.Lane
	head   uint64  // counter of the promoted head
	may    [4]bool // by class
}

// RegisterRow is the newest stored version of a register in one log. It is
// valid until the function that got it returns.
type RegisterRow struct {
	Key      RegisterKey
	Log      identity.LogID
	Device   identity.DeviceID
	Counter  uint64
	Envelope *Envelope
	Body     []byte
}

// EventRow is one event. It is valid until the function that got it returns.
type EventRow struct {
	Log      identity.LogID
	Device   identity.DeviceID
	Counter  uint64
	Envelope *Envelope
	Body     []byte
}

// Read runs f on a snapshot. The View must not be used after f returns.
func (r *Replica) Read(ctx context.Context, f func(*View) error) error {
	ros := r.Roster()
	return r.store.View(ctx, func(tx Tx) error { return f(newView(tx, ros)) })
}

// ReadPromoted is Read without what is staged: a function of the vector and
// the roster alone, the same on every replica that holds the same.
func (r *Replica) ReadPromoted(ctx context.Context, f func(*View) error) error {
	ros := r.Roster()
	return r.store.View(ctx, func(tx Tx) error {
		v := newView(tx, ros)
		v.promoted = true
		return f(v)
	})
}

func newView(tx Tx, ros *roster.Roster) *View {
	return &View{tx: tx, roster: ros, authors: map[Slot]*authorInfo{}}
}

func (b *batch) view() View { return *newView(b.tx, b.currentRoster()) }

// Roster returns the roster by which the view judges.
func (v *View) Roster() *roster.Roster { return v.roster }

// Registers visits the newest version of each register that p selects, log by
// log; all logs' versions of one register follow each other.
func (v *View) Registers(p RegisterPrefix, fn func(RegisterRow) error) error {
	return v.tx.Registers(p, func(reg Register) error {
		if v.promoted {
			if found, err := v.demote(&reg); err != nil || !found {
				return err
			}
		}
		a, env, err := v.judge(reg.Slot, &reg.Entry)
		if err != nil || env == nil {
			return err
		}
		return fn(RegisterRow{reg.Key, a.log, a.device, reg.Version, env, reg.Entry.Body})
	})
}

// Events visits the events about a learner in one lane, log by log, ascending.
func (v *View) Events(learner identity.UserID, lane identity.Lane, fn func(EventRow) error) error {
	return v.tx.Events(learner, lane, func(s Slot, e Entry) error { return v.event(s, &e, fn) })
}

func (v *View) event(s Slot, e *Entry, fn func(EventRow) error) error {
	a, env, err := v.judge(s, e)
	if err != nil || env == nil || env.Register || v.promoted && e.Counter > a.head {
		return err
	}
	return fn(EventRow{a.log, a.device, e.Counter, env, e.Body})
}

// AllEvents visits every event, by log, ascending.
func (v *View) AllEvents(fn func(EventRow) error) error {
	var list []Branch
	err := v.tx.Branches(func(b Branch) error {
		list = append(list, b)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b Branch) int { return a.Log().Compare(b.Log()) })
	for _, b := range list {
		err := v.tx.Entries(b.Slot, 0, ^uint64(0), func(e Entry) error { return v.event(b.Slot, &e, fn) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Kinds returns the kinds of which registers are stored, ascending, those that
// this release does not know included.
func (v *View) Kinds() ([]Kind, error) {
	var list []Kind
	for k := range 1 << 16 {
		kind := Kind(k)
		err := v.tx.Registers(RegisterPrefix{Kind: kind}, func(Register) error { return errEnough })
		switch {
		case err == errEnough:
			list = append(list, kind)
		case err != nil:
			return nil, err
		}
	}
	return list, nil
}

// demote puts the newest promoted version in the place of a staged one, and
// reports whether there is one.
func (v *View) demote(reg *Register) (found bool, err error) {
	a, err := v.author(reg.Slot)
	if err != nil || reg.Version <= a.head {
		return true, err
	}
	versions, err := v.tx.Versions(reg.Slot, reg.Key)
	if err != nil {
		return false, err
	}
	for _, n := range versions {
		if n <= a.head {
			reg.Version = n
			reg.Entry, err = v.tx.Entry(reg.Slot, n)
			return true, err
		}
	}
	return false, nil
}

// judge returns the envelope of an entry that counts, or nil.
func (v *View) judge(s Slot, e *Entry) (*authorInfo, *Envelope, error) {
	a, err := v.author(s)
	if err != nil {
		return nil, nil, err
	}
	env, err := DecodeEnvelope(e.Envelope)
	if err != nil {
		return nil, nil, fmt.Errorf("read entry %d of %s: %w", e.Counter, a.log.Short(), err)
	}
	if e.Stub || env.Kind.Lane() != a.lane || !a.may[env.Kind.Class()] || env.Clock.Era() > v.roster.Era {
		return a, nil, nil
	}
	return a, &env, nil
}

// author returns what is known of a branch's author.
func (v *View) author(s Slot) (*authorInfo, error) {
	if a := v.authors[s]; a != nil {
		return a, nil
	}
	br, err := v.tx.Branch(s)
	if err != nil {
		return nil, fmt.Errorf("read branch %d: %w", s, err)
	}
	a := &authorInfo{log: br.Log(), device: br.Certificate.Device.ID(), lane: br.Lane, head: br.Head.Counter}
	for c := range a.may {
		a.may[c] = v.roster.MayAuthor(a.device, roster.Class(c))
	}
	v.authors[s] = a
	return a, nil
}
