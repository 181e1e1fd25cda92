package records

import (
	"context"
	"fmt"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// View reads what counts: entries whose author the roster does not allow
// their kind, entries in a lane that is not their kind's, stubs, and entries
// of an era that the roster does not have yet do not appear.
type View struct {
	tx      Tx
	roster  *roster.Roster
	authors map[Slot]*authorInfo
}

// authorInfo is what a view needs to know of a branch.
type authorInfo struct {
	log    identity.LogID
	device identity.DeviceID
	lane   identity.Lane
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
		a, env, err := v.judge(reg.Slot, &reg.Entry)
		if err != nil || env == nil {
			return err
		}
		return fn(RegisterRow{reg.Key, a.log, a.device, reg.Version, env, reg.Entry.Body})
	})
}

// Events visits the events about a learner in one lane, log by log, ascending.
func (v *View) Events(learner identity.UserID, lane identity.Lane, fn func(EventRow) error) error {
	return v.tx.Events(learner, lane, func(s Slot, e Entry) error {
		a, env, err := v.judge(s, &e)
		if err != nil || env == nil {
			return err
		}
		return fn(EventRow{a.log, a.device, e.Counter, env, e.Body})
	})
}

// judge returns the envelope of an entry that counts, or nil.
func (v *View) judge(s Slot, e *Entry) (*authorInfo, *Envelope, error) {
	a := v.authors[s]
	if a == nil {
		br, err := v.tx.Branch(s)
		if err != nil {
			return nil, nil, fmt.Errorf("read branch %d: %w", s, err)
		}
		a = &authorInfo{log: br.Log(), device: br.Certificate.Device.ID(), lane: br.Lane}
		for c := range a.may {
			a.may[c] = v.roster.MayAuthor(a.device, roster.Class(c))
		}
		v.authors[s] = a
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
