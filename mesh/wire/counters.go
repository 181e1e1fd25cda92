package wire

import (
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/roster"
)

// Counters is the shortest account of what a side holds.
type Counters struct {
	plain
	Epoch       roster.Epoch
	Fingerprint identity.Hash // of the zone
	// Round is how many vectors were exchanged in this session. The sender has
	// nothing left to ask for after the last of them.
	Round uint32
	// Reply asks for the other side's Counters, changed or not.
	Reply bool
	// Staged says that the sender holds segments that it has not promoted,
	// of which the fingerprint says nothing.
	Staged bool
	// Safe is a checksum of how far the sender knows its logs to be safe with
	// the coordinator; 0 if it knows of none, or does not say.
	Safe uint64
}

// Type returns TypeCounters.
func (*Counters) Type() Type { return TypeCounters }

// Fields visits the fields.
func (m *Counters) Fields(v *message.Visitor) {
	v.Uint32(1, &m.Epoch.Life)
	v.Uint64(2, &m.Epoch.Number)
	v.Fixed(3, m.Fingerprint[:])
	v.Uint32(4, &m.Round)
	v.Bool(5, &m.Reply)
	v.Bool(6, &m.Staged)
	v.Fixed64(7, &m.Safe)
}

// Credit allows the other side to send so many more bytes of runs, counted
// before compression. Those it sent before are on disk.
type Credit struct {
	plain
	Bytes uint32
}

// Type returns TypeCredit.
func (*Credit) Type() Type { return TypeCredit }

// Fields visits the fields.
func (m *Credit) Fields(v *message.Visitor) { v.Uint32(1, &m.Bytes) }

// Receipt carries a receipt of the coordinator.
type Receipt struct {
	plain
	Encoded []byte // as records.Receipt.Encode returns it
}

const maxReceiptPayload = records.MaxReceiptBytes + 8

// Type returns TypeReceipt.
func (*Receipt) Type() Type { return TypeReceipt }

// Fields visits the fields.
func (m *Receipt) Fields(v *message.Visitor) { v.Bytes(1, &m.Encoded, records.MaxReceiptBytes) }

func (m *Receipt) open() error {
	if len(m.Encoded) == 0 {
		return fmt.Errorf("empty: %w", records.ErrReceipt)
	}
	return nil
}
