package wire

import (
	"fmt"
	"io"

	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/roster"
)

// Key carries a zone key. It is sent to members of the zone only.
type Key struct {
	Encoded []byte // as roster.ZoneKey.Encode returns it: with the secret
}

const maxKeyPayload = roster.ZoneKeyBytes + 8

// Type returns TypeKey.
func (*Key) Type() Type { return TypeKey }

// Fields visits the fields.
func (m *Key) Fields(v *message.Visitor) { v.Bytes(1, &m.Encoded, roster.ZoneKeyBytes) }

// Format names the message without giving the key away, whatever the verb.
func (*Key) Format(f fmt.State, _ rune) { io.WriteString(f, "[zone key]") }

func (*Key) seal() {}

func (m *Key) open() error {
	if len(m.Encoded) != roster.ZoneKeyBytes {
		return fmt.Errorf("%d bytes: %w", len(m.Encoded), roster.ErrZoneKey)
	}
	return nil
}
