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
	r, s = r.sorted(), s.sorted()
	merged := make(Recent, 0, min(len(r)+len(s), Window))
	for len(merged) < Window && len(r)+len(s) > 0 {
		if len(r) == 0 || len(s) > 0 && s[0].compare(r[0]) > 0 {
			r, s = s, r // the newer is in r
		}
		if n := len(merged); n == 0 || merged[n-1] != r[0] {
			merged = append(merged, r[0])
		}
		r = r[1:]
	}
	return merged
}

// sorted returns the answers with the newest first, as they mostly are.
func (r Recent) sorted() Recent {
	newest := func(a, b Answer) int { return b.compare(a) }
	if !slices.IsSortedFunc(r, newest) {
		r = slices.Clone(r)
		slices.SortFunc(r, newest)
	}
	return r
}
