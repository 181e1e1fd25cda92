package exchange

import (
	"context"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Local is what a [Machine] looks at while it steps: facts that the replica
// has in memory. No method waits or does I/O, and all are safe for concurrent
// use. A BranchRef whose start the replica does not know stands for the log's
// newest branch.
type Local interface {
	Zone() identity.ZoneID
	// Certificate is that of the current incarnation.
	Certificate() identity.Certificate
	StartID() identity.StartID
	// Roster is the highest roster; RosterBytes is its encoding, RosterHash its hash.
	Roster() *roster.Roster
	RosterBytes() []byte
	RosterHash() identity.Hash
	// State is a snapshot that does not change.
	State() *records.State
	// Frontier says how far a branch is held completely, and how many of its
	// starts; 0, 0 if nothing is.
	Frontier(records.BranchRef) (counter uint64, starts int)
	// Head is the promoted head of a branch.
	Head(records.BranchRef) (records.Head, bool)
	// Relation says how a head stands to the promoted head of its log, by all the
	// starts that the replica knows.
	Relation(*records.Head) records.Relation
	// Passed reports whether what is held of a log may once have been the state with
	// that counter, and a newest start whose ID begins so.
	Passed(log identity.LogID, start []byte, counter uint64) bool
	// AuthorOf is the certificate under which a log of the replica is held.
	AuthorOf(identity.LogID) (identity.Certificate, bool)
	// HeadsOf is the best heads held of all logs of a device.
	HeadsOf(identity.DeviceID) []records.Head
	// Receipted is the counter up to which a log is known to be receipted.
	Receipted(identity.LogID) uint64
	// Keys are the zone keys held, the newest first. They must not be changed.
	Keys() []roster.ZoneKey
}

// Replica is what a [Session] needs of records.Replica. The methods with a
// context may wait. Those that accept return nil only when everything is on
// disk; after an error nothing of it is stored. Concurrent calls share
// transactions. The errors that matter here are those of package records, and
// [ErrMoved].
type Replica interface {
	Local

	// Difference returns what is held of a branch beyond base, or
	// records.ErrLarge: ask for the list.
	Difference(ctx context.Context, ref records.BranchRef, base uint64, starts int) (*records.Difference, error)
	// SegmentList returns the list of the promoted head if that is beyond base,
	// otherwise that of the staged target if that is, otherwise
	// records.ErrUnknownBranch.
	SegmentList(ctx context.Context, ref records.BranchRef, base uint64, starts int) (*records.SegmentList, error)
	// SegmentData returns a segment at the head with the given counter, or
	// records.ErrMoved.
	SegmentData(ctx context.Context, ref records.BranchRef, head uint64, n records.Need) (*records.SegmentData, error)

	// Expect says that a difference, or if it is bulk, a segment or a large difference
	// is on its way to be accepted, so that a commit may wait for it a moment. It does
	// not wait. The result goes to what accepts it, or is withdrawn; nil expects
	// nothing.
	Expect(bulk bool) *records.Expectation
	AcceptDifference(ctx context.Context, d *records.Difference) error
	// AcceptSegmentList makes the list's head the target, stored before the
	// first of its segments, and says what is needed.
	AcceptSegmentList(ctx context.Context, l *records.SegmentList) (Plan, error)
	// AcceptSegmentData stores a segment that verifies against the target. If
	// it does not, and the target is another head than the segment's by now,
	// the error is records.ErrGap; otherwise it is records.ErrMismatch.
	AcceptSegmentData(ctx context.Context, s *records.SegmentData) error
	// Promote makes the target with the given counter the branch's head if
	// nothing is needed any more, and says what is if something is.
	Promote(ctx context.Context, ref records.BranchRef, head uint64) (Plan, error)

	AcceptRoster(ctx context.Context, encoded []byte) error
	AcceptReceipt(ctx context.Context, encoded []byte) error
	AcceptKey(ctx context.Context, encoded []byte) error
	// Receipts returns encoded receipts over heads of the logs named, each
	// beyond the counter given with it.
	Receipts(ctx context.Context, beyond []Mark) ([][]byte, error)

	// Watch calls f after each change, in order. f must not block. One call
	// may still be running when stop returns.
	Watch(f func(Change)) (stop func())
}

// What a Replica speaks of besides records and logs.
type (
	Plan   = records.Plan
	Mark   = records.Mark
	Change = records.Change
)

var _ Replica = (*records.Replica)(nil)
