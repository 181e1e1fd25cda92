package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
)

// MaxRunBytes is the size of the longest encoded run that DecodeRun takes: a
// full segment of the largest entries with what the encoding adds.
const MaxRunBytes = MaxSegmentBytes + SegmentCounters*8

// ErrRun is wrapped by errors about bytes that are not a run.
var ErrRun = errors.New("not a valid run of entries")

// MaxChunkBytes is the longest run that is packed as one, before compression.
const MaxChunkBytes = 256 << 10

// Run is entries of one log packed for the way and for the disk: what
// [AppendRun] writes, compressed or not. Package packing makes runs and opens
// them. The zero Run holds no entries.
type Run struct {
	// Packed is the size before compression if Data is compressed, otherwise 0.
	Packed uint32
	Data   []byte
}

// Size is the run's size before compression, in bytes: what it costs in
// credit, and in memory once it is opened.
func (r Run) Size() int {
	if r.Packed != 0 {
		return int(r.Packed)
	}
	return len(r.Data)
}

// Fields visits the fields.
func (r *Run) Fields(v *message.Visitor) {
	v.Uint32(1, &r.Packed)
	v.Bytes(2, &r.Data, MaxChunkBytes)
}

// Clone returns a copy that shares no memory with r.
func (r Run) Clone() Run {
	r.Data = bytes.Clone(r.Data)
	return r
}

// PackedRun is a run with the number of entries that it holds.
type PackedRun struct {
	Run
	Count int
}

// AppendRun appends a run, entries of one log in ascending order of counters,
// to b. It is the form in which entries travel:
//
//	format, 1
//	for each entry:
//	  uvarint  counter, less that of the entry before
//	  uvarint  length of the envelope × 2, plus 1 for a stub
//	           envelope
//	  uvarint  length of the body (not in stubs)
//	           body, or in a stub its hash (32)
func AppendRun(b []byte, entries []Entry) []byte {
	b = append(b, 1)
	last := uint64(0)
	for i := range entries {
		e := &entries[i]
		b = binary.AppendUvarint(b, e.Counter-last)
		last = e.Counter
		n := uint64(len(e.Envelope)) << 1
		if e.Stub {
			b = binary.AppendUvarint(b, n|1)
			b = append(b, e.Envelope...)
		} else {
			b = binary.AppendUvarint(b, n)
			b = append(b, e.Envelope...)
			b = binary.AppendUvarint(b, uint64(len(e.Body)))
		}
		b = append(b, e.Body...)
	}
	return b
}

// RunSize is how many bytes [AppendRun] appends.
func RunSize(entries []Entry) int {
	size, last := 1, uint64(0)
	for i := range entries {
		e := &entries[i]
		size += e.Size() + uvarintSize(e.Counter-last) + uvarintSize(uint64(len(e.Envelope))<<1)
		if !e.Stub {
			size += uvarintSize(uint64(len(e.Body)))
		}
		last = e.Counter
	}
	return size
}

func uvarintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// DecodeRun reads a run of at most SegmentCounters entries and
// MaxSegmentBytes of envelopes and bodies, and appends its entries to before.
// They alias b. Envelopes are bounded but not decoded.
func DecodeRun(before []Entry, b []byte) ([]Entry, error) {
	if len(b) == 0 || b[0] != 1 {
		return nil, fmt.Errorf("unknown format: %w", ErrRun)
	}
	if len(b) > MaxRunBytes {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(b), MaxRunBytes, ErrRun)
	}
	b = b[1:]
	entries := before
	if entries == nil {
		entries = make([]Entry, 0, min(SegmentCounters, len(b)/(envelopeFixed+4)+1))
	}
	last, size := uint64(0), 0
	take := func(n uint64) []byte {
		p := b[:n:n]
		b = b[n:]
		return p
	}
	for len(b) > 0 {
		delta, ok := uvarint(&b)
		if !ok || delta == 0 || last+delta < last {
			return nil, fmt.Errorf("counter after %d: %w", last, ErrRun)
		}
		last += delta
		if len(entries)-len(before) == SegmentCounters {
			return nil, fmt.Errorf("more than %d entries: %w", SegmentCounters, ErrRun)
		}
		e := Entry{Counter: last}
		n, ok := uvarint(&b)
		if !ok || n>>1 > MaxEnvelopeBytes || n>>1 > uint64(len(b)) {
			return nil, fmt.Errorf("envelope of entry %d: %w", last, ErrRun)
		}
		e.Stub = n&1 == 1
		e.Envelope = take(n >> 1)
		if e.Stub {
			n = identity.HashBytes
		} else if n, ok = uvarint(&b); !ok || n > MaxBodyBytes {
			return nil, fmt.Errorf("body of entry %d: %w", last, ErrRun)
		}
		if n > uint64(len(b)) {
			return nil, fmt.Errorf("entry %d is cut short: %w", last, ErrRun)
		}
		e.Body = take(n)
		if size += e.Size(); size > MaxSegmentBytes {
			return nil, fmt.Errorf("more than %d bytes: %w", MaxSegmentBytes, ErrRun)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// uvarint takes a varint in its shortest form from the front of b.
func uvarint(b *[]byte) (uint64, bool) {
	v, n := binary.Uvarint(*b)
	if n <= 0 || n > 1 && (*b)[n-1] == 0 {
		return 0, false
	}
	*b = (*b)[n:]
	return v, true
}
