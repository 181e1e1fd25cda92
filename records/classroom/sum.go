package classroom

import (
	"math"
	"slices"
)

// Sum merges a count by the rule "sum": each source counts only its own, from
// zero; of what one source says in several versions or branches the largest
// counts; all sources are added. The zero value is zero.
type Sum []Share

// Share is what one source has counted. Sums hold them by ascending source,
// none of them zero.
type Share struct {
	Source Source
	Count  uint64
}

// Total returns the sum, at most 2⁶⁴−1.
func (s Sum) Total() (total uint64) {
	for _, share := range s {
		total = saturatingAdd(total, share.Count)
	}
	return total
}

// Merge returns the sum over the sources of both.
func (s Sum) Merge(t Sum) Sum {
	for _, share := range t {
		s = s.with(share.Source, share.Count)
	}
	return s
}

// with returns the sum that knows of one more count; s itself stays as it is.
func (s Sum) with(source Source, count uint64) Sum {
	if count == 0 {
		return s
	}
	i, found := slices.BinarySearchFunc(s, source, func(a Share, b Source) int { return a.Source.Compare(b) })
	switch {
	case !found:
		return slices.Insert(slices.Clip(s), i, Share{source, count})
	case s[i].Count < count:
		s = slices.Clone(s)
		s[i].Count = count
	}
	return s
}

func saturatingAdd(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}
