package web

import (
	"bytes"
	"html/template"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/web/content"
)

// rowTemplate says what a row is; the one that is written by hand must be the same.
const rowTemplate = `<tr><th scope="row"><a href="/learners/{{.Person.ID}}">{{.Person.Name}}</a>{{if .Person.Namesake}} <span class="quiet">({{.Person.Username}}: {{$.T "class.namesake"}})</span>{{end}}</th>
{{range .Cells}}<td class="cell {{.Status}}"><a href="{{.Href}}">{{template "status-sign" .Status}}<span class="hidden">{{$.T (printf "state.%s" .Status)}}</span>{{if .Attempts}}<span class="count" aria-hidden="true">{{.Attempts}}</span><span class="hidden">, {{$.T "class.answers" "n" .Attempts}}</span>{{end}}</a></td>{{end}}<td class="number">{{.Totals.Points}}</td><td class="quiet">{{template "moment" ($.Moment .Totals.LastActive)}}</td></tr>
`

// TestRows compares rows with what a template makes of them, in every language.
func TestRows(t *testing.T) {
	texts, err := loadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{texts: texts, contents: []content.Content{
		{Exercise: &content.Exercise{ID: "fractions"}}, {Video: &content.Video{ID: "film"}}, {Exercise: &content.Exercise{ID: "more-fractions"}},
	}}
	s.cfg.Now = func() time.Time { return time.UnixMilli(1_700_000_000_000).In(time.FixedZone("Nairobi", 3*3600)) }
	reference := template.Must(template.New("row").ParseFS(pageFiles, "pages/parts.html"))
	template.Must(reference.Parse(rowTemplate))
	people := []*classroom.Person{
		{ID: identity.UserID{1}, Name: "Amina Okafor", Username: "amina"},
		{ID: identity.UserID{2}, Name: `<script>alert("1")</script> & 'Co'`, Username: `"><b>`, Namesake: true},
		{ID: identity.UserID{3}, Name: "أمينة ` +", Username: "", Namesake: true},
	}
	standings := []classroom.Standing{
		{Cells: make([]classroom.Cell, 3)},
		{Totals: classroom.Totals{Points: -4, LastActive: 1_700_000_123_456}, Cells: []classroom.Cell{
			{Status: classroom.StatusComplete, Points: 100, Attempts: 1}, {Status: classroom.StatusInProgress}, {Status: classroom.StatusStruggling, Attempts: 1234567},
		}},
	}
	space := regexp.MustCompile(`\n\s*`)
	for _, lang := range texts.languages {
		v := &view{server: s, visit: &visit{lang: lang}}
		w := newRowWriter(s, v)
		for _, person := range people {
			for i := range standings {
				p := place{person, &standing{Standing: standings[i]}}
				type cell struct {
					classroom.Cell
					Href string
				}
				data := struct {
					*view
					Person *classroom.Person
					Totals classroom.Totals
					Cells  []cell
				}{v, person, standings[i].Totals, nil}
				for j, c := range standings[i].Cells {
					href := "/learners/" + person.ID.String()
					if e := s.contents[j].Exercise; e != nil {
						href += "/exercises/" + e.ID
					}
					data.Cells = append(data.Cells, cell{c, href})
				}
				var want bytes.Buffer
				if err := reference.Execute(&want, data); err != nil {
					t.Fatal(err)
				}
				got := w.row(p)
				// The template writes + as &#43;, which is no sign of HTML's.
				made := strings.ReplaceAll(want.String(), "&#43;", "+")
				if g, r := space.ReplaceAllString(string(got.plain), ""), space.ReplaceAllString(made, ""); g != r {
					t.Errorf("%s:\n%s\nthe template makes\n%s", lang.Tag, g, r)
				}
				if again := w.row(p); again != got {
					t.Error("a row is written again")
				}
			}
		}
		if w.err != nil {
			t.Error(w.err)
		}
	}
	// Another name, or another language, is another row.
	p := place{people[0], &standing{Standing: standings[0]}}
	v := &view{server: s, visit: &visit{lang: texts.languages[0]}}
	first := newRowWriter(s, v).row(p)
	p.person = &classroom.Person{ID: people[0].ID, Name: "Amina Juma"}
	if second := newRowWriter(s, v).row(p); second == first || !bytes.Contains(second.plain, []byte("Amina Juma")) {
		t.Errorf("with a new name the row is %s", second.plain)
	}
	other := *texts.languages[0]
	v.visit.lang = &other
	third := p.row.Load()
	if newRowWriter(s, v).row(p); p.row.Load() == third {
		t.Error("in another language the row is the same")
	}
}

func TestStandingsAreBounded(t *testing.T) {
	var c standingCache
	class := func(n, size int) (places []place) {
		for i := range size {
			places = append(places, place{&classroom.Person{ID: identity.UserID{byte(n), byte(i), byte(i >> 8)}}, &standing{}})
		}
		return places
	}
	for n := range 20 {
		places := class(n, 30)
		c.keep(places, 100)
		if len(c.list) > 100 || n > 3 && len(c.list) < 70 {
			t.Fatalf("%d are kept", len(c.list))
		}
		for _, p := range places {
			if c.list[p.person.ID] != p.standing {
				t.Fatal("the class that was read last is not kept")
			}
		}
	}
	if c.keep(class(0, 500), 100); len(c.list) != 100 {
		t.Errorf("of a large class %d are kept", len(c.list))
	}
}

// TestMemo: what is used stays, what is not is forgotten.
func TestMemo(t *testing.T) {
	var m memo
	key := func(data any) memoKey { return memoKey{name: "card", data: data} }
	text := template.HTML(strings.Repeat("x", 1000))
	m.put(key("used"), "used")
	for i := range 5 * maxMemoBytes / (memoOverhead + len(text)) {
		m.put(key(i), text)
		if got, ok := m.get(key("used")); !ok || got != "used" {
			t.Fatalf("after %d others, what is used is %q", i, got)
		}
		if got, ok := m.get(key(i)); !ok || got != text {
			t.Fatalf("%d is %q", i, got)
		}
		size := 0
		for _, list := range []map[memoKey]template.HTML{m.new, m.old} {
			for _, html := range list {
				size += memoOverhead + len(html)
			}
		}
		if size > maxMemoBytes {
			t.Fatalf("%d bytes are remembered", size)
		}
	}
	if _, ok := m.get(key(0)); ok {
		t.Error("what was not used for long is remembered")
	}
	if _, ok := m.get(memoKey{lang: new(language), name: "card", data: "used"}); ok {
		t.Error("another language has the same text")
	}
}
