package records

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
)

// ledger works out what a transaction does to the sums of one branch before
// it is written, so that what does not verify leaves nothing behind.
//
// The account of a segment counts the stored entries that no stored entry
// supersedes. A superseded entry is deleted, or, while the head under which it
// is live is still promoted or being served, put on the drop list together with
// the next newer stored version of its register.
type ledger struct {
	tx   Tx
	slot Slot // 0: the branch is not stored yet
	log  identity.LogID

	firsts   []uint64            // First of every account, ascending
	segments map[uint64]*Segment // accounts that were looked at, by First
	changed  map[uint64]bool     // those of them that differ from the store
	keys     map[RegisterKey]bool
	puts     []Put             // entries to store
	packed   []PackedRun       // exactly these entries, packed; nil: one by one
	drops    map[uint64]uint64 // superseded entries, each with what supersedes it
	listed   map[uint64]bool   // those of drops that are on the drop list already
}

func newLedger(tx Tx, slot Slot, log identity.LogID) (*ledger, error) {
	l := &ledger{
		tx: tx, slot: slot, log: log,
		segments: map[uint64]*Segment{}, changed: map[uint64]bool{}, keys: map[RegisterKey]bool{},
		drops: map[uint64]uint64{}, listed: map[uint64]bool{},
	}
	if slot == 0 {
		return l, nil
	}
	return l, tx.Segments(slot, 0, func(s Segment) error {
		l.firsts = append(l.firsts, s.First)
		return nil
	})
}

// has reports whether there is an account for the segment at first.
func (l *ledger) has(first uint64) bool {
	_, found := slices.BinarySearch(l.firsts, first)
	return found
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

// firstsBetween returns the known segments that begin above counter, up to
// last.
func (l *ledger) firstsBetween(counter, last uint64) []uint64 {
	i, _ := slices.BinarySearch(l.firsts, counter+1)
	j, _ := slices.BinarySearch(l.firsts, last+1)
	return slices.Clone(l.firsts[i:max(i, j)])
}

// end returns the last counter that can stand in the segment at first.
func (l *ledger) end(first uint64) uint64 {
	if i, _ := slices.BinarySearch(l.firsts, first+1); i < len(l.firsts) {
		return l.firsts[i] - 1
	}
	return ^uint64(0)
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

// merge adds a set of entries of one segment, in which counter stands, to its
// account.
func (l *ledger) merge(counter uint64, sum *Sum, live int) error {
	s, err := l.segment(counter)
	if err != nil {
		return err
	}
	s.Sum.Merge(sum)
	s.Live += uint32(live)
	l.changed[s.First] = true
	return nil
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
		return fmt.Errorf("segment %d has nothing to take out: %w", s.First, ErrMismatch)
	}
	s.Sum.Remove(leaf)
	s.Live--
	l.changed[s.First] = true
	return nil
}

// supersede books an entry that this device has just put into its own log,
// already in the store, and the version that it supersedes. It reports whether
// the entry is live, that is, not superseded by a later one of the same batch:
// such a one is deleted, since no head ever covers it.
func (l *ledger) supersede(w WriteTx, f *freshEntry) (live bool, err error) {
	if f.env.Register {
		versions, err := l.tx.Versions(l.slot, f.env.RegisterKey())
		if err != nil {
			return false, err
		}
		if len(versions) == 0 {
			return false, fmt.Errorf("entry %d is not in the index: %w", f.entry.Counter, ErrDamaged)
		}
		if versions[0] != f.entry.Counter {
			return false, w.Delete(l.slot, f.entry.Counter, &f.env)
		}
		if len(versions) > 1 {
			if err := l.drop(versions[1], f.entry.Counter); err != nil {
				return false, err
			}
		}
	}
	return true, l.count(f.entry.Counter, f.entry.Leaf(l.log))
}

// drop books that a stored, counted entry is superseded by another.
func (l *ledger) drop(old, by uint64) error {
	leaf, err := l.leaf(old)
	if err != nil {
		return err
	}
	l.drops[old] = by
	return l.take(old, leaf)
}

// leaf returns the leaf of an entry that is stored or booked.
func (l *ledger) leaf(counter uint64) (identity.Hash, error) {
	e, err := l.tx.Entry(l.slot, counter)
	if err == nil {
		return e.Leaf(l.log), nil
	}
	for i := range l.puts {
		if l.puts[i].Entry.Counter == counter {
			return l.puts[i].leaf, nil
		}
	}
	return identity.Hash{}, fmt.Errorf("read superseded entry %d: %w", counter, err)
}

// open notes how many bytes were ever written into the author's open segment.
func (l *ledger) open(first uint64, bytes int) {
	if s := l.segments[first]; s != nil {
		s.Bytes = uint32(bytes)
	}
}

// add books an entry of another author, said to be live at counter n, that is
// not stored yet, and which of it and the stored versions of its register
// supersedes which. Counted says that its segment's account has it already
// ([ledger.merge]). It returns [errOther] if one up to n supersedes it: such an
// entry would be in no sum, and nothing would verify it.
func (l *ledger) add(p Put, n uint64, counted bool) error {
	counter := p.Entry.Counter
	if p.Envelope.Register {
		k := p.Envelope.RegisterKey()
		if l.keys[k] {
			return fmt.Errorf("entry %d: two live versions of one register: %w", counter, ErrMismatch)
		}
		l.keys[k] = true
		versions, err := l.tx.Versions(l.slot, k)
		if err != nil {
			return err
		}
		var above, below uint64
		for _, v := range versions {
			if v < counter {
				below = v
				break
			}
			above = v
		}
		switch {
		case above != 0 && above <= n:
			return fmt.Errorf("entry %d is superseded by %d: %w", counter, above, errOther)
		case below == 0:
		case above != 0: // it is on the drop list
			l.drops[below], l.listed[below] = counter, true
		default:
			if err := l.drop(below, counter); err != nil {
				return err
			}
		}
		if above != 0 {
			l.drops[counter] = above
			l.puts = append(l.puts, p)
			if counted {
				return l.take(counter, p.leaf)
			}
			return nil
		}
	}
	l.puts = append(l.puts, p)
	if counted {
		return nil
	}
	return l.count(counter, p.leaf)
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

// rowsAt returns the segment list at counter n, where more may be stored: rows
// without the entries above n and with those that only such entries supersede.
func (l *ledger) rowsAt(n uint64) ([]Row, error) {
	all, err := l.rows()
	if err != nil || n == 0 || len(l.firsts) == 0 || l.firsts[0] > n {
		return nil, err // nothing up to n is stored
	}
	other := map[uint64]*Segment{} // what differs, by First
	at := func(counter uint64) (*Segment, error) {
		s, err := l.segment(counter)
		if err != nil {
			return nil, err
		}
		if other[s.First] == nil {
			c := *s
			other[s.First] = &c
		}
		return other[s.First], nil
	}
	dropped, err := l.dropped(0, n)
	if err != nil {
		return nil, err
	}
	for _, old := range slices.Sorted(maps.Keys(dropped)) { // as they are read best
		if dropped[old] <= n {
			continue
		}
		leaf, err := l.leaf(old)
		if err != nil {
			return nil, err
		}
		s, err := at(old)
		if err != nil {
			return nil, err
		}
		s.Sum.Add(leaf)
		s.Live++
	}
	last, err := at(n)
	if err != nil {
		return nil, err
	}
	end := l.end(last.First)
	if dropped, err = l.dropped(n+1, end); err != nil {
		return nil, err
	}
	without := func(counter uint64, leaf identity.Hash) {
		if _, ok := dropped[counter]; !ok && last.Live > 0 {
			last.Sum.Remove(leaf)
			last.Live--
		}
	}
	err = l.tx.Entries(l.slot, n+1, end, func(e Entry) error {
		without(e.Counter, e.Leaf(l.log))
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range l.puts {
		if c := l.puts[i].Entry.Counter; c > n && c <= end {
			without(c, l.puts[i].leaf)
		}
	}
	rows := slices.DeleteFunc(all, func(r Row) bool { return r.First > n || other[r.First] != nil })
	for _, s := range other {
		if s.Live > 0 {
			s.Checksum = s.Sum.Checksum()
			rows = append(rows, s.Row())
		}
	}
	slices.SortFunc(rows, compareRows)
	return rows, nil
}

// dropped returns the drop list for from ≤ old ≤ to as it will be.
func (l *ledger) dropped(from, to uint64) (map[uint64]uint64, error) {
	list := map[uint64]uint64{}
	err := l.tx.Drops(l.slot, from, to, func(old, by uint64) error {
		list[old] = by
		return nil
	})
	for old, by := range l.drops {
		if from <= old && old <= to {
			list[old] = by
		}
	}
	return list, err
}

// flush writes what was booked. What is superseded by entries up to doneTo is
// deleted, the rest goes on the drop list; it reports whether any does.
func (l *ledger) flush(w WriteTx, doneTo uint64) (kept bool, err error) {
	if err := l.store(w); err != nil {
		return kept, err
	}
	for _, old := range slices.Sorted(maps.Keys(l.drops)) {
		by := l.drops[old]
		if by > doneTo {
			kept = true
			if err := w.SetDrop(l.slot, old, by); err != nil {
				return kept, err
			}
			continue
		}
		if err := deleteEntry(w, l.slot, old, l.listed[old]); err != nil {
			return kept, err
		}
	}
	for _, first := range slices.Sorted(maps.Keys(l.changed)) {
		s := l.segments[first]
		s.Checksum = s.Sum.Checksum()
		empty, err := isEmpty(w, l.slot, s, l.end(first))
		switch {
		case err != nil:
		case empty:
			err = w.DeleteSegment(l.slot, first)
		default:
			err = w.SetSegment(l.slot, *s)
		}
		if err != nil {
			return kept, err
		}
	}
	return kept, nil
}

// store stores the entries that were booked.
func (l *ledger) store(w WriteTx) error {
	if l.packed != nil {
		return w.PutRuns(l.slot, l.packed, l.puts)
	}
	for i := range l.puts {
		p := &l.puts[i]
		if err := w.Put(l.slot, p.Entry, p.Envelope); err != nil {
			return err
		}
	}
	return nil
}

// isEmpty reports whether nothing is stored of a segment that ends at end, and
// nobody will write into it.
func isEmpty(tx Tx, slot Slot, s *Segment, end uint64) (bool, error) {
	if s.Live > 0 || end == ^uint64(0) {
		return false, nil
	}
	found := errors.New("found")
	err := tx.Drops(slot, s.First, end, func(uint64, uint64) error { return found })
	if err == found {
		return false, nil
	}
	return err == nil, err
}

// deleteEntry deletes an entry that is superseded.
func deleteEntry(w WriteTx, slot Slot, counter uint64, listed bool) error {
	e, err := w.Entry(slot, counter)
	if err != nil {
		return fmt.Errorf("read superseded entry %d: %w", counter, err)
	}
	env, err := DecodeEnvelope(e.Envelope)
	if err != nil {
		return fmt.Errorf("read superseded entry %d: %w", counter, err)
	}
	if err := w.Delete(slot, counter, &env); err != nil {
		return err
	}
	if listed {
		return w.SetDrop(slot, counter, 0)
	}
	return nil
}
