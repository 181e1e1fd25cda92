package records

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/classmesh/classmesh/records/identity"
)

var (
	labelLeaf = identity.NewLabel("classmesh 1 leaf")
	labelBody = identity.NewLabel("classmesh 1 body")
)

// ErrEntry is wrapped by errors about entries that break a limit or a layout.
var ErrEntry = errors.New("not a valid entry")

// Entry is one record of a log as it is stored and relayed: immutable, byte
// for byte as its author wrote it.
type Entry struct {
	Counter  uint64 // position in the log, from 1
	Envelope []byte // encoded [Envelope]
	// Body is the record's protobuf, at most MaxBodyBytes. In a stub, what is
	// left of an erased entry, it is the 32-byte hash of the body.
	Body []byte
	Stub bool
}

// Size is what the entry counts against the size of a segment.
func (e *Entry) Size() int { return len(e.Envelope) + len(e.Body) }

// Leaf is the hash by which an entry enters its log's fingerprint:
// hash of (log, counter, length of the envelope, envelope, hash of the body).
func (e *Entry) Leaf(log identity.LogID) identity.Hash {
	var buf [32 + 8 + 2 + MaxEnvelopeBytes + 32]byte
	b := append(buf[:0], log[:]...)
	b = binary.BigEndian.AppendUint64(b, e.Counter)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Envelope)))
	b = append(b, e.Envelope...)
	if e.Stub {
		b = append(b, e.Body...)
	} else {
		h := labelBody.Hash(e.Body)
		b = append(b, h[:]...)
	}
	return labelLeaf.Hash(b)
}

// ToStub returns the entry as a stub; its leaf is the same.
func (e Entry) ToStub() Entry {
	if !e.Stub {
		h := labelBody.Hash(e.Body)
		e.Body, e.Stub = h[:], true
	}
	return e
}

// Clone returns a copy that shares no memory with e.
func (e Entry) Clone() Entry {
	b := make([]byte, 0, e.Size())
	b = append(append(b, e.Envelope...), e.Body...)
	n := len(e.Envelope)
	e.Envelope, e.Body = b[:n:n], b[n:]
	return e
}

// check reports whether the entry keeps the limits, and returns its envelope.
func (e *Entry) check() (Envelope, error) {
	switch {
	case e.Counter == 0:
		return Envelope{}, fmt.Errorf("counter 0: %w", ErrEntry)
	case e.Stub && len(e.Body) != identity.HashBytes:
		return Envelope{}, fmt.Errorf("stub %d with a hash of %d bytes: %w", e.Counter, len(e.Body), ErrEntry)
	case len(e.Body) > MaxBodyBytes:
		return Envelope{}, fmt.Errorf("entry %d with a body of %d bytes, at most %d: %w", e.Counter, len(e.Body), MaxBodyBytes, ErrEntry)
	}
	env, err := DecodeEnvelope(e.Envelope)
	if err != nil {
		return env, fmt.Errorf("entry %d: %w", e.Counter, err)
	}
	return env, nil
}
