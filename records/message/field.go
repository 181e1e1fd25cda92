package message

import "google.golang.org/protobuf/encoding/protowire"

// Wire is how the value of a field is encoded.
type Wire uint8

// The encodings of values. There are no groups.
const (
	WireVarint  = Wire(protowire.VarintType)
	WireFixed64 = Wire(protowire.Fixed64Type)
	WireBytes   = Wire(protowire.BytesType)
	WireFixed32 = Wire(protowire.Fixed32Type)
)

// Tag reads the tag at the front of b and returns how its value is encoded, and the
// length of the tag, 0 if there is none in the one spelling that this package writes.
func Tag(b []byte) (w Wire, size int) {
	number, wire, size := protowire.ConsumeTag(b)
	if size < 0 || number > protowire.MaxValidNumber || size != protowire.SizeTag(number) {
		return 0, 0
	}
	switch wire {
	case protowire.VarintType, protowire.Fixed64Type, protowire.BytesType, protowire.Fixed32Type:
		return Wire(wire), size
	}
	return 0, 0
}

// Field returns the length of the tag at the front of b and that of its whole field, for
// those who take a message apart without knowing it; zeros if tag or length are spelt
// otherwise than this package does, or the field is cut short. A varint may be longer
// than it need be.
func Field(b []byte) (tag, size int) {
	wire, tag := Tag(b)
	if tag == 0 {
		return 0, 0
	}
	switch value := b[tag:]; wire {
	case WireVarint:
		size = VarintSize(value)
	case WireFixed32:
		size = 4
	case WireFixed64:
		size = 8
	case WireBytes:
		n, length := protowire.ConsumeVarint(value)
		if length < 0 || length != protowire.SizeVarint(n) || n > uint64(len(value)) {
			return 0, 0
		}
		size = length + int(n)
	}
	if size == 0 || size > len(b)-tag {
		return 0, 0
	}
	return tag, tag + size
}

// VarintSize returns how many bytes the varint at the front of b takes, however it is
// spelt, or 0.
func VarintSize(b []byte) int {
	const longest = 10
	for i := 0; i < len(b) && i < longest; i++ {
		if b[i] < 0x80 {
			return i + 1
		}
	}
	return 0
}
