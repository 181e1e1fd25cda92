package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/classmesh/classmesh/records/classroom"
)

//go:embed pages
var pageFiles embed.FS

// pageSet is the templates by name: pages/NAME.html within pages/layout.html. Each is read
// when it is first asked for: all of them take as long as the rest of a device's start.
type pageSet map[string]func() (*template.Template, error)

func loadPages() (pageSet, error) {
	names, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("list pages: %w", err)
	}
	// Of this, which is never executed, each page is a copy.
	layout := sync.OnceValues(func() (*template.Template, error) {
		return template.New("layout.html").ParseFS(pageFiles, "pages/layout.html", "pages/parts.html")
	})
	set := pageSet{}
	for _, file := range names {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		set[name] = sync.OnceValues(func() (*template.Template, error) {
			t, err := layout()
			if err == nil {
				t, err = t.Clone()
			}
			if err == nil {
				t, err = t.ParseFS(pageFiles, file)
			}
			if err != nil {
				return nil, fmt.Errorf("read page %s: %w", name, err)
			}
			return t, nil
		})
	}
	return set, nil
}

// view is what a template sees: Data is the page's own.
type view struct {
	server *Server
	visit  *visit
	page   *template.Template
	out    *output
	Data   any
}

// output is a page in the making.
type output struct {
	bytes.Buffer         // what the template has written
	parts        []*part // what is finished
	done         int     // of the buffer, as far as it is in parts
}

// cut makes a part of what the template has written since the last one.
func (o *output) cut() {
	if b := o.Bytes()[o.done:]; len(b) > 0 {
		o.done = o.Len()
		// The buffer only grows, so that these bytes stay what they are.
		o.parts = append(o.parts, oncePart(b))
	}
}

// render makes a page and sends it.
func (s *Server) render(w http.ResponseWriter, v *visit, status int, name string, data any) error {
	read := s.pages[name]
	if read == nil {
		return fmt.Errorf("show page: there is no page %q", name)
	}
	t, err := read()
	if err != nil {
		return fmt.Errorf("show page: %w", err)
	}
	var out output
	if err := t.Execute(&out, &view{s, v, t, &out, data}); err != nil {
		return fmt.Errorf("show page %s: %w", name, err)
	}
	out.cut()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	sendParts(w, v.Request, status, out.parts)
	return nil
}

func queryEscape(s string) string { return url.QueryEscape(s) }

// With returns the same view of other data, for a template within.
func (v *view) With(data any) *view { return &view{v.server, v.visit, v.page, v.out, data} }

// Rows puts the rows of a class table where the template calls it.
func (v *view) Rows(places []place) (template.HTML, error) {
	v.out.cut()
	w := newRowWriter(v.server, v)
	for _, p := range places {
		v.out.parts = append(v.out.parts, w.row(p))
	}
	return "", w.err
}

// T returns a text of the catalogue.
func (v *view) T(key string, args ...any) (string, error) { return v.visit.lang.text(key, args...) }

// Lang returns the language of the page.
func (v *view) Lang() *language { return v.visit.lang }

// Languages returns what there are texts in, with that of the page chosen.
func (v *view) Languages() (list []choice) {
	for _, l := range v.server.texts.languages {
		list = append(list, choice{Value: l.Tag, Text: v.server.texts.nameOf(l.Tag), Chosen: l == v.visit.lang})
	}
	return list
}

// Address returns where who looks at the page can come back to: if it was an answer to a
// form, to the beginning. What was done is not said once more.
func (v *view) Address() string {
	if v.visit.Method != http.MethodGet {
		return "/"
	}
	to := *v.visit.URL
	query := to.Query()
	for _, said := range []string{"done", "renamed", "added", "person", "class"} {
		query.Del(said)
	}
	to.RawQuery = query.Encode()
	return to.RequestURI()
}

// MayEnrol reports whether people and classes can be changed on this device.
func (v *view) MayEnrol() bool { return v.visit.mayEnrol }

// Person returns who has signed in, or nil.
func (v *view) Person() *classroom.Person { return v.visit.person }

// IsStaff reports whether a teacher or administrator has signed in.
func (v *view) IsStaff() bool { return v.visit.isStaff() }

// Device returns the name of the device.
func (v *view) Device() string { return v.server.cfg.Name }

// Zone returns the name of the zone.
func (v *view) Zone() string { return v.server.cfg.ZoneName() }

// Asset returns the address of a static file.
func (v *view) Asset(name string) (string, error) { return v.server.assets.address(name) }

// In reports whether the page belongs to a part of the site.
func (v *view) In(prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(v.visit.URL.Path, p) {
			return true
		}
	}
	return false
}

// Safety returns what the badge says.
func (v *view) Safety() *syncSummary { return v.server.syncSummary(v.visit.lang) }

// Percent returns a part of 1 in whole percent, 100 only for all.
func (v *view) Percent(part float64) int { return int(min(max(part, 0), 1) * 100) }

// Duration gives milliseconds in words.
func (v *view) Duration(ms uint64) (string, error) {
	switch minutes := ms / 60_000; {
	case ms == 0:
		return v.T("duration.none")
	case minutes == 0:
		return v.T("duration.less")
	case minutes < 60:
		return v.T("duration.minutes", "n", minutes)
	default:
		return v.T("duration.hours", "n", minutes/60, "minutes", minutes%60)
	}
}

// Seconds gives milliseconds as whole seconds.
func (v *view) Seconds(ms uint64) uint64 { return (ms + 500) / 1000 }

// moment is a time to be shown.
type moment struct {
	ISO  string // for the browser, which shows it in its own time zone
	Text string // where it cannot
}

// Moment returns a time, in milliseconds since 1970; 0 is never.
func (v *view) Moment(ms int64) *moment {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).In(v.server.cfg.Now().Location())
	return &moment{t.UTC().Format(time.RFC3339), t.Format("2006-01-02 15:04")}
}

// Ago says how long ago something was.
func (v *view) Ago(t time.Time) (string, error) { return v.visit.lang.ago(v.server.cfg.Now().Sub(t)) }

func (l *language) ago(d time.Duration) (string, error) {
	switch {
	case d < time.Minute:
		return l.text("ago.now")
	case d < time.Hour:
		return l.text("ago.minutes", "n", int(d/time.Minute))
	case d < 48*time.Hour:
		return l.text("ago.hours", "n", int(d/time.Hour))
	}
	return l.text("ago.days", "n", int(d/(24*time.Hour)))
}
