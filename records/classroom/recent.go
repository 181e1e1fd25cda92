package classroom

import (
	"cmp"
	"slices"

	"github.com/classmesh/classmesh/records"
)

// Window is how many of the newest answers count towards completion.
const Window = 10

// Answer is one of a learner's newest first answers to an exercise.
type Answer struct {
	Clock  records.Clock
	Source Source
	Number uint64 // counts the answers of that source, from 1
	Right  bool   // correct, without a hint
}

func (a Answer) compare(b Answer) int {
	return cmp.Or(cmp.Compare(a.Clock, b.Clock), a.Source.Compare(b.Source),
		cmp.Compare(a.Number, b.Number), cmp.Compare(flagOf(a.Right), flagOf(b.Right)))
}

// Recent merges newest answers: the newest [Window] of the union, newest
// first.
type Recent []Answer

// Right returns how many of them are right.
func (r Recent) Right() (n int) {
	for _, a := range r {
		if a.Right {
			n++
		}
	}
	return n
}

// Merge returns the newest of both.
func (r Recent) Merge(s Recent) Recent {
	if len(s) == 0 {
		return r
	}
	union := slices.Concat(r, s)
	slices.SortFunc(union, func(a, b Answer) int { return b.compare(a) })
	union = slices.Compact(union)
	return slices.Clip(union[:min(len(union), Window)])
}
