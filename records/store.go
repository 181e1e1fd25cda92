package records

import (
	"context"
	"errors"

	"github.com/classmesh/classmesh/records/identity"
)

// Errors of a [Store].
var (
	// ErrNotFound: nothing is stored under that name.
	ErrNotFound = errors.New("not found")
	// ErrFull: the disk or the configured size is exhausted. The transaction
	// left nothing behind and the store goes on serving reads.
	ErrFull = errors.New("no space left for records")
	// ErrNewerStore: the store was written by a later version of the program.
	ErrNewerStore = errors.New("the store was written by a newer version of classmesh: update the program")
	// ErrInUse: another process has the store open.
	ErrInUse = errors.New("the store is in use by another process")
	// ErrDamaged: what was read cannot have been written by this program.
	ErrDamaged = errors.New("the store is damaged")
	// ErrUncertain: the disk failed within a commit, which may or may not have
	// reached it. The store refuses everything until it is opened again.
	ErrUncertain = errors.New("the disk failed while writing: the store must be closed and opened again")
)

// Slot is a store's own short name for one branch of one log. Slots are given
// out from 1 and never reused; they mean nothing outside the store.
type Slot uint32

// Branch is what a replica knows of one branch of a log. Almost every log has
// one branch only.
type Branch struct {
	Slot        Slot
	Lane        identity.Lane
	Certificate identity.Certificate // of the author
	// Head is the promoted head: what the replica holds completely, its
	// frontier. Zero before the first promotion.
	Head Head
	// Target is the newest head whose segments are staged, or zero.
	Target Head
	// Receipted is the counter up to which the coordinator gave a receipt in
	// its highest known life, and Receipt names the receipt ([Tx.Receipt]).
	Receipted uint64
	Receipt   identity.Hash
	// Trouble says in words why nothing more is taken of this branch (a fork,
	// too many branches), or is empty.
	Trouble string
}

// Log returns the ID of the branch's log.
func (b *Branch) Log() identity.LogID { return b.Certificate.Log(b.Lane) }

// Segment is a store's account of one segment of a branch: what is stored of
// it, live or not yet deleted.
type Segment struct {
	First uint64
	Live  uint32 // stored entries, those on the drop list not counted
	Bytes uint32 // envelopes and bodies ever written into it by its author (own logs)
	// Sum is the LtHash of the stored entries, those on the drop list not
	// counted; Checksum is its checksum. Sum is zero in results of
	// [Tx.Segments].
	Sum      Sum
	Checksum identity.Hash
}

// Row returns the segment as a row of a segment list.
func (s *Segment) Row() Row { return Row{First: s.First, Live: s.Live, Checksum: s.Checksum} }

// Put is an entry to be stored.
type Put struct {
	Entry    Entry
	Envelope *Envelope // decoded

	leaf identity.Hash // for accounts
}

// Register is one version of a register, as [Tx.Registers] finds it.
type Register struct {
	Key     RegisterKey
	Slot    Slot
	Entry   Entry  // the newest stored version in that branch
	Version uint64 // its counter
}

// A Store keeps one replica's logs on disk. It knows the layout and nothing
// of who may write or what verifies. Implementations pass the suite in
// records/storetest.
//
// All methods are safe for concurrent use. One Update runs at a time; Views
// run beside it and see the state before or after it, never between.
type Store interface {
	// View runs f on a snapshot. Neither the Tx nor byte slices got from it
	// may be used after f returns, unless a method says that it copies. f
	// must not wait for anything that waits for an Update.
	View(ctx context.Context, f func(Tx) error) error
	// Update runs f in a transaction. If f returns nil, Update commits, and
	// when it returns nil everything is on disk, surviving a power cut. If f
	// or the commit fails, nothing of it remains visible to later
	// transactions; after an error from the commit itself, a crash may still
	// leave the whole transaction applied, never a part of it: such an error
	// wraps ErrUncertain, and so does that of every later transaction until
	// the store is opened again. f runs at most once. A full disk is ErrFull.
	// ctx counts until f is called.
	Update(ctx context.Context, f func(WriteTx) error) error
	// Close waits for running transactions and releases the files. Later
	// transactions fail with os.ErrClosed.
	Close() error
}

// Tx reads a snapshot of a store. Iterators stop at the first error of fn and
// return it; fn must not change the store. Byte slices returned or given to
// fn are valid until the transaction ends and must not be changed. A WriteTx
// reads what it has written.
type Tx interface {
	// Value returns a copy of a small named value (identity, roster, clock),
	// or ErrNotFound.
	Value(name string) ([]byte, error)

	// Branch returns one branch, or ErrNotFound.
	Branch(Slot) (Branch, error)
	// Branches visits every branch in ascending order of slots.
	Branches(fn func(Branch) error) error
	// Starts returns a copy of the start list of a branch, empty if none is
	// stored.
	Starts(Slot) (StartList, error)

	// Segment returns the segment that begins at first, or ErrNotFound.
	Segment(s Slot, first uint64) (Segment, error)
	// SegmentAt returns the segment with the largest First ≤ counter, or
	// ErrNotFound.
	SegmentAt(s Slot, counter uint64) (Segment, error)
	// Segments visits the segments with First ≥ from, ascending, without
	// their sums.
	Segments(s Slot, from uint64, fn func(Segment) error) error
	// TargetRows returns the segment list of Branch.Target, or ErrNotFound.
	TargetRows(Slot) ([]Row, error)

	// Entry returns one entry, or ErrNotFound.
	Entry(s Slot, counter uint64) (Entry, error)
	// Entries visits the stored entries from ≤ counter ≤ to, ascending,
	// those on the drop list included.
	Entries(s Slot, from, to uint64, fn func(Entry) error) error
	// Packed visits the runs that hold exactly the stored entries from ≤
	// counter ≤ to, ascending, and reports whether they are stored so; if not,
	// fn is not called. A store need not keep any.
	Packed(s Slot, from, to uint64, fn func(PackedRun) error) (ok bool, err error)
	// Versions returns the stored counters of a register in one branch,
	// newest first; none if it is not stored.
	Versions(s Slot, k RegisterKey) ([]uint64, error)
	// Drops visits the drop list for from ≤ old ≤ to, ascending: the stored
	// entry old is superseded by entry by, which may be gone in its turn.
	Drops(s Slot, from, to uint64, fn func(old, by uint64) error) error

	// Registers visits the newest stored version of every register whose key
	// begins with prefix, in every branch, ordered by RegisterKey.Compare and
	// then slot: one range scan. See [RegisterPrefix] for what can be asked.
	Registers(prefix RegisterPrefix, fn func(Register) error) error
	// Events visits the stored events about a learner in one lane's branches,
	// branch by branch in ascending order of counters. The zero learner finds
	// the events about nobody.
	Events(learner identity.UserID, lane identity.Lane, fn func(Slot, Entry) error) error

	// Receipt returns a copy of a stored receipt, or ErrNotFound.
	Receipt(identity.Hash) ([]byte, error)
	// Items visits small named things of one table, by ascending key, whose
	// key begins with prefix. Tables hold what is not records: quarantine
	// notes, sessions, evidence.
	Items(table string, prefix []byte, fn func(key, value []byte) error) error
}

// RegisterPrefix selects registers: all of a kind; or those of one learner;
// or the one register with that key, in every log.
type RegisterPrefix struct {
	Kind    Kind
	Learner *identity.UserID // nil: any
	Key     *string          // nil: any; needs Learner
}

// WriteTx also changes the store, which keeps copies of what it is given.
// Put, PutRuns, Replace and Delete keep the indexes behind
// Versions, Registers and Events; drop list, segments and branches change only
// by their own methods.
type WriteTx interface {
	Tx

	// SetValue stores a small named value; nil deletes it.
	SetValue(name string, value []byte) error

	// CreateBranch stores a new branch and returns its slot; b.Slot is
	// ignored.
	CreateBranch(b Branch) (Slot, error)
	// SetBranch replaces a branch, or returns ErrNotFound.
	SetBranch(b Branch) error
	// AppendStarts adds to the end of a branch's start list.
	AppendStarts(s Slot, starts []Start) error

	// SetSegment stores a segment, Sum included.
	SetSegment(s Slot, seg Segment) error
	// DeleteSegment removes a segment's account, not its entries.
	DeleteSegment(s Slot, first uint64) error
	// SetTargetRows stores the segment list of Branch.Target; nil deletes it.
	SetTargetRows(s Slot, rows []Row) error

	// Put stores an entry whose counter is not stored yet in that branch; an
	// entry that is there already is ErrExists. env is e's envelope, decoded.
	Put(s Slot, e Entry, env *Envelope) error
	// PutRuns stores entries as Put does each, where nothing is stored from the
	// counter of the first to that of the last; otherwise it is ErrExists.
	// Runs hold the same entries packed, and the store may keep them in that
	// form; their bytes must not change until the transaction has ended.
	PutRuns(s Slot, runs []PackedRun, puts []Put) error
	// Replace puts e where an entry with the same counter and envelope
	// stands: to make it a stub, or an entry again. It is ErrNotFound if there
	// is none, ErrExists if there is one with another envelope.
	Replace(s Slot, e Entry, env *Envelope) error
	// Delete removes an entry, or returns ErrNotFound. Env is its envelope.
	Delete(s Slot, counter uint64, env *Envelope) error
	// SetDrop puts (old, by) on the drop list, replacing what stands there;
	// by 0 takes it off.
	SetDrop(s Slot, old, by uint64) error

	// SetReceipt stores a receipt under its hash; nil deletes it.
	SetReceipt(h identity.Hash, receipt []byte) error
	// SetItem stores a small named thing in a table; a nil value deletes it.
	SetItem(table string, key, value []byte) error
}

// ErrExists: the entry is there already, perhaps with other content.
var ErrExists = errors.New("already stored")
