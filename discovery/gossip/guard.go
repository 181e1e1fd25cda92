package gossip

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// The types of message that memberlist knows and devices use among each other.
// The others are refused: compression, because it may unpack to anything, and
// messages without a bound.
const (
	typePing         = 0
	typeIndirectPing = 1
	typeAck          = 2
	typeSuspect      = 3
	typeAlive        = 4
	typeDead         = 5
	typePushPull     = 6
	typeCompound     = 7
	typeUser         = 8
	typeEncrypted    = 10
	typeNack         = 11
	typeChecksum     = 12
	typeError        = 13
)

// Bounds of what arrives.
const (
	maxPacketBytes = 2048
	maxStreamBytes = 512 << 10
	maxMembers     = 512            // that are there
	maxListed      = 2 * maxMembers // in one list, with those that were
	maxStateBytes  = 4096           // of a delegate's state, which this release leaves empty
	maxDepth       = 4              // of values within values
)

var errGuard = errors.New("not a message that devices send each other")

// checkPacket looks through an opened packet. What it lets through has sizes
// and counts that fit, is nested no deeper than devices nest, and is not
// packed.
func checkPacket(b []byte) error {
	if len(b) > 5 && b[0] == typeChecksum {
		if crc32.ChecksumIEEE(b[5:]) != binary.BigEndian.Uint32(b[1:]) {
			return errGuard
		}
		b = b[5:]
	}
	if len(b) > 0 && b[0] == typeCompound {
		return checkCompound(b[1:])
	}
	return checkMessage(b)
}

func checkCompound(b []byte) error {
	if len(b) < 1 {
		return errGuard
	}
	n := int(b[0])
	if len(b) < 1+2*n {
		return errGuard
	}
	sizes, rest := b[1:1+2*n], b[1+2*n:]
	for i := range n {
		size := int(binary.BigEndian.Uint16(sizes[2*i:]))
		if size > len(rest) {
			return errGuard
		}
		if err := checkMessage(rest[:size]); err != nil {
			return err
		}
		rest = rest[size:]
	}
	if len(rest) > 0 {
		return errGuard
	}
	return nil
}

// checkMessage looks through one message of a packet.
func checkMessage(b []byte) error {
	if len(b) == 0 {
		return errGuard
	}
	switch b[0] {
	case typePing, typeIndirectPing, typeAck, typeSuspect, typeAlive, typeDead, typeNack:
		return checkOne(b[1:])
	case typeUser:
		_, err := parseHint(b[1:])
		return err
	default:
		return errGuard
	}
}

// checkStream looks through what was opened of a stream: the one message that
// each side sends.
func checkStream(b []byte) error {
	if len(b) == 0 {
		return errGuard
	}
	switch b[0] {
	case typePing, typeAck, typeError:
		return checkOne(b[1:])
	case typePushPull:
		return checkPushPull(b[1:])
	default:
		return errGuard
	}
}

// checkOne expects one map and nothing else.
func checkOne(b []byte) error {
	rest, ok := skipMap(b)
	if !ok || len(rest) > 0 {
		return errGuard
	}
	return nil
}

// checkPushPull expects a header, as many members as it says, and the state.
func checkPushPull(b []byte) error {
	header, n, ok := mapHead(b)
	if !ok {
		return errGuard
	}
	members, state := -1, -1
	for range n {
		var name []byte
		if name, header, ok = text(header); !ok {
			return errGuard
		}
		var value *int
		switch string(name) {
		case "Nodes":
			value = &members
		case "UserStateLen":
			value = &state
		default:
			if header, ok = skip(header, maxDepth); !ok {
				return errGuard
			}
			continue
		}
		var number uint64
		if number, header, ok = unsigned(header); !ok || *value >= 0 || number > maxStreamBytes {
			return errGuard
		}
		*value = int(number)
	}
	if members < 0 || members > maxListed || state < 0 || state > maxStateBytes {
		return errGuard
	}
	rest := header
	for range members {
		if rest, ok = skipMap(rest); !ok {
			return errGuard
		}
	}
	if len(rest) != state {
		return errGuard
	}
	return nil
}

// What follows reads msgpack, in which memberlist writes, without building
// anything of it.

// mapHead reads the beginning of a map of n pairs.
func mapHead(b []byte) (rest []byte, n int, ok bool) {
	switch {
	case len(b) >= 1 && b[0]&0xf0 == 0x80:
		n, rest = int(b[0]&0x0f), b[1:]
	case len(b) >= 3 && b[0] == 0xde:
		n, rest = int(binary.BigEndian.Uint16(b[1:])), b[3:]
	default:
		return nil, 0, false
	}
	return rest, n, 2*n <= len(rest)
}

// skipMap passes over a map whose names are texts.
func skipMap(b []byte) (rest []byte, ok bool) {
	rest, n, ok := mapHead(b)
	if !ok {
		return nil, false
	}
	for range n {
		if _, rest, ok = text(rest); !ok {
			return nil, false
		}
		if rest, ok = skip(rest, maxDepth); !ok {
			return nil, false
		}
	}
	return rest, true
}

// text reads a text or bytes.
func text(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	size, head := 0, 1
	switch c := b[0]; {
	case c&0xe0 == 0xa0:
		size = int(c & 0x1f)
	case (c == 0xd9 || c == 0xc4) && len(b) >= 2:
		size, head = int(b[1]), 2
	case (c == 0xda || c == 0xc5) && len(b) >= 3:
		size, head = int(binary.BigEndian.Uint16(b[1:])), 3
	case (c == 0xdb || c == 0xc6) && len(b) >= 5:
		long := binary.BigEndian.Uint32(b[1:])
		if long > maxStreamBytes {
			return nil, nil, false
		}
		size, head = int(long), 5
	default:
		return nil, nil, false
	}
	if size > len(b)-head {
		return nil, nil, false
	}
	return b[head : head+size], b[head+size:], true
}

// unsigned reads an integer that is not negative; it may be written as a signed
// one.
func unsigned(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	size := 0
	switch c := b[0]; {
	case c < 0x80:
		return uint64(c), b[1:], true
	case c >= 0xcc && c <= 0xcf:
		size = 1 << (c - 0xcc)
	case c >= 0xd0 && c <= 0xd3:
		size = 1 << (c - 0xd0)
		if len(b) > 1 && b[1] >= 0x80 {
			return 0, nil, false
		}
	default:
		return 0, nil, false
	}
	if len(b) < 1+size {
		return 0, nil, false
	}
	for _, d := range b[1 : 1+size] {
		n = n<<8 | uint64(d)
	}
	return n, b[1+size:], true
}

// skip passes over one value that is nested at most so deep.
func skip(b []byte, depth int) (rest []byte, ok bool) {
	if len(b) == 0 || depth == 0 {
		return nil, false
	}
	c := b[0]
	size, items := 0, 0 // bytes and values that follow the head
	head := 1
	switch {
	case c < 0x80, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3:
	case c&0xf0 == 0x80:
		items = 2 * int(c&0x0f)
	case c&0xf0 == 0x90:
		items = int(c & 0x0f)
	case c >= 0xcc && c <= 0xcf:
		size = 1 << (c - 0xcc)
	case c >= 0xd0 && c <= 0xd3:
		size = 1 << (c - 0xd0)
	case c == 0xca:
		size = 4
	case c == 0xcb:
		size = 8
	case (c == 0xdc || c == 0xde) && len(b) >= 3:
		items, head = int(binary.BigEndian.Uint16(b[1:])), 3
		if c == 0xde {
			items *= 2
		}
	default:
		_, rest, ok = text(b)
		return rest, ok
	}
	if size+items > len(b)-head {
		return nil, false
	}
	rest, ok = b[head+size:], true
	for range items {
		if rest, ok = skip(rest, depth-1); !ok {
			return nil, false
		}
	}
	return rest, true
}
