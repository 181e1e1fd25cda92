package content

import (
	"fmt"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"
)

// numberForm says in which forms a number counts as the answer.
type numberForm int

const (
	plainForm    numberForm = iota // whole numbers and decimals
	fractionForm                   // also fractions and mixed numbers, of equal value
	lowestForm                     // whole numbers, and fractions in lowest terms
)

// number is one way to read what a learner wrote.
type number struct {
	value    *big.Rat
	text     string // as written, in one spelling: "0.5", "6/8", "1 1/2"
	fraction bool   // a fraction or a mixed number
	lowest   bool   // a whole number, or a fraction in lowest terms
}

// numberKey is the right answer to a question that asks for a number.
type numberKey struct {
	value *big.Rat
	form  numberForm
}

func (k numberKey) kind() Kind { return KindNumber }

func (k numberKey) mark(answer string) (Marking, error) {
	readings := readNumber(answer)
	if len(readings) == 0 {
		return Marking{}, fmt.Errorf("%w: not a number", ErrUnreadableAnswer)
	}
	for _, n := range readings {
		if k.accepts(n) {
			return Marking{Correct: true, Normalized: n.text}, nil
		}
	}
	return Marking{Normalized: readings[0].text}, nil
}

func (k numberKey) accepts(n number) bool {
	if n.value.Cmp(k.value) != 0 {
		return false
	}
	switch k.form {
	case fractionForm:
		return true
	case lowestForm:
		return n.lowest
	default:
		return !n.fraction
	}
}

// digitZeros are the zeros of the decimal digits that are read like 0…9:
// Arabic-Indic, Persian, Devanagari, Bengali.
var digitZeros = []rune{'\u0660', '\u06f0', '\u0966', '\u09e6'}

// vulgarFractions are the fractions that keyboards offer as one character.
var vulgarFractions = strings.NewReplacer(
	"½", " 1/2", "⅓", " 1/3", "⅔", " 2/3", "¼", " 1/4", "¾", " 3/4",
	"⅕", " 1/5", "⅖", " 2/5", "⅗", " 3/5", "⅘", " 4/5", "⅙", " 1/6", "⅚", " 5/6",
	"⅛", " 1/8", "⅜", " 3/8", "⅝", " 5/8", "⅞", " 7/8",
)

// readNumber returns the ways to read s as a number, the likeliest first; none
// if it is not one. There are two where a mark may part thousands or decimals:
// "1,250" is 1.25 to some and 1250 to others, and no teacher would call the
// one that was meant wrong.
func readNumber(s string) []number {
	s = spellNumber(s)
	sign := ""
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		sign, s = "-", rest
	} else {
		s = strings.TrimPrefix(s, "+")
	}
	s = strings.TrimPrefix(s, " ")

	if strings.Contains(s, "/") {
		if n, ok := readFraction(sign, s); ok {
			return []number{n}
		}
		return nil
	}
	return readDecimals(sign, s)
}

// spellNumber writes digits as 0…9 and each sign in one way, and drops the
// invisible marks of right-to-left keyboards and doubled spaces.
func spellNumber(s string) string {
	s = strings.Map(func(r rune) rune {
		for _, zero := range digitZeros {
			if zero <= r && r <= zero+9 {
				return '0' + r - zero
			}
		}
		switch {
		case r == '\u2212': // minus sign
			return '-'
		case r == '\u2044' || r == '\u2215': // fraction slash, division slash
			return '/'
		case r == '\u2019': // apostrophe
			return '\''
		case unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, vulgarFractions.Replace(s))
	s = strings.Join(strings.Fields(s), " ")
	return strings.ReplaceAll(strings.ReplaceAll(s, " /", "/"), "/ ", "/")
}

// readFraction reads "6/8" and "1 1/2".
func readFraction(sign, s string) (number, bool) {
	whole, parts, mixed := strings.Cut(s, " ")
	if !mixed {
		whole, parts = "", s
	}
	above, below, _ := strings.Cut(parts, "/")
	if !isDigits(above) || !isDigits(below) || mixed && !isDigits(whole) {
		return number{}, false
	}
	n, d := integer(above), integer(below)
	if d.Sign() == 0 || mixed && (n.Sign() == 0 || n.Cmp(d) >= 0) {
		return number{}, false
	}

	text := sign + n.String() + "/" + d.String()
	value := new(big.Rat).SetFrac(n, d)
	if mixed {
		w := integer(whole)
		text = sign + w.String() + " " + n.String() + "/" + d.String()
		value.Add(value, new(big.Rat).SetInt(w))
	}
	if sign == "-" {
		value.Neg(value)
	}
	divisor := new(big.Int).GCD(nil, nil, n, d)
	return number{
		value:    value,
		text:     text,
		fraction: true,
		lowest:   divisor.IsInt64() && divisor.Int64() == 1 && d.Cmp(big.NewInt(1)) > 0,
	}, true
}

// readDecimals reads whole numbers and decimals, with either mark and with
// thousands set apart or not.
func readDecimals(sign, s string) []number {
	const marks = ".,\u066b"
	var readings []number
	if n, ok := decimal(sign, s, "", marks); ok {
		readings = append(readings, n)
	}
	for _, separator := range []string{" ", ",", ".", "'", "\u066c"} {
		if n, ok := decimal(sign, s, separator, strings.ReplaceAll(marks, separator, "")); ok {
			readings = append(readings, n)
		}
	}
	return readings
}

// decimal reads s with one of marks before the decimals and, unless separator
// is empty, with thousands set apart by it at least once.
func decimal(sign, s, separator, marks string) (number, bool) {
	whole, part := s, ""
	if i := strings.IndexAny(s, marks); i >= 0 {
		_, size := utf8.DecodeRuneInString(s[i:])
		whole, part = s[:i], s[i+size:]
	}
	if separator != "" {
		groups := strings.Split(whole, separator)
		if len(groups) < 2 || len(groups[0]) > 3 || strings.HasPrefix(groups[0], "0") {
			return number{}, false
		}
		for i, g := range groups {
			if !isDigits(g) || i > 0 && len(g) != 3 {
				return number{}, false
			}
		}
		whole = strings.Join(groups, "")
	}
	if !isDigits(whole + part) {
		return number{}, false
	}

	whole = strings.TrimLeft(whole, "0")
	part = strings.TrimRight(part, "0")
	value := new(big.Rat).SetFrac(integer(whole+part), power10(len(part)))
	text := whole
	if text == "" {
		text = "0"
	}
	if part != "" {
		text += "." + part
	}
	if sign == "-" && value.Sign() != 0 {
		value.Neg(value)
		text = "-" + text
	}
	return number{value: value, text: text, lowest: part == ""}, true
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// integer returns the value of a string of digits, 0 for none.
func integer(digits string) *big.Int {
	n := new(big.Int)
	if digits != "" {
		n.SetString(digits, 10)
	}
	return n
}

func power10(n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}
