// Package message encodes and decodes the protobuf messages of classmesh: the
// bodies of records and what devices say to each other. There is no generated
// code and no reflection; a message lists its fields once, for both
// directions:
//
//	type Viewing struct {
//		Video   string
//		From    uint64 // seconds
//		Learner identity.UserID
//		unknown []byte
//	}
//
//	func (m *Viewing) Fields(v *message.Visitor) {
//		v.String(1, &m.Video, 64)
//		v.Uint64(2, &m.From)
//		v.Fixed(3, m.Learner[:])
//		v.Unknown(&m.unknown)
//	}
//
// [Append] and [Encode] write such a message, [Decode] and [DecodeShared] read
// it. What is written is ordinary proto3 that any protobuf library reads:
//
//	Uint, Uint32, Uint64   uint32, uint64 or an enumeration
//	Int64                  sint64
//	Bool                   bool
//	Fixed64                fixed64
//	String                 string
//	Bytes, Fixed           bytes
//	FixedList              bytes: elements of one size, end to end
//	Packed                 repeated uint64
//	BytesList, StringList  repeated bytes, repeated string
//	Message, Optional      a message
//	List                   a repeated message
//
// # One spelling
//
// A message has one encoding, and the decoder takes no other: fields in
// ascending order, each but the repeated ones at most once, none with its
// default value (an absent field is zero), varints as short as they can be, no
// groups. So whatever decodes encodes to the same bytes again, if the message
// keeps its unknown fields.
//
// # Other releases
//
// Fields that a message does not know are kept byte for byte if it visits
// [Visitor.Unknown], and dropped otherwise. A number once used is never given
// to another field.
//
// # Limits
//
// Whatever has no size of its own is visited with the largest size allowed,
// which is checked before memory is taken: what a message can cost follows
// from its limits and from the size of its input.
//
// All functions are safe for concurrent use, each on messages of its own.
package message
