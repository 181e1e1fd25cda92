package exchange

import (
	"encoding/binary"
	"hash/fnv"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
)

// How far logs are known to be safe with the coordinator is no part of what the
// fingerprint covers. A receipt is passed on once, when it comes; it misses
// whoever is cut off then, or has not got yet what it confirms. So two sides
// that hold the same compare a checksum of their receipts as well, and if that
// differs, each tells the other how far its own reach, and is given what goes
// further.

// safety is what was said about receipts.
type safety struct {
	told [2]uint64 // our and their checksum when the rows were last told
}

// safeSum is a checksum of how far the logs held here are known to be safe. It
// need not withstand anybody: who lies about it learns no more, and gets less.
func safeSum(s *records.State) uint64 {
	sum, known := fnv.New64a(), false
	var row [16]byte
	for i := range s.Rows {
		if counter := s.Rows[i].Receipted; counter > 0 {
			known = true
			copy(row[:8], s.Rows[i].Log[:])
			binary.BigEndian.PutUint64(row[8:], counter)
			sum.Write(row[:])
		}
	}
	if !known {
		return 0
	}
	return max(sum.Sum64(), 1)
}

// compareSafe tells how far the receipts held here reach, if both sides hold
// the same and differ in that.
func (m *Machine) compareSafe() {
	now := [2]uint64{m.compare.ours.Safe, m.compare.theirs.Safe}
	if now[0] == now[1] || now == m.safe.told || m.cfg.OneShot {
		return
	}
	m.safe.told = now
	s := m.compare.of
	var rows []wire.VectorRow
	for i := range s.Rows {
		if i > 0 && s.Rows[i].Log == s.Rows[i-1].Log || len(rows) == wire.MaxVectorRows {
			continue // another branch
		}
		if counter := s.Rows[i].Receipted; counter > 0 {
			rows = append(rows, wire.VectorRow{Name: nameOf(s, s.Rows[i].BranchRef), Lane: s.Rows[i].Lane, Counter: counter})
		}
	}
	sortRows(rows)
	m.send(wire.NewSafe(rows)...)
}

// hearSafe gives the peer the receipts that reach further than its own.
func (m *Machine) hearSafe(msg *wire.Safe) {
	rows, complete := m.collect(msg.Rows, msg.More)
	if !complete || m.cfg.OneShot {
		return
	}
	s := m.snapshot()
	for i := range s.Rows {
		if m.spared(s.Rows[i].Log) {
			continue
		}
		known := uint64(0)
		for _, row := range withPrefix(rows, s.Rows[i].Log) {
			known = max(known, row.Counter)
		}
		m.owe(s.Rows[i].Log, known)
	}
}
