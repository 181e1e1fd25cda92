package records

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// What the coordinator signs, rosters and receipts, is taken from anybody.

// AcceptRoster takes a roster offered by anybody. A lower epoch is
// [roster.ErrStale], which is harmless; the same roster again is nil.
func (r *Replica) AcceptRoster(ctx context.Context, encoded []byte) error {
	err := r.doReceived(ctx, func(b *batch) error {
		current := b.roster
		if current == nil {
			current = r.roster.Load()
		}
		if bytes.Equal(current.encoded, encoded) {
			return nil
		}
		next, err := roster.Accept(current.Roster, encoded, r.coordinator, r.zone)
		if err != nil {
			return err
		}
		encoded := bytes.Clone(encoded)
		if err := b.tx.SetValue(valueRoster, encoded); err != nil {
			return b.abort(err)
		}
		b.roster = &rosterState{next, encoded, roster.HashOf(encoded)}
		b.changes = append(b.changes, Change{Roster: true})
		return b.live(next.Epoch.Life)
	})
	if err != nil {
		return fmt.Errorf("accept roster: %w", err)
	}
	return nil
}

// AcceptReceipt takes a receipt offered by anybody; the coordinator itself
// takes those that it issues. It returns an error wrapping [ErrReceipt] for one
// that the coordinator of this zone did not sign, and [ErrStale], which is
// harmless, if it says nothing new.
func (r *Replica) AcceptReceipt(ctx context.Context, encoded []byte) error {
	receipt, err := DecodeReceipt(encoded)
	switch {
	case err != nil:
	case receipt.Zone != r.zone:
		err = fmt.Errorf("of another zone: %w", ErrReceipt)
	default:
		err = receipt.Verify(r.coordinator)
	}
	if err == nil {
		err = r.doReceived(ctx, func(b *batch) error { return b.acceptReceipt(&receipt, bytes.Clone(encoded)) })
	}
	if err != nil {
		return fmt.Errorf("accept receipt: %w", err)
	}
	r.goOnPublishing(ctx)
	return nil
}

func (b *batch) acceptReceipt(receipt *Receipt, encoded []byte) error {
	if receipt.Life < b.life {
		return fmt.Errorf("of an earlier life of the coordinator: %w", ErrStale)
	}
	news := receipt.Life > b.life // which all shall learn
	if err := b.live(receipt.Life); err != nil {
		return err
	}
	hash := receiptHash(encoded)
	former := map[identity.Hash]bool{}
	for _, it := range receipt.Items {
		br := b.lookup(it.Log)
		if br == nil || it.Counter <= br.Receipted || !br.mayHold(&it, len(b.asidesOf(it.Log)) > 0) {
			continue
		}
		if br.Certificate.Author == b.r.self.Load().cert.Author && it.Counter > br.Head.Counter {
			// Nobody else writes this log: what was confirmed is not what is here.
			b.renew(fmt.Sprintf("the coordinator has counter %d of its own log, which ends here at %d", it.Counter, br.Head.Counter))
			continue
		}
		next := *br
		former[next.Receipt] = true
		next.Receipted, next.Receipt = it.Counter, hash
		if err := b.setBranch(next); err != nil {
			return err
		}
	}
	switch {
	case len(former) > 0:
	case news:
		b.changes = append(b.changes, Change{Receipt: encoded})
		return nil
	case b.renewing:
		return nil
	default:
		return ErrStale
	}
	if err := b.tx.SetReceipt(hash, encoded); err != nil {
		return b.abort(err)
	}
	b.changes = append(b.changes, Change{Receipt: encoded})
	return b.forget(former)
}

// mayHold reports whether an item can be about this branch, as far as its
// starts and its head tell. Of a log with two continuations, only what is
// within the one that is held can.
func (br *branch) mayHold(it *ReceiptItem, forked bool) bool {
	if it.Counter > br.Head.Counter {
		return br.Trouble == "" && !forked
	}
	if it.Counter == br.Head.Counter && it.Fingerprint != br.Head.Fingerprint {
		return false
	}
	return br.passed(it.Start[:], it.Counter)
}

// confirmed returns up to where the coordinator has what is held of a branch. The
// receipt may have come when less was held, so that it could not be seen whether it
// is of this continuation.
func (b *batch) confirmed(br *branch) (uint64, error) {
	if br.Receipted == 0 || br.Receipted > br.Head.Counter {
		return 0, nil
	}
	encoded, err := b.tx.Receipt(br.Receipt)
	if err != nil && !isNotFound(err) {
		return 0, b.abort(fmt.Errorf("read receipt: %w", err))
	}
	receipt, err := DecodeReceipt(encoded)
	if err != nil {
		return 0, nil // it says nothing, and fsck says why
	}
	for i := range receipt.Items {
		if it := &receipt.Items[i]; it.Log == br.Log() && it.Counter == br.Receipted && br.mayHold(it, true) {
			return it.Counter, nil
		}
	}
	return 0, nil
}

// reconfirm forgets a receipt that came when less of br was held than before was, and
// turns out to be of another continuation.
func (b *batch) reconfirm(br *branch, before *Head) error {
	if br.Receipted <= before.Counter || br.Receipted > br.Head.Counter {
		return nil
	}
	n, err := b.confirmed(br)
	if err != nil || n > 0 {
		return err
	}
	former := map[identity.Hash]bool{br.Receipt: true}
	br.Receipted, br.Receipt = 0, identity.Hash{}
	if err := b.setBranch(*br); err != nil {
		return err
	}
	return b.forget(former)
}

// live notes a life of the coordinator. With a higher one, what earlier lives
// have confirmed must be confirmed anew.
func (b *batch) live(life uint32) error {
	if life <= b.life {
		return nil
	}
	b.life = life
	if err := b.tx.SetValue(valueLife, binary.BigEndian.AppendUint32(nil, life)); err != nil {
		return b.abort(err)
	}
	former := map[identity.Hash]bool{}
	for _, br := range b.all() {
		if br.Receipted > 0 {
			former[br.Receipt] = true
			next := *br
			next.Receipted, next.Receipt = 0, identity.Hash{}
			if err := b.setBranch(next); err != nil {
				return err
			}
		}
	}
	for slot := range b.r.asides {
		if a := *b.aside(slot); a.state == asideKept && a.receipted > 0 {
			a.receipted, a.next = 0, 1
			if err := b.setAside(a); err != nil {
				return err
			}
		}
	}
	return b.forget(former)
}

// forget deletes those of some receipts that no branch names any more.
func (b *batch) forget(former map[identity.Hash]bool) error {
	delete(former, identity.Hash{})
	if len(former) == 0 {
		return nil
	}
	for _, br := range b.all() {
		delete(former, br.Receipt)
	}
	for h := range former {
		if err := b.tx.SetReceipt(h, nil); err != nil {
			return b.abort(err)
		}
	}
	return nil
}

// all returns every branch as this batch sees it, by slot.
func (b *batch) all() []*branch {
	merged := maps.Clone(b.r.branches)
	maps.Copy(merged, b.branches)
	list := make([]*branch, 0, len(merged))
	for _, slot := range slices.Sorted(maps.Keys(merged)) {
		list = append(list, merged[slot])
	}
	return list
}

// Receipts returns encoded receipts over heads of the logs named, each beyond
// the counter given with it.
func (r *Replica) Receipts(ctx context.Context, beyond []Mark) ([][]byte, error) {
	var hashes []identity.Hash
	r.mu.RLock()
	for _, m := range beyond {
		br := r.held(BranchRef{Log: m.Log})
		if br != nil && br.Receipted > m.Counter && !slices.Contains(hashes, br.Receipt) {
			hashes = append(hashes, br.Receipt)
		}
	}
	r.mu.RUnlock()
	var list [][]byte
	if len(hashes) == 0 {
		return nil, nil
	}
	err := r.store.View(ctx, func(tx Tx) error {
		for _, h := range hashes {
			receipt, err := tx.Receipt(h)
			if errors.Is(err, ErrNotFound) {
				continue // a later one has replaced it meanwhile, and is told by itself
			}
			if err != nil {
				return err
			}
			list = append(list, receipt)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read receipts: %w", err)
	}
	return list, nil
}
