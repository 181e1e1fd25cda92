package records

import (
	"fmt"
	"maps"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
)

// ledger works out what a transaction does to the sums of one branch before
// it is written, so that what does not verify leaves nothing behind.
type ledger struct {
	tx   WriteTx
	slot Slot // 0: the branch is not stored yet
	log  identity.LogID

	firsts     []uint64            // First of every account, ascending
	segments   map[uint64]*Segment // accounts that were looked at, by First
	changed    map[uint64]bool     // those of them that differ from the store
	keys       map[RegisterKey]bool
	puts       []ledgerPut // entries to store
	superseded []uint64    // entries to delete
}

type ledgerPut struct {
	entry Entry
	env   *Envelope
	leaf  identity.Hash
}

func newLedger(tx WriteTx, slot Slot, log identity.LogID) (*ledger, error) {
	l := &ledger{
		tx: tx, slot: slot, log: log,
		segments: map[uint64]*Segment{}, changed: map[uint64]bool{}, keys: map[RegisterKey]bool{},
	}
	if slot == 0 {
		return l, nil
	}
	return l, tx.Segments(slot, 0, func(s Segment) error {
		l.firsts = append(l.firsts, s.First)
		return nil
	})
}

// begin makes sure that there is an account for the segment at first.
func (l *ledger) begin(first uint64) {
	i, found := slices.BinarySearch(l.firsts, first)
	if !found {
		l.firsts = slices.Insert(l.firsts, i, first)
		l.segments[first] = &Segment{First: first}
		l.changed[first] = true
	}
}

// firstsAbove returns the known segments that begin above counter.
func (l *ledger) firstsAbove(counter uint64) []uint64 {
	i, _ := slices.BinarySearch(l.firsts, counter+1)
	return slices.Clone(l.firsts[i:])
}

// segment returns the account of the segment in which counter stands.
func (l *ledger) segment(counter uint64) (*Segment, error) {
	i, found := slices.BinarySearch(l.firsts, counter)
	if !found {
		i--
	}
	if i < 0 {
		return nil, fmt.Errorf("no segment spans counter %d: %w", counter, ErrMismatch)
	}
	first := l.firsts[i]
	if s := l.segments[first]; s != nil {
		return s, nil
	}
	s, err := l.tx.Segment(l.slot, first)
	if err != nil {
		return nil, fmt.Errorf("read segment %d: %w", first, err)
	}
	l.segments[first] = &s
	return &s, nil
}

// count adds the entry with the given leaf to its segment's account; take
// takes it out.
func (l *ledger) count(counter uint64, leaf identity.Hash) error {
	s, err := l.segment(counter)
	if err != nil {
		return err
	}
	s.Sum.Add(leaf)
	s.Live++
	l.changed[s.First] = true
	return nil
}

func (l *ledger) take(counter uint64, leaf identity.Hash) error {
	s, err := l.segment(counter)
	if err != nil {
		return err
	}
	if s.Live == 0 {
		return fmt.Errorf("segment %d has nothing to take out: %w", s.First, ErrDamaged)
	}
	s.Sum.Remove(leaf)
	s.Live--
	l.changed[s.First] = true
	return nil
}

// supersede books an entry that this device has just put into its own log,
// already in the store, and deletes the version that it supersedes. It
// reports whether the entry is live, that is, not superseded itself by a
// later one of the same batch.
func (l *ledger) supersede(f *freshEntry) (live bool, err error) {
	if f.env.Register {
		versions, err := l.tx.Versions(l.slot, f.env.RegisterKey())
		if err != nil {
			return false, err
		}
		if len(versions) == 0 {
			return false, fmt.Errorf("entry %d is not in the index: %w", f.entry.Counter, ErrDamaged)
		}
		if versions[0] != f.entry.Counter {
			return false, l.tx.Delete(l.slot, f.entry.Counter, &f.env)
		}
		for _, v := range versions[1:] {
			if err := l.remove(v); err != nil {
				return false, err
			}
		}
	}
	return true, l.count(f.entry.Counter, f.entry.Leaf(l.log))
}

// remove takes a stored, counted entry out of the sums and deletes it.
func (l *ledger) remove(counter uint64) error {
	e, err := l.tx.Entry(l.slot, counter)
	if err != nil {
		return fmt.Errorf("read superseded entry %d: %w", counter, err)
	}
	env, err := DecodeEnvelope(e.Envelope)
	if err != nil {
		return fmt.Errorf("read superseded entry %d: %w", counter, err)
	}
	if err := l.take(counter, e.Leaf(l.log)); err != nil {
		return err
	}
	return l.tx.Delete(l.slot, counter, &env)
}

// open notes how many bytes were ever written into the author's open segment.
func (l *ledger) open(first uint64, bytes int) {
	if s := l.segments[first]; s != nil {
		s.Bytes = uint32(bytes)
	}
}

// add books an entry above the frontier that another replica sent, and the
// version that it supersedes.
func (l *ledger) add(p ledgerPut) error {
	if p.env.Register {
		k := p.env.RegisterKey()
		if l.keys[k] {
			return fmt.Errorf("entry %d: two live versions of one register: %w", p.entry.Counter, ErrMismatch)
		}
		l.keys[k] = true
		versions, err := l.tx.Versions(l.slot, k)
		if err != nil {
			return err
		}
		for _, v := range versions {
			e, err := l.tx.Entry(l.slot, v)
			if err != nil {
				return fmt.Errorf("read superseded entry %d: %w", v, err)
			}
			if err := l.take(v, e.Leaf(l.log)); err != nil {
				return err
			}
			l.superseded = append(l.superseded, v)
		}
	}
	l.puts = append(l.puts, p)
	return l.count(p.entry.Counter, p.leaf)
}

// rows returns the segment list as it will be.
func (l *ledger) rows() ([]Row, error) {
	var rows []Row
	next := 0 // of l.firsts
	changed := func(first uint64) bool {
		if !l.changed[first] {
			return false
		}
		if seg := l.segments[first]; seg.Live > 0 {
			seg.Checksum = seg.Sum.Checksum()
			rows = append(rows, seg.Row())
		}
		return true
	}
	err := l.tx.Segments(l.slot, 0, func(seg Segment) error {
		for ; l.firsts[next] < seg.First; next++ {
			changed(l.firsts[next])
		}
		next++
		if !changed(seg.First) && seg.Live > 0 {
			rows = append(rows, seg.Row())
		}
		return nil
	})
	for ; next < len(l.firsts); next++ {
		changed(l.firsts[next])
	}
	return rows, err
}

// flush writes what was booked.
func (l *ledger) flush() error {
	for _, v := range l.superseded {
		e, err := l.tx.Entry(l.slot, v)
		if err != nil {
			return fmt.Errorf("read superseded entry %d: %w", v, err)
		}
		env, err := DecodeEnvelope(e.Envelope)
		if err != nil {
			return fmt.Errorf("read superseded entry %d: %w", v, err)
		}
		if err := l.tx.Delete(l.slot, v, &env); err != nil {
			return err
		}
	}
	for i := range l.puts {
		p := &l.puts[i]
		if err := l.tx.Put(l.slot, p.entry, p.env); err != nil {
			return err
		}
	}
	for _, first := range slices.Sorted(maps.Keys(l.changed)) {
		s := l.segments[first]
		s.Checksum = s.Sum.Checksum()
		write := l.tx.SetSegment(l.slot, *s)
		if s.Live == 0 && s.Bytes == 0 {
			write = l.tx.DeleteSegment(l.slot, first)
		}
		if write != nil {
			return write
		}
	}
	return nil
}
