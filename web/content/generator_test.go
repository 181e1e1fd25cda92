package content_test

import (
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/web/content"
)

// TestGoldenQuestions holds what (item, seed) stands for. Learners' records
// refer to questions by these two, so a change here is never right.
func TestGoldenQuestions(t *testing.T) {
	type golden struct {
		exercise, item string
		seed           uint64
		lang           string
		want           content.Question
	}
	tests := []golden{
		{"fractions-practice", "part-of-number", 1, "en", content.Question{
			Prompt: "What is 5/8 of 96?",
			Kind:   content.KindNumber,
			Hints:  []string{"First find 1/8 of 96: divide 96 by 8.", "One part is 12. Take 5 of them."},
		}},
		{"fractions-practice", "missing-numerator", 2, "fr-CA", content.Question{
			Prompt: "Quel nombre manque-t-il ? 5/7 = ?/21",
			Kind:   content.KindNumber,
			Hints:  []string{"Par combien a-t-on multiplié 7 pour obtenir 21 ?", "Multiplie aussi 5 par 3."},
		}},
		{"fractions-practice", "add-same-parts", 1<<53 - 1, "es", content.Question{
			Prompt: "9/12 + 1/12 = ?",
			Kind:   content.KindNumber,
			Hints:  []string{"Las partes tienen el mismo tamaño: solo se suman los números de arriba.", "9 + 1, y 12 se queda abajo."},
		}},
		{"fractions-practice", "subtract-same-parts", 1<<64 - 1, "ar", content.Question{
			Prompt: "\u20664/4 − 2/4 = ?\u2069",
			Kind:   content.KindNumber,
			Hints:  []string{"الأجزاء متساوية، لذا نطرح العددين في الأعلى فقط.", "\u20664 − 2\u2069، ويبقى 4 في الأسفل."},
		}},
		{"fractions-basics", "three-of-four", 0, "de", content.Question{
			Prompt:  "A bread is cut into 4 equal parts. You eat 3 of them. How much of the bread did you eat?",
			Kind:    content.KindChoice,
			Options: []content.Option{{"one-quarter", "1/4"}, {"three-quarters", "3/4"}, {"four-thirds", "4/3"}, {"one-third", "1/3"}},
			Hints:   []string{"Count all the equal parts first. That number goes below."},
		}},
	}
	for _, g := range tests {
		g.want.Item, g.want.Seed = g.item, g.seed
		got, err := exercise(t, g.exercise).Question(g.item, g.seed, g.lang)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(g.want, got); diff != "" {
			t.Errorf("%s, seed %d (-want +got):\n%s", g.item, g.seed, diff)
		}
	}
}

func TestGoldenNext(t *testing.T) {
	type choice struct {
		Item string
		Seed uint64
	}
	want := []choice{
		{"add-same-parts", 6811955255339584},
		{"part-of-number", 5404332567632387},
		{"missing-numerator", 2688214225601936},
		{"subtract-same-parts", 4490133804184125},
		{"add-same-parts", 7584665610170535},
		{"subtract-same-parts", 1669080260281971},
	}
	var got []choice
	for seed := range uint64(len(want)) {
		item, itemSeed := exercise(t, "fractions-practice").Next(seed)
		got = append(got, choice{item, itemSeed})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

var numbersInPrompt = regexp.MustCompile(`\d+(?:/\d+)?`)

// solve works out the answer from nothing but the English prompt, as a learner
// does.
func solve(t *rapid.T, item, prompt string) *big.Rat {
	var n []*big.Rat
	for _, s := range numbersInPrompt.FindAllString(prompt, -1) {
		r, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatalf("%s: cannot read %q in %q", item, s, prompt)
		}
		n = append(n, r)
	}
	if len(n) != 2 {
		t.Fatalf("%s: %q does not show two numbers", item, prompt)
	}
	z := new(big.Rat)
	switch item {
	case "part-of-number", "missing-numerator":
		return z.Mul(n[0], n[1])
	case "add-same-parts":
		return z.Add(n[0], n[1])
	case "subtract-same-parts":
		return z.Sub(n[0], n[1])
	}
	t.Fatalf("no way to solve %s is known", item)
	return nil
}

func TestGeneratedQuestionsCanBeSolved(t *testing.T) {
	e := exercise(t, "fractions-practice")
	rapid.Check(t, func(t *rapid.T) {
		item := rapid.SampledFrom(e.Items()).Draw(t, "item")
		seed := rapid.Uint64().Draw(t, "seed")
		q, err := e.Question(item, seed, "en")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range append(q.Hints, q.Prompt) {
			if strings.ContainsAny(s, "{}") {
				t.Fatalf("%s shows a placeholder: %q", item, s)
			}
		}
		answer := solve(t, item, q.Prompt)
		if answer.Sign() <= 0 {
			t.Fatalf("%q has the answer %v, not for beginners", q.Prompt, answer)
		}
		mark := func(n *big.Rat) bool {
			m, err := e.Mark(item, seed, n.RatString())
			if err != nil {
				t.Fatal(err)
			}
			return m.Correct
		}
		if !mark(answer) {
			t.Fatalf("%q: %s is marked wrong", q.Prompt, answer.RatString())
		}
		off := big.NewRat(rapid.Int64Range(1, 50).Draw(t, "off"), rapid.Int64Range(1, 50).Draw(t, "by"))
		if mark(new(big.Rat).Add(answer, off)) || mark(new(big.Rat).Sub(answer, off)) {
			t.Fatalf("%q: an answer that is off by %v is marked right", q.Prompt, off)
		}
	})
}

func TestQuestionIsTheSameEveryTime(t *testing.T) {
	first, second := library(t), library(t)
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SampledFrom([]string{"fractions-basics", "fractions-practice"}).Draw(t, "exercise")
		item := rapid.SampledFrom(first.Exercise(x).Items()).Draw(t, "item")
		lang := rapid.SampledFrom([]string{"en", "fr", "es", "ar"}).Draw(t, "lang")
		seed := rapid.Uint64().Draw(t, "seed")
		a, err := first.Exercise(x).Question(item, seed, lang)
		if err != nil {
			t.Fatal(err)
		}
		b, err := second.Exercise(x).Question(item, seed, lang)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatalf("two copies of a pack differ:\n%s", diff)
		}
	})
}
