package storetest

import (
	"iter"
	"slices"
	"sort"
)

// partRows is how many rows of a table are copied together.
const partRows = 32

// table is a sorted map of which a copy costs nothing: rows stand in parts,
// and whoever changes a part copies it first, unless it is its own already.
type table[K, V any] struct {
	compare func(a, b K) int
	parts   []*part[K, V] // none is empty
	owner   *owner        // of the slice parts
}

type part[K, V any] struct {
	owner *owner
	rows  []row[K, V]
}

type row[K, V any] struct {
	key   K
	value V
}

// owner is the one transaction that may change what bears its mark.
type owner struct{ _ byte }

func newTable[K, V any](compare func(a, b K) int) table[K, V] {
	return table[K, V]{compare: compare}
}

// find returns where the first key ≥ k stands: row j of part i. If there is
// none, i is len(parts).
func (t *table[K, V]) find(k K) (i, j int, exact bool) {
	i = sort.Search(len(t.parts), func(i int) bool {
		rows := t.parts[i].rows
		return t.compare(rows[len(rows)-1].key, k) >= 0
	})
	if i == len(t.parts) {
		return i, 0, false
	}
	rows := t.parts[i].rows
	j = sort.Search(len(rows), func(j int) bool { return t.compare(rows[j].key, k) >= 0 })
	return i, j, t.compare(rows[j].key, k) == 0
}

func (t *table[K, V]) get(k K) (v V, ok bool) {
	i, j, ok := t.find(k)
	if ok {
		v = t.parts[i].rows[j].value
	}
	return v, ok
}

// floor returns the row with the largest key ≤ k.
func (t *table[K, V]) floor(k K) (r row[K, V], ok bool) {
	i, j, exact := t.find(k)
	switch {
	case exact:
		return t.parts[i].rows[j], true
	case i < len(t.parts) && j > 0:
		return t.parts[i].rows[j-1], true
	case i > 0:
		rows := t.parts[i-1].rows
		return rows[len(rows)-1], true
	}
	return r, false
}

// from yields the rows with keys ≥ k in ascending order.
func (t *table[K, V]) from(k K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		i, j, _ := t.find(k)
		for ; i < len(t.parts); i, j = i+1, 0 {
			for _, r := range t.parts[i].rows[j:] {
				if !yield(r.key, r.value) {
					return
				}
			}
		}
	}
}

// own makes part i one that o may change.
func (t *table[K, V]) own(i int, o *owner) *part[K, V] {
	t.ownParts(o)
	p := t.parts[i]
	if p.owner != o {
		p = &part[K, V]{owner: o, rows: append(make([]row[K, V], 0, partRows), p.rows...)}
		t.parts[i] = p
	}
	return p
}

func (t *table[K, V]) ownParts(o *owner) {
	if t.owner != o {
		t.parts, t.owner = slices.Clone(t.parts), o
	}
}

func (t *table[K, V]) set(k K, v V, o *owner) {
	i, j, exact := t.find(k)
	switch {
	case exact:
		t.own(i, o).rows[j].value = v
		return
	case len(t.parts) == 0:
		t.parts, t.owner = []*part[K, V]{{owner: o}}, o
	case i == len(t.parts): // after everything: into the last part
		i--
		j = len(t.parts[i].rows)
	}
	p := t.own(i, o)
	p.rows = slices.Insert(p.rows, j, row[K, V]{k, v})
	if len(p.rows) > partRows {
		// A full part is cut in the middle, or at its end if keys ascend.
		cut := partRows / 2
		if j == partRows {
			cut = partRows
		}
		rest := append(make([]row[K, V], 0, partRows), p.rows[cut:]...)
		p.rows = slices.Delete(p.rows, cut, len(p.rows))
		t.parts = slices.Insert(t.parts, i+1, &part[K, V]{owner: o, rows: rest})
	}
}

func (t *table[K, V]) remove(k K, o *owner) {
	i, j, exact := t.find(k)
	if !exact {
		return
	}
	p := t.own(i, o)
	p.rows = slices.Delete(p.rows, j, j+1)
	if len(p.rows) == 0 {
		t.parts = slices.Delete(t.parts, i, i+1)
	}
}
