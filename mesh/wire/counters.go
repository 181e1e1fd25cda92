package wire

import (
	"encoding/binary"
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

var labelCounters = identity.NewLabel("classmesh 1 counters in short")

// CountersSum stands for Counters where nothing is expected to be new. Whoever
// would say the same of itself says nothing; otherwise it answers with its
// Counters, and asks for those of the other.
type CountersSum struct {
	plain
	Sum uint64
}

// NewCountersSum returns the checksum of what a side would say in Counters. It is
// the first 8 bytes, as a big-endian number, of the labelled hash of
//
//	clock of the leader's Hello 8, of the other's 8, life 4, number 8, round 4,
//	safe 8, staged 1, fingerprint 32
//
// So it is of use in one session only: a member that wanted two states of its
// log to have the same would have to know when two others greeted each other, to
// the millisecond.
func NewCountersSum(c *Counters, leader, other int64) *CountersSum {
	text := make([]byte, 0, 73)
	text = binary.BigEndian.AppendUint64(text, uint64(leader))
	text = binary.BigEndian.AppendUint64(text, uint64(other))
	text = binary.BigEndian.AppendUint32(text, c.Epoch.Life)
	text = binary.BigEndian.AppendUint64(text, c.Epoch.Number)
	text = binary.BigEndian.AppendUint32(text, c.Round)
	text = binary.BigEndian.AppendUint64(text, c.Safe)
	staged := byte(0)
	if c.Staged {
		staged = 1
	}
	text = append(append(text, staged), c.Fingerprint[:]...)
	sum := labelCounters.Hash(text)
	return &CountersSum{Sum: binary.BigEndian.Uint64(sum[:])}
}

// Type returns TypeCountersSum.
func (*CountersSum) Type() Type { return TypeCountersSum }

// Fields visits the fields.
func (m *CountersSum) Fields(v *message.Visitor) { v.Fixed64(1, &m.Sum) }

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
