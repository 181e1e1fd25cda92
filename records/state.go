package records

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

var (
	labelZone   = identity.NewLabel("classmesh 1 zone fingerprint")
	labelBucket = identity.NewLabel("classmesh 1 bucket of a vector")
)

// MaxVectorRows is how many rows of a vector are told.
const MaxVectorRows = 1 << 16

// State is what a replica holds, as it tells others. It must not be changed. It is
// safe for concurrent use.
type State struct {
	Zone        identity.ZoneID
	Epoch       roster.Epoch
	Fingerprint identity.Hash
	Rows        []VectorRow // sorted by log

	mu   sync.Mutex // guards sums
	sums []uint64   // the last that Sums has returned
}

// The text of which the fingerprint is the hash: the epoch, then a row for each log
// with a head.
const (
	zoneTextFixed = 4 + 8
	zoneTextRow   = 2*identity.HashBytes + 8
)

func appendZoneRow(b []byte, h *Head) []byte {
	b = binary.BigEndian.AppendUint64(append(b, h.Log[:]...), h.Counter)
	return append(b, h.Fingerprint[:]...)
}

func (br *branch) row() VectorRow {
	return VectorRow{BranchRef: br.ref(), Lane: br.Lane, Counter: br.Head.Counter, Staged: br.Target.Counter, Receipted: br.Receipted}
}

// State returns what is held: hash of (roster epoch, for each log with a head,
// sorted: log, counter, log fingerprint), and the vector. After a change it costs
// a copy of the rows, and what has changed.
func (r *Replica) State() *State {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == nil || !r.renewState() {
		r.makeState()
	}
	clear(r.stale)
	return r.state
}

// makeState makes the state of all branches. r.mu is held.
func (r *Replica) makeState() {
	if len(r.order) != len(r.logs) { // logs do not go away
		logs := slices.AppendSeq(make([]identity.LogID, 0, len(r.logs)), maps.Keys(r.logs))
		slices.SortFunc(logs, identity.LogID.Compare)
		r.order = slices.Grow(r.order[:0], len(logs))
		for _, log := range logs {
			r.order = append(r.order, r.logs[log])
		}
	}
	s := &State{Zone: r.zone, Epoch: r.Roster().Epoch, Rows: make([]VectorRow, 0, len(r.order))}
	text := slices.Grow(r.zoneText[:0], zoneTextFixed+len(r.order)*zoneTextRow)
	text = binary.BigEndian.AppendUint32(text, s.Epoch.Life)
	text = binary.BigEndian.AppendUint64(text, s.Epoch.Number)
	for _, slot := range r.order {
		br := r.branches[slot]
		if br.Head.IsZero() && br.Target.IsZero() {
			continue
		}
		s.Rows = append(s.Rows, br.row())
		if !br.Head.IsZero() {
			text = appendZoneRow(text, &br.Head)
		}
	}
	s.Fingerprint = labelZone.Hash(text)
	r.state, r.zoneText = s, text
}

// renewState makes the state of the last one and the branches that have changed
// since, and reports whether that could be done: there must be the same rows, and
// each of them have a head. r.mu is held.
func (r *Replica) renewState() bool {
	if len(r.stale) == 0 {
		return true
	}
	last := r.state
	if len(r.order) != len(r.logs) || len(r.zoneText) != zoneTextFixed+len(last.Rows)*zoneTextRow {
		return false
	}
	s := &State{Zone: last.Zone, Epoch: last.Epoch, Rows: slices.Clone(last.Rows)}
	for slot := range r.stale {
		br := r.branches[slot]
		if br == nil || br.aside || br.Head.IsZero() {
			return false
		}
		i, found := s.find(br.Head.Log)
		if !found {
			return false
		}
		s.Rows[i] = br.row()
		at := zoneTextFixed + i*zoneTextRow
		appendZoneRow(r.zoneText[at:at], &br.Head)
	}
	s.Fingerprint = labelZone.Hash(r.zoneText)
	s.takeSums(last)
	r.state = s
	return true
}

// find returns the place of the row of a log, or where it would be.
func (s *State) find(log identity.LogID) (int, bool) {
	return slices.BinarySearchFunc(s.Rows, log, func(r VectorRow, log identity.LogID) int { return r.Log.Compare(log) })
}

// Bucket returns in which of n buckets the rows of a log are: n is a power of
// two, and the first bits of the log's ID decide. So a name cut short is in the
// bucket of the name in full, and ascending rows are ascending by bucket.
func Bucket(log identity.LogID, n int) int {
	return int(uint64(binary.BigEndian.Uint32(log[:])) * uint64(n) >> 32)
}

// Sums returns a checksum for each of n buckets of the first [MaxVectorRows] rows:
// the first 8 bytes, as a big-endian number, of the labelled hash of its rows, of
// each
//
//	log 32, start 8, counter 8, staged 8 (0 unless above counter)
//
// It must not be changed. What the last call has returned is kept, and of the
// replica's next state only buckets with other rows are computed.
func (s *State) Sums(n int) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sums) != n {
		s.sums = make([]uint64, n)
		rows, room := s.told(), make([]byte, 0, bucketRoom)
		for bucket := range s.sums {
			s.sums[bucket], rows = bucketSum(room, rows, bucket, n)
		}
	}
	return s.sums
}

// told returns the rows that are told.
func (s *State) told() []VectorRow { return s.Rows[:min(len(s.Rows), MaxVectorRows)] }

// bucketRoom is room for the rows of one bucket, mostly.
const bucketRoom = 4 << 10

// bucketSum returns the checksum of a bucket, whose rows are the first of those
// given, and the rows that follow. What is hashed is written to room.
func bucketSum(room []byte, rows []VectorRow, bucket, n int) (uint64, []VectorRow) {
	text := room[:0]
	for len(rows) > 0 && Bucket(rows[0].Log, n) == bucket {
		r := &rows[0]
		staged := r.Staged
		if staged <= r.Counter {
			staged = 0
		}
		text = append(append(text, r.Log[:]...), r.Start[:]...)
		text = binary.BigEndian.AppendUint64(text, r.Counter)
		text = binary.BigEndian.AppendUint64(text, staged)
		rows = rows[1:]
	}
	sum := labelBucket.Hash(text)
	return binary.BigEndian.Uint64(sum[:]), rows
}

// takeSums takes the checksums of a state over that has the same logs.
func (s *State) takeSums(last *State) {
	last.mu.Lock()
	s.sums = slices.Clone(last.sums)
	last.mu.Unlock()
	n := len(s.sums)
	if n == 0 {
		return
	}
	rows, before, room := s.told(), last.told(), make([]byte, 0, bucketRoom)
	for i := 0; i < len(rows); i++ {
		if rows[i] == before[i] {
			continue
		}
		bucket := Bucket(rows[i].Log, n)
		for i > 0 && Bucket(rows[i-1].Log, n) == bucket {
			i--
		}
		var rest []VectorRow
		s.sums[bucket], rest = bucketSum(room, rows[i:], bucket, n)
		i = len(rows) - len(rest) - 1
	}
}
