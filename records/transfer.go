package records

import (
	"github.com/classmesh/classmesh/records/identity"
)

// Limits of a small difference: what is verified in memory as a whole and
// applied in one transaction. Anything larger is staged by segments.
const (
	SmallEntries = 4096
	SmallBytes   = 256 << 10
)

// BranchRef names a branch of a log across replicas: the log and the newest
// start in its head. The name of a branch changes when its author starts
// anew; the replica that was told an old name finds the branch all the same.
type BranchRef struct {
	Log   identity.LogID
	Start identity.StartID
}

// VectorRow says how much of a branch a replica holds completely.
type VectorRow struct {
	BranchRef
	Lane    identity.Lane
	Counter uint64
	// Staged is the counter of the target of which segments are staged
	// above the frontier, or 0. They are offered as what they are.
	Staged uint64
	// Receipted is up to where the coordinator has the log, as far as receipts that
	// are held say.
	Receipted uint64
}

// Account introduces a head: whose it is and how it continues what the
// receiver has.
type Account struct {
	Certificate identity.Certificate
	Lane        identity.Lane
	Head        Head
	// StartsFrom is how many of the oldest starts are left out, because the
	// receiver said that it has them; Starts are the rest of the list.
	StartsFrom int
	Starts     []Start
}

// Difference is what a log has beyond a counter: every live entry above Base
// at Head, read in one transaction. Entries that it supersedes at or below
// Base follow from it.
type Difference struct {
	Account
	Base uint64
	// Firsts are the first counters of the segments that begin above Base,
	// ascending: the receiver cannot derive them.
	Firsts  []uint64
	Entries []Entry
	// Packed, if not nil, is what the entries are packed in. What is to be
	// accepted has Entries beside it; what is served has either.
	Packed []PackedRun
	// Expected, if not nil, has said that this is to be accepted.
	Expected *Expectation
}

// SegmentList is a log at a head, as the list of its segments.
type SegmentList struct {
	Account
	Rows []Row
	// Held says for each row whether the sender has the segment; nil means
	// all. A sender that is itself still staging Head has only some.
	Held []bool
}

// SegmentData is the live entries of one segment at a head.
type SegmentData struct {
	Ref     BranchRef
	Head    uint64 // counter of the head
	First   uint64 // of the segment
	From    uint64 // entries with counters below From are left out (0: none)
	Entries []Entry
	Packed  []PackedRun // as in a Difference

	Expected *Expectation // likewise
}

// Need is a segment that a replica asks for: the entries at or above From of
// the segment that begins at First.
type Need struct {
	First uint64
	From  uint64
}

// Plan is what a replica needs to complete a head of which it stages segments.
type Plan struct {
	// Needs are the segments that are lacking, newest first.
	Needs []Need
	// Done says that the head is promoted, or that what is held is beyond it.
	Done bool
	// Target is the counter of the head that Needs belong to.
	Target uint64
}

// Mark is a counter of a log.
type Mark struct {
	Log     identity.LogID
	Counter uint64
}

// Change is something that has become durable; one of its fields is set.
type Change struct {
	Commit  *Commit
	Receipt []byte // encoded, the first time that it was accepted
	Roster  bool   // there is a new roster
	Key     bool   // there is a new zone key
	Aside   bool   // what was held of a log was set aside: nothing of it is held now
}

// Commit is what has just become durable in one branch, for those who watch:
// the difference from the previous head, whose hash a push carries.
type Commit struct {
	Ref          BranchRef
	PreviousHash identity.Hash // of the head before, zero for the first
	Own          bool          // written here, not accepted
	// Difference holds the entries, or is nil if the commit was too large to
	// push; its Base is the counter of the previous head.
	Difference *Difference
	Head       Head
	Lane       identity.Lane
}
