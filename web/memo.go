package web

import (
	"bytes"
	"fmt"
	"html/template"
	"sync"
)

// maxMemoBytes bounds how much of what templates made is remembered.
const maxMemoBytes = 4 << 20

// memo remembers what templates made of data that many pages show alike: of a
// hundred cards on a page one is another than the last time. What was not used
// for long is forgotten.
type memo struct {
	mu       sync.Mutex
	new, old map[memoKey]template.HTML // what is used moves from old to new
	size     int                       // of new
}

type memoKey struct {
	lang *language
	name string
	data any // comparable
}

func (m *memo) get(k memoKey) (template.HTML, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if html, ok := m.new[k]; ok {
		return html, true
	}
	html, ok := m.old[k]
	if ok {
		m.add(k, html)
	}
	return html, ok
}

func (m *memo) put(k memoKey, html template.HTML) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(k, html)
}

// memoOverhead is about what an entry takes beside its text.
const memoOverhead = 400

func (m *memo) add(k memoKey, html template.HTML) {
	if _, ok := m.new[k]; ok {
		return
	}
	if m.size += memoOverhead + len(html); m.new == nil || m.size > maxMemoBytes/2 {
		m.new, m.old, m.size = map[memoKey]template.HTML{}, m.new, memoOverhead+len(html)
	}
	m.new[k] = html
}

// Once returns what a template makes of some data, comparable, if it was not
// made before. The template must look at nothing but the data and the texts.
func (v *view) Once(name string, data any) (template.HTML, error) {
	k := memoKey{v.visit.lang, name, data}
	if html, ok := v.server.memo.get(k); ok {
		return html, nil
	}
	var b bytes.Buffer
	if err := v.page.ExecuteTemplate(&b, name, &view{server: v.server, visit: v.visit, page: v.page, Data: data}); err != nil {
		return "", fmt.Errorf("show %s: %w", name, err)
	}
	html := template.HTML(b.String())
	v.server.memo.put(k, html)
	return html, nil
}
