package web

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"sort"
	"strings"
	"unicode"

	"golang.org/x/text/feature/plural"
	xlanguage "golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

//go:embed texts
var textFiles embed.FS

// defaultLanguage is the language of the file that every other is measured by.
const defaultLanguage = "en"

// catalogue holds all texts of the pages: one file texts/TAG.json a language.
// A file is an object from key to text; a text that depends on a number {n} is
// an object from plural form ("one", "few", "other" …) to text. {name} stands
// for a value. Every language has the keys of English, and "language" and
// "direction" ("ltr" or "rtl") of its own.
type catalogue struct {
	languages []*language // English first
	matcher   xlanguage.Matcher
}

// language is the texts in one language.
type language struct {
	Tag       string // BCP 47
	Direction string // "ltr" or "rtl"
	tag       xlanguage.Tag
	texts     map[string]text
}

// text is one text. Where it depends on a number, forms has it by plural form, but for
// the form "other", which every text has.
type text struct {
	other string
	forms map[string]string
}

// of returns a plural form, or that which stands for all that are not there.
func (t *text) of(form string) string {
	if s, ok := t.forms[form]; ok {
		return s
	}
	return t.other
}

// newText makes a text of what JSON has for it: a string, or strings by plural form.
func newText(value any) (text, error) {
	if s, ok := value.(string); ok {
		return text{other: s}, nil
	}
	values, ok := value.(map[string]any)
	if !ok {
		return text{}, fmt.Errorf("it is neither a text nor texts by plural form, but %v", value)
	}
	t := text{forms: make(map[string]string, len(values))}
	for form, value := range values {
		s, ok := value.(string)
		if !ok {
			return text{}, fmt.Errorf("the form %q is no text, but %v", form, value)
		}
		t.forms[form] = s
	}
	if t.other = t.forms["other"]; t.other == "" {
		return text{}, fmt.Errorf("it has no form %q", "other")
	}
	delete(t.forms, "other")
	return t, nil
}

func loadCatalogue() (*catalogue, error) {
	files, err := textFiles.ReadDir("texts")
	if err != nil {
		return nil, fmt.Errorf("list texts: %w", err)
	}
	c := &catalogue{}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".json")
		b, err := textFiles.ReadFile(path.Join("texts", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("read texts: %w", err)
		}
		l, err := parseLanguage(name, b)
		if err != nil {
			return nil, fmt.Errorf("read texts/%s: %w", f.Name(), err)
		}
		c.languages = append(c.languages, l)
	}
	sort.SliceStable(c.languages, func(i, j int) bool {
		return c.languages[i].Tag == defaultLanguage && c.languages[j].Tag != defaultLanguage
	})
	if len(c.languages) == 0 || c.languages[0].Tag != defaultLanguage {
		return nil, fmt.Errorf("read texts: there is no texts/%s.json", defaultLanguage)
	}
	tags := make([]xlanguage.Tag, len(c.languages))
	for i, l := range c.languages {
		tags[i] = l.tag
		for key := range c.languages[0].texts {
			if _, ok := l.texts[key]; !ok {
				return nil, fmt.Errorf("read texts/%s.json: the text %q is missing", l.Tag, key)
			}
		}
	}
	c.matcher = xlanguage.NewMatcher(tags)
	return c, nil
}

func parseLanguage(name string, b []byte) (*language, error) {
	l := &language{Tag: name}
	var err error
	if l.tag, err = xlanguage.Parse(name); err != nil {
		return nil, fmt.Errorf("the name of the file is not a language: %w", err)
	}
	var values map[string]any
	if err := json.Unmarshal(b, &values); err != nil {
		return nil, err
	}
	l.texts = make(map[string]text, len(values))
	for key, value := range values {
		if l.texts[key], err = newText(value); err != nil {
			return nil, fmt.Errorf("the text %q: %w", key, err)
		}
	}
	l.Direction = l.texts["direction"].other
	if l.Direction != "ltr" && l.Direction != "rtl" {
		return nil, fmt.Errorf("direction is %q instead of ltr or rtl", l.Direction)
	}
	return l, nil
}

// choose returns the language for somebody who prefers one, if anything is
// known of that, with a browser that asks for some.
func (c *catalogue) choose(preferred, acceptLanguage string) *language {
	if len(c.languages) == 1 {
		return c.languages[0]
	}
	const maxHeader = 200 // what a browser sends is shorter
	if len(acceptLanguage) > maxHeader {
		acceptLanguage = ""
	}
	_, i := xlanguage.MatchStrings(c.matcher, preferred, acceptLanguage)
	return c.languages[i]
}

// text returns a text with values put in; args are names and values by turns.
// The value named "n" chooses the plural form.
func (l *language) text(key string, args ...any) (string, error) {
	t, ok := l.texts[key]
	if !ok {
		return "", fmt.Errorf("there is no text %q", key)
	}
	if len(args)%2 != 0 {
		return "", fmt.Errorf("text %q: a name without a value", key)
	}
	form := "other"
	values := make([]string, len(args))
	for i := 0; i < len(args); i += 2 {
		name, ok := args[i].(string)
		if !ok {
			return "", fmt.Errorf("text %q: %v is not a name", key, args[i])
		}
		values[i], values[i+1] = "{"+name+"}", fmt.Sprint(args[i+1])
		if name == "n" {
			form = l.pluralForm(args[i+1])
		}
	}
	s := t.of(form)
	if len(values) > 0 {
		s = strings.NewReplacer(values...).Replace(s)
	}
	return s, nil
}

func (l *language) pluralForm(n any) string {
	var i uint64
	if _, err := fmt.Sscan(fmt.Sprint(n), &i); err != nil {
		return "other"
	}
	switch plural.Cardinal.MatchPlural(l.tag, int(i%10_000_000), 0, 0, 0, 0) {
	case plural.Zero:
		return "zero"
	case plural.One:
		return "one"
	case plural.Two:
		return "two"
	case plural.Few:
		return "few"
	case plural.Many:
		return "many"
	}
	return "other"
}

// nameOf returns what a language is called by those who speak it.
func (c *catalogue) nameOf(tag string) string {
	t, err := xlanguage.Parse(tag)
	if err != nil {
		return tag
	}
	name := []rune(display.Self.Name(t))
	if len(name) == 0 {
		return tag
	}
	return string(unicode.ToUpper(name[0])) + string(name[1:])
}
