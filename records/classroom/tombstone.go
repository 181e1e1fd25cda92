package classroom

import (
	"encoding/binary"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
)

// Tombstone is the register that hides something, or shows it again. Nothing
// is lost by it.
type Tombstone struct {
	Salt    Salt            `json:"-"`
	Hidden  Setting[Flag]   `json:"hidden"`
	Reason  Setting[string] `json:"reason"`
	Unknown []byte          `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *Tombstone) Fields(v *message.Visitor) {
	v.Fixed(1, b.Salt[:])
	visitNumber(v, 2, &b.Hidden)
	visitText(v, 3, &b.Reason, MaxTextBytes)
	v.Unknown(&b.Unknown)
}

func (b *Tombstone) salt() *Salt { return &b.Salt }

// MergeTombstone merges versions of one tombstone: the result is whether its
// target is hidden.
func MergeTombstone(versions ...Version[Tombstone]) (hidden Latest[Flag]) {
	for _, v := range versions {
		hidden = hidden.with(Written[Flag]{v.Body.Hidden, v.Source})
	}
	return hidden
}

// Target is what can be hidden: a register, in all logs. A tombstone's
// register is about the same learner; its key is the target's kind,
// big-endian (2), and the target's key.
type Target struct{ key records.RegisterKey }

// UserTarget is a user.
func UserTarget(u identity.UserID) Target {
	return Target{records.RegisterKey{Kind: KindUser, Learner: u}}
}

// GroupTarget is a group.
func GroupTarget(g GroupID) Target {
	return Target{records.RegisterKey{Kind: KindGroup, Key: string(g[:])}}
}

// AssignmentTarget is an assignment.
func AssignmentTarget(a AssignmentID) Target {
	return Target{records.RegisterKey{Kind: KindAssignment, Key: string(a[:])}}
}

// tombstone returns the key of the target's tombstone.
func (t Target) tombstone() records.RegisterKey {
	key := binary.BigEndian.AppendUint16(nil, uint16(t.key.Kind))
	return records.RegisterKey{Kind: KindTombstone, Learner: t.key.Learner, Key: string(key) + t.key.Key}
}

// targetOf is the inverse of Target.tombstone.
func targetOf(k records.RegisterKey) (t Target, ok bool) {
	if len(k.Key) < 2 {
		return t, false
	}
	kind := records.Kind(binary.BigEndian.Uint16([]byte(k.Key)))
	return Target{records.RegisterKey{Kind: kind, Learner: k.Learner, Key: k.Key[2:]}}, true
}

// maxErased bounds how many learners one order lists.
const maxErased = 512

// Erasure is the coordinator's order that everything about some learners is
// to be erased, everywhere and for ever. Aliases are resolved when it is
// given.
type Erasure struct {
	Learners []identity.UserID `json:"learners"`
	Unknown  []byte            `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *Erasure) Fields(v *message.Visitor) {
	message.FixedList(v, 1, &b.Learners, maxErased)
	v.Unknown(&b.Unknown)
}
