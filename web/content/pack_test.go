package content_test

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/classmesh/classmesh/web/content"
)

// languages are those that the program begins with.
var languages = []string{"en", "fr", "es", "ar"}

func TestShippedPacksAreComplete(t *testing.T) {
	l := library(t)
	kinds := map[content.Kind]bool{}
	for _, p := range l.Packs() {
		for _, lang := range languages {
			if !slices.Contains(p.Languages, lang) {
				t.Errorf("pack %s is not complete in %s", p.ID, lang)
			}
		}
	}
	for _, c := range l.Contents() {
		if v := c.Video; v != nil {
			for _, lang := range languages {
				if v.Captions[lang] == "" {
					t.Errorf("video %s has no captions in %s", v.ID, lang)
				}
			}
			continue
		}
		for _, item := range c.Exercise.Items() {
			for _, lang := range languages {
				q, err := c.Exercise.Question(item, 1, lang)
				if err != nil {
					t.Fatal(err)
				}
				kinds[q.Kind] = true
				if q.Prompt == "" || len(q.Hints) == 0 {
					t.Errorf("%s of %s lacks a prompt or hints in %s", item, c.ID(), lang)
				}
			}
		}
	}
	if len(kinds) != 3 {
		t.Errorf("the shipped packs ask for %v only", kinds)
	}
}

func TestShippedVideosLastAsLongAsTheirManifestSays(t *testing.T) {
	l := library(t)
	for _, c := range l.Contents() {
		v := c.Video
		if v == nil {
			continue
		}
		f, err := l.Pack(v.Pack).Open(v.File)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		film, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := webmDuration(film)
		if err != nil {
			t.Fatalf("%s: %v", v.File, err)
		}
		if d := got - v.Duration; d.Abs() > time.Second {
			t.Errorf("%s lasts %v, its manifest says %v", v.File, got, v.Duration)
		}
		if len(film) > 300<<10 {
			t.Errorf("%s has %d bytes, too many for a thin link", v.File, len(film))
		}
	}
}

// webmDuration reads Segment.Info.Duration of a WebM file.
func webmDuration(film []byte) (time.Duration, error) {
	const (
		idSegment  = 0x18538067
		idInfo     = 0x1549A966
		idScale    = 0x2AD7B1
		idDuration = 0x4489
	)
	// number reads an EBML number of 1 to 8 bytes, with or without its marker.
	number := func(keepMarker bool) (uint64, bool) {
		if len(film) == 0 || film[0] == 0 {
			return 0, false
		}
		n := uint64(film[0])
		size := 1
		for bit := byte(0x80); film[0]&bit == 0; bit >>= 1 {
			size++
		}
		if len(film) < size {
			return 0, false
		}
		if !keepMarker {
			n &= 0x7f >> (size - 1)
		}
		for _, b := range film[1:size] {
			n = n<<8 | uint64(b)
		}
		film = film[size:]
		return n, true
	}
	scale := uint64(1_000_000) // nanoseconds of a tick
	for {
		id, ok := number(true)
		size, ok2 := number(false)
		if ok && ok2 && (id == idSegment || id == idInfo) {
			continue // look inside
		}
		if !ok || !ok2 || size > uint64(len(film)) {
			return 0, errors.New("not WebM, or without a duration")
		}
		data := film[:size]
		film = film[size:]
		switch {
		case id == idScale:
			scale = 0
			for _, b := range data {
				scale = scale<<8 | uint64(b)
			}
		case id == idDuration && size == 4:
			ticks := math.Float32frombits(binary.BigEndian.Uint32(data))
			return time.Duration(float64(ticks) * float64(scale)), nil
		case id == idDuration && size == 8:
			ticks := math.Float64frombits(binary.BigEndian.Uint64(data))
			return time.Duration(ticks * float64(scale)), nil
		}
	}
}

func TestMediaCanBeServedInRanges(t *testing.T) {
	l := library(t)
	v := l.Video("fractions-meaning")
	if v == nil {
		t.Fatal("no video fractions-meaning is shipped")
	}
	get := func(name, ranges string) *http.Response {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Range", ranges)
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", content.MediaType(name))
		http.ServeFileFS(w, r, l.Pack(v.Pack), name)
		return w.Result()
	}
	film := get(v.File, "bytes=100-199")
	if film.StatusCode != http.StatusPartialContent || film.ContentLength != 100 || film.Header.Get("Content-Type") != "video/webm" {
		t.Errorf("a part of the film: %v", film)
	}
	captions := get(v.Captions["ar"], "bytes=0-5")
	if body, _ := io.ReadAll(captions.Body); string(body) != "WEBVTT" || !strings.HasPrefix(captions.Header.Get("Content-Type"), "text/vtt") {
		t.Errorf("captions begin with %q, type %s", body, captions.Header.Get("Content-Type"))
	}
}

func TestOpenGivesOutMediaOnly(t *testing.T) {
	p := library(t).Pack("numbers")
	for _, name := range []string{content.ManifestName, ".", "videos", "videos/../" + content.ManifestName, "/etc/passwd", ""} {
		if _, err := p.Open(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q): %v", name, err)
		}
	}
}

func TestText(t *testing.T) {
	text := content.Text{"en": "colour", "pt": "cor", "pt-br": "cor (BR)"}
	for lang, want := range map[string]string{
		"en": "colour", "pt": "cor", "pt-BR": "cor (BR)", "pt-br-abl1943": "cor (BR)", "pt-AO": "cor", "sw": "colour", "": "colour",
	} {
		if got := text.In(lang); got != want {
			t.Errorf("In(%q) = %q, want %q", lang, got, want)
		}
	}
}

func TestLibrary(t *testing.T) {
	l := library(t)
	var ids []string
	for _, c := range l.Contents() {
		ids = append(ids, c.ID())
	}
	if want := []string{"fractions-meaning", "fractions-basics", "fractions-practice"}; !slices.Equal(ids, want) {
		t.Errorf("contents are %v, want %v", ids, want)
	}
	if l.Topic("fractions") == nil || l.Topic("numbers").Topics[0] != l.Topic("fractions") || l.Topics()[0] != l.Topic("numbers") {
		t.Error("the tree of topics does not hang together")
	}
	if l.Video("fractions-basics") != nil || l.Exercise("fractions-meaning") != nil || l.Exercise("") != nil || l.Topic("x") != nil || l.Pack("x") != nil {
		t.Error("something was found that is not there")
	}
	e := l.Exercise("fractions-basics")
	if v := l.Video("fractions-meaning"); e.Needed != 8 || e.Points != 10 || v.Points != 750 || v.Duration != 42*time.Second {
		t.Errorf("numbers of %+v and %+v", e, v)
	}
}

func TestLibraryRefusesDuplicates(t *testing.T) {
	load := func(id, topic, exercise string) *content.Pack {
		manifest := strings.NewReplacer(`"id": "small"`, `"id": "`+id+`"`, "some-topic", topic, "some-exercise", exercise).Replace(smallManifest)
		p, err := content.Load(fstest.MapFS{content.ManifestName: {Data: []byte(manifest)}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	one := load("one", "t-one", "x-one")
	tests := []struct {
		other *content.Pack
		want  string
	}{
		{load("two", "t-two", "x-two"), ""},
		{load("one", "t-two", "x-two"), "add content pack one: duplicate ID: there is already a pack"},
		{load("two", "t-one", "x-two"), "add content pack two: duplicate ID: topic t-one is also in pack one"},
		{load("two", "t-two", "x-one"), "add content pack two: duplicate ID: content x-one is also in pack one"},
	}
	for _, test := range tests {
		_, err := content.NewLibrary(one, test.other)
		if test.want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if !errors.Is(err, content.ErrDuplicateID) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("got %v, want %s…", err, test.want)
		}
	}
}
