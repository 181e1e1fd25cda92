package wire

import "github.com/classmesh/classmesh/records/message"

// Limit says of which lanes the sender gives and takes no entries for now,
// because what the way to the receiver may carry is used up. It is read over by
// releases that do not know it; they are answered Nothing when they ask.
type Limit struct {
	plain
	Lanes uint32 // a bit for each lane, the lowest for the first
}

// Type returns TypeLimit.
func (*Limit) Type() Type { return TypeLimit }

// Fields visits the fields.
func (m *Limit) Fields(v *message.Visitor) { v.Uint32(1, &m.Lanes) }
