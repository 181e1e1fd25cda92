package wire

import (
	"fmt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/message"
)

// MaxNeeds is how many segments one WantSegments may ask for.
const MaxNeeds = 64

// branchName is a Name and its encoding, 12 or 40 bytes.
type branchName struct {
	Name Name

	name []byte
}

func (n *branchName) seal() { n.name = n.Name.append(nil) }

func (n *branchName) open() error {
	switch len(n.name) {
	case shortName, fullName:
		n.Name, _ = decodeName(n.name, len(n.name) == shortName)
		return nil
	}
	return fmt.Errorf("name of %d bytes", len(n.name))
}

// Want asks for what a branch has beyond Base. The answer is one Difference;
// or one SegmentList, if List or if the difference is not small; or Nothing.
type Want struct {
	branchName
	Request uint32 // the asker's number, which the answer repeats; from 1
	Base    uint64 // counter up to which the asker holds the branch
	Starts  uint32 // how many of its starts the asker has
	List    bool
}

// NewWant returns a Want of the branch that the other side called name.
func NewWant(request uint32, name Name, base uint64, starts int, list bool) *Want {
	return &Want{branchName: branchName{Name: name}, Request: request, Base: base, Starts: uint32(starts), List: list}
}

// Type returns TypeWant.
func (*Want) Type() Type { return TypeWant }

// Fields visits the fields.
func (m *Want) Fields(v *message.Visitor) {
	v.Uint32(1, &m.Request)
	v.Bytes(2, &m.name, fullName)
	v.Uint64(3, &m.Base)
	v.Uint32(4, &m.Starts)
	v.Bool(5, &m.List)
}

// WantSegments asks for segments of a branch at the head of which the other
// side gave the list. The answer is one Segment for each, in the same order;
// or, in the place of one, Nothing, which stands for all the rest.
type WantSegments struct {
	branchName
	Request uint32
	Head    uint64 // counter of the head
	Needs   []records.Need

	needs []uint64 // First and From, one after the other
}

// NewWantSegments returns a WantSegments; needs are 1 to MaxNeeds.
func NewWantSegments(request uint32, name Name, head uint64, needs []records.Need) *WantSegments {
	return &WantSegments{branchName: branchName{Name: name}, Request: request, Head: head, Needs: needs}
}

// Type returns TypeWantSegments.
func (*WantSegments) Type() Type { return TypeWantSegments }

// Fields visits the fields.
func (m *WantSegments) Fields(v *message.Visitor) {
	v.Uint32(1, &m.Request)
	v.Bytes(2, &m.name, fullName)
	v.Uint64(3, &m.Head)
	v.Packed(4, &m.needs, 2*MaxNeeds)
}

func (m *WantSegments) seal() {
	m.branchName.seal()
	m.needs = make([]uint64, 0, 2*len(m.Needs))
	for _, n := range m.Needs {
		m.needs = append(m.needs, n.First, n.From)
	}
}

func (m *WantSegments) open() error {
	if len(m.needs) == 0 || len(m.needs)%2 != 0 {
		return fmt.Errorf("%d numbers for needs", len(m.needs))
	}
	m.Needs = make([]records.Need, len(m.needs)/2)
	for i := range m.Needs {
		m.Needs[i] = records.Need{First: m.needs[2*i], From: m.needs[2*i+1]}
	}
	return m.branchName.open()
}

// Reason says why there is no other answer than Nothing.
type Reason uint8

// The reasons.
const (
	// ReasonGone: no such branch is held.
	ReasonGone Reason = 1 + iota
	// ReasonMoved: the head has changed; ask for the list again.
	ReasonMoved
	// ReasonLease: the asker may not receive until it has met the coordinator.
	ReasonLease
	// ReasonFailed: reading failed.
	ReasonFailed
	// ReasonLater: not now; there will be word when it may be asked for.
	ReasonLater
)

// Nothing answers a Want or WantSegments that has no other answer.
type Nothing struct {
	plain
	Request uint32
	Reason  Reason
}

// Type returns TypeNothing.
func (*Nothing) Type() Type { return TypeNothing }

// Fields visits the fields.
func (m *Nothing) Fields(v *message.Visitor) {
	v.Uint32(1, &m.Request)
	message.Uint(v, 2, &m.Reason)
}
