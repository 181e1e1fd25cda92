package packing

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records"
)

// formatColumns is the first byte of entries in columns; [records.AppendRun] writes
// 1 there.
const formatColumns = 2

// The columns that every run has. Behind them come those of the bodies' fields, one
// for each tag of each kind, in the order in which they first occur.
const (
	columnCounter = iota // less that of the entry before, less 1
	columnShape          // number of the shape, from 0
	columnClock          // zigzag difference to the entry before
	columnWall           // the same
	columnLearner        // code of a user
	columnActor          // 0: who the learner is; otherwise code of a user, plus 1
	columnUser           // users (16 each)
	columnKeyCode        // code of a key
	columnKey            // keys, each with its length (1)
	columnRest           // origins; bodies' hashes of stubs; envelopes that stand whole, each with its length
	fixedColumns
)

// field columns of numbers and of fixed size are one stream; those of byte strings
// are codes and, behind them, the strings with their lengths.
const (
	streamCodes = iota
	streamValues
	streams
)

// wholeKind stands for the kind of an entry whose envelope is not split.
const wholeKind = 1 << 16

// columnName names the column of a field.
func columnName(s *shape, tag uint64) uint64 {
	kind := uint64(wholeKind)
	if s.flags&shapeWholeEnvelope == 0 {
		kind = uint64(binary.BigEndian.Uint16(s.head[2:]))
	}
	return kind<<32 | tag
}

func zigzag(d uint64) uint64   { return d<<1 ^ uint64(int64(d)>>63) }
func unzigzag(z uint64) uint64 { return z>>1 ^ -(z & 1) }

// What shapes may take in memory: entries that differ more are left in rows.
const (
	mostShapes = 256
	mostParts  = 4 * mostShapes
)

// AppendEntries appends entries of ascending counters to b, to be compressed: column
// by column ([DecodeColumns]) or, where that is not shorter, in rows as
// [records.AppendRun] does. The first byte tells which, and that columns are shorter than
// [records.RunSize].
func AppendEntries(b []byte, entries []records.Entry) []byte {
	w := writers.Get().(*columnWriter)
	defer writers.Put(w)
	defer w.reset()
	for i := range entries {
		if w.add(&entries[i]); !w.fits() {
			return records.AppendRun(b, entries)
		}
	}
	at := len(b)
	if b = w.append(b, len(entries)); len(b)-at >= records.RunSize(entries) {
		b = records.AppendRun(b[:at], entries)
	}
	return b
}

// DecodeEntries is the inverse of [AppendEntries], for entries of at most limit bytes; see
// [DecodeColumns] and [records.DecodeRun].
func DecodeEntries(before []records.Entry, b []byte, limit int) ([]records.Entry, error) {
	if len(b) > 0 && b[0] == formatColumns {
		return DecodeColumns(before, b, limit)
	}
	return records.DecodeRun(before, b)
}

// DecodeColumns appends entries to before that stand in columns: what stands in the
// same place of entries that look alike stands together, differences in place of
// counters and times, and what repeats as its number. Compressed that
// is a third shorter than one entry after the other. Numbers are varints in their
// shortest form.
//
//	format, 2
//	number of entries, bytes of their envelopes and bodies
//	number of shapes, the shapes (shape.go), in the order of their first entries
//	length of each column (of fields with strings: of both its streams), as
//	far as the shapes tell which there are
//	the columns
//
// A string's code is 0 if it is new: it stands among the strings, and gets the next
// number, from 1. So all that is written is used, and in one order only.
//
// The entries are at most [records.SegmentCounters], of at most [records.MaxSegmentBytes]
// in all and no more than limit, for which memory is taken at once; they share none
// with b. Like [records.DecodeRun] it bounds envelopes and bodies and does not look
// into them. Errors wrap [records.ErrRun].
func DecodeColumns(before []records.Entry, b []byte, limit int) ([]records.Entry, error) {
	bad := func(what string) ([]records.Entry, error) {
		return nil, fmt.Errorf("columns: %s: %w", what, records.ErrRun)
	}
	if len(b) == 0 || b[0] != formatColumns {
		return bad("unknown format")
	}
	in := stream{bytes: b, at: 1}
	n, ok := in.number()
	if !ok || n == 0 || n > records.SegmentCounters || n > uint64(in.left()) {
		return bad("number of entries")
	}
	size, ok := in.number()
	if !ok || size > uint64(min(limit, records.MaxSegmentBytes)) {
		return bad("size of the entries")
	}
	r := columnReader{out: make([]byte, size)}
	if !r.open(in, n) {
		return bad("shapes and lengths")
	}
	entries := slices.Grow(before, int(n))[:len(before)+int(n)]
	counter := uint64(0)
	for i := len(before); i < len(entries); i++ {
		d, ok := r.fixed[columnCounter].number()
		if !ok || counter+d+1 <= counter {
			return bad(fmt.Sprintf("counter after %d", counter))
		}
		counter += d + 1
		entries[i].Counter = counter
		if !r.entry(&entries[i]) {
			return bad(fmt.Sprintf("entry %d", counter))
		}
	}
	if !r.done() || r.at != int(size) {
		return bad("more than belongs to the entries")
	}
	return entries, nil
}
