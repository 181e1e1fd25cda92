package records

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
)

// Fork is the evidence that a log has two continuations: a head that is held,
// and one that its author signed as well and that neither continues it nor is
// continued by it.
type Fork struct {
	Certificate identity.Certificate
	Held, Other Head
}

const (
	tableForks = "forks" // log (32), hash of the other head (32): certificate, held head, other head
	// maxForks is how much evidence is kept of a log: it takes no more to show
	// that there is some.
	maxForks = 8
)

// Forks returns the forks that were noticed, by log.
func (r *Replica) Forks(ctx context.Context) ([]Fork, error) {
	var list []Fork
	err := r.store.View(ctx, func(tx Tx) error {
		return tx.Items(tableForks, nil, func(_, v []byte) error {
			f, err := decodeFork(v)
			list = append(list, f)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read evidence of forks: %w", err)
	}
	return list, nil
}

// key names the evidence.
func (f *Fork) key() []byte {
	hash := f.Other.Hash()
	return slices.Concat(f.Other.Log[:], hash[:])
}

func (f *Fork) encode() []byte {
	held := f.Held.Encode()
	b := append(f.Certificate.Encode(), byte(len(held)>>8), byte(len(held)))
	return append(append(b, held...), f.Other.Encode()...)
}

func decodeFork(b []byte) (f Fork, err error) {
	if len(b) < identity.CertificateBytes+2 {
		return f, fmt.Errorf("evidence of %d bytes: %w", len(b), ErrDamaged)
	}
	if f.Certificate, err = identity.DecodeCertificate(b[:identity.CertificateBytes]); err != nil {
		return f, err
	}
	b = b[identity.CertificateBytes:]
	n := int(b[0])<<8 | int(b[1])
	if b = b[2:]; len(b) < n {
		return f, fmt.Errorf("evidence is cut short: %w", ErrDamaged)
	}
	if f.Held, err = DecodeHead(b[:n]); err != nil {
		return f, err
	}
	f.Other, err = DecodeHead(b[n:])
	return f, err
}

// forked keeps the evidence of a fork, in which other was verified, and returns
// [ErrForked]. What is held stays as it is.
func (b *batch) forked(br *branch, other *Head) error {
	held := br.Head
	if !br.Target.IsZero() {
		held = br.Target
	}
	if br.Slot == 0 || held.IsZero() {
		return ErrForked
	}
	key := (&Fork{Other: *other}).key()
	var known, same int
	err := b.tx.Items(tableForks, other.Log[:], func(k, _ []byte) error {
		known++
		if slices.Equal(k, key) {
			same++
		}
		return nil
	})
	if err != nil {
		return b.abort(err)
	}
	if same > 0 || known >= maxForks {
		return ErrForked
	}
	f := Fork{br.Certificate, held, *other}
	if err := b.tx.SetItem(tableForks, key, f.encode()); err != nil {
		return b.abort(err)
	}
	b.r.cfg.Logger.Error("two continuations of one log: the device was copied, or restored from a backup",
		"log", other.Log.Short(), "device", br.Certificate.Device.ID(), "held", held.Counter, "other", other.Counter)
	if br.Trouble != "" {
		return ErrForked
	}
	// What the other one has may be here already, published again: then the device has given
	// way, and who holds the other one will. Looking for it reads the device's other logs of the
	// lane, once for each new evidence until there is trouble.
	way, err := publishedAgain(b.tx, br, b.r.continuing(br))
	if err != nil {
		return b.abort(err)
	}
	if way.held || !way.other {
		next := *br
		former := map[identity.Hash]bool{}
		if next.Receipted > next.Head.Counter { // perhaps of the other continuation
			former[next.Receipt] = true
			next.Receipted, next.Receipt = 0, identity.Hash{}
		}
		next.Trouble = "there are two continuations of this log: the device was copied, or restored from a backup"
		if err := b.setBranch(next); err != nil {
			return err
		}
		if err := b.forget(former); err != nil {
			return err
		}
	}
	return ErrForked
}

// reconcile ends the trouble about a log with two continuations when the device
// that wrote it has published again what the other one holds. Where that other
// one is held, the trouble remains: what this one lacks cannot come.
func (b *batch) reconcile(author *identity.Certificate, puts []Put) error {
	for i := range puts {
		o := puts[i].Envelope.Origin
		if o == nil {
			continue
		}
		br := b.lookup(o.Log)
		if br == nil || br.Trouble == "" || br.Certificate.Device != author.Device || !o.isOf(&puts[i].Entry, *puts[i].Envelope) {
			continue
		}
		e, err := b.tx.Entry(br.Slot, o.Counter)
		if err != nil && !isNotFound(err) {
			return b.abort(err)
		}
		if err == nil && e.Leaf(o.Log) == o.Leaf {
			continue
		}
		if err := b.reconciled(o.Log); err != nil {
			return err
		}
	}
	return nil
}

// reconciled forgets that a log has two continuations: the one that is held is
// what all will hold.
func (b *batch) reconciled(log identity.LogID) error {
	br := b.lookup(log)
	if br == nil || br.Trouble == "" {
		return nil
	}
	forks, err := b.evidence(log)
	if err != nil {
		return err
	}
	for i := range forks {
		if err := b.tx.SetItem(tableForks, forks[i].key(), nil); err != nil {
			return b.abort(err)
		}
	}
	next := *br
	next.Trouble = ""
	return b.setBranch(next)
}

// suspect takes an error of comparing a branch with a head: evidence of a fork
// is kept, a fault of the store ends the batch.
func (b *batch) suspect(br *branch, other *Head, err error) error {
	switch {
	case errors.Is(err, ErrForked):
		return errors.Join(err, b.forked(br, other))
	case errors.Is(err, ErrMismatch), errors.Is(err, ErrGap):
		return err
	}
	return b.abort(err)
}

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }
