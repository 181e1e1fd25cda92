package content_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/classmesh/classmesh/web/content"
)

// smallManifest is a pack with one of everything but a film.
const smallManifest = `{
  "format": 1, "id": "small", "version": 1, "languages": ["en", "sw"],
  "title": {"en": "Small", "sw": "Ndogo"},
  "topics": [{"id": "some-topic", "title": {"en": "Topic", "sw": "Mada"}, "contents": ["some-exercise"]}],
  "exercises": [{"id": "some-exercise", "title": {"en": "Exercise", "sw": "Zoezi"}, "needed": 5, "points": 20, "items": [
    {"id": "n", "prompt": {"en": "2 + 2?", "sw": "2 + 2?"}, "hints": [{"en": "Count.", "sw": "Hesabu."}], "number": {"value": "4"}},
    {"id": "t", "prompt": {"en": "Four?", "sw": "Nne?"}, "text": {"en": ["four"], "sw": ["nne"]}},
    {"id": "c", "prompt": {"en": "Even?", "sw": "Shufwa?"}, "choice": {"correct": "four", "options": [
      {"id": "three", "text": {"en": "3", "sw": "3"}}, {"id": "four", "text": {"en": "4", "sw": "4"}}]}},
    {"id": "g", "prompt": {"en": "{first}/{denominator}", "sw": "{second}"},
      "generated": {"generator": "fraction-sum", "ranges": {"denominator": [4, 4]}}}
  ]}]
}`

// filmManifest is a pack with one film.
const filmManifest = `{
  "format": 1, "id": "small", "version": 1, "languages": ["en"], "title": {"en": "Small"},
  "topics": [{"id": "some-topic", "title": {"en": "Topic"}, "contents": ["some-film"]}],
  "videos": [{"id": "some-film", "title": {"en": "Film"}, "file": "film.webm", "duration_s": 10, "captions": {"en": "film.vtt"}}]
}`

const captions = "WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n"

func packFiles(manifest, vtt string) fstest.MapFS {
	return fstest.MapFS{
		content.ManifestName: {Data: []byte(manifest)},
		"film.webm":          {Data: []byte("film")},
		"film.vtt":           {Data: []byte(vtt)},
	}
}

func TestLoad(t *testing.T) {
	for _, manifest := range []string{smallManifest, filmManifest} {
		if _, err := content.Load(packFiles(manifest, captions)); err != nil {
			t.Error(err)
		}
	}
}

// TestLoadRefuses makes one change to a good manifest and expects an error
// that names the place.
func TestLoadRefuses(t *testing.T) {
	tests := []struct{ manifest, old, new, want string }{
		{smallManifest, `{`, ``, "pack.json: "},
		{smallManifest, smallManifest, ``, "pack.json: ends too early"},
		{smallManifest, smallManifest, `null`, "pack.json: format: is 0"},
		{smallManifest, smallManifest, `{} {}`, "more text after the end"},
		{smallManifest, `"format": 1`, `"format": 2`, "format: is 2, but this program reads 1"},
		{smallManifest, `"id": "small"`, `"id": "Small"`, `pack.json: id: "Small"`},
		{smallManifest, `"version": 1`, `"version": 0`, "version: must be 1 or more"},
		{smallManifest, `"version": 1`, `"version": "1"`, "version: is of the wrong type, string"},
		{smallManifest, `"version": 1`, `"version": 1, "version": 1`, "version is there twice"},
		{smallManifest, `"version": 1`, `"Version": 1`, `"Version" cannot be a name here`},
		{smallManifest, `"version": 1`, `"version": 1, "author": "me"`, `unknown field "author"`},
		{smallManifest, `["en", "sw"]`, `["sw"]`, "languages: en is missing"},
		{smallManifest, `["en", "sw"]`, `["en", "sw", "sw"]`, "languages: sw is there twice"},
		{smallManifest, `["en", "sw"]`, `["en", "sw", "fr"]`, "pack.json: title: fr: missing"},
		{smallManifest, `"sw": "Ndogo"`, `"sw": " "`, "title: sw: empty"},
		{smallManifest, `"sw": "Ndogo"`, `"sw": "` + strings.Repeat("x", 4001) + `"`, "title: sw: longer than 4000 bytes"},
		{smallManifest, `"sw": "Ndogo"`, `"sw": "x", "9": "x"`, `title: "9" is not a language`},
		{smallManifest, `"sw": "Mada"`, `"fr": "x"`, "topics[0]: title: sw: missing"},
		{smallManifest, `["some-exercise"]`, `["other"]`, `topics[0]: contents[0]: no video or exercise is called "other"`},
		{smallManifest, `["some-exercise"]`, `[]`, "topics[0]: contents: empty"},
		{smallManifest, `["some-exercise"]`, `["some-exercise", "some-exercise"]`, "topics[0]: contents[1]: some-exercise is already in topic some-topic"},
		{smallManifest, `["some-exercise"]`, `["some-exercise"], "topics": [{"id": "some-topic"}]`, "topics[0]: topics[0]: id: another topic is called some-topic"},
		{smallManifest, `"topics"`, `"videos": [], "topics": [], "exercises"`, "exercises is there twice"},
		{smallManifest, `"contents": ["some-exercise"]`, `"topics": ` + strings.Repeat(`[{"topics": `, 70) + `[]` + strings.Repeat(`}]`, 70), "nested more than 64 deep"},
		{smallManifest, `"needed": 5`, `"needed": 11`, "exercises[0]: needed: not within 1…10"},
		{smallManifest, `"points": 20`, `"points": 0`, "exercises[0]: points: not within"},
		{smallManifest, `"points": 20`, `"points": 1e99`, "exercises[0]: points: is of the wrong type"},
		{smallManifest, `"id": "t"`, `"id": "n"`, "exercises[0]: items[1]: id: another item of this exercise is called n"},
		{smallManifest, `"en": "Count."`, `"fr": "x"`, "exercises[0]: items[0]: hints[0]: en: missing"},
		{smallManifest, `{"value": "4"}`, `{"value": "four"}`, `exercises[0]: items[0]: number: value: "four" is not a number`},
		{smallManifest, `{"value": "4"}`, `{"value": "04"}`, `items[0]: number: value: "04" is not a number in its shortest spelling`},
		{smallManifest, `{"value": "4"}`, `{"value": 4}`, "items[0]: number: value: is of the wrong type, number"},
		{smallManifest, `{"value": "4"}`, `{"value": "4", "form": "roman"}`, `items[0]: number: form: "roman" is neither`},
		{smallManifest, `{"value": "4"}`, `{"value": "8/2"}`, "items[0]: number: form: does not allow the value 8/2 itself"},
		{smallManifest, `{"value": "4"}`, `{"value": "6/8", "form": "lowest"}`, "items[0]: number: form: does not allow the value 6/8 itself"},
		{smallManifest, `{"value": "4"}`, `{"value": "4"}, "text": {"en": ["four"], "sw": ["nne"]}`, "items[0]: text: the item already has another answer"},
		{smallManifest, `, "number": {"value": "4"}`, ``, "items[0]: has none of number, text, choice, generated"},
		{smallManifest, `"sw": ["nne"]`, `"sw": []`, "items[1]: text: no answer in sw"},
		{smallManifest, `"sw": ["nne"]`, `"sw": ["nne", "..."]`, "items[1]: text: sw[1]: empty"},
		{smallManifest, `"correct": "four"`, `"correct": "five"`, `items[2]: choice: correct: no option is called "five"`},
		{smallManifest, `"id": "three"`, `"id": "four"`, "items[2]: choice: options[1]: id: another option is called four"},
		{smallManifest, `{"id": "three", "text": {"en": "3", "sw": "3"}}, `, ``, "items[2]: choice: options: fewer than 2"},
		{smallManifest, `"fraction-sum"`, `"magic"`, `items[3]: generated: generator: "magic" is not one of equal-fraction, fraction-difference, fraction-of, fraction-sum`},
		{smallManifest, `[4, 4]`, `[4]`, "items[3]: generated: ranges: denominator: not of the form"},
		{smallManifest, `[4, 4]`, `[5, 4]`, "items[3]: generated: ranges: denominator: begins above its end"},
		{smallManifest, `[4, 4]`, `[1, 4]`, "items[3]: generated: ranges: denominator: not within 2…100"},
		{smallManifest, `"denominator": [4, 4]`, ``, "items[3]: generated: ranges: denominator: missing"},
		{smallManifest, `[4, 4]`, `[4, 4], "part": [1, 2]`, "items[3]: generated: ranges: part: not a parameter"},
		{smallManifest, `{second}`, `{answer}`, "items[3]: generated: prompt: sw: {answer} is not drawn"},

		{filmManifest, `"film.webm"`, `"other.webm"`, "video some-film: file: open other.webm"},
		{filmManifest, `"film.webm"`, `"../film.webm"`, "videos[0]: file: \"../film.webm\" is not a path within the pack"},
		{filmManifest, `"film.webm"`, `"pack.json"`, "videos[0]: file: pack.json does not end in .webm or .mp4"},
		{filmManifest, `"film.vtt"`, `"film.webm"`, "videos[0]: captions: en: film.webm does not end in .vtt"},
		{filmManifest, `"film.vtt"`, `"other.vtt"`, "video some-film: captions: en: other.vtt: "},
		{filmManifest, `"en": "film.vtt"`, `"e": "film.vtt"`, `videos[0]: captions: "e" is not a language`},
		{filmManifest, `"duration_s": 10`, `"duration_s": 0`, "videos[0]: duration_s: not within"},
		{filmManifest, `["some-film"]`, `[], "topics": [{"id": "b", "title": {"en": "B"}, "contents": ["x"]}]`, "topics[0]: topics[0]: contents[0]: no video"},
		{filmManifest, `"topics": [{"id": "some-topic", "title": {"en": "Topic"}, "contents": ["some-film"]}]`, `"topics": []`, "topics: none has some-film among its contents"},
	}
	for _, test := range tests {
		changed := strings.Replace(test.manifest, test.old, test.new, 1)
		if changed == test.manifest {
			t.Errorf("%s is not in the manifest", test.old)
			continue
		}
		_, err := content.Load(packFiles(changed, captions))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60s → %.60s: got %v, want %s", test.old, test.new, err, test.want)
		}
	}
}

func TestLoadRefusesFiles(t *testing.T) {
	files := packFiles(filmManifest, captions)
	files["film.webm"].Data = nil
	if _, err := content.Load(files); err == nil || !strings.Contains(err.Error(), "film.webm is empty") {
		t.Errorf("an empty film: %v", err)
	}
	if _, err := content.Load(fstest.MapFS{}); err == nil || !strings.Contains(err.Error(), "open pack.json") {
		t.Errorf("an empty folder: %v", err)
	}
	big := packFiles(strings.Repeat(" ", content.MaxManifestBytes+1), captions)
	if _, err := content.Load(big); err == nil || !strings.Contains(err.Error(), "read pack.json: larger than") {
		t.Errorf("a manifest that is too large: %v", err)
	}
}

func TestCaptions(t *testing.T) {
	tests := []struct{ vtt, want string }{
		{captions, ""},
		{"\xef\xbb\xbf" + strings.ReplaceAll(captions, "\n", "\r\n"), ""},
		{"WEBVTT Fractions\nX: y\n\nNOTE two\nlines\n\nintro\n00:00:01.000 --> 00:00:02.000 line:0\nOne\nTwo\n\n00:01.500 --> 00:10.000\nThree", ""},
		{"", `line 1: does not begin with "WEBVTT"`},
		{"WEBVTTX\n", `line 1: does not begin with "WEBVTT"`},
		{"WEBVTT\n", "has no cue"},
		{"WEBVTT\n\n\xff\n", "not UTF-8"},
		{"WEBVTT\n\n00:01,000 --> 00:02,000\nHello\n", "line 3: not the times of a cue"},
		{"WEBVTT\n\n00:01.000 --> 00:61.000\nHello\n", "line 3: not the times of a cue"},
		{"WEBVTT\n\n99999999999999999999:00:01.000 --> 00:02.000\nHello\n", "line 3: time of more than 999 hours"},
		{"WEBVTT\n\n00:02.000 --> 00:02.000\nHello\n", "line 3: cue ends before it begins"},
		{"WEBVTT\n\n00:02.000 --> 00:10.001\nHello\n", "line 3: cue ends after the film, which lasts 10s"},
		{"WEBVTT\n\n00:02.000 --> 00:03.000\nHello\n\n00:01.000 --> 00:02.000\nHello\n", "line 6: cue begins before the one above it"},
		{"WEBVTT\n\n00:02.000 --> 00:03.000\n\nHello\n", "line 3: cue has no text"},
		{"WEBVTT\n\n00:02.000 --> 00:03.000", "line 3: cue has no text"},
		{"WEBVTT\n\n00:02.000 --> 00:03.000\nHello\n00:04.000 --> 00:05.000\nHello\n", "line 5: no empty line before this cue"},
		{"WEBVTT" + strings.Repeat("\n", content.MaxCaptionsBytes), "read film.vtt: larger than"},
	}
	for _, test := range tests {
		_, err := content.Load(packFiles(filmManifest, test.vtt))
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%.80q: %v", test.vtt, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), "video some-film: captions: en: film.vtt: "+test.want)):
			t.Errorf("%.80q: got %v, want %s", test.vtt, err, test.want)
		}
	}
}

// FuzzLoad holds that a manifest is refused, or is a pack that works.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(smallManifest))
	f.Add([]byte(filmManifest))
	f.Add([]byte(`{"format": 1, "topics": [[], {"id": null}], "exercises": [null]}`))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		p, err := content.Load(packFiles(string(manifest), captions))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "load content pack") {
				t.Fatalf("%v", err)
			}
			return
		}
		l, err := content.NewLibrary(p)
		if err != nil {
			t.Fatalf("a pack that loads is not fit for a library: %v", err)
		}
		for _, c := range l.Contents() {
			if c.Exercise == nil {
				continue
			}
			item, seed := c.Exercise.Next(uint64(len(manifest)))
			q, err := c.Exercise.Question(item, seed, "en")
			if err != nil || q.Prompt == "" {
				t.Fatalf("%+v, %v", q, err)
			}
			if _, err := c.Exercise.Mark(item, seed, "1/2"); err != nil && q.Kind != content.KindChoice {
				t.Fatal(err)
			}
		}
	})
}

// FuzzMark holds that any answer at all is marked or refused.
func FuzzMark(f *testing.F) {
	for _, answer := range []string{"1/2", "-1 1/2", "٠٫٥", "1,250.5", "half", "½", "\u200f"} {
		f.Add(answer, uint64(1))
	}
	exercises := []*content.Exercise{exercise(f, "fractions-basics"), exercise(f, "fractions-practice")}
	f.Fuzz(func(t *testing.T, answer string, seed uint64) {
		for _, e := range exercises {
			item, itemSeed := e.Next(seed)
			m, err := e.Mark(item, itemSeed, answer)
			if err == nil && m.Normalized == "" || err != nil && m != (content.Marking{}) {
				t.Fatalf("Mark(%q) = %+v, %v", answer, m, err)
			}
		}
	})
}
