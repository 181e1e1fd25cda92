package records

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
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
)

// AcceptDifference verifies a small difference as a whole and applies it.
// When it returns nil, everything is on disk and the frontier has moved to
// the difference's head; after any error nothing of it is stored. Concurrent
// calls share a transaction. The entries' bytes must not change afterwards.
func (r *Replica) AcceptDifference(ctx context.Context, d *Difference) error {
	puts, err := verify(r.zone, d)
	if err == nil {
		err = r.do(ctx, func(b *batch) error { return b.acceptDifference(d, puts) })
	}
	if err != nil {
		return fmt.Errorf("accept difference of %s: %w", d.Head.Log.Short(), err)
	}
	return nil
}

// verify checks all of a difference that can be checked without the store,
// and hashes its entries, outside the writer's turn.
func verify(zone identity.ZoneID, d *Difference) ([]ledgerPut, error) {
	if err := d.Certificate.Verify(); err != nil {
		return nil, err
	}
	switch {
	case d.Certificate.Zone != zone:
		return nil, fmt.Errorf("log of another zone: %w", ErrNotAdmitted)
	case !d.Lane.Valid() || d.Certificate.Log(d.Lane) != d.Head.Log:
		return nil, fmt.Errorf("certificate is of another log: %w", ErrHead)
	case len(d.Entries) > SmallEntries:
		return nil, fmt.Errorf("%d entries: %w", len(d.Entries), ErrLarge)
	}
	if err := d.Head.Verify(d.Certificate.Author); err != nil {
		return nil, err
	}
	last := d.Base
	for _, first := range d.Firsts {
		if first <= last || first > d.Head.Counter {
			return nil, fmt.Errorf("segment at %d after %d: %w", first, last, ErrMismatch)
		}
		last = first
	}
	puts := make([]ledgerPut, len(d.Entries))
	last = d.Base
	size := 0
	for i, e := range d.Entries {
		env, err := e.check()
		if err != nil {
			return nil, err
		}
		if e.Stub {
			return nil, fmt.Errorf("stub %d without the erasure that it needs: %w", e.Counter, ErrMismatch)
		}
		if e.Counter <= last || e.Counter > d.Head.Counter {
			return nil, fmt.Errorf("counter %d after %d under head %d: %w", e.Counter, last, d.Head.Counter, ErrMismatch)
		}
		last = e.Counter
		if size += e.Size(); size > SmallBytes {
			return nil, fmt.Errorf("more than %d bytes: %w", SmallBytes, ErrLarge)
		}
		puts[i] = ledgerPut{e, &env, e.Leaf(d.Head.Log)}
	}
	return puts, nil
}

func (b *batch) acceptDifference(d *Difference, puts []ledgerPut) error {
	ros := b.currentRoster()
	if err := ros.Admits(d.Certificate); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAdmitted, err)
	}
	if _, closed := ros.Closed(d.Certificate, d.Lane); closed {
		return fmt.Errorf("the log is closed: %w", ErrNotAdmitted)
	}
	br := branch{Branch: Branch{Certificate: d.Certificate, Lane: d.Lane}}
	if held := b.lookup(d.Head.Log); held != nil {
		br = *held
	}
	starts, err := continues(&br, d)
	if err != nil {
		return err
	}
	if d.Certificate.Author == b.r.self.cert.Author {
		return fmt.Errorf("the device's own log goes on elsewhere: this store is a copy or an old backup: %w", ErrForked)
	}
	l, err := newLedger(b.tx, br.Slot, d.Head.Log)
	if err != nil {
		return b.abort(err)
	}
	frontier := br.Head.Counter
	for _, first := range d.Firsts {
		if first > frontier {
			l.begin(first)
		}
	}
	clock := br.Head.Clock
	entries := make([]Entry, 0, len(puts))
	for _, p := range puts {
		if p.entry.Counter <= frontier {
			continue
		}
		if err := l.add(p); err != nil {
			return err
		}
		clock = max(clock, p.env.Clock)
		entries = append(entries, p.entry)
	}
	rows, err := l.rows()
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
	previous := br.Head
	if err := errors.Join(l.flush(), b.tx.AppendStarts(br.Slot, starts[len(br.starts):])); err != nil {
		return b.abort(err)
	}
	br.Head, br.starts = d.Head, starts
	b.raise(d.Head.Clock)
	b.announce(&br, &previous, entries, l.firstsAbove(frontier), false)
	return b.setBranch(br)
}

// continues decides whether d's head continues what is held of its log, and
// returns the full start list of d's head.
func continues(br *branch, d *Difference) (StartList, error) {
	if d.StartsFrom < 0 || d.StartsFrom > len(br.starts) {
		return nil, ErrStarts
	}
	starts := append(slices.Clone(br.starts[:d.StartsFrom]), d.Starts...)
	complete := len(starts) == int(d.Head.StartCount) && starts.Hash() == d.Head.StartsHash
	if br.Head.IsZero() {
		switch {
		case d.Base != 0:
			return nil, ErrGap
		case !complete:
			return nil, ErrStarts
		}
		return starts, nil
	}
	switch Relate(&d.Head, starts, &br.Head, br.starts) {
	case Same, Behind:
		return nil, ErrStale
	case Forked:
		return nil, ErrForked
	case Unrelated:
		return nil, ErrStarts
	}
	switch {
	case !complete:
		return nil, ErrStarts
	case d.Base > br.Head.Counter:
		return nil, ErrGap
	}
	return starts, nil
}
