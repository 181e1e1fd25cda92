package exchange

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// prefix is as much of a log's ID as every name shows.
type prefix uint64

func prefixOf(log identity.LogID) prefix { return prefix(binary.BigEndian.Uint64(log[:])) }

// log returns the first log with the prefix.
func (p prefix) log() (log identity.LogID) {
	binary.BigEndian.PutUint64(log[:], uint64(p))
	return log
}

// snapshot looks at what is held here.
func (m *Machine) snapshot() *records.State {
	m.state = m.cfg.Local.State()
	return m.state
}

// resolve returns what a name that the peer uses is called here.
func (m *Machine) resolve(name wire.Name) (ref records.BranchRef, ok bool) {
	if m.state != nil { // logs do not go away, and a new snapshot costs a sort
		if ref, ok = find(m.state, name); ok {
			return ref, ok
		}
	}
	return find(m.snapshot(), name)
}

// find looks a name up in a vector: the branch itself, or another of its log,
// because a branch is called otherwise when its author has started anew.
func find(s *records.State, name wire.Name) (ref records.BranchRef, ok bool) {
	for _, row := range namesakes(s, name.Log) {
		switch {
		case name.Is(row.BranchRef):
			return row.BranchRef, true
		case name.IsLog(row.Log) && !ok:
			ref, ok = row.BranchRef, true
			if !name.Short {
				ref.Start = name.Start // the replica may know it as a former name
			}
		}
	}
	return ref, ok
}

// namesakes returns the rows of a vector that share a log's prefix.
func namesakes(s *records.State, log identity.LogID) []records.VectorRow {
	from, to := span(len(s.Rows), log, func(i int) identity.LogID { return s.Rows[i].Log })
	return s.Rows[from:to]
}

// withPrefix returns the rows of a peer's vector that share a log's prefix.
func withPrefix(rows []wire.VectorRow, log identity.LogID) []wire.VectorRow {
	from, to := span(len(rows), log, func(i int) identity.LogID { return rows[i].Log })
	return rows[from:to]
}

// span returns which of n ascending logs share log's prefix.
func span(n int, log identity.LogID, at func(int) identity.LogID) (from, to int) {
	p := prefixOf(log)
	from = sort.Search(n, func(i int) bool { return prefixOf(at(i)) >= p })
	for to = from; to < n && prefixOf(at(to)) == p; to++ {
	}
	return from, to
}

// matching returns the row of a peer's vector that names ref, or nil.
func matching(rows []wire.VectorRow, ref records.BranchRef) *wire.VectorRow {
	near := withPrefix(rows, ref.Log)
	for i := range near {
		if near[i].Is(ref) {
			return &near[i]
		}
	}
	return nil
}

// same reports whether two rows of one branch say the same. A row without a
// fingerprint says nothing of it.
func same(a, b *wire.VectorRow) bool {
	none := identity.Hash{}
	return a.Counter == b.Counter && a.Staged == b.Staged &&
		(a.Fingerprint == b.Fingerprint || a.Fingerprint == none || b.Fingerprint == none)
}

// nameOf returns how a branch is called to the peer: cut short unless another
// one held here begins alike.
func nameOf(s *records.State, ref records.BranchRef) wire.Name {
	for _, row := range namesakes(s, ref.Log) {
		if row.Log != ref.Log || row.Start != ref.Start && bytes.Equal(row.Start[:4], ref.Start[:4]) {
			return wire.FullName(ref)
		}
	}
	return wire.ShortName(ref)
}

// vectorOf returns the rows of this side's vector as they are told, ascending.
func (m *Machine) vectorOf(s *records.State, full bool) []wire.VectorRow {
	rows := make([]wire.VectorRow, min(len(s.Rows), wire.MaxVectorRows))
	for i := range rows {
		r := &s.Rows[i]
		rows[i] = wire.VectorRow{Lane: r.Lane, Counter: r.Counter, Staged: r.Staged}
		if !full {
			rows[i].Name = nameOf(s, r.BranchRef)
			continue
		}
		rows[i].Name = wire.FullName(r.BranchRef)
		if head, ok := m.cfg.Local.Head(r.BranchRef); ok && head.Counter == r.Counter {
			rows[i].Fingerprint = head.Fingerprint
		}
	}
	sortRows(rows)
	return rows
}

func sortRows(rows []wire.VectorRow) {
	slices.SortFunc(rows, func(a, b wire.VectorRow) int { return a.Compare(b.Name) })
}
