package records

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Errors of serving and accepting.
var (
	// ErrUnknownBranch: nothing of that log is held.
	ErrUnknownBranch = errors.New("no such log is held here")
	// ErrLarge: the difference is more than a small one.
	ErrLarge = errors.New("the difference is too large to send at once")
	// ErrMismatch: the entries do not give the fingerprint that the author
	// signed. Nothing was stored.
	ErrMismatch = errors.New("the entries do not match what their author signed")
	// ErrForked: the head does not continue what is held. Nothing was stored
	// or overwritten.
	ErrForked = errors.New("two continuations of one log")
	// ErrNotAdmitted: the roster does not admit the author. Nothing was stored.
	ErrNotAdmitted = errors.New("the roster does not admit the author")
	// ErrGap: the difference begins above what is held: compare again.
	ErrGap = errors.New("the difference leaves a gap")
	// ErrStarts: starts are missing: ask with a start count of 0.
	ErrStarts = errors.New("the list of starts is incomplete")
	// ErrStale: everything in the difference is held already. Harmless.
	ErrStale = errors.New("already held")
	// ErrMoved: the head has moved on since the list was given, and what was
	// asked for has changed with it.
	ErrMoved = errors.New("the head has changed: ask for the segment list again")
)

// AcceptDifference verifies a small difference as a whole and applies it.
// When it returns nil, everything is on disk and the frontier has moved to
// the difference's head; after any error nothing of it is stored. Concurrent
// calls share a transaction. The entries' bytes must not change afterwards.
func (r *Replica) AcceptDifference(ctx context.Context, d *Difference) error {
	var puts []Put
	var sets []*set
	expected := r.expecting(d.Expected, false)
	err := r.verifying(ctx, expected, func() (err error) {
		if puts, err = d.verify(r); err == nil {
			sets = partition(puts, d.Firsts)
		}
		return err
	})
	again := slices.ContainsFunc(puts, func(p Put) bool { return p.Envelope.Origin != nil })
	if err == nil {
		bulk := len(puts) > pushEntries
		err = r.doExpected(ctx, expected, bulk, func(b *batch) error { return b.acceptDifference(d, puts, sets) })
	}
	if err != nil {
		return fmt.Errorf("accept difference of %s: %w", d.Head.Log.Short(), err)
	}
	if again {
		r.giveWayFor(ctx, d.Head.Log)
	}
	r.goOnPublishing(ctx)
	return nil
}

// pushEntries is how many entries come at a time where somebody works: more are
// bulk.
const pushEntries = 64

// verifying runs what hashes much, as many at a time as there are processors:
// more would not be done earlier, and whoever waits for a page would wait for
// them all. What is expected is withdrawn if f fails.
func (r *Replica) verifying(ctx context.Context, expected *Expectation, f func() error) error {
	select {
	case r.verifiers <- struct{}{}:
	case <-ctx.Done():
		expected.Withdraw()
		return ctx.Err()
	}
	defer func() { <-r.verifiers }()
	err := f()
	if err != nil {
		expected.Withdraw()
	}
	return err
}

// verify checks all of an account that can be checked without the store. A
// certificate under which the replica holds a log has been verified.
func (a *Account) verify(r *Replica) error {
	if !r.holdsUnder(&a.Certificate) {
		if err := a.Certificate.Verify(); err != nil {
			return err
		}
	}
	switch {
	case a.Certificate.Zone != r.zone:
		return fmt.Errorf("log of another zone: %w", ErrNotAdmitted)
	case !a.Lane.Valid() || a.Certificate.Log(a.Lane) != a.Head.Log:
		return fmt.Errorf("certificate is of another log: %w", ErrHead)
	}
	return a.Head.Verify(a.Certificate.Author)
}

// holdsUnder reports whether a log of any lane is held under exactly that
// certificate.
func (r *Replica) holdsUnder(c *identity.Certificate) bool {
	for _, lane := range identity.Lanes {
		if held, ok := r.AuthorOf(c.Log(lane)); ok && held == *c {
			return true
		}
	}
	return false
}

// verify checks all of a difference that can be checked without the store,
// and hashes its entries, outside the writer's turn.
func (d *Difference) verify(r *Replica) ([]Put, error) {
	if err := d.Account.verify(r); err != nil {
		return nil, err
	}
	if len(d.Entries) > SmallEntries {
		return nil, fmt.Errorf("%d entries: %w", len(d.Entries), ErrLarge)
	}
	last := d.Base
	for _, first := range d.Firsts {
		if first <= last || first > d.Head.Counter {
			return nil, fmt.Errorf("segment at %d after %d: %w", first, last, ErrMismatch)
		}
		last = first
	}
	puts, err := verifyEntries(d.Head.Log, d.Entries, d.Base, SmallBytes)
	if err == nil && len(puts) > 0 && puts[len(puts)-1].Entry.Counter > d.Head.Counter {
		err = fmt.Errorf("counter %d under head %d: %w", puts[len(puts)-1].Entry.Counter, d.Head.Counter, ErrMismatch)
	}
	return puts, err
}

// set is entries of one segment and the LtHash of them all, added up outside
// the writer's turn.
type set struct {
	puts []Put // one at least
	sum  Sum
}

func newSet(puts []Put) *set {
	s := &set{puts: puts}
	for i := range puts {
		s.sum.Add(puts[i].leaf)
	}
	return s
}

// maxSets is how many segments are added up beforehand. Each sum takes 2 KiB until
// its turn comes, and a difference could begin a segment with every entry: one of
// so many is added up in its turn, an entry at a time.
const maxSets = 8

// partition cuts entries at the counters where segments begin; nil if that gives
// too many sets.
func partition(puts []Put, firsts []uint64) (sets []*set) {
	for len(puts) > 0 {
		if len(sets) == maxSets {
			return nil
		}
		n := len(puts)
		for len(firsts) > 0 {
			if puts[0].Entry.Counter < firsts[0] {
				n, _ = slices.BinarySearchFunc(puts, firsts[0], func(p Put, first uint64) int {
					return cmp.Compare(p.Entry.Counter, first)
				})
				break
			}
			firsts = firsts[1:]
		}
		sets = append(sets, newSet(puts[:n]))
		puts = puts[n:]
	}
	return sets
}

// verifyEntries checks entries that must stand above a counter in ascending
// order and take at most so many bytes, and hashes them.
func verifyEntries(log identity.LogID, entries []Entry, above uint64, bytes int) ([]Put, error) {
	puts := make([]Put, len(entries))
	envelopes := make([]Envelope, len(entries))
	size := 0
	for i, e := range entries {
		env, err := e.check()
		if err != nil {
			return nil, err
		}
		if e.Stub {
			return nil, fmt.Errorf("stub %d without the erasure that it needs: %w", e.Counter, ErrMismatch)
		}
		if e.Counter <= above {
			return nil, fmt.Errorf("counter %d after %d: %w", e.Counter, above, ErrMismatch)
		}
		above = e.Counter
		if size += e.Size(); size > bytes {
			return nil, fmt.Errorf("more than %d bytes: %w", bytes, ErrLarge)
		}
		envelopes[i] = env
		puts[i] = Put{e, &envelopes[i], e.Leaf(log)}
	}
	return puts, nil
}

// maxCounter is up to where logs of others are taken: who goes on after a counter
// must not begin again at zero.
const maxCounter = 1<<63 - 1

// admits reports whether the roster admits a head of a log, whose certificate has
// been verified: with the account that came, or with the one under which the log
// is held. Of a closed log it admits what leads to the closed set, for those who do
// not have that yet.
func (b *batch) admits(c identity.Certificate, lane identity.Lane, h *Head) error {
	if h.Counter > maxCounter {
		return fmt.Errorf("%w: counter %d is beyond what any device writes", ErrNotAdmitted, h.Counter)
	}
	ros := b.currentRoster()
	if err := ros.AdmitsVerified(c); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAdmitted, err)
	}
	if closure, closed := ros.Closed(c, lane); closed && !closure.Covers(h.Counter, h.Fingerprint) {
		return fmt.Errorf("the log is closed with another set: %w", ErrNotAdmitted)
	}
	return nil
}

// continued returns a copy of the branch that an account's head continues from
// base on, perhaps a new one that is not stored, and the full start list of
// that head.
func (b *batch) continued(a *Account, base uint64) (branch, StartList, error) {
	br := branch{Branch: Branch{Certificate: a.Certificate, Lane: a.Lane}}
	if err := b.admits(a.Certificate, a.Lane, &a.Head); err != nil {
		return br, nil, err
	}
	if held := b.lookup(a.Head.Log); held != nil {
		br = *held
	}
	if br.Certificate.Device != a.Certificate.Device {
		// The roles and the end of the one would be those of the other.
		return br, nil, fmt.Errorf("%w: %w", ErrNotAdmitted, roster.ErrOtherDevice)
	}
	starts, rel := a.relate(&br)
	own := a.Certificate.Author == b.r.self.Load().cert.Author
	switch {
	case rel == Same || rel == Behind:
		return br, nil, ErrStale
	case own:
		b.renew(fmt.Sprintf("somebody has counter %d of its own log", a.Head.Counter))
		if rel != Forked {
			return br, nil, fmt.Errorf("the log is given up first: %w", ErrGap)
		}
	case rel == Unrelated || len(starts) != int(a.Head.StartCount) || starts.Hash() != a.Head.StartsHash:
		return br, nil, ErrStarts
	case base > br.Head.Counter:
		return br, nil, ErrGap
	}
	if rel == Forked {
		return br, nil, b.forked(&br, &a.Head)
	}
	for _, aside := range b.asidesOf(a.Head.Log) {
		if !aside.admits(&a.Head, starts) {
			return br, nil, fmt.Errorf("it was set aside here for the other one: %w", ErrForked)
		}
	}
	return br, starts, nil
}

// relate puts the start list of an account's head together, as far as it can,
// and says how the head stands to the one that is held.
func (a *Account) relate(br *branch) (StartList, Relation) {
	var starts StartList
	if a.StartsFrom >= 0 && a.StartsFrom <= len(br.starts) {
		starts = append(slices.Clone(br.starts[:a.StartsFrom]), a.Starts...)
	}
	if br.Head.IsZero() {
		return starts, Continues
	}
	return starts, Relate(&a.Head, starts, &br.Head, br.headStarts())
}

func (b *batch) acceptDifference(d *Difference, puts []Put, sets []*set) error {
	br, starts, err := b.continued(&d.Account, d.Base)
	if err != nil {
		return err
	}
	staging := !br.Target.IsZero()
	if staging {
		switch Relate(&d.Head, starts, &br.Target, br.starts) {
		case Forked:
			return b.forked(&br, &d.Head)
		case Unrelated:
			return ErrStarts
		}
	}
	l, err := newLedger(b.tx, br.Slot, d.Head.Log)
	if err != nil {
		return b.abort(err)
	}
	frontier := br.Head.Counter
	for _, first := range d.Firsts {
		if first <= frontier {
			continue
		}
		if begun, err := b.begin(l, first); err != nil {
			return err
		} else if !begun {
			return fmt.Errorf("segment %d begins within another: %w", first, ErrMismatch)
		}
	}
	// What stands there already changes what is to be added: then the sums that
	// were made beforehand are of no use, and neither are the runs.
	counted := !staging && frontier == d.Base && len(sets) > 0
	for _, s := range sets {
		if !counted {
			break
		}
		if err := l.merge(s.puts[0].Entry.Counter, &s.sum, len(s.puts)); err != nil {
			return err
		}
	}
	if counted {
		l.packed = d.Packed
	}
	clock := br.Head.Clock
	held, _ := slices.BinarySearchFunc(d.Entries, frontier+1, func(e Entry, counter uint64) int {
		return cmp.Compare(e.Counter, counter)
	})
	entries := d.Entries[held:]
	l.puts = puts[:0] // what is booked takes the place of what was looked at
	for _, p := range puts[held:] {
		clock = max(clock, p.Envelope.Clock)
		stored, err := false, error(nil)
		if staging {
			stored, err = b.stored(&br, &p)
		}
		if err == nil && !stored {
			err = l.add(p, d.Head.Counter, counted)
		}
		if errors.Is(err, errOther) {
			return fmt.Errorf("%w: %w", err, ErrMismatch) // whose fault it is, segments will tell
		}
		if err != nil {
			return err
		}
	}
	rows, err := l.rows()
	if staging && err == nil {
		rows, err = l.rowsAt(d.Head.Counter)
	}
	if err != nil {
		return b.abort(err)
	}
	if Fingerprint(rows) != d.Head.Fingerprint || clock > d.Head.Clock {
		return ErrMismatch
	}
	// Verified: from here on only the store can fail.
	if br.Slot == 0 {
		created, err := b.createBranch(d.Certificate, d.Lane)
		if err != nil {
			return err
		}
		br.Slot, l.slot = created.Slot, created.Slot
	}
	kept, err := l.flush(b.tx, min(d.Head.Counter, b.r.pins.floor(br.Slot, br.Head.Counter)))
	if err != nil {
		return b.abort(err)
	}
	if len(starts) > len(br.starts) {
		if err := b.tx.AppendStarts(br.Slot, starts[len(br.starts):]); err != nil {
			return b.abort(err)
		}
		br.starts = starts
	}
	if kept || staging {
		b.litter(br.Slot)
	}
	previous := br.Head
	br.Head = d.Head
	b.raise(d.Head.Clock)
	if err := b.reach(&br); err != nil {
		return err
	}
	if err := b.reconfirm(&br, &previous); err != nil {
		return err
	}
	b.announce(&br, &previous, &Difference{Base: frontier, Firsts: l.firstsBetween(frontier, d.Head.Counter), Entries: entries})
	if err := b.setBranch(br); err != nil {
		return err
	}
	return b.reconcile(&br.Certificate, l.puts)
}
