package records

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/classmesh/classmesh/records/identity"
)

// Revision tells whether what [Replica.Read] finds is still what it was. It
// means something only within one start of the process.
type Revision uint64

// revisionGroups is how many groups the learners are divided into: of one
// group all have the same revision, so that the memory is bounded and what
// changes about one learner is seldom taken for a change about another.
const revisionGroups = 512

// revisions counts changes. A number that is raised too often costs a reader
// some time; one that is not raised would show what is out of date.
type revisions struct {
	lanes    [len(identity.Lanes)]atomic.Uint64
	learners [len(identity.Lanes)][revisionGroups]atomic.Uint64
	roster   atomic.Uint64
}

// Revision returns a number that only rises, and that has risen when an
// entry of a lane (an event, or a version of a register) has come, gone or
// become a stub, promoted or staged, or when there is a new roster. Whoever
// wrote it has not been answered before.
//
// Who keeps what a [View] said asks for the number before [Replica.Read]: as
// long as it is the same, what was read is what there is.
func (r *Replica) Revision(lane identity.Lane) Revision {
	return Revision(r.revisions.lanes[lane].Load() + r.revisions.roster.Load())
}

// LearnerRevision is Revision for the entries that name one learner. Now and
// then it rises because of another.
func (r *Replica) LearnerRevision(lane identity.Lane, learner identity.UserID) Revision {
	return Revision(r.revisions.learners[lane][revisionGroup(&learner)].Load() + r.revisions.roster.Load())
}

func revisionGroup(learner *identity.UserID) int {
	return int(binary.BigEndian.Uint16(learner[:]) % revisionGroups) // the IDs are random
}

// raise counts what a transaction changed; it is on disk.
func (r *revisions) raise(t *notingTx, roster bool) {
	for lane := range t.groups {
		any := false
		for group, changed := range &t.groups[lane] {
			if changed {
				r.learners[lane][group].Add(1)
				any = true
			}
		}
		if any {
			r.lanes[lane].Add(1)
		}
	}
	if roster {
		r.roster.Add(1)
	}
}

// notingTx notes whom the entries name that a transaction stores, replaces or
// deletes.
type notingTx struct {
	WriteTx
	groups [len(identity.Lanes)][revisionGroups]bool
}

func (t *notingTx) note(env *Envelope) {
	if lane := env.Kind.Lane(); lane.Valid() {
		t.groups[lane][revisionGroup(&env.Learner)] = true
	}
}

func (t *notingTx) Put(s Slot, e Entry, env *Envelope) error {
	t.note(env)
	return t.WriteTx.Put(s, e, env)
}

func (t *notingTx) PutRuns(s Slot, runs []PackedRun, puts []Put) error {
	for i := range puts {
		t.note(puts[i].Envelope)
	}
	return t.WriteTx.PutRuns(s, runs, puts)
}

func (t *notingTx) Replace(s Slot, e Entry, env *Envelope) error {
	t.note(env)
	return t.WriteTx.Replace(s, e, env)
}

func (t *notingTx) Delete(s Slot, counter uint64, env *Envelope) error {
	t.note(env)
	return t.WriteTx.Delete(s, counter, env)
}
