package web

import (
	"html"
	"strconv"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/web/content"
)

// A class table has thousands of cells, so that its rows are written by hand:
// a template takes a hundred times as long. A row is kept until something in
// it changes.

// shownRow is a row as it was written for one language.
type shownRow struct {
	named rowName
	lang  *language
	*part
}

// rowName is what a row shows of a person.
type rowName struct {
	id, name, username string
	namesake           bool
}

// signs are the signs of the states. They carry no meaning alone: words stand
// beside them.
var signs = [...]string{
	classroom.StatusNone: "·", classroom.StatusInProgress: "◐", classroom.StatusStruggling: "!", classroom.StatusComplete: "✓",
}

// rowWriter writes the rows of a class table in one language.
type rowWriter struct {
	lang     *language
	view     *view
	contents []content.Content
	states   [len(signs)]string // beginning of the cell's content, by status
	answers  map[uint64]string  // the words for so many answers
	err      error
}

func newRowWriter(s *Server, v *view) *rowWriter {
	w := &rowWriter{lang: v.visit.lang, view: v, contents: s.contents, answers: map[uint64]string{}}
	for status := range signs {
		w.states[status] = `<span class="sign" aria-hidden="true">` + signs[status] + `</span><span class="hidden">` +
			w.text("state."+classroom.Status(status).String()) + `</span>`
	}
	return w
}

// text returns a text, escaped.
func (w *rowWriter) text(key string, args ...any) string {
	text, err := w.lang.text(key, args...)
	if err != nil && w.err == nil {
		w.err = err
	}
	return html.EscapeString(text)
}

// row returns the row of a learner.
func (w *rowWriter) row(p place) *part {
	named := rowName{p.person.ID.String(), p.person.Name, p.person.Username, p.person.Namesake}
	if kept := p.row.Load(); kept != nil && kept.lang == w.lang && kept.named == named {
		return kept.part
	}
	row := newPart(w.write(&named, &p.Standing))
	p.row.Store(&shownRow{named, w.lang, row})
	return row
}

// cellBytes is about how long a cell is.
const cellBytes = 220

func (w *rowWriter) write(named *rowName, s *classroom.Standing) []byte {
	b := make([]byte, 0, 400+cellBytes*len(s.Cells))
	learner := "/learners/" + html.EscapeString(named.id)
	b = append(b, `<tr><th scope="row"><a href="`...)
	b = append(b, learner...)
	b = append(b, `">`...)
	b = append(b, html.EscapeString(named.name)...)
	b = append(b, `</a>`...)
	if named.namesake {
		b = append(b, ` <span class="quiet">(`...)
		b = append(b, html.EscapeString(named.username)...)
		b = append(b, `: `...)
		b = append(b, w.text("class.namesake")...)
		b = append(b, `)</span>`...)
	}
	b = append(b, "</th>\n"...)
	for i := range s.Cells {
		b = w.cell(b, learner, &w.contents[i], &s.Cells[i])
	}
	b = append(b, `<td class="number">`...)
	b = strconv.AppendInt(b, s.Totals.Points, 10)
	b = append(b, `</td><td class="quiet">`...)
	if m := w.view.Moment(s.Totals.LastActive); m != nil {
		b = append(b, `<time datetime="`...)
		b = append(b, html.EscapeString(m.ISO)...)
		b = append(b, `">`...)
		b = append(b, html.EscapeString(m.Text)...)
		b = append(b, `</time>`...)
	} else {
		b = append(b, "–"...)
	}
	return append(b, "</td></tr>\n"...)
}

func (w *rowWriter) cell(b []byte, learner string, c *content.Content, cell *classroom.Cell) []byte {
	b = append(b, `<td class="cell `...)
	b = append(b, cell.Status.String()...)
	b = append(b, `"><a href="`...)
	b = append(b, learner...)
	if e := c.Exercise; e != nil {
		b = append(b, `/exercises/`...)
		b = append(b, html.EscapeString(e.ID)...)
	}
	b = append(b, `">`...)
	b = append(b, w.states[cell.Status]...)
	if n := cell.Attempts; n > 0 {
		b = append(b, `<span class="count" aria-hidden="true">`...)
		b = strconv.AppendUint(b, n, 10)
		b = append(b, `</span><span class="hidden">, `...)
		words, ok := w.answers[n]
		if !ok {
			words = w.text("class.answers", "n", n)
			w.answers[n] = words
		}
		b = append(b, words...)
		b = append(b, `</span>`...)
	}
	return append(b, `</a></td>`...)
}
