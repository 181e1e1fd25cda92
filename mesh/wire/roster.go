package wire

import (
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/roster"
)

// MaxRosterBytes is how much of a roster may come in parts.
const MaxRosterBytes = roster.MaxRosterBytes

// Roster is a part of an encoded roster.
type Roster struct {
	plain
	Part []byte // at most MaxChunkBytes
	More bool   // another part follows
}

// NewRoster cuts an encoded roster into messages.
func NewRoster(encoded []byte) []Message {
	var parts []Message
	for {
		n := min(len(encoded), MaxChunkBytes)
		parts = append(parts, &Roster{Part: encoded[:n], More: n < len(encoded)})
		if encoded = encoded[n:]; len(encoded) == 0 {
			return parts
		}
	}
}

// Type returns TypeRoster.
func (*Roster) Type() Type { return TypeRoster }

// Fields visits the fields.
func (m *Roster) Fields(v *message.Visitor) {
	v.Bytes(1, &m.Part, MaxChunkBytes)
	v.Bool(2, &m.More)
}

// WantRoster asks a device that the roster at hand does not list, but that
// claims a later one, to hand it over.
type WantRoster struct{ plain }

// Type returns TypeWantRoster.
func (*WantRoster) Type() Type { return TypeWantRoster }

// Fields visits the fields.
func (m *WantRoster) Fields(*message.Visitor) {}
