package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// table holds the rows, in the order in which they are printed, and which of
// them are wanted.
type table struct {
	figures []*figure
	wanted  []string // names, or what they begin with; none: all
	notes   []string // on how it was measured
}

// wants reports whether a row, or any row whose name begins so, is wanted.
func (t *table) wants(id string) bool {
	return len(t.wanted) == 0 || slices.ContainsFunc(t.wanted, func(w string) bool {
		return below(id, w) || below(w, id)
	})
}

// below reports whether a name is that of a family or stands below it.
func below(id, family string) bool {
	return id == family || strings.HasPrefix(id, family+"/")
}

// shown reports whether a row is printed: it was asked for, or is a limit.
func (t *table) shown(f *figure) bool {
	return (len(f.values) > 0 || f.note != "") && (t.wants(f.id) || below(f.id, "limit"))
}

func (t *table) figure(id string) *figure {
	for _, f := range t.figures {
		if f.id == id {
			return f
		}
	}
	panic("bench: no row is called " + id)
}

// add notes what a figure was in one run.
func (t *table) add(id string, value float64) {
	f := t.figure(id)
	f.values = append(f.values, value)
}

// explain says why a figure could not be measured.
func (t *table) explain(id, why string) { t.figure(id).note = why }

// note adds a sentence on how something was measured, once.
func (t *table) note(words string) {
	if !slices.Contains(t.notes, words) {
		t.notes = append(t.notes, words)
	}
}

// check refuses wishes that no row fulfils.
func (t *table) check() error {
	for _, w := range t.wanted {
		if !slices.ContainsFunc(t.figures, func(f *figure) bool { return below(f.id, w) }) {
			return fmt.Errorf("no row is called %q, nor begins so; -list shows the names", w)
		}
	}
	return nil
}

// print writes the table, and below it how it was measured and how many rows
// fall short.
func (t *table) print(w io.Writer, markdown bool) {
	lines := [][]string{{"row", "what", "median", "range", "must", "moonshot", ""}}
	var fallen []string
	judged := false
	for _, f := range t.figures {
		if !t.shown(f) {
			continue
		}
		line := []string{f.id, f.what, "", f.note, "", "", f.verdict()}
		if len(f.values) > 0 {
			line[2] = format(f.median(), f.unit)
			line[3] = format(slices.Min(f.values), "") + " – " + format(slices.Max(f.values), "")
		}
		sign := map[bool]string{true: "≥ ", false: "≤ "}[f.bound.more]
		if f.bound.must != 0 {
			line[4] = sign + format(f.bound.must, "")
			judged = judged || len(f.values) > 0
		}
		if f.bound.moonshot != 0 {
			line[5] = sign + format(f.bound.moonshot, "")
		}
		if line[6] == short {
			fallen = append(fallen, f.id)
		}
		lines = append(lines, line)
	}
	if markdown {
		printMarkdown(w, lines)
	} else {
		aligned := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, line := range lines {
			fmt.Fprintln(aligned, strings.TrimRight(strings.Join(line, "\t"), "\t"))
		}
		aligned.Flush()
	}
	fmt.Fprintln(w)
	for _, note := range t.notes {
		fmt.Fprintln(w, note)
	}
	switch {
	case !judged:
		fmt.Fprintln(w, "Of these rows nothing is asked.")
	case len(fallen) == 0:
		fmt.Fprintln(w, "No row falls short of what it must be.")
	default:
		fmt.Fprintf(w, "%d fall short of what they must be: %s.\n", len(fallen), strings.Join(fallen, ", "))
	}
}

func printMarkdown(w io.Writer, lines [][]string) {
	for i, line := range lines {
		if i > 0 {
			line[0] = "`" + line[0] + "`"
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
		}
	}
}
