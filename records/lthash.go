package records

import (
	"encoding/binary"

	"github.com/classmesh/classmesh/records/identity"
)

var (
	labelExpand   = identity.NewLabel("classmesh 1 lthash")
	labelChecksum = identity.NewLabel("classmesh 1 segment checksum")
)

// SumBytes is the size of a Sum: 1024 words of 16 bits.
const SumBytes = 2048

// Sum is the homomorphic hash of a set of entries: LtHash16, in which each
// leaf is expanded to 1024 little-endian 16-bit words by BLAKE3's extendable
// output and the words are added modulo 2¹⁶ (Lewi, Kim, Maykov, Weis:
// Securing Update Propagation with Homomorphic Hashing, 2019). The zero Sum
// is that of the empty set. Elements must be unique, which leaves are, since
// they contain log and counter.
type Sum [SumBytes]byte

// Add puts the entry with the given leaf into the set.
func (s *Sum) Add(leaf identity.Hash) {
	var x Sum
	labelExpand.Expand(leaf[:], x[:])
	s.Merge(&x)
}

// Remove takes the entry with the given leaf out of the set.
func (s *Sum) Remove(leaf identity.Hash) {
	var x Sum
	labelExpand.Expand(leaf[:], x[:])
	s.Subtract(&x)
}

// Four words are added at once in 64 bits: the top bit of each is added
// without carry, so that nothing runs over into the next word.
const (
	lowBits = 0x7fff_7fff_7fff_7fff
	topBits = 0x8000_8000_8000_8000
)

// Merge adds the set of t, which must be disjoint, to that of s.
func (s *Sum) Merge(t *Sum) {
	for i := 0; i < SumBytes; i += 8 {
		a, b := binary.LittleEndian.Uint64(s[i:]), binary.LittleEndian.Uint64(t[i:])
		binary.LittleEndian.PutUint64(s[i:], ((a&lowBits)+(b&lowBits))^((a^b)&topBits))
	}
}

// Subtract takes the set of t, which must be a subset, out of that of s.
func (s *Sum) Subtract(t *Sum) {
	for i := 0; i < SumBytes; i += 8 {
		a, b := binary.LittleEndian.Uint64(s[i:]), binary.LittleEndian.Uint64(t[i:])
		binary.LittleEndian.PutUint64(s[i:], ((a|topBits)-(b&lowBits))^((a^^b)&topBits))
	}
}

// Checksum is the 32-byte hash of the sum.
func (s *Sum) Checksum() identity.Hash { return labelChecksum.Hash(s[:]) }
