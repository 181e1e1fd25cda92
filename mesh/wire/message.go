package wire

import (
	"errors"
	"fmt"

	"github.com/classmesh/classmesh/records/message"
)

// ErrMessage is wrapped by errors about frames that no honest peer of any
// release sends.
var ErrMessage = errors.New("not a valid message")

// Type numbers a message. Numbers are given out once and never reused; those
// from firstOptional up may be read over by who does not know them.
type Type uint8

// The types.
const (
	TypeHello Type = 1 + iota
	TypeBye
	TypeRoster
	TypeWantRoster
	TypeCounters
	TypeVector
	TypeVectorReply
	TypeHave
	TypeWant
	TypeNothing
	TypeDifference
	TypeSegmentList
	TypeRows
	TypeWantSegments
	TypeSegment
	TypeEntries
	TypePush
	TypeCredit
	TypeReceipt
	TypeKey
	TypeSafe
	TypeShare
	TypeLinks
	TypeEnough
	TypeMore
	TypeVectorSums
	TypeCountersSum

	firstOptional Type = 128

	// TypeLimit is optional.
	TypeLimit Type = 128
)

// Message is one of the messages of this package: always a pointer.
type Message interface {
	message.Message
	// Type returns the message's number.
	Type() Type
	// seal makes ready for Fields what a message keeps in another form; open
	// is its inverse, and checks what protobuf cannot say.
	seal()
	open() error
}

// plain is embedded by messages whose fields are all there is to them.
type plain struct{}

func (plain) seal()       {}
func (plain) open() error { return nil }

// description is what a reader must know of a type: its longest payload and
// how to make one.
type description struct {
	limit int
	make  func() Message
}

func describe(t Type) (description, bool) {
	switch t {
	case TypeHello:
		return description{maxHelloBytes, func() Message { return new(Hello) }}, true
	case TypeBye:
		return description{1 << 10, func() Message { return new(Bye) }}, true
	case TypeRoster:
		return description{MaxPayloadBytes, func() Message { return new(Roster) }}, true
	case TypeWantRoster:
		return description{64, func() Message { return new(WantRoster) }}, true
	case TypeCounters:
		return description{256, func() Message { return new(Counters) }}, true
	case TypeCountersSum:
		return description{16, func() Message { return new(CountersSum) }}, true
	case TypeVector:
		return description{MaxPayloadBytes, func() Message { return new(Vector) }}, true
	case TypeVectorSums:
		return description{MaxSums*sumBytes + 8, func() Message { return new(VectorSums) }}, true
	case TypeVectorReply:
		return description{MaxPayloadBytes, func() Message { return new(VectorReply) }}, true
	case TypeHave:
		return description{MaxPayloadBytes, func() Message { return new(Have) }}, true
	case TypeWant:
		return description{256, func() Message { return new(Want) }}, true
	case TypeNothing:
		return description{64, func() Message { return new(Nothing) }}, true
	case TypeDifference:
		return description{MaxPayloadBytes, func() Message { return new(Difference) }}, true
	case TypeSegmentList:
		return description{MaxPayloadBytes, func() Message { return new(SegmentList) }}, true
	case TypeRows:
		return description{MaxPayloadBytes, func() Message { return new(Rows) }}, true
	case TypeWantSegments:
		return description{1 << 12, func() Message { return new(WantSegments) }}, true
	case TypeSegment:
		return description{MaxPayloadBytes, func() Message { return new(Segment) }}, true
	case TypeEntries:
		return description{MaxPayloadBytes, func() Message { return new(Entries) }}, true
	case TypePush:
		return description{MaxPayloadBytes, func() Message { return new(Push) }}, true
	case TypeCredit:
		return description{64, func() Message { return new(Credit) }}, true
	case TypeReceipt:
		return description{maxReceiptPayload, func() Message { return new(Receipt) }}, true
	case TypeShare:
		return description{8*(MaxSharers+MaxAlso) + 16, func() Message { return new(Share) }}, true
	case TypeLinks:
		return description{8*MaxLinks + 8, func() Message { return new(Links) }}, true
	case TypeEnough:
		return description{16, func() Message { return new(Enough) }}, true
	case TypeMore:
		return description{8*MaxMore + 8, func() Message { return new(More) }}, true
	case TypeLimit:
		return description{16, func() Message { return new(Limit) }}, true
	case TypeSafe:
		return description{MaxPayloadBytes, func() Message { return new(Safe) }}, true
	case TypeKey:
		return description{maxKeyPayload, func() Message { return new(Key) }}, true
	}
	return description{}, false
}

// Decode reads the payload of a message of the given type. Byte slices in the
// message point into b. Errors wrap [ErrMessage].
func Decode(t Type, b []byte) (Message, error) {
	d, ok := describe(t)
	if !ok {
		return nil, fmt.Errorf("message of unknown type %d: %w", t, ErrMessage)
	}
	m := d.make()
	if err := message.DecodeShared(b, m, d.limit); err != nil {
		return nil, fmt.Errorf("message of type %d: %w: %w", t, ErrMessage, err)
	}
	if err := m.open(); err != nil {
		return nil, fmt.Errorf("message of type %d: %w: %w", t, ErrMessage, err)
	}
	return m, nil
}
