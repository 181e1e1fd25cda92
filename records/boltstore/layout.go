package boltstore

import (
	"encoding/binary"
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// schema is the version of the layout that this program writes and reads.
const schema = 4

// bucket numbers a bucket; names gives the name that it has in the file.
type bucket int

const (
	meta bucket = iota
	values
	branches
	starts
	segments
	sums
	targets
	entries
	registers
	events
	drops
	receipts
	items
	runs
	holes
	blocks
	bucketCount
)

var names = [bucketCount]string{
	"meta", "values", "branches", "starts", "segments", "sums", "targets",
	"entries", "registers", "events", "drops", "receipts", "items",
	"runs", "holes", "blocks",
}

// since is the layout that brought a bucket; those from the beginning are left
// out.
var since = map[bucket]uint32{runs: 2, holes: 2, blocks: 4}

// ascending is how full pages are left in buckets to which keys are added in
// ascending order, mixed that in buckets to which they are added anywhere.
const (
	ascending = 0.95
	mixed     = 0.7
)

var fill = [bucketCount]float64{
	meta: ascending, values: mixed, branches: ascending, starts: ascending, segments: ascending, sums: ascending,
	targets: ascending, entries: ascending, registers: mixed, events: mixed, drops: mixed, receipts: mixed, items: mixed,
	runs: ascending, holes: mixed, blocks: ascending,
}

var keySchema = []byte("schema")

const (
	placeBytes   = 4 + 8
	segmentBytes = 4 + 4 + identity.HashBytes
)

func slotKey(b []byte, s records.Slot) []byte { return binary.BigEndian.AppendUint32(b, uint32(s)) }

// placeKey is the key of whatever stands at a counter of a branch.
func placeKey(b []byte, s records.Slot, counter uint64) []byte {
	return binary.BigEndian.AppendUint64(slotKey(b, s), counter)
}

// place is the inverse of placeKey.
func place(k []byte) (s records.Slot, counter uint64, ok bool) {
	if len(k) != placeBytes {
		return 0, 0, false
	}
	return records.Slot(binary.BigEndian.Uint32(k)), binary.BigEndian.Uint64(k[4:]), true
}

func itemKey(table string, key []byte) []byte {
	b := make([]byte, 0, 1+len(table)+len(key))
	return append(append(append(b, byte(len(table))), table...), key...)
}

// appendEntry appends the value under which an entry is stored.
func appendEntry(b []byte, e *records.Entry) []byte {
	b = append(b, boolByte(e.Stub), byte(len(e.Envelope)))
	return append(append(b, e.Envelope...), e.Body...)
}

// entryOverhead is what appendEntry adds to Entry.Size.
const entryOverhead = 2

// The length of an envelope is one byte.
const _ = uint8(records.MaxEnvelopeBytes)

// decodeEntry is the inverse of appendEntry. The entry aliases v.
func decodeEntry(counter uint64, v []byte) (records.Entry, error) {
	if len(v) < entryOverhead || v[0] > 1 || len(v) < entryOverhead+int(v[1]) {
		return records.Entry{}, fmt.Errorf("entry %d: %w", counter, records.ErrDamaged)
	}
	n := entryOverhead + int(v[1])
	return records.Entry{
		Counter: counter, Stub: v[0] == 1,
		Envelope: v[entryOverhead:n:n], Body: v[n:len(v):len(v)],
	}, nil
}

func appendSegment(b []byte, s *records.Segment) []byte {
	b = binary.BigEndian.AppendUint32(b, s.Live)
	b = binary.BigEndian.AppendUint32(b, s.Bytes)
	return append(b, s.Checksum[:]...)
}

// decodeSegment is the inverse of appendSegment; the sum is not in it.
func decodeSegment(first uint64, v []byte) (records.Segment, error) {
	s := records.Segment{First: first}
	if len(v) != segmentBytes {
		return s, fmt.Errorf("segment %d: %w", first, records.ErrDamaged)
	}
	s.Live = binary.BigEndian.Uint32(v)
	s.Bytes = binary.BigEndian.Uint32(v[4:])
	copy(s.Checksum[:], v[8:])
	return s, nil
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
