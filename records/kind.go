package records

import (
	"fmt"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Kind numbers a kind of record. The number itself says in which lane the
// kind travels and who may author it, so that every release can decide both
// for kinds that it does not know:
//
//	bits 15–14  lane
//	bits 13–12  class of authors
//	bits 11–0   number, unique over all lanes and classes
type Kind uint16

// NewKind composes a kind. Numbers are given out once and never reused.
func NewKind(l identity.Lane, c roster.Class, number uint16) Kind {
	if !l.Valid() || c > 3 || number >= 1<<12 {
		panic("records: kind out of range")
	}
	return Kind(uint16(l)<<14 | uint16(c)<<12 | number)
}

// Lane returns the lane in which the kind travels.
func (k Kind) Lane() identity.Lane { return identity.Lane(k >> 14) }

// Class returns who may author the kind.
func (k Kind) Class() roster.Class { return roster.Class(k >> 12 & 3) }

// Number returns the kind's number within classmesh.
func (k Kind) Number() uint16 { return uint16(k & 0xfff) }

// String returns "lane/number".
func (k Kind) String() string { return fmt.Sprintf("%v/%d", k.Lane(), k.Number()) }
