package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/classmesh/classmesh/records/message"
)

// MaxSharers and MaxAlso bound a Share.
const (
	MaxSharers = 256
	MaxAlso    = 1024
)

// Share says that the sender and other devices share their ways to the
// receiver: of each log one of them exchanges the records. See package
// exchange for which one.
type Share struct {
	// Among are the first 8 bytes of the IDs of these devices, the sender's
	// among them, strictly ascending; empty: nothing is shared.
	Among []uint64
	// Also are the first 8 bytes of the IDs of logs that the sender exchanges
	// in any case, strictly ascending.
	Also []uint64

	among, also []byte
}

// Type returns TypeShare.
func (*Share) Type() Type { return TypeShare }

// Fields visits the fields.
func (m *Share) Fields(v *message.Visitor) {
	v.Bytes(1, &m.among, 8*MaxSharers)
	v.Bytes(2, &m.also, 8*MaxAlso)
}

func (m *Share) seal() { m.among, m.also = appendPrefixes(m.Among), appendPrefixes(m.Also) }

func (m *Share) open() (err error) {
	if m.Among, err = decodePrefixes(m.among); err == nil {
		m.Also, err = decodePrefixes(m.also)
	}
	return err
}

func appendPrefixes(list []uint64) (b []byte) {
	for _, p := range list {
		b = binary.BigEndian.AppendUint64(b, p)
	}
	return b
}

func decodePrefixes(b []byte) (list []uint64, err error) {
	if len(b)%8 != 0 {
		return nil, fmt.Errorf("%d bytes are no list of prefixes", len(b))
	}
	for ; len(b) > 0; b = b[8:] {
		p := binary.BigEndian.Uint64(b)
		if n := len(list); n > 0 && list[n-1] >= p {
			return nil, fmt.Errorf("prefix %d is out of order", n)
		}
		list = append(list, p)
	}
	return list, nil
}
