package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/classmesh/classmesh/records/identity"
)

// Limits of an entry, in bytes.
const (
	MaxKeyBytes      = 128
	MaxEnvelopeBytes = envelopeFixed + 16 + 16 + 1 + MaxKeyBytes + originBytes
	MaxBodyBytes     = 16 << 10

	envelopeFixed = 20
	originBytes   = 32 + 8 + 32
)

// ErrEnvelope is wrapped by errors about bytes that are not an envelope.
var ErrEnvelope = errors.New("not a valid envelope")

// TimeQuality says how far a wall time can be trusted.
type TimeQuality uint8

// The qualities, worst first.
const (
	TimeFree    TimeQuality = iota // a clock that nobody has set since it started
	TimeBrowser                    // set from a learner's or teacher's browser
	TimeSynced                     // set from a time server or the coordinator
	timeEnd
)

// Origin says where a record stood first that was published again in a later
// incarnation.
type Origin struct {
	Log     identity.LogID
	Counter uint64
	Leaf    identity.Hash
}

// isOf reports whether an entry, whose envelope is env, is that record: but for the
// origin it has the leaf. Anybody can write that something stood somewhere; that it
// was something else than what is here would make what really stood there seem
// published. A nil origin is of nothing.
func (o *Origin) isOf(e *Entry, env Envelope) bool {
	if o == nil {
		return false
	}
	env.Origin = nil
	first := Entry{Counter: o.Counter, Envelope: env.Append(nil), Body: e.Body, Stub: e.Stub}
	return first.Leaf(o.Log) == o.Leaf
}

// Envelope is what every release understands of a record: it alone decides
// supersession, erasure, authority and lane. It holds no personal data. The
// encoding is fixed, strict and frozen:
//
//	 0  format, 1
//	 1  flags: 0x01 register, 0x02 learner, 0x04 actor, 0x08 origin,
//	    0x30 time quality; the others are zero
//	 2  kind, big-endian (2)
//	 4  clock, big-endian (8)
//	12  wall time, milliseconds since 1970, big-endian two's complement (8)
//	20  learner (16), if flagged; never all zero
//	    acting user (16), if flagged; never all zero
//	    registers: length of the key (1), the key (at most 128)
//	    origin: log (32), counter (8), leaf (32), if flagged
type Envelope struct {
	Kind     Kind
	Register bool
	// Key is the last part of a register's supersession key, which is (kind,
	// learner, Key): one learner's one exercise, say. Nil for events.
	Key     []byte
	Learner identity.UserID // whom the record is about, or zero
	Actor   identity.UserID // who did it, or zero
	Clock   Clock
	Wall    int64 // milliseconds since 1970
	Quality TimeQuality
	Origin  *Origin
}

const (
	flagRegister = 1 << iota
	flagLearner
	flagActor
	flagOrigin
	qualityShift = 4
)

// Append appends the encoding of e to b.
func (e *Envelope) Append(b []byte) []byte {
	flags := byte(e.Quality) << qualityShift
	if e.Register {
		flags |= flagRegister
	}
	if !e.Learner.IsZero() {
		flags |= flagLearner
	}
	if !e.Actor.IsZero() {
		flags |= flagActor
	}
	if e.Origin != nil {
		flags |= flagOrigin
	}
	b = append(b, 1, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(e.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Clock))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Wall))
	if !e.Learner.IsZero() {
		b = append(b, e.Learner[:]...)
	}
	if !e.Actor.IsZero() {
		b = append(b, e.Actor[:]...)
	}
	if e.Register {
		b = append(b, byte(len(e.Key)))
		b = append(b, e.Key...)
	}
	if o := e.Origin; o != nil {
		b = append(b, o.Log[:]...)
		b = binary.BigEndian.AppendUint64(b, o.Counter)
		b = append(b, o.Leaf[:]...)
	}
	return b
}

// DecodeEnvelope reads an envelope. Key aliases b.
func DecodeEnvelope(b []byte) (Envelope, error) {
	var e Envelope
	if len(b) < envelopeFixed || len(b) > MaxEnvelopeBytes {
		return e, fmt.Errorf("%d bytes: %w", len(b), ErrEnvelope)
	}
	if b[0] != 1 {
		return e, fmt.Errorf("format %d: %w", b[0], ErrEnvelope)
	}
	flags := b[1]
	e.Register = flags&flagRegister != 0
	e.Quality = TimeQuality(flags >> qualityShift)
	if e.Quality >= timeEnd {
		return e, fmt.Errorf("flags %#x: %w", flags, ErrEnvelope)
	}
	e.Kind = Kind(binary.BigEndian.Uint16(b[2:]))
	e.Clock = Clock(binary.BigEndian.Uint64(b[4:]))
	e.Wall = int64(binary.BigEndian.Uint64(b[12:]))
	rest := b[envelopeFixed:]
	user := func(flag byte, u *identity.UserID) bool {
		if flags&flag == 0 {
			return true
		}
		if len(rest) < len(u) {
			return false
		}
		rest = rest[copy(u[:], rest):]
		return !u.IsZero()
	}
	if !user(flagLearner, &e.Learner) || !user(flagActor, &e.Actor) {
		return e, fmt.Errorf("learner or acting user: %w", ErrEnvelope)
	}
	if e.Register {
		if len(rest) == 0 || int(rest[0]) > MaxKeyBytes || len(rest) < 1+int(rest[0]) {
			return e, fmt.Errorf("supersession key: %w", ErrEnvelope)
		}
		n := 1 + int(rest[0])
		e.Key, rest = rest[1:n:n], rest[n:]
	}
	if flags&flagOrigin != 0 {
		if len(rest) < originBytes {
			return e, fmt.Errorf("origin: %w", ErrEnvelope)
		}
		o := &Origin{Counter: binary.BigEndian.Uint64(rest[32:])}
		copy(o.Log[:], rest)
		copy(o.Leaf[:], rest[40:])
		e.Origin, rest = o, rest[originBytes:]
	}
	if len(rest) > 0 {
		return e, fmt.Errorf("%d bytes too many: %w", len(rest), ErrEnvelope)
	}
	return e, nil
}

// RegisterKey is the supersession key of a register within its log.
type RegisterKey struct {
	Kind    Kind
	Learner identity.UserID
	Key     string
}

// RegisterKey returns the supersession key; e must be a register.
func (e *Envelope) RegisterKey() RegisterKey {
	return RegisterKey{Kind: e.Kind, Learner: e.Learner, Key: string(e.Key)}
}

// Compare orders keys by kind, learner, length of Key, Key: the order in
// which a store keeps registers.
func (k RegisterKey) Compare(l RegisterKey) int {
	if k.Kind != l.Kind {
		return int(k.Kind) - int(l.Kind)
	}
	if c := k.Learner.Compare(l.Learner); c != 0 {
		return c
	}
	if len(k.Key) != len(l.Key) {
		return len(k.Key) - len(l.Key)
	}
	return bytes.Compare([]byte(k.Key), []byte(l.Key))
}
