package classroom

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/message"
)

// Setting is one field that people set, with the clock of when it was set in
// this log. Clock 0 means that it never was: the log says nothing about it.
type Setting[T cmp.Ordered] struct {
	Clock records.Clock
	Value T
}

// set sets the value.
func (s *Setting[T]) set(c records.Clock, value T) { s.Clock, s.Value = c, value }

// MarshalJSON gives null for a field that was never set here.
func (s Setting[T]) MarshalJSON() ([]byte, error) {
	if s.Clock == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(struct {
		Clock string `json:"clock"`
		Value T      `json:"value"`
	}{s.Clock.String(), s.Value})
}

// Flag is a truth value that settings can hold.
type Flag uint8

// The flags.
const (
	No Flag = iota
	Yes
)

func flagOf(b bool) Flag {
	if b {
		return Yes
	}
	return No
}

// MarshalJSON gives true or false.
func (f Flag) MarshalJSON() ([]byte, error) { return json.Marshal(f != No) }

// textField and numberField are settings as messages: clock, value.
type (
	textField[T ~string] struct {
		*Setting[T]
		maxBytes int
	}
	numberField[T ~uint8 | ~uint32 | ~uint64] struct{ *Setting[T] }
)

func (f textField[T]) Fields(v *message.Visitor) {
	message.Uint(v, 1, &f.Clock)
	s := string(f.Value)
	v.String(2, &s, f.maxBytes)
	f.Value = T(s)
}

func (f numberField[T]) Fields(v *message.Visitor) {
	message.Uint(v, 1, &f.Clock)
	message.Uint(v, 2, &f.Value)
}

func visitText[T ~string](v *message.Visitor, num int, s *Setting[T], maxBytes int) {
	v.Message(num, textField[T]{s, maxBytes})
}

func visitNumber[T ~uint8 | ~uint32 | ~uint64](v *message.Visitor, num int, s *Setting[T]) {
	v.Message(num, numberField[T]{s})
}

// Written is a setting and the source that made it.
type Written[T cmp.Ordered] struct {
	Setting[T]
	Source Source
}

func (w Written[T]) compare(x Written[T]) int {
	return cmp.Or(cmp.Compare(w.Clock, x.Clock), w.Source.Compare(x.Source), cmp.Compare(w.Value, x.Value))
}

// Latest merges a field by the rule "latest": the setting with the greatest
// (clock, source) holds. The others follow it, newest first, as the field's
// history. The zero value is a field that nobody has set.
type Latest[T cmp.Ordered] []Written[T]

// Value returns the setting that holds, or the zero value of T.
func (l Latest[T]) Value() (value T) {
	if len(l) > 0 {
		value = l[0].Value
	}
	return value
}

// IsSet reports whether anybody has set the field.
func (l Latest[T]) IsSet() bool { return len(l) > 0 }

// Merge returns the union of both.
func (l Latest[T]) Merge(m Latest[T]) Latest[T] {
	for _, w := range m {
		l = l.with(w)
	}
	return l
}

// with returns l and one more setting; l itself stays as it is.
func (l Latest[T]) with(w Written[T]) Latest[T] {
	if w.Clock == 0 {
		return l
	}
	i, found := slices.BinarySearchFunc(l, w, func(a, b Written[T]) int { return b.compare(a) })
	if found {
		return l
	}
	return slices.Insert(slices.Clip(l), i, w)
}
