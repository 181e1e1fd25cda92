package classroom

import (
	"cmp"
	"math"
	"slices"
)

// Span is a stretch of a video, in whole seconds from its beginning; To is
// not in it.
type Span struct {
	From uint32 `json:"from_s"`
	To   uint32 `json:"to_s"`
}

// Spans merges stretches by the rule "union": what was watched, ascending,
// neither overlapping nor touching.
type Spans []Span

// maxSpans bounds how many spans a register holds.
const maxSpans = 1024

// Seconds returns the length of all spans together.
func (s Spans) Seconds() (n uint64) {
	for _, span := range s {
		n += uint64(span.To - span.From)
	}
	return n
}

// Merge returns the union.
func (s Spans) Merge(t Spans) Spans {
	if len(t) == 0 {
		return s
	}
	all := slices.Concat(s, t)
	slices.SortFunc(all, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	union := all[:0]
	for _, span := range all {
		switch last := len(union) - 1; {
		case span.To <= span.From:
		case last >= 0 && span.From <= union[last].To:
			union[last].To = max(union[last].To, span.To)
		default:
			union = append(union, span)
		}
	}
	return union
}

// pack gives the spans as alternating gaps and lengths. Of more than maxSpans
// the nearest to each other are joined: a few seconds too many, rather than
// any too few.
func (s Spans) pack() []uint64 {
	s = slices.Clone(s)
	for len(s) > maxSpans {
		nearest := 1
		for i := 2; i < len(s); i++ {
			if s[i].From-s[i-1].To < s[nearest].From-s[nearest-1].To {
				nearest = i
			}
		}
		s[nearest-1].To = s[nearest].To
		s = slices.Delete(s, nearest, nearest+1)
	}
	steps := make([]uint64, 0, 2*len(s))
	at := uint32(0)
	for _, span := range s {
		steps = append(steps, uint64(span.From-at), uint64(span.To-span.From))
		at = span.To
	}
	return steps
}

// unpack reads what pack gave; spans beyond the range of seconds are cut.
func unpack(steps []uint64) Spans {
	spans := make(Spans, 0, len(steps)/2)
	at := uint64(0)
	for len(steps) >= 2 {
		from := saturatingAdd(at, steps[0])
		to := saturatingAdd(from, steps[1])
		at, steps = to, steps[2:]
		spans = append(spans, Span{uint32(min(from, math.MaxUint32)), uint32(min(to, math.MaxUint32))})
	}
	return Spans(nil).Merge(spans)
}
