package wire

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
)

// Limits of vectors.
const (
	// MaxVectorRows is how many rows a vector may have in all its messages.
	MaxVectorRows = records.MaxVectorRows

	rowsPerMessage = 2048 // the longest rows fit
	maxRowBytes    = 1 + 32 + 8 + 2*binary.MaxVarintLen64 + 32
)

// errRows is why rows of a vector are refused.
var errRows = errors.New("not valid rows of a vector")

// Sizes of names that are cut short.
const (
	shortLog   = 8
	shortStart = 4
	shortName  = shortLog + shortStart
	fullName   = 32 + 8
)

// Name is a branch's name, perhaps cut short: then the rest of Log and Start
// is zero.
type Name struct {
	records.BranchRef
	Short bool
}

// FullName returns ref as a name in full.
func FullName(ref records.BranchRef) Name { return Name{BranchRef: ref} }

// ShortName returns ref cut short.
func ShortName(ref records.BranchRef) Name {
	n := Name{Short: true}
	copy(n.Log[:shortLog], ref.Log[:])
	copy(n.Start[:shortStart], ref.Start[:])
	return n
}

// ShownStart returns as much of the start's ID as the name shows.
func (n *Name) ShownStart() []byte {
	if n.Short {
		return n.Start[:shortStart]
	}
	return n.Start[:]
}

// IsLog reports whether the name can be of a branch of log.
func (n Name) IsLog(log identity.LogID) bool {
	if n.Short {
		return bytes.Equal(n.Log[:shortLog], log[:shortLog])
	}
	return n.Log == log
}

// Is reports whether the name can be ref's.
func (n Name) Is(ref records.BranchRef) bool {
	if n.Short {
		return n.IsLog(ref.Log) && bytes.Equal(n.Start[:shortStart], ref.Start[:shortStart])
	}
	return n.BranchRef == ref
}

// Compare orders names by log and start.
func (n Name) Compare(o Name) int {
	return cmp.Or(n.Log.Compare(o.Log), bytes.Compare(n.Start[:], o.Start[:]))
}

func (n Name) append(b []byte) []byte {
	if n.Short {
		return append(append(b, n.Log[:shortLog]...), n.Start[:shortStart]...)
	}
	return append(append(b, n.Log[:]...), n.Start[:]...)
}

// decodeName takes a name from the front of b, which must be long enough.
func decodeName(b []byte, short bool) (n Name, rest []byte) {
	n.Short = short
	log, start := n.Log[:], n.Start[:]
	if short {
		log, start = log[:shortLog], start[:shortStart]
	}
	b = b[copy(log, b):]
	return n, b[copy(start, b):]
}

// VectorRow says how much of a branch a side holds.
type VectorRow struct {
	Name
	Lane    identity.Lane
	Counter uint64 // what it holds completely, or 0
	// Staged, if not 0, is the counter of the head of which it has segments
	// staged; it is above Counter.
	Staged uint64
	// Fingerprint is that of the log at Counter in a vector in full, otherwise
	// zero.
	Fingerprint identity.Hash
}

const (
	rowLane        = 0x07
	rowFull        = 0x08
	rowStaged      = 0x10
	rowFingerprint = 0x20
	rowKnown       = rowLane | rowFull | rowStaged | rowFingerprint
)

func (r *VectorRow) append(b []byte) []byte {
	flags := byte(r.Lane)
	if !r.Short {
		flags |= rowFull
	}
	if r.Staged > r.Counter {
		flags |= rowStaged
	}
	if r.Fingerprint != (identity.Hash{}) {
		flags |= rowFingerprint
	}
	b = r.Name.append(append(b, flags))
	b = binary.AppendUvarint(b, r.Counter)
	if r.Staged > r.Counter {
		b = binary.AppendUvarint(b, r.Staged-r.Counter)
	}
	if r.Fingerprint != (identity.Hash{}) {
		b = append(b, r.Fingerprint[:]...)
	}
	return b
}

func appendRows(b []byte, rows []VectorRow) []byte {
	for i := range rows {
		b = rows[i].append(b)
	}
	return b
}

func decodeRows(b []byte) ([]VectorRow, error) {
	const shortest = 1 + shortName + 1
	rows := make([]VectorRow, 0, min(rowsPerMessage, len(b)/shortest))
	for len(b) > 0 {
		if len(rows) == rowsPerMessage {
			return nil, fmt.Errorf("more than %d: %w", rowsPerMessage, errRows)
		}
		flags := b[0]
		b = b[1:]
		size := fullName
		if flags&rowFull == 0 {
			size = shortName
		}
		if flags&^byte(rowKnown) != 0 || len(b) < size {
			return nil, fmt.Errorf("row %d, flags %#x: %w", len(rows), flags, errRows)
		}
		r := VectorRow{Lane: identity.Lane(flags & rowLane)}
		r.Name, b = decodeName(b, flags&rowFull == 0)
		var ok bool
		if r.Counter, ok = takeUvarint(&b); !ok {
			return nil, fmt.Errorf("counter of row %d: %w", len(rows), errRows)
		}
		if flags&rowStaged != 0 {
			above, ok := takeUvarint(&b)
			if r.Staged = r.Counter + above; !ok || r.Staged <= r.Counter {
				return nil, fmt.Errorf("staged counter of row %d: %w", len(rows), errRows)
			}
		}
		if flags&rowFingerprint != 0 {
			if len(b) < len(r.Fingerprint) {
				return nil, fmt.Errorf("fingerprint of row %d: %w", len(rows), errRows)
			}
			b = b[copy(r.Fingerprint[:], b):]
			if r.Fingerprint == (identity.Hash{}) {
				return nil, fmt.Errorf("fingerprint of row %d is zero: %w", len(rows), errRows)
			}
		}
		if n := len(rows); n > 0 && rows[n-1].Compare(r.Name) >= 0 {
			return nil, fmt.Errorf("row %d is out of order: %w", n, errRows)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// takeUvarint takes a varint in its shortest form from the front of b.
func takeUvarint(b *[]byte) (uint64, bool) {
	v, n := binary.Uvarint(*b)
	if n <= 0 || n > 1 && (*b)[n-1] == 0 {
		return 0, false
	}
	*b = (*b)[n:]
	return v, true
}

// Vector is a part of what a side holds, of every log, or of every log of some
// buckets.
type Vector struct {
	vectorRows
	// Full says that names are in full and fingerprints are there: both
	// sides lack nothing by their short vectors and differ all the same.
	Full bool
	More bool // another part follows
	// Buckets, in the last part of an answer to VectorSums, are those of which
	// all rows are told.
	Buckets Buckets

	buckets []byte
}

// vectorRows keeps rows in both forms.
type vectorRows struct {
	Rows []VectorRow // at most 2048, ascending

	rows []byte
}

func (r *vectorRows) seal() { r.rows = appendRows(nil, r.Rows) }
func (r *vectorRows) open() (err error) {
	r.Rows, err = decodeRows(r.rows)
	return err
}

// NewVector cuts ascending rows into messages.
func NewVector(rows []VectorRow, full bool) []Message {
	var parts []Message
	cutRows(rows, func(part []VectorRow, more bool) {
		parts = append(parts, &Vector{vectorRows: vectorRows{Rows: part}, Full: full, More: more})
	})
	return parts
}

// NewVectorOf cuts the ascending rows of some buckets into messages.
func NewVectorOf(rows []VectorRow, b Buckets) []Message {
	parts := NewVector(rows, false)
	parts[len(parts)-1].(*Vector).Buckets = b
	return parts
}

// cutRows gives f at least one part.
func cutRows(rows []VectorRow, f func(part []VectorRow, more bool)) {
	for {
		n := min(len(rows), rowsPerMessage)
		f(rows[:n], n < len(rows))
		if rows = rows[n:]; len(rows) == 0 {
			return
		}
	}
}

// Type returns TypeVector.
func (*Vector) Type() Type { return TypeVector }

// Fields visits the fields.
func (m *Vector) Fields(v *message.Visitor) {
	v.Bytes(1, &m.rows, rowsPerMessage*maxRowBytes)
	v.Bool(2, &m.Full)
	v.Bool(3, &m.More)
	v.Bytes(4, &m.buckets, MaxSums/8)
}

func (m *Vector) seal() {
	m.vectorRows.seal()
	m.buckets = m.Buckets
}

func (m *Vector) open() error {
	if n := len(m.buckets); n&(n-1) != 0 || n > 0 && m.More {
		return fmt.Errorf("%d bytes of buckets, with more to follow: %t", n, m.More)
	}
	m.Buckets = m.buckets
	return m.vectorRows.open()
}

// VectorReply answers a Vector with the rows of its sender in which the two
// differ: those of logs that the other did not list, and those with another
// counter, start, staging or fingerprint.
type VectorReply struct {
	vectorRows
	More bool // another part follows
}

// NewVectorReply cuts ascending rows into messages.
func NewVectorReply(rows []VectorRow) []Message {
	var parts []Message
	cutRows(rows, func(part []VectorRow, more bool) {
		parts = append(parts, &VectorReply{vectorRows: vectorRows{Rows: part}, More: more})
	})
	return parts
}

// Type returns TypeVectorReply.
func (*VectorReply) Type() Type { return TypeVectorReply }

// Fields visits the fields.
func (m *VectorReply) Fields(v *message.Visitor) {
	v.Bytes(1, &m.rows, rowsPerMessage*maxRowBytes)
	v.Bool(2, &m.More)
}

// Have tells rows of the sender's vector that have changed and that it did not
// push.
type Have struct{ vectorRows }

// NewHave cuts ascending rows into messages.
func NewHave(rows []VectorRow) []Message {
	var parts []Message
	cutRows(rows, func(part []VectorRow, _ bool) {
		parts = append(parts, &Have{vectorRows{Rows: part}})
	})
	return parts
}

// Type returns TypeHave.
func (*Have) Type() Type { return TypeHave }

// Fields visits the fields.
func (m *Have) Fields(v *message.Visitor) { v.Bytes(1, &m.rows, rowsPerMessage*maxRowBytes) }

// Safe is a part of what the sender knows to be safe with the coordinator: a
// row for each log of which it has a receipt, with the counter up to which that
// reaches. It is said when both sides hold the same and differ in this.
type Safe struct {
	vectorRows
	More bool // another part follows
}

// NewSafe cuts ascending rows into messages.
func NewSafe(rows []VectorRow) []Message {
	var parts []Message
	cutRows(rows, func(part []VectorRow, more bool) {
		parts = append(parts, &Safe{vectorRows: vectorRows{Rows: part}, More: more})
	})
	return parts
}

// Type returns TypeSafe.
func (*Safe) Type() Type { return TypeSafe }

// Fields visits the fields.
func (m *Safe) Fields(v *message.Visitor) {
	v.Bytes(1, &m.rows, rowsPerMessage*maxRowBytes)
	v.Bool(2, &m.More)
}
