package content

import (
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
)

// span is a range of whole numbers, both ends included.
type span struct{ min, max int }

// generator draws the numbers of a question. What it draws for a seed is
// frozen, like the numbers of [random] that it draws from: a better generator
// gets a new name.
type generator struct {
	parameters map[string]span // the ranges that a pack must give, and their bounds
	values     []string        // the numbers that prompt and hints may show as {name}
	draw       func(r *random, ranges map[string]span) (values map[string]int, answer numberKey)
}

// generators are known to packs by these names, which the package comment
// lists for authors.
var generators = map[string]generator{
	"fraction-of": {
		parameters: map[string]span{"denominator": {2, 100}, "part": {1, 1000}},
		values:     []string{"numerator", "denominator", "whole", "part"},
		draw: func(r *random, ranges map[string]span) (map[string]int, numberKey) {
			denominator := r.in(ranges["denominator"])
			numerator := r.between(1, denominator-1)
			part := r.in(ranges["part"])
			return map[string]int{
				"numerator": numerator, "denominator": denominator,
				"whole": denominator * part, "part": part,
			}, numberKey{value: big.NewRat(int64(numerator*part), 1)}
		},
	},
	"equal-fraction": {
		parameters: map[string]span{"denominator": {2, 100}, "factor": {2, 100}},
		values:     []string{"numerator", "denominator", "factor", "wide"},
		draw: func(r *random, ranges map[string]span) (map[string]int, numberKey) {
			denominator := r.in(ranges["denominator"])
			numerator := r.between(1, denominator-1)
			factor := r.in(ranges["factor"])
			return map[string]int{
				"numerator": numerator, "denominator": denominator,
				"factor": factor, "wide": denominator * factor,
			}, numberKey{value: big.NewRat(int64(numerator*factor), 1)}
		},
	},
	"fraction-sum": {
		parameters: map[string]span{"denominator": {2, 100}},
		values:     []string{"first", "second", "denominator"},
		draw: func(r *random, ranges map[string]span) (map[string]int, numberKey) {
			denominator := r.in(ranges["denominator"])
			first := r.between(1, denominator-1)
			second := r.between(1, denominator-first)
			return map[string]int{"first": first, "second": second, "denominator": denominator},
				numberKey{value: big.NewRat(int64(first+second), int64(denominator)), form: fractionForm}
		},
	},
	"fraction-difference": {
		parameters: map[string]span{"denominator": {2, 100}},
		values:     []string{"first", "second", "denominator"},
		draw: func(r *random, ranges map[string]span) (map[string]int, numberKey) {
			denominator := r.in(ranges["denominator"])
			first := r.between(2, denominator)
			second := r.between(1, first-1)
			return map[string]int{"first": first, "second": second, "denominator": denominator},
				numberKey{value: big.NewRat(int64(first-second), int64(denominator)), form: fractionForm}
		},
	},
}

func (r *random) in(s span) int { return r.between(s.min, s.max) }

// checkRanges makes sure that a pack gives every parameter, and nothing else,
// within its bounds.
func (g generator) checkRanges(ranges map[string]span) error {
	for _, name := range slices.Sorted(maps.Keys(ranges)) {
		if _, ok := g.parameters[name]; !ok {
			return fmt.Errorf("%s: not a parameter of this generator", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.parameters)) {
		given, ok := ranges[name]
		bounds := g.parameters[name]
		switch {
		case !ok:
			return fmt.Errorf("%s: missing", name)
		case given.min > given.max:
			return fmt.Errorf("%s: begins above its end", name)
		case given.min < bounds.min || given.max > bounds.max:
			return fmt.Errorf("%s: not within %d…%d", name, bounds.min, bounds.max)
		}
	}
	return nil
}

// placeholder is where a text of a generated item shows a number.
var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// checkTemplate makes sure that t shows only numbers that g draws.
func (g generator) checkTemplate(t Text) error {
	for _, lang := range slices.Sorted(maps.Keys(t)) {
		for _, p := range placeholder.FindAllString(t[lang], -1) {
			if !slices.Contains(g.values, p[1:len(p)-1]) {
				return fmt.Errorf("%s: %s is not drawn by this generator", lang, p)
			}
		}
	}
	return nil
}

// fill writes the numbers that were drawn into a text.
func fill(template string, values map[string]int) string {
	if values == nil {
		return template
	}
	return placeholder.ReplaceAllStringFunc(template, func(p string) string {
		return strconv.Itoa(values[p[1:len(p)-1]])
	})
}
