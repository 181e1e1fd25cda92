package classroom

import (
	"unicode"

	"github.com/classmesh/classmesh/records/message"
)

const (
	maxItemBytes   = 64
	maxAnswerBytes = 256
	maxSteps       = 32
)

// Attempt is the event of a learner's first answer to a question.
type Attempt struct {
	Salt     Salt   `json:"-"` // of an answer that the learner worded; see the table of kinds
	Exercise string `json:"exercise"`
	Item     string `json:"item"`
	Seed     uint64 `json:"seed"`
	Answer   string `json:"answer"`
	Correct  bool   `json:"correct"`
	Hinted   bool   `json:"hinted"` // a hint was asked for before the answer
	TakenMS  uint64 `json:"taken_ms"`
	Language string `json:"language"`
	Context  []byte `json:"context,omitempty"` // assignment ID, or nothing
	Run      []byte `json:"run,omitempty"`     // of a quiz: random, the same for all answers of one try
	Steps    []Step `json:"steps,omitempty"`   // what followed
	Unknown  []byte `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *Attempt) Fields(v *message.Visitor) {
	v.Fixed(1, b.Salt[:])
	v.String(2, &b.Exercise, maxContentIDBytes)
	v.String(3, &b.Item, maxItemBytes)
	v.Uint64(4, &b.Seed)
	v.String(5, &b.Answer, maxAnswerBytes)
	v.Bool(6, &b.Correct)
	v.Bool(7, &b.Hinted)
	v.Uint64(8, &b.TakenMS)
	v.String(9, &b.Language, MaxLanguageBytes)
	v.Bytes(10, &b.Context, 16)
	v.Bytes(11, &b.Run, maxRunBytes)
	message.List(v, 12, &b.Steps, maxSteps)
	v.Unknown(&b.Unknown)
}

// Right reports whether the answer counts towards completion: correct, and
// without a hint.
func (b *Attempt) Right() bool { return b.Correct && !b.Hinted }

// Step is a further answer or a hint.
type Step struct {
	Hint    bool   `json:"hint"`
	Answer  string `json:"answer"` // nothing for a hint
	AfterMS uint64 `json:"after_ms"`
}

// Fields lists the message's fields.
func (s *Step) Fields(v *message.Visitor) {
	v.Bool(1, &s.Hint)
	v.String(2, &s.Answer, maxAnswerBytes)
	v.Uint64(3, &s.AfterMS)
}

// worded reports whether an answer may hold words of the learner's own:
// anything but digits (of any script) and the signs that stand in numbers.
func worded(answer string) bool {
	for _, r := range answer {
		if !isNumeric(r) {
			return true
		}
	}
	return false
}

func isNumeric(r rune) bool {
	switch r {
	case ' ', '\u00a0', '\u202f', '+', '-', '−', '/', '⁄', '.', ',', '٫', '٬':
		return true
	}
	return unicode.IsDigit(r)
}
