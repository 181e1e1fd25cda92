package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// TestMain lets the benchmark start parts of itself, which under test is this
// program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && parts[os.Args[1]] != nil {
		if err := run(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestMeasure measures everything once with a small zone, but for what has to be
// built or fetched: every row gets a value, or says why it has none.
func TestMeasure(t *testing.T) {
	b, err := newBench(2000, 1, underTest)
	if err != nil {
		t.Fatal(err)
	}
	b.dir = t.TempDir()
	if err := b.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{} // families: the first row of one speaks for all
	for _, f := range b.table.figures {
		family := path.Dir(f.id)
		explained[family] = explained[family] || f.note != ""
		if len(f.values) == 0 && !explained[family] && b.table.wants(f.id) {
			t.Errorf("row %s has neither a value nor a reason", f.id)
		}
		for _, v := range f.values {
			if v <= 0 && f.unit != "MB" { // which is not known everywhere
				t.Errorf("row %s is %v", f.id, v)
			}
		}
	}
	for _, id := range []string{"first/2k/records", "worst/one-log/rate", "small/fsync/class-p95", "page/2k/changed", "limit/quic"} {
		if b.table.wants(id) && len(b.table.figure(id).values) == 0 {
			t.Errorf("row %s was not measured", id)
		}
	}
	if got := b.table.figure("first/2k/records").median(); got < 1500 || got > 2500 {
		t.Errorf("a zone of 2,000 records has %v", got)
	}
	var out bytes.Buffer
	b.table.print(&out, false)
	for _, want := range []string{"first/2k/bytes", "could not be built", "≤ 45"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table does not have %q:\n%s", want, out.String())
		}
	}
}

// TestLimits: limits are measured whatever was asked for, those of a zone where they were.
func TestLimits(t *testing.T) {
	const runs = 2
	for wanted, zone := range map[string]int{"limit/page": 0, "limit/zstd": runs} {
		b, err := newBench(2000, runs, wanted)
		if err != nil {
			t.Fatal(err)
		}
		b.dir = t.TempDir()
		if err := b.measure(t.Context()); err != nil {
			t.Fatal(err)
		}
		for row, want := range map[string]int{"limit/lthash": runs, "limit/commit": runs, "limit/zstd/2k": zone, "first/2k/time": 0} {
			if got := len(b.table.figure(row).values); got != want {
				t.Errorf("ROW=%s: %s was measured %d times, want %d", wanted, row, got, want)
			}
		}
		var out bytes.Buffer
		b.table.print(&out, false)
		if !strings.Contains(out.String(), "nothing is asked") {
			t.Errorf("ROW=%s: the table judges rows of which nothing is asked:\n%s", wanted, out.String())
		}
	}
}

// TestVerdict holds which side of a bound is the good one.
func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		bound  bound
		values []float64
		want   string
	}{
		{atMost(10, 5), []float64{11, 12, 1}, short},
		{atMost(10, 5), []float64{10}, must},
		{atMost(10, 5), []float64{4, 5, 100}, moonshot},
		{atMost(10, 0), []float64{1}, must},
		{atMost(0, 5), []float64{6}, ""},
		{atLeast(150, 400), []float64{149}, short},
		{atLeast(150, 400), []float64{150, 160}, must},
		{atLeast(150, 400), []float64{400}, moonshot},
		{bound{}, []float64{1}, ""},
		{atMost(10, 5), nil, ""},
	} {
		f := figure{bound: c.bound, values: c.values}
		if got := f.verdict(); got != c.want {
			t.Errorf("%v with %v: %q, want %q", c.bound, c.values, got, c.want)
		}
	}
}

// TestWanted holds what ROW chooses.
func TestWanted(t *testing.T) {
	b, err := newBench(0, 1, "first/100k,growth/changed/time")
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{
		"first": true, "first/100k": true, "first/100k/rate": true, "first/10k/rate": false,
		"growth/changed/time": true, "growth/changed/bytes": false, "nats/100k/rate": false,
	} {
		if got := b.table.wants(id); got != want {
			t.Errorf("%s: %v", id, got)
		}
	}
	if _, err := newBench(0, 1, "fisrt"); err == nil {
		t.Error("a row that is not there was taken")
	}
}

// TestFormat holds how figures are written.
func TestFormat(t *testing.T) {
	for want, v := range map[string]float64{"1,234,567": 1234567.4, "150": 149.96, "12.3": 12.34, "0.07": 0.071, "0": 0, "2": 2.001} {
		if got := format(v, ""); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}

// TestShortRows: what stands in the README is measured.
func TestShortRows(t *testing.T) {
	b, err := newBench(0, 1, strings.Join(shortRows, ","))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range shortRows {
		if b.table.figure(row).id != row || !strings.Contains(string(page), "| `"+row+"` |") {
			t.Errorf("the README lacks row %s", row)
		}
	}
}

// TestPage: the table in docs/performance.md has the rows that make bench prints.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBench(0, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	known, shown := map[string]bool{}, map[string]bool{}
	for _, f := range b.table.figures {
		known[f.id] = true
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		if shown[row[1]] = true; !known[row[1]] {
			t.Errorf("the page has a row %s, which the benchmark does not", row[1])
		}
	}
	for id := range known {
		if !shown[id] {
			t.Errorf("the page lacks row %s", id)
		}
	}
}
