package classroom

import (
	"fmt"

	"github.com/classmesh/classmesh/records/message"
)

// Reason says what an award is for.
type Reason uint8

// The reasons.
const (
	// ReasonCompletion: a content was completed. The amount is what the
	// content gave in all; it is not on top of that.
	ReasonCompletion Reason = 1
)

// String returns "completion".
func (r Reason) String() string {
	if r == ReasonCompletion {
		return "completion"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// MarshalText is String.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

const maxRunBytes = 16

// awardRule is the version of the rules by which this release computes
// amounts.
const awardRule = 1

// Award is an event that gives points, or takes them when they are spent.
type Award struct {
	Item   string `json:"item"` // content, or what they were spent on
	Reason Reason `json:"reason"`
	// Run tells tries apart that count one by one: random, or nothing where
	// the item counts once.
	Run     []byte `json:"run"`
	Amount  int64  `json:"amount"`
	Rule    uint32 `json:"rule"` // version of the rule by which it was computed
	Unknown []byte `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *Award) Fields(v *message.Visitor) {
	v.String(1, &b.Item, maxContentIDBytes)
	message.Uint(v, 2, &b.Reason)
	v.Bytes(3, &b.Run, maxRunBytes)
	v.Int64(4, &b.Amount)
	v.Uint32(5, &b.Rule)
	v.Unknown(&b.Unknown)
}

// AwardKey tells which awards are the same: they count once.
type AwardKey struct {
	Item   string
	Reason Reason
	Run    string
}

// Awards merges awards: of those with the same key, the one with the largest
// absolute amount counts (of equal ones, the gift). Nothing is ever computed
// anew, so nothing falls.
type Awards map[AwardKey]int64

// MergeAwards merges awards.
func MergeAwards(awards ...Award) Awards {
	m := Awards{}
	for i := range awards {
		m.add(&awards[i])
	}
	return m
}

func (m Awards) add(a *Award) { m.put(AwardKey{a.Item, a.Reason, string(a.Run)}, a.Amount) }

func (m Awards) put(k AwardKey, amount int64) {
	if old, ok := m[k]; !ok || magnitude(amount) > magnitude(old) ||
		magnitude(amount) == magnitude(old) && amount > old {
		m[k] = amount
	}
}

// magnitude returns |n|, for the least number too.
func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// Merge returns the awards of both.
func (m Awards) Merge(n Awards) Awards {
	union := make(Awards, len(m)+len(n))
	for k, amount := range m {
		union.put(k, amount)
	}
	for k, amount := range n {
		union.put(k, amount)
	}
	return union
}
