package wire

import (
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/roster"
)

// Limits of a Hello.
const (
	MaxHeld          = 128
	MaxSoftwareBytes = 64
	// MaxReceipted is how many lanes a Hello can speak of, those of later
	// releases included.
	MaxReceipted = 8

	maxHelloBytes = 48 << 10
)

// Hello is the first message of each side.
type Hello struct {
	Offer
	Zone identity.ZoneID
	// Certificate is that of the sender's current incarnation.
	Certificate identity.Certificate
	Start       identity.StartID // of the sender's process
	Software    string           // version of the program, for people
	Epoch       roster.Epoch     // of the sender's roster
	RosterHash  identity.Hash
	Wall        int64 // the sender's clock, milliseconds since 1970; a hint
	// Window is the credit that the sender gives from the start: how many
	// bytes of runs, before compression, it takes before it gives more.
	Window uint32
	// Receipted is, by lane, up to which counter the sender knows the logs of
	// its incarnation to be receipted.
	Receipted []uint64
	// Held are the best heads that the sender holds of logs of the receiver,
	// of all its incarnations.
	Held []Held
	// KeyNumber is the highest number of the zone keys that the sender holds; 0:
	// it holds none.
	KeyNumber uint32

	certificate []byte
}

// Held is a head that is held of the other side, and up to which counter
// there is a receipt for it.
type Held struct {
	Head      records.Head
	Receipted uint64

	head []byte
}

// Type returns TypeHello.
func (*Hello) Type() Type { return TypeHello }

// Fields visits the fields.
func (m *Hello) Fields(v *message.Visitor) {
	v.Uint32(1, &m.Min)
	v.Uint32(2, &m.Max)
	v.Uint64(3, (*uint64)(&m.Features))
	v.Fixed(4, m.Zone[:])
	v.Bytes(5, &m.certificate, identity.CertificateBytes)
	v.Fixed(6, m.Start[:])
	v.String(7, &m.Software, MaxSoftwareBytes)
	v.Uint32(8, &m.Epoch.Life)
	v.Uint64(9, &m.Epoch.Number)
	v.Fixed(10, m.RosterHash[:])
	v.Int64(11, &m.Wall)
	v.Uint32(12, &m.Window)
	v.Packed(13, &m.Receipted, MaxReceipted)
	message.List(v, 14, &m.Held, MaxHeld)
	v.Uint32(15, &m.KeyNumber)
}

func (m *Hello) seal() {
	m.certificate = m.Certificate.Encode()
	for i := range m.Held {
		m.Held[i].head = m.Held[i].Head.Encode()
	}
}

func (m *Hello) open() (err error) {
	if m.Certificate, err = identity.DecodeCertificate(m.certificate); err != nil {
		return err
	}
	for i := range m.Held {
		h := &m.Held[i]
		if h.Head, err = records.DecodeHead(h.head); err != nil {
			return fmt.Errorf("head %d: %w", i, err)
		}
	}
	return nil
}

// Fields visits the fields.
func (h *Held) Fields(v *message.Visitor) {
	v.Bytes(1, &h.head, records.MaxHeadBytes)
	v.Uint64(2, &h.Receipted)
}
