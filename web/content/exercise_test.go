package content_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/web/content"
)

func TestMark(t *testing.T) {
	tests := []struct {
		item, answer string
		correct      bool
		normalized   string
	}{
		// A whole number.
		{"half-of-ten", "5", true, "5"},
		{"half-of-ten", " 5 ", true, "5"},
		{"half-of-ten", "+5", true, "5"},
		{"half-of-ten", "+ 005", true, "5"},
		{"half-of-ten", "5.0", true, "5"},
		{"half-of-ten", "5,00", true, "5"},
		{"half-of-ten", "5.", true, "5"},
		{"half-of-ten", "٥", true, "5"},
		{"half-of-ten", "۵", true, "5"},
		{"half-of-ten", "\u200f٥\u200e", true, "5"},
		{"half-of-ten", "10/2", false, "10/2"},
		{"half-of-ten", "-5", false, "-5"},
		{"half-of-ten", "\u22125", false, "-5"},
		{"half-of-ten", "-0", false, "0"},
		{"half-of-ten", "50", false, "50"},
		{"half-of-ten", "5000", false, "5000"},
		{"half-of-ten", "5 000", false, "5000"},
		{"half-of-ten", "5'000", false, "5000"},
		{"half-of-ten", "5٬000", false, "5000"},
		{"half-of-ten", "5 000,5", false, "5000.5"},
		{"half-of-ten", "1,000,000.25", false, "1000000.25"},
		{"half-of-ten", "5,000", true, "5"}, // a decimal comma; where 5000 is right, so is this
		{"half-of-ten", "0.125", false, "0.125"},

		// A decimal.
		{"half-as-decimal", "0.5", true, "0.5"},
		{"half-as-decimal", "0,5", true, "0.5"},
		{"half-as-decimal", ".5", true, "0.5"},
		{"half-as-decimal", "00.50", true, "0.5"},
		{"half-as-decimal", "٠٫٥", true, "0.5"},
		{"half-as-decimal", "۰٫۵", true, "0.5"},
		{"half-as-decimal", "1/2", false, "1/2"},
		{"half-as-decimal", "½", false, "1/2"},

		// A fraction of equal value.
		{"two-of-five", "2/5", true, "2/5"},
		{"two-of-five", " 2 / 5 ", true, "2/5"},
		{"two-of-five", "04/10", true, "4/10"},
		{"two-of-five", "٢/٥", true, "2/5"},
		{"two-of-five", "2\u20445", true, "2/5"},
		{"two-of-five", "⅖", true, "2/5"},
		{"two-of-five", "0.4", true, "0.4"},
		{"two-of-five", "5/2", false, "5/2"},
		{"two-of-five", "2 1/2", false, "2 1/2"},
		{"two-of-five", "2½", false, "2 1/2"},
		{"two-of-five", "-2/5", false, "-2/5"},

		// A fraction in lowest terms.
		{"simplify-six-eighths", "3/4", true, "3/4"},
		{"simplify-six-eighths", "+3/4", true, "3/4"},
		{"simplify-six-eighths", "6/8", false, "6/8"},
		{"simplify-six-eighths", "0.75", false, "0.75"},

		// A text.
		{"name-below", "denominator", true, "denominator"},
		{"name-below", "  The  DENOMINATOR. ", true, "the denominator"},
		{"name-below", "dénominateur", true, "denominateur"},
		{"name-below", "de\u0301nominateur", true, "denominateur"},
		{"name-below", "denominador", true, "denominador"},
		{"name-below", "المَقـــام", true, "المقام"},
		{"name-below", "numerator", false, "numerator"},
		{"name-below", "denominators", false, "denominators"},

		// A choice.
		{"equal-to-half", "two-quarters", true, "two-quarters"},
		{"equal-to-half", "two-thirds", false, "two-thirds"},
	}
	e := exercise(t, "fractions-basics")
	for _, test := range tests {
		want := content.Marking{Correct: test.correct, Normalized: test.normalized}
		got, err := e.Mark(test.item, 7, test.answer)
		if err != nil || got != want {
			t.Errorf("%s: Mark(%q) = %+v, %v; want %+v", test.item, test.answer, got, err, want)
		}
	}
}

func TestMarkRefuses(t *testing.T) {
	tests := []struct {
		item, answer string
		want         error
	}{
		{"no-such-item", "5", content.ErrUnknownItem},
		{"", "5", content.ErrUnknownItem},
		{"half-of-ten", strings.Repeat("5", content.MaxAnswerBytes+1), content.ErrAnswerTooLong},
		{"half-of-ten", "", content.ErrUnreadableAnswer},
		{"half-of-ten", "  ", content.ErrUnreadableAnswer},
		{"half-of-ten", "five", content.ErrUnreadableAnswer},
		{"half-of-ten", "5 cm", content.ErrUnreadableAnswer},
		{"half-of-ten", "5e0", content.ErrUnreadableAnswer},
		{"half-of-ten", "0x5", content.ErrUnreadableAnswer},
		{"half-of-ten", "1e999999999", content.ErrUnreadableAnswer},
		{"half-of-ten", "--5", content.ErrUnreadableAnswer},
		{"half-of-ten", "1 5", content.ErrUnreadableAnswer},
		{"half-of-ten", "1,5,0", content.ErrUnreadableAnswer},
		{"half-of-ten", "1.2.3", content.ErrUnreadableAnswer},
		{"half-of-ten", ".", content.ErrUnreadableAnswer},
		{"half-of-ten", "5/0", content.ErrUnreadableAnswer},
		{"half-of-ten", "5/", content.ErrUnreadableAnswer},
		{"half-of-ten", "1/2/3", content.ErrUnreadableAnswer},
		{"half-of-ten", "1 5/4", content.ErrUnreadableAnswer},
		{"half-of-ten", "1/-2", content.ErrUnreadableAnswer},
		{"half-of-ten", "5\xff", content.ErrUnreadableAnswer},
		{"half-of-ten", "5\x00", content.ErrUnreadableAnswer},
		{"name-below", "...", content.ErrUnreadableAnswer},
		{"equal-to-half", "", content.ErrUnreadableAnswer},
		{"equal-to-half", "2/4", content.ErrUnreadableAnswer},
	}
	e := exercise(t, "fractions-basics")
	for _, test := range tests {
		got, err := e.Mark(test.item, 7, test.answer)
		if !errors.Is(err, test.want) || got != (content.Marking{}) {
			t.Errorf("%s: Mark(%.20q) = %+v, %v; want %v", test.item, test.answer, got, err, test.want)
		}
	}
	if _, err := e.Question("no-such-item", 1, "en"); !errors.Is(err, content.ErrUnknownItem) {
		t.Errorf("Question of an unknown item: %v", err)
	}
}

// TestMarkIsStable holds that the normalized form of an answer is an answer
// that is marked alike and is its own normalized form.
func TestMarkIsStable(t *testing.T) {
	e := exercise(t, "fractions-basics")
	rapid.Check(t, func(t *rapid.T) {
		item := rapid.SampledFrom(e.Items()).Draw(t, "item")
		seed := rapid.Uint64().Draw(t, "seed")
		answer := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`[+-]?[0-9٠-٩ .,/']{1,12}`),
			rapid.SampledFrom([]string{"two-quarters", "one-third", "quart", "3/4"}),
		).Draw(t, "answer")
		first, err := e.Mark(item, seed, answer)
		if err != nil {
			return
		}
		second, err := e.Mark(item, seed, first.Normalized)
		if err != nil || second != first {
			t.Fatalf("%s: %q gives %+v, and that gives %+v, %v", item, answer, first, second, err)
		}
	})
}

// TestChoiceHasOneRightOption also holds that the right option is not always
// in the same place.
func TestChoiceHasOneRightOption(t *testing.T) {
	e := exercise(t, "fractions-basics")
	for _, item := range e.Items() {
		places := map[int]bool{}
		for seed := range uint64(40) {
			q, err := e.Question(item, seed, "en")
			if err != nil {
				t.Fatal(err)
			}
			if q.Kind != content.KindChoice {
				places = nil
				break
			}
			right := 0
			for i, o := range q.Options {
				m, err := e.Mark(item, seed, o.ID)
				if err != nil {
					t.Fatal(err)
				}
				if m.Correct {
					right++
					places[i] = true
				}
			}
			if right != 1 {
				t.Fatalf("%s: %d options are right", item, right)
			}
		}
		if places != nil && len(places) < 3 {
			t.Errorf("%s: the right option is only ever in the places %v", item, places)
		}
	}
}

func TestNext(t *testing.T) {
	l := library(t)
	rapid.Check(t, func(t *rapid.T) {
		e := l.Exercise(rapid.SampledFrom([]string{"fractions-basics", "fractions-practice"}).Draw(t, "exercise"))
		n := len(e.Items())
		start := rapid.Uint64Range(0, 1<<60).Draw(t, "start") / uint64(n) * uint64(n)
		seen := map[string]int{}
		last := ""
		for i := range uint64(3 * n) {
			item, seed := e.Next(start + i)
			again, seedAgain := e.Next(start + i)
			if item != again || seed != seedAgain {
				t.Fatalf("Next(%d) gives two questions", start+i)
			}
			if seed >= 1<<53 {
				t.Fatalf("item seed %d does not fit a number in JSON", seed)
			}
			if item == last {
				t.Fatalf("Next(%d) gives %s twice in a row", start+i, item)
			}
			last = item
			seen[item]++
		}
		for item, times := range seen {
			if times != 3 || len(seen) != n {
				t.Fatalf("in three rounds %s came %d times, and %d items of %d came at all", item, times, len(seen), n)
			}
		}
	})
}
