package web

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTries(t *testing.T) {
	var tr tries
	now := time.UnixMilli(1_700_000_000_000)
	for range freeTriesAll + 20 {
		tr.wrong("Amina", "10.0.0.1", now)
	}
	if got := tr.wait("amina ", "10.0.0.1", now); got != maxWaitHere {
		t.Errorf("who guesses waits %v", got)
	}
	if got := tr.wait("amina", "10.0.0.2", now); got == 0 || got > maxWaitAll {
		t.Errorf("another address waits %v", got)
	}
	if got := tr.wait("bako", "10.0.0.1", now); got != 0 {
		t.Errorf("another name waits %v", got)
	}
	if got := tr.wait("amina", "10.0.0.1", now.Add(time.Minute)); got != 0 {
		t.Errorf("after a minute one waits %v", got)
	}
	if got := tr.wait("amina", "10.0.0.1", now.Add(-time.Hour)); got != 0 {
		t.Errorf("with a clock set back one waits %v", got)
	}
	for i := range maxTries * 2 {
		tr.wrong(fmt.Sprint("name", i), "10.0.0.9", now)
	}
	if len(tr.list) > maxTries+1 {
		t.Errorf("%d names are remembered", len(tr.list))
	}
}

func TestEndedSessionsAreBounded(t *testing.T) {
	var s sessions
	now := time.Now()
	for i := range maxEnded * 2 {
		s.end(token{issued: now, nonce: [16]byte{byte(i), byte(i >> 8), byte(i >> 16)}}, now)
	}
	if len(s.ended) > maxEnded {
		t.Errorf("%d sessions are remembered", len(s.ended))
	}
}

func TestRepeatsAreBounded(t *testing.T) {
	var r repeats
	for i := range maxRepeats * 2 {
		if _, _, err := r.once(t.Context(), repeatKey{id: fmt.Sprint(i)}, i, func() (any, error) { return i, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.list) > maxRepeats || len(r.order) > maxRepeats {
		t.Errorf("%d requests are remembered", len(r.list))
	}
	// What failed is tried anew.
	fail := func() (any, error) { return nil, errBusy }
	if _, _, err := r.once(t.Context(), repeatKey{id: "again"}, 0, fail); err != errBusy {
		t.Error(err)
	}
	if got, repeated, err := r.once(t.Context(), repeatKey{id: "again"}, 0, func() (any, error) { return 5, nil }); got != 5 || repeated || err != nil {
		t.Error(got, repeated, err)
	}
}

// Every page can be read, which happens when it is first asked for.
func TestPagesAreRead(t *testing.T) {
	set, err := loadPages()
	if err != nil {
		t.Fatal(err)
	}
	if set["layout"] != nil || set["class"] == nil {
		t.Errorf("the pages are %v", slices.Collect(maps.Keys(set)))
	}
	for name, read := range set {
		page, err := read()
		if err != nil {
			t.Error(err)
		} else if again, _ := read(); again != page || page.Lookup("layout.html") == nil {
			t.Errorf("page %s: another one the second time, or no layout", name)
		}
	}
}

func TestTexts(t *testing.T) {
	c, err := loadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	en := c.languages[0]
	for _, x := range []struct {
		key  string
		args []any
		want string
	}{
		{"ago.minutes", []any{"n", 1}, "1 minute ago"},
		{"ago.minutes", []any{"n", 5}, "5 minutes ago"},
		{"points.word", []any{"n", int64(1)}, "point"},
		{"points.of", []any{"n", uint64(3), "worth", 9}, "3 of 9 points"},
	} {
		if got, err := en.text(x.key, x.args...); got != x.want || err != nil {
			t.Errorf("%s %v: %q, %v", x.key, x.args, got, err)
		}
	}
	if _, err := en.text("nothing"); err == nil {
		t.Error("a text that is not there is no error")
	}
	ar, err := parseLanguage("ar", []byte(`{"direction": "rtl", "days": {"zero": "0", "one": "1", "two": "2", "few": "{n} few", "many": "{n} many", "other": "{n} other"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{0: "0", 1: "1", 2: "2", 5: "5 few", 11: "11 many", 100: "100 other"} {
		if got, err := ar.text("days", "n", n); got != want || err != nil {
			t.Errorf("%d: %q, %v", n, got, err)
		}
	}
	for _, bad := range []string{`{}`, `{"direction": "up"}`, `{"direction": "ltr", "x": {"one": "1"}}`, `{"direction": "ltr", "x": {"one": 1, "other": "2"}}`, `{"direction": "ltr", "x": 5}`, `[]`} {
		if _, err := parseLanguage("fr", []byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// TestLanguages: every language says everything, with the same values, and has
// the plural forms that its grammar tells apart where it uses any.
func TestLanguages(t *testing.T) {
	c, err := loadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	var tags []string
	rightToLeft := 0
	values := func(s string) string {
		found := regexp.MustCompile(`\{[a-z]+\}`).FindAllString(s, -1)
		slices.Sort(found)
		return strings.Join(slices.Compact(found), " ")
	}
	forms := map[string][]string{"en": {"one"}, "fr": {"one"}, "es": {"one"}, "ar": {"one", "two", "few", "many"}}
	en := c.languages[0]
	for _, l := range c.languages {
		tags = append(tags, l.Tag)
		if l.Direction == "rtl" {
			rightToLeft++
		}
		for key, text := range l.texts {
			want, ok := en.texts[key]
			if !ok {
				t.Errorf("%s has a text %q that English has not", l.Tag, key)
				continue
			}
			if got := values(text.other); got != values(want.other) {
				t.Errorf("%s of %s has the values %s, want %s", key, l.Tag, got, values(want.other))
			}
			if text.forms == nil {
				continue
			}
			for _, form := range forms[l.Tag] {
				if text.forms[form] == "" {
					t.Errorf("%s of %s has no form %q", key, l.Tag, form)
				}
				for _, v := range strings.Fields(values(text.forms[form])) {
					if !strings.Contains(text.other, v) {
						t.Errorf("%s of %s: the form %q has the value %s", key, l.Tag, form, v)
					}
				}
			}
		}
	}
	slices.Sort(tags)
	if !slices.Equal(tags, []string{"ar", "en", "es", "fr"}) || rightToLeft != 1 {
		t.Errorf("languages %v, %d from right to left", tags, rightToLeft)
	}
	for asked, want := range map[string]string{"": "en", "ar-EG,ar;q=0.9": "ar", "fr-CH, en;q=0.5": "fr", "es-MX": "es", "sw": "en"} {
		if got := c.choose("", asked).Tag; got != want {
			t.Errorf("a browser that asks for %q gets %s", asked, got)
		}
	}
	if got := c.choose("ar", "fr").Tag; got != "ar" {
		t.Errorf("who prefers Arabic gets %s", got)
	}
}

func TestLocalPath(t *testing.T) {
	for path, want := range map[string]string{
		"/topics?x=1": "/topics?x=1", "": "/", "http://evil.example/": "/", "//evil.example": "/", `/\evil.example`: "/", "/a\nb": "/", "javascript:alert(1)": "/",
	} {
		if got := localPath(path); got != want {
			t.Errorf("%q: %q", path, got)
		}
	}
}
