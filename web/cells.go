package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/url"

	"github.com/classmesh/classmesh/records/classroom"
)

// cellWriter writes the cells of a class table. There are thousands, which a
// template takes ten times as long for; and most are like another, so what is in
// one is made by the template once and then repeated.
type cellWriter struct {
	server *Server
	visit  *visit
	inner  map[classroom.Cell][]byte
}

func (s *Server) newCellWriter(v *visit) *cellWriter {
	return &cellWriter{s, v, map[classroom.Cell][]byte{}}
}

// row returns the cells of a learner whose page is at href.
func (c *cellWriter) row(href string, cells []classroom.Cell, columns []column) (template.HTML, error) {
	var b bytes.Buffer
	for i, cell := range cells {
		inner, err := c.cell(cell)
		if err != nil {
			return "", err
		}
		b.WriteString(`<td class="cell `)
		b.WriteString(cell.Status.String())
		b.WriteString(`"><a href="`)
		b.WriteString(href)
		if columns[i].Kind == "exercise" {
			b.WriteString("/exercises/")
			template.HTMLEscape(&b, []byte(url.PathEscape(columns[i].ID)))
		}
		b.WriteString(`">`)
		b.Write(inner)
		b.WriteString("</a></td>")
	}
	return template.HTML(b.String()), nil
}

// cell returns what is in a cell.
func (c *cellWriter) cell(cell classroom.Cell) ([]byte, error) {
	cell.Points = 0 // not shown
	if inner, ok := c.inner[cell]; ok {
		return inner, nil
	}
	var b bytes.Buffer
	if err := c.server.pages["class"].ExecuteTemplate(&b, "cell", &view{c.server, c.visit, cell}); err != nil {
		return nil, fmt.Errorf("show a cell of a class table: %w", err)
	}
	c.inner[cell] = b.Bytes()
	return b.Bytes(), nil
}
