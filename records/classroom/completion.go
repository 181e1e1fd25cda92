package classroom

import (
	"cmp"

	"github.com/classmesh/classmesh/records/message"
)

// Completion in a register is a latch: it is written once, by the device that
// marked the answer (or counted the seconds) that completed the content
// according to all it had, and never taken back.
type Completion struct {
	At       int64  `json:"at"`                 // milliseconds since 1970
	Attempts uint64 `json:"attempts,omitempty"` // made by then, of an exercise
}

// Fields lists the message's fields.
func (c *Completion) Fields(v *message.Visitor) {
	v.Int64(1, &c.At)
	v.Uint64(2, &c.Attempts)
}

// First merges completions by the rule "first": the one with the least
// trusted time; a time before the zone's creation is not trusted, and used
// only if there is no other.
type First struct {
	Completion
	Source  Source
	Trusted bool
}

// Merge returns the first of both; nil means not completed.
func (f *First) Merge(g *First) *First {
	if f == nil || g != nil && g.compare(f) < 0 {
		return g
	}
	return f
}

func (f *First) compare(g *First) int {
	return cmp.Or(cmp.Compare(flagOf(g.Trusted), flagOf(f.Trusted)), cmp.Compare(f.At, g.At),
		f.Source.Compare(g.Source), cmp.Compare(f.Attempts, g.Attempts))
}

// first interprets the latch of a version. created is when the zone was, in
// milliseconds since 1970.
func (c *Completion) first(source Source, created int64) *First {
	if c == nil {
		return nil
	}
	return &First{*c, source, c.At >= created}
}
