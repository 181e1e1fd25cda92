package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// figure is a row of the table: what is measured, and what it should be.
type figure struct {
	id, what, unit string
	bound          bound
	values         []float64
	note           string // in place of values: why there are none
}

// bound is what is asked of a figure. A zero value asks nothing.
type bound struct {
	must, moonshot float64
	more           bool // that much at least; otherwise that much at most
}

func atMost(must, moonshot float64) bound  { return bound{must, moonshot, false} }
func atLeast(must, moonshot float64) bound { return bound{must, moonshot, true} }

// meets reports whether a figure is at the bound or on its better side.
func (b bound) meets(v, at float64) bool {
	if b.more {
		return v >= at
	}
	return v <= at
}

// The verdicts.
const (
	short    = "SHORT OF MUST"
	must     = "must"
	moonshot = "moonshot"
)

// verdict says which bound the median meets.
func (f *figure) verdict() string {
	switch v := f.bound; {
	case len(f.values) == 0, v.must == 0 && v.moonshot == 0:
		return ""
	case v.moonshot != 0 && v.meets(f.median(), v.moonshot):
		return moonshot
	case v.must == 0:
		return ""
	case v.meets(f.median(), v.must):
		return must
	}
	return short
}

func (f *figure) median() float64 {
	sorted := slices.Sorted(slices.Values(f.values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// format writes a value with as many digits as anybody wants to read.
func format(v float64, unit string) string {
	digits := 0
	switch {
	case v != 0 && v < 9.995:
		digits = 2
	case v < 99.95:
		digits = 1
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	whole, rest, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest = strings.TrimRight(rest, "0"); rest != "" {
		whole += "." + rest
	}
	if unit != "" {
		whole += " " + unit
	}
	return whole
}

// sizeName is a number of records as it stands in the names of rows.
func sizeName(n int) string {
	switch {
	case n%1_000_000 == 0:
		return fmt.Sprint(n/1_000_000, "M")
	case n%1000 == 0:
		return fmt.Sprint(n/1000, "k")
	}
	return strconv.Itoa(n)
}

// bySize picks the bound for a zone of n records from those that are
// given for 10,000, 100,000 and 1,000,000.
func bySize(n int, small, middle, large bound) bound {
	switch {
	case n <= 30_000:
		return small
	case n <= 300_000:
		return middle
	}
	return large
}
