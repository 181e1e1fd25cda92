package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
)

var (
	labelHead     = identity.NewLabel("classmesh 1 head")
	labelHeadHash = identity.NewLabel("classmesh 1 head hash")
	labelStarts   = identity.NewLabel("classmesh 1 starts")
)

// ErrHead is wrapped by errors about heads that are malformed or not signed
// by their log's author.
var ErrHead = errors.New("not a valid head")

// Start is one start of an author's process, as seen in one log: the first
// counter that it wrote there, and a random number that no other start has.
type Start struct {
	First uint64
	ID    identity.StartID
}

// StartBytes is the size of an encoded Start.
const StartBytes = 8 + 8

// shownStarts is how many of the newest starts a head shows.
const shownStarts = 4

// StartList is the list of all starts of a log, oldest first. Its hash is a
// chain, hash of (hash of the list without the last, last), so that a list is
// extended by the starts that a head shows.
type StartList []Start

// Hash returns the list's hash; that of the empty list is zero.
func (l StartList) Hash() identity.Hash { return extend(identity.Hash{}, l) }

func extend(h identity.Hash, starts []Start) identity.Hash {
	var b [identity.HashBytes + StartBytes]byte
	for _, s := range starts {
		copy(b[:], h[:])
		binary.BigEndian.PutUint64(b[32:], s.First)
		copy(b[40:], s.ID[:])
		h = labelStarts.Hash(b[:])
	}
	return h
}

// AppendStarts appends the encoding of starts, first counter (8) and random
// number (8) each, to b.
func AppendStarts(b []byte, starts []Start) []byte {
	for _, s := range starts {
		b = binary.BigEndian.AppendUint64(b, s.First)
		b = append(b, s.ID[:]...)
	}
	return b
}

// DecodeStarts reads what AppendStarts wrote; first counters must rise.
func DecodeStarts(b []byte) ([]Start, error) {
	if len(b)%StartBytes != 0 {
		return nil, fmt.Errorf("starts of %d bytes: %w", len(b), ErrHead)
	}
	list := make([]Start, len(b)/StartBytes)
	last := uint64(0)
	for i := range list {
		list[i].First = binary.BigEndian.Uint64(b)
		copy(list[i].ID[:], b[8:])
		b = b[StartBytes:]
		if list[i].First <= last {
			return nil, fmt.Errorf("start %d at counter %d after %d: %w", i, list[i].First, last, ErrHead)
		}
		last = list[i].First
	}
	return list, nil
}

// Head is what an author signs after each commit: exactly which entries of
// the log are live at Counter. The encoding is fixed:
//
//	  0  format, 1
//	  1  log (32)
//	 33  counter, big-endian (8)
//	 41  log fingerprint (32)
//	 73  hash of the whole start list (32)
//	105  length of the start list, big-endian (4)
//	109  largest clock in the log, big-endian (8)
//	117  the last four starts, or all if there are fewer (16 each)
//	     Ed25519 by the author key over all before (64)
type Head struct {
	Log         identity.LogID
	Counter     uint64
	Fingerprint identity.Hash
	StartsHash  identity.Hash
	StartCount  uint32
	Clock       Clock
	Starts      []Start // the newest four, oldest of them first
	Signature   identity.Signature
}

const headFixed = 117

// MaxHeadBytes is the size of the longest encoded head.
const MaxHeadBytes = headFixed + shownStarts*StartBytes + identity.SignatureBytes

// SetStarts puts the start list into the head.
func (h *Head) SetStarts(l StartList) { h.SetStartsTail(l.Hash(), len(l), l) }

// SetStartsTail puts a start list into the head of which only hash, length
// and the newest four (or more) are at hand.
func (h *Head) SetStartsTail(hash identity.Hash, count int, tail []Start) {
	h.StartsHash = hash
	h.StartCount = uint32(count)
	h.Starts = slices.Clone(tail[max(0, len(tail)-shownStarts):])
}

// Start returns the newest start, which names the branch the head stands on.
func (h *Head) Start() identity.StartID {
	if len(h.Starts) == 0 {
		return identity.StartID{}
	}
	return h.Starts[len(h.Starts)-1].ID
}

// IsZero reports whether h is no head at all.
func (h *Head) IsZero() bool { return h.Counter == 0 }

// Sign signs the head.
func (h *Head) Sign(key identity.AuthorKey) { h.Signature = key.Sign(&labelHead, h.signed()) }

// Verify reports whether author signed the head, as an error wrapping
// [ErrHead].
func (h *Head) Verify(author identity.AuthorPublic) error {
	if !author.Verify(&labelHead, h.signed(), h.Signature) {
		return fmt.Errorf("head %d of %s is not signed by its author: %w", h.Counter, h.Log.Short(), ErrHead)
	}
	return nil
}

// Hash names the head, in pushes.
func (h *Head) Hash() identity.Hash { return labelHeadHash.Hash(h.signed()) }

// Encode returns the fixed layout.
func (h *Head) Encode() []byte { return append(h.signed(), h.Signature[:]...) }

func (h *Head) signed() []byte {
	b := make([]byte, 0, MaxHeadBytes)
	b = append(b, 1)
	b = append(b, h.Log[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Counter)
	b = append(b, h.Fingerprint[:]...)
	b = append(b, h.StartsHash[:]...)
	b = binary.BigEndian.AppendUint32(b, h.StartCount)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Clock))
	return AppendStarts(b, h.Starts)
}

// DecodeHead reads the fixed layout. It does not verify the signature.
func DecodeHead(b []byte) (Head, error) {
	var h Head
	starts := len(b) - headFixed - identity.SignatureBytes
	if starts < StartBytes || starts > shownStarts*StartBytes {
		return h, fmt.Errorf("%d bytes: %w", len(b), ErrHead)
	}
	if b[0] != 1 {
		return h, fmt.Errorf("format %d, this version reads 1: %w", b[0], ErrHead)
	}
	copy(h.Log[:], b[1:])
	h.Counter = binary.BigEndian.Uint64(b[33:])
	copy(h.Fingerprint[:], b[41:])
	copy(h.StartsHash[:], b[73:])
	h.StartCount = binary.BigEndian.Uint32(b[105:])
	h.Clock = Clock(binary.BigEndian.Uint64(b[109:]))
	var err error
	if h.Starts, err = DecodeStarts(b[headFixed : headFixed+starts]); err != nil {
		return h, err
	}
	copy(h.Signature[:], b[headFixed+starts:])
	switch n := len(h.Starts); {
	case n != min(int(h.StartCount), shownStarts):
		return h, fmt.Errorf("%d starts shown of %d: %w", n, h.StartCount, ErrHead)
	case h.Starts[n-1].First > h.Counter:
		return h, fmt.Errorf("newest start at %d after counter %d: %w", h.Starts[n-1].First, h.Counter, ErrHead)
	}
	return h, nil
}

// Equal reports whether two heads are the same, signature included.
func (h *Head) Equal(g *Head) bool { return bytes.Equal(h.Encode(), g.Encode()) }

// Relation says how one head of a log stands to another.
type Relation int

// The relations.
const (
	Unrelated Relation = iota // starts are missing: fetch them, then ask again
	Same                      // the same state
	Continues                 // the other is an earlier state of this
	Behind                    // this is an earlier state of the other
	Forked                    // neither: two continuations of one log
)

// Relate says how h, whose full start list is hs, stands to g, whose full
// start list is gs. A nil list means that it is not known; then the starts
// that the head shows must do.
func Relate(h *Head, hs StartList, g *Head, gs StartList) Relation {
	switch {
	case h.StartCount < g.StartCount:
		return opposite(Relate(g, gs, h, hs))
	case h.StartCount == g.StartCount:
		if h.StartsHash != g.StartsHash {
			return Forked
		}
		switch {
		case h.Counter > g.Counter:
			return Continues
		case h.Counter < g.Counter:
			return Behind
		case h.Fingerprint == g.Fingerprint:
			return Same
		}
		return Forked
	}
	// h has starts that g does not know.
	added := int(h.StartCount - g.StartCount)
	var tail []Start
	switch {
	case added <= len(h.Starts):
		tail = h.Starts[len(h.Starts)-added:]
	case len(hs) == int(h.StartCount):
		tail = hs[g.StartCount:]
	default:
		return Unrelated
	}
	if extend(g.StartsHash, tail) != h.StartsHash || tail[0].First <= g.Counter {
		return Forked
	}
	return Continues
}

func opposite(r Relation) Relation {
	switch r {
	case Continues:
		return Behind
	case Behind:
		return Continues
	}
	return r
}
