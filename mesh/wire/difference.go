package wire

import (
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/packing"
)

// MaxStarts is how many starts one account may list: one every day for forty
// years.
const MaxStarts = 15000

// MaxFirsts is how many segments a small difference may begin.
const MaxFirsts = records.SmallEntries

// Account is a records.Account as it travels.
type Account struct {
	// Certificate is encoded: verifying it takes a while, and is done where
	// the entries are verified. It is left out if StartsFrom is not 0, for
	// then the receiver has it.
	Certificate []byte
	Lane        identity.Lane
	Head        records.Head // not verified
	StartsFrom  uint32
	Starts      []records.Start

	head, starts []byte
}

// NewAccount returns the account as it travels.
func NewAccount(a *records.Account) Account {
	w := Account{Lane: a.Lane, Head: a.Head, StartsFrom: uint32(a.StartsFrom), Starts: a.Starts}
	if a.StartsFrom == 0 {
		w.Certificate = a.Certificate.Encode()
	}
	return w
}

// Account returns the account that travelled. Where the certificate was left
// out it is held, what the receiver has of the log.
func (a *Account) Account(held identity.Certificate) (records.Account, error) {
	if len(a.Certificate) > 0 {
		var err error
		if held, err = identity.DecodeCertificate(a.Certificate); err != nil {
			return records.Account{}, err
		}
	}
	return records.Account{Certificate: held, Lane: a.Lane, Head: a.Head, StartsFrom: int(a.StartsFrom), Starts: a.Starts}, nil
}

// Ref names the branch of the account's head.
func (a *Account) Ref() records.BranchRef {
	return records.BranchRef{Log: a.Head.Log, Start: a.Head.Start()}
}

// Fields visits the fields.
func (a *Account) Fields(v *message.Visitor) {
	v.Bytes(1, &a.Certificate, identity.CertificateBytes)
	message.Uint(v, 2, &a.Lane)
	v.Bytes(3, &a.head, records.MaxHeadBytes)
	v.Uint32(4, &a.StartsFrom)
	v.Bytes(5, &a.starts, MaxStarts*records.StartBytes)
}

func (a *Account) seal() {
	a.head = a.Head.Encode()
	a.starts = records.AppendStarts(nil, a.Starts)
}

func (a *Account) open() (err error) {
	if a.Head, err = records.DecodeHead(a.head); err != nil {
		return err
	}
	if a.Starts, err = records.DecodeStarts(a.starts); err != nil {
		return err
	}
	switch {
	case a.Head.Counter == 0:
		return fmt.Errorf("head of nothing: %w", records.ErrHead)
	case (a.StartsFrom == 0) != (len(a.Certificate) == identity.CertificateBytes):
		return fmt.Errorf("certificate of %d bytes with starts from %d", len(a.Certificate), a.StartsFrom)
	case uint64(a.StartsFrom)+uint64(len(a.Starts)) > uint64(a.Head.StartCount):
		return fmt.Errorf("%d starts from %d under a head with %d: %w", len(a.Starts), a.StartsFrom, a.Head.StartCount, records.ErrHead)
	}
	return nil
}

func (a *Account) bytes() int {
	return len(a.Certificate) + records.MaxHeadBytes + len(a.Starts)*records.StartBytes + 32
}

// content is what Difference and Push have in common.
type content struct {
	Account Account
	Base    uint64
	// Firsts are the first counters of the segments that begin above Base,
	// ascending. They travel as differences, the first one from Base.
	Firsts []uint64
	Run    Run
	More   bool // Entries follow

	deltas []uint64
}

func newContent(d *records.Difference) content {
	return content{Account: NewAccount(&d.Account), Base: d.Base, Firsts: d.Firsts}
}

// Difference returns the difference, with the entries given, that travelled.
func (m *content) Difference(held identity.Certificate, entries []records.Entry) (*records.Difference, error) {
	a, err := m.Account.Account(held)
	if err != nil {
		return nil, err
	}
	return &records.Difference{Account: a, Base: m.Base, Firsts: m.Firsts, Entries: entries}, nil
}

func (m *content) fields(v *message.Visitor, from int) {
	v.Message(from, &m.Account)
	v.Uint64(from+1, &m.Base)
	v.Packed(from+2, &m.deltas, MaxFirsts)
	v.Message(from+3, &m.Run)
	v.Bool(from+4, &m.More)
}

func (m *content) seal() {
	m.Account.seal()
	m.deltas = make([]uint64, len(m.Firsts))
	last := m.Base
	for i, first := range m.Firsts {
		m.deltas[i], last = first-last, first
	}
}

func (m *content) open() error {
	last := m.Base
	m.Firsts = slices.Clone(m.deltas)
	for i, delta := range m.deltas {
		if delta == 0 || last+delta < last {
			return fmt.Errorf("segment %d begins after %d: %w", i, last, records.ErrRows)
		}
		last += delta
		m.Firsts[i] = last
	}
	if err := m.Account.open(); err != nil {
		return err
	}
	if last > m.Account.Head.Counter {
		return fmt.Errorf("a segment begins at %d under head %d: %w", last, m.Account.Head.Counter, records.ErrRows)
	}
	return packing.Check(m.Run)
}

func (m *content) bytes() int { return m.Account.bytes() + len(m.Firsts)*4 + 64 }

// Difference answers a Want.
type Difference struct {
	Request uint32
	content
}

// NewDifference returns the messages that carry a difference, whose entries
// are runs.
func NewDifference(request uint32, d *records.Difference, runs []Run) []Message {
	m := &Difference{Request: request, content: newContent(d)}
	return withRuns(m, &m.Run, &m.More, m.bytes(), runs)
}

// Type returns TypeDifference.
func (*Difference) Type() Type { return TypeDifference }

// Fields visits the fields.
func (m *Difference) Fields(v *message.Visitor) {
	v.Uint32(1, &m.Request)
	m.fields(v, 2)
}

// Push is a commit, right after it became durable at its sender.
type Push struct {
	// Previous is the hash of the head before, zero for the first: who does
	// not stand exactly there ignores the push and compares.
	Previous identity.Hash
	content
}

// NewPush returns the messages that carry a commit, which has a difference,
// whose entries are runs.
func NewPush(c *records.Commit, runs []Run) []Message {
	m := &Push{Previous: c.PreviousHash, content: newContent(c.Difference)}
	return withRuns(m, &m.Run, &m.More, m.bytes(), runs)
}

// Type returns TypePush.
func (*Push) Type() Type { return TypePush }

// Fields visits the fields.
func (m *Push) Fields(v *message.Visitor) {
	v.Fixed(1, m.Previous[:])
	m.fields(v, 2)
}
