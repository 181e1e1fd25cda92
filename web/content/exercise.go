package content

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxAnswerBytes is the length of the longest answer that is marked.
const MaxAnswerBytes = 256

// Window is the number of a learner's newest answers to an exercise that
// count towards completing it.
const Window = 10

var (
	// ErrUnknownItem means that the exercise has no item of this ID: the
	// question came from another release of the pack, or from nowhere.
	ErrUnknownItem = errors.New("unknown item")

	// ErrAnswerTooLong means that an answer exceeds [MaxAnswerBytes].
	ErrAnswerTooLong = fmt.Errorf("answer is longer than %d bytes", MaxAnswerBytes)

	// ErrUnreadableAnswer means that an answer is not of the kind that was
	// asked for, such as "abc" for a number. It is neither right nor wrong:
	// ask again.
	ErrUnreadableAnswer = errors.New("unreadable answer")
)

// Kind is the kind of answer that a question asks for.
type Kind string

// The kinds of answers.
const (
	KindNumber Kind = "number" // a whole number, decimal or fraction
	KindText   Kind = "text"   // a word or a few
	KindChoice Kind = "choice" // the ID of one of the options
)

// Exercise is a set of items to practise until enough of the newest answers
// are right. It does not change after [Load] and is safe for concurrent use.
type Exercise struct {
	ID          string
	Title       Text
	Description Text
	Needed      int // right answers among the last [Window] that complete it
	Points      int // base points of the exercise

	items []item
}

// item is a question to be, drawn anew for every seed.
type item struct {
	id     string
	prompt Text
	hints  []Text
	pose   func(r *random) problem
}

// problem is what an item becomes for one seed.
type problem struct {
	values  map[string]int // for the placeholders in prompt and hints; nil if it has none
	options []option       // in the order of display
	key     key
}

type option struct {
	id   string
	text Text
}

// key knows the right answer.
type key interface {
	kind() Kind
	// mark marks an answer of at most MaxAnswerBytes of valid UTF-8.
	mark(answer string) (Marking, error)
}

// Question is what a learner is shown. It does not contain the answer.
type Question struct {
	Item    string
	Seed    uint64
	Prompt  string
	Kind    Kind
	Options []Option // of a choice, in the order of display; else nil
	Hints   []string // to be shown one after the other, on demand
}

// Option is one of the answers that a choice offers.
type Option struct {
	ID   string // the answer to send, if the learner picks it
	Text string
}

// Marking is the verdict on an answer.
type Marking struct {
	Correct bool
	// Normalized is the answer in one spelling, so that equal answers of many
	// learners can be counted together: "0.5" for " ٠٫٥٠", an option's ID for
	// a choice.
	Normalized string
}

// Items returns the IDs of the items, in the order of the pack.
func (e *Exercise) Items() []string {
	ids := make([]string, len(e.items))
	for i, it := range e.items {
		ids[i] = it.id
	}
	return ids
}

// Next chooses a question: the item and the seed to draw it with, which is
// below 2^53 so that it survives being a number in JSON. The same seed chooses
// the same question, as long as the exercise has the same items. Whoever
// counts the seed up by one from question to question leads the learner
// through all items before one comes again, and, if there are three or more,
// never to the same item twice in a row.
func (e *Exercise) Next(seed uint64) (itemID string, itemSeed uint64) {
	n := uint64(len(e.items))
	round, turn := seed/n, seed%n
	order := e.order(round)
	if n > 2 && round > 0 && order[0] == e.order(round - 1)[n-1] {
		order[0], order[1] = order[1], order[0]
	}
	return e.items[order[turn]].id, newRandom(e.ID+"/seed", seed).next() >> 11
}

func (e *Exercise) order(round uint64) []int {
	return newRandom(e.ID+"/order", round).permutation(len(e.items))
}

// Question returns the question that item and seed stand for, with its texts
// in lang. The error is [ErrUnknownItem].
func (e *Exercise) Question(itemID string, seed uint64, lang string) (Question, error) {
	it, err := e.item(itemID)
	if err != nil {
		return Question{}, fmt.Errorf("ask question: %w", err)
	}
	p := it.pose(newRandom(itemID, seed))
	q := Question{
		Item:   itemID,
		Seed:   seed,
		Prompt: fill(it.prompt.In(lang), p.values),
		Kind:   p.key.kind(),
	}
	for _, o := range p.options {
		q.Options = append(q.Options, Option{ID: o.id, Text: o.text.In(lang)})
	}
	for _, h := range it.hints {
		q.Hints = append(q.Hints, fill(h.In(lang), p.values))
	}
	return q, nil
}

// Mark marks an answer to the question that item and seed stand for. It reads
// answers as a teacher would, whatever the language: see the package comment.
// Errors are [ErrUnknownItem], [ErrAnswerTooLong] and [ErrUnreadableAnswer].
func (e *Exercise) Mark(itemID string, seed uint64, answer string) (Marking, error) {
	it, err := e.item(itemID)
	if err != nil {
		return Marking{}, fmt.Errorf("mark answer: %w", err)
	}
	if len(answer) > MaxAnswerBytes {
		return Marking{}, fmt.Errorf("mark answer to %s of %s: %w", itemID, e.ID, ErrAnswerTooLong)
	}
	if !utf8.ValidString(answer) {
		return Marking{}, fmt.Errorf("mark answer to %s of %s: %w: not UTF-8", itemID, e.ID, ErrUnreadableAnswer)
	}
	m, err := it.pose(newRandom(itemID, seed)).key.mark(answer)
	if err != nil {
		return Marking{}, fmt.Errorf("mark answer to %s of %s: %w", itemID, e.ID, err)
	}
	return m, nil
}

func (e *Exercise) item(id string) (item, error) {
	i := slices.IndexFunc(e.items, func(it item) bool { return it.id == id })
	if i < 0 {
		return item{}, fmt.Errorf("exercise %s: %w %.64q", e.ID, ErrUnknownItem, id)
	}
	return e.items[i], nil
}

// choiceKey is the right answer to a choice.
type choiceKey struct {
	options []option
	correct string
}

func (k choiceKey) kind() Kind { return KindChoice }

func (k choiceKey) mark(answer string) (Marking, error) {
	answer = strings.TrimSpace(answer)
	if !slices.ContainsFunc(k.options, func(o option) bool { return o.id == answer }) {
		return Marking{}, fmt.Errorf("%w: not one of the options", ErrUnreadableAnswer)
	}
	return Marking{Correct: answer == k.correct, Normalized: answer}, nil
}

// textKey holds all right answers, folded.
type textKey map[string]bool

func (k textKey) kind() Kind { return KindText }

func (k textKey) mark(answer string) (Marking, error) {
	folded := foldText(answer)
	if folded == "" {
		return Marking{}, fmt.Errorf("%w: empty", ErrUnreadableAnswer)
	}
	return Marking{Correct: k[folded], Normalized: folded}, nil
}

// foldText removes what does not make an answer wrong: case, accents and
// vowel signs, hyphens and other punctuation, the stretching of Arabic letters,
// and spaces in excess.
func foldText(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case isAccent(r), unicode.Is(unicode.Cf, r), r == '\u0640': // tatweel
			return -1
		case unicode.IsPunct(r):
			return ' '
		}
		return unicode.ToLower(r)
	}, norm.NFD.String(s))
	return norm.NFC.String(strings.Join(strings.Fields(s), " "))
}

// isAccent reports whether r is a mark that people leave out when they write
// in a hurry: Latin, Greek and Cyrillic accents, Arabic vowel signs and hamza.
// In other scripts such marks are letters like any other.
func isAccent(r rune) bool {
	return '\u0300' <= r && r <= '\u036f' || '\u064b' <= r && r <= '\u0655' || r == '\u0670'
}
