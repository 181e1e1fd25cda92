package web

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// sent sends parts to a browser with some headers.
func sent(parts []*part, headers ...string) *http.Response {
	r := httptest.NewRequest("GET", "/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	sendParts(w, r, http.StatusOK, parts)
	return w.Result()
}

// TestPartsZipped: parts, kept or new, in whatever order, are one page.
func TestPartsZipped(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var stock []*part
	for i := range 20 {
		var text strings.Builder
		for range random.IntN(9_000) {
			fmt.Fprintf(&text, "<td>%d</td>", random.IntN(40))
		}
		stock = append(stock, newPart([]byte(text.String())))
		stock = append(stock, oncePart([]byte(fmt.Sprint("new ", i))))
	}
	for range 30 {
		var page []*part
		var want []byte
		for range random.IntN(8) {
			p := stock[random.IntN(len(stock))]
			page, want = append(page, p), append(want, p.plain...)
		}
		plain, err := io.ReadAll(sent(page).Body)
		if err != nil || !bytes.Equal(plain, want) {
			t.Fatalf("%d bytes as they are, want %d: %v", len(plain), len(want), err)
		}
		zipped := sent(page, "Accept-Encoding", "br, gzip")
		if encoded := zipped.Header.Get("Content-Encoding") == "gzip"; encoded != (len(want) >= minZipped) {
			t.Fatalf("%d bytes: encoded %v", len(want), encoded)
		} else if !encoded {
			continue
		}
		z, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		got, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes unzipped, want %d: %v", len(got), len(want), err)
		}
		if rest, err := io.ReadAll(zipped.Body); err != nil || len(rest) > 0 {
			t.Fatalf("%d bytes follow: %v", len(rest), err)
		}
	}
}

// TestPartsTagged: who has the page is told so, in few bytes; who has another
// gets it.
func TestPartsTagged(t *testing.T) {
	page := func(texts ...string) (parts []*part) {
		for _, text := range texts {
			parts = append(parts, newPart([]byte(text)))
		}
		return parts
	}
	tag := sent(page("one", "two")).Header.Get("ETag")
	for _, c := range []struct {
		parts  []*part
		tag    string
		status int
	}{
		{page("one", "two"), tag, http.StatusNotModified},
		{page("one", "two"), `"other", ` + tag, http.StatusNotModified},
		{page("one", "two"), "", http.StatusOK},
		{page("one", "two"), `W/"other"`, http.StatusOK},
		{page("two", "one"), tag, http.StatusOK},
		{page("one", "three"), tag, http.StatusOK},
		{page("one"), tag, http.StatusOK},
	} {
		a := sent(c.parts, "If-None-Match", c.tag)
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		if a.StatusCode != c.status || (len(body) == 0) != (c.status == http.StatusNotModified) {
			t.Errorf("%d parts to who has %s: %s, %d bytes", len(c.parts), c.tag, a.Status, len(body))
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/", nil)
	r.Header.Set("If-None-Match", tag)
	if sendParts(w, r, http.StatusOK, page("one", "two")); w.Code != http.StatusOK {
		t.Errorf("a form is answered %d", w.Code)
	}
}

func TestTakesGzip(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "gzip, deflate, br": true, "br,GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000": false, "identity": false, "xgzip": false, "gzip;q=x": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", accept)
		if got := takesGzip(r); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

// TestAssetsZipped: a file of style or scripts is the same, compressed or not.
func TestAssetsZipped(t *testing.T) {
	s := &Server{}
	var err error
	if s.assets, err = loadAssets(); err != nil {
		t.Fatal(err)
	}
	for name, f := range s.assets {
		ask := func(headers ...string) *http.Response {
			r := httptest.NewRequest("GET", "/static/"+f.version+"/"+name, nil)
			r.SetPathValue("file", name)
			r.SetPathValue("version", f.version)
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			w := httptest.NewRecorder()
			s.asset(w, r)
			return w.Result()
		}
		plain, zipped := ask(), ask("Accept-Encoding", "gzip")
		text, err := io.ReadAll(plain.Body)
		if err != nil || !bytes.Equal(text, f.data) || plain.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d bytes as they are: %v", name, len(text), err)
		}
		z, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if text, err = io.ReadAll(z); err != nil || !bytes.Equal(text, f.data) {
			t.Errorf("%s: %d bytes unzipped: %v", name, len(text), err)
		}
		for _, a := range []*http.Response{plain, zipped} {
			if a.Header.Get("Cache-Control") != forEver || a.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: headers %v", name, a.Header)
			}
		}
		if plain.Header.Get("ETag") == zipped.Header.Get("ETag") {
			t.Errorf("%s: both forms have the tag %s", name, plain.Header.Get("ETag"))
		}
		if a := ask("Accept-Encoding", "gzip", "If-None-Match", zipped.Header.Get("ETag")); a.StatusCode != http.StatusNotModified {
			t.Errorf("%s to who has it: %s", name, a.Status)
		}
	}
}
