package wire

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
)

// MinSums and MaxSums bound how many checksums stand for a vector. Their number
// is a power of two.
const (
	MinSums = 8
	MaxSums = 1024

	sumBytes = 8
)

// VectorSums stands for a Vector where that would be long: a checksum for each
// bucket of its rows. The other side answers with a Vector of the buckets that
// differ.
type VectorSums struct {
	Sums []uint64 // by bucket

	sums []byte
}

// NewVectorSums returns the checksums of n buckets of what a state tells.
func NewVectorSums(s *records.State, n int) *VectorSums {
	return &VectorSums{Sums: slices.Clone(s.Sums(n))}
}

// Type returns TypeVectorSums.
func (*VectorSums) Type() Type { return TypeVectorSums }

// Fields visits the fields.
func (m *VectorSums) Fields(v *message.Visitor) { v.Bytes(1, &m.sums, MaxSums*sumBytes) }

func (m *VectorSums) seal() {
	m.sums = make([]byte, 0, len(m.Sums)*sumBytes)
	for _, sum := range m.Sums {
		m.sums = binary.BigEndian.AppendUint64(m.sums, sum)
	}
}

func (m *VectorSums) open() error {
	n := len(m.sums) / sumBytes
	if len(m.sums)%sumBytes != 0 || n < MinSums || n&(n-1) != 0 {
		return fmt.Errorf("checksums of %d bytes: not a power of two from %d on of %d bytes each", len(m.sums), MinSums, sumBytes)
	}
	m.Sums = make([]uint64, n)
	for i := range m.Sums {
		m.Sums[i] = binary.BigEndian.Uint64(m.sums[i*sumBytes:])
	}
	return nil
}

// Buckets is a set of the buckets of a vector, a bit for each, the lowest of
// each byte first; empty: none are told apart.
type Buckets []byte

// NewBuckets returns a set that can have any of n buckets and has none.
func NewBuckets(n int) Buckets { return make(Buckets, n/8) }

// Of reports whether the set is one of n buckets.
func (s Buckets) Of(n int) bool { return len(s) == n/8 }

// Has reports whether the rows of a log are in the set. In an empty set, which
// stands for the whole vector, they are.
func (s Buckets) Has(log identity.LogID) bool {
	if len(s) == 0 {
		return true
	}
	b := records.Bucket(log, len(s)*8)
	return s[b/8]>>(b%8)&1 == 1
}

// Add puts a bucket in the set.
func (s Buckets) Add(bucket int) { s[bucket/8] |= 1 << (bucket % 8) }
