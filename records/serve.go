package records

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

var labelZone = identity.NewLabel("classmesh 1 zone fingerprint")

// State is what a replica holds, as it tells others. It must not be changed.
type State struct {
	Zone        identity.ZoneID
	Epoch       roster.Epoch
	Fingerprint identity.Hash
	Rows        []VectorRow // sorted by log
}

// State returns what is held: hash of (roster epoch, for each log with a head,
// sorted: log, counter, log fingerprint), and the vector.
func (r *Replica) State() *State {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != nil {
		return r.state
	}
	heads := make([]*branch, 0, len(r.branches))
	for _, br := range r.branches {
		if !br.Head.IsZero() {
			heads = append(heads, br)
		}
	}
	slices.SortFunc(heads, func(a, b *branch) int { return a.Head.Log.Compare(b.Head.Log) })
	s := &State{Zone: r.zone, Epoch: r.Roster().Epoch, Rows: make([]VectorRow, len(heads))}
	text := binary.BigEndian.AppendUint32(nil, s.Epoch.Life)
	text = binary.BigEndian.AppendUint64(text, s.Epoch.Number)
	for i, br := range heads {
		h := &br.Head
		text = append(text, h.Log[:]...)
		text = binary.BigEndian.AppendUint64(text, h.Counter)
		text = append(text, h.Fingerprint[:]...)
		s.Rows[i] = VectorRow{BranchRef: BranchRef{h.Log, h.Start()}, Lane: br.Lane, Counter: h.Counter}
	}
	s.Fingerprint = labelZone.Hash(text)
	r.state = s
	return s
}

// Frontier returns how far a log is held and how many of its starts.
func (r *Replica) Frontier(log identity.LogID) (counter uint64, starts int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if br := r.branches[r.logs[log]]; br != nil {
		return br.Head.Counter, len(br.starts)
	}
	return 0, 0
}

// Difference returns what is held of a log beyond base, for a receiver that
// has startCount of its starts. It returns [ErrUnknownBranch], or [ErrLarge]
// if it is more than a small difference. The result is a copy.
func (r *Replica) Difference(ctx context.Context, log identity.LogID, base uint64, startCount int) (*Difference, error) {
	var d *Difference
	err := r.store.View(ctx, func(tx Tx) error {
		r.mu.RLock()
		slot := r.logs[log]
		r.mu.RUnlock()
		br, err := tx.Branch(slot)
		if err != nil || br.Head.IsZero() {
			return ErrUnknownBranch
		}
		starts, err := tx.Starts(slot)
		if err != nil {
			return err
		}
		base = min(base, br.Head.Counter)
		from := max(0, min(startCount, len(starts)))
		d = &Difference{
			Account: Account{Certificate: br.Certificate, Lane: br.Lane, Head: br.Head, StartsFrom: from, Starts: starts[from:]},
			Base:    base,
		}
		err = tx.Segments(slot, base+1, func(s Segment) error {
			if s.Live > 0 {
				d.Firsts = append(d.Firsts, s.First)
			}
			return nil
		})
		if err != nil {
			return err
		}
		size := 0
		return tx.Entries(slot, base+1, br.Head.Counter, func(e Entry) error {
			size += e.Size()
			if len(d.Entries) == SmallEntries || size > SmallBytes {
				return ErrLarge
			}
			d.Entries = append(d.Entries, e.Clone())
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read difference of %s: %w", log.Short(), err)
	}
	return d, nil
}
