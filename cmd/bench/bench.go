package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// bench is one run of the benchmark.
type bench struct {
	table *table
	sizes []int
	runs  int
	dir   string
	zones map[string]*zone
	began time.Time
}

func newBench(n, runs int, wanted string) (*bench, error) {
	b := &bench{sizes: []int{10_000, 100_000, 1_000_000}, runs: runs, zones: map[string]*zone{}}
	if n != 0 {
		b.sizes = []int{n}
	}
	if n < 0 || runs < 1 {
		return nil, fmt.Errorf("%d records, %d runs: want at least one", n, runs)
	}
	b.table = &table{figures: rows(b.sizes)}
	if wanted != "" {
		b.table.wanted = strings.Split(wanted, ",")
	}
	return b, b.table.check()
}

// step is one thing to measure, under the families of its rows.
type step struct {
	families []string
	measure  func(context.Context, *bench) error
}

// measure takes one step after the other. A step that fails does not keep the
// others from being measured.
func (b *bench) measure(ctx context.Context) error {
	bytes := "Bytes were counted on the loopback interface of a network namespace of the benchmark's own, with the headers of IP and UDP."
	if _, ok := loopbackBytes(); !ok {
		bytes = "Bytes were counted by the link, without the headers of IP and UDP: only root on Linux can have a network of its own."
	}
	b.table.notes = append(b.table.notes, fmt.Sprintf("%s/%s, %d processors, %s, %s.",
		runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version(), time.Now().Format(time.DateOnly)), bytes)
	if load := loadAverage(); load != "" {
		b.table.notes = append(b.table.notes, "Load of the machine when it began, over 1, 5 and 15 minutes: "+load+".")
	}
	b.began = time.Now()
	defer func() { b.table.note(fmt.Sprintf("It took %v.", time.Since(b.began).Round(time.Second))) }()
	var failed error
	for _, s := range b.steps() {
		if ctx.Err() == nil && b.wantsAny(s.families) {
			failed = errors.Join(failed, s.measure(ctx, b))
		}
	}
	if ctx.Err() == nil {
		failed = errors.Join(failed, b.otherLimits(ctx))
	}
	b.compare()
	return errors.Join(failed, ctx.Err())
}

func (b *bench) steps() []step {
	var steps []step
	for _, n := range b.sizes {
		size := sizeName(n)
		var families []string
		for _, family := range []string{"first", "memory", "nothing", "changed", "live", "open"} {
			families = append(families, family+"/"+size)
		}
		if len(b.sizes) > 1 { // what rows on growth compare
			switch n {
			case b.sizes[0]:
				families = append(families, "growth/changed")
			case middle(b.sizes):
				families = append(families, "growth/rate")
			case b.sizes[len(b.sizes)-1]:
				families = append(families, "growth/changed", "growth/rate")
			}
		}
		steps = append(steps, step{families, func(ctx context.Context, b *bench) error { return b.exchange(ctx, n) }})
	}
	for _, n := range b.sizes {
		steps = append(steps, step{[]string{"nats/" + sizeName(n)}, func(ctx context.Context, b *bench) error { return b.nats(ctx, n) }})
	}
	n := middle(b.sizes)
	steps = append(steps,
		step{[]string{"worst"}, func(ctx context.Context, b *bench) error { return b.worst(ctx, n) }},
		step{[]string{"small/none", "small/one-core", "small/memory", "small/fsync"}, func(ctx context.Context, b *bench) error { return b.small(ctx, n) }},
	)
	for _, n := range lanSizes {
		steps = append(steps, step{[]string{fmt.Sprint("lan/", n)}, func(ctx context.Context, b *bench) error { return b.lan(ctx, n) }})
	}
	steps = append(steps, step{[]string{"lan/heal"}, func(ctx context.Context, b *bench) error { return b.heal(ctx) }})
	for _, n := range uplinkSizes(b.sizes) {
		families := []string{"program/upload/" + sizeName(n), "program/first/" + sizeName(n)}
		steps = append(steps, step{families, func(ctx context.Context, b *bench) error { return b.uplink(ctx, n) }})
	}
	steps = append(steps, step{[]string{"program/contact", "program/idle"}, func(ctx context.Context, b *bench) error { return b.rooms(ctx) }})
	large := b.sizes[len(b.sizes)-1]
	steps = append(steps, step{[]string{"growth/open", "growth/status", "growth/dump", "growth/fsck", "growth/file", "page"},
		func(ctx context.Context, b *bench) error { return b.growth(ctx, large) }})
	if large != n {
		steps = append(steps, step{[]string{"small/memory-" + sizeName(large)}, func(ctx context.Context, b *bench) error { return b.smallLarge(ctx, large) }})
	}
	return steps
}

func (b *bench) wantsAny(families []string) bool {
	for _, f := range families {
		if b.table.wants(f) {
			return true
		}
	}
	return false
}

// runsOf is how often something is measured with n records.
func (b *bench) runsOf(n int) int {
	if n >= 1_000_000 {
		return min(b.runs, 3)
	}
	return b.runs
}

// say tells how far the benchmark is, and since when it runs.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// school returns a zone of realistic classes, made now or before.
func (b *bench) school(ctx context.Context, n int) (*zone, error) {
	return b.zone(ctx, "school-"+sizeName(n), func(dir string) (*zone, error) { return makeSchool(ctx, dir, n) })
}

// zone returns a zone that was made before, by the same sources, or makes it.
func (b *bench) zone(ctx context.Context, name string, makeIt func(dir string) (*zone, error)) (*zone, error) {
	if z := b.zones[name]; z != nil {
		return z, nil
	}
	dir := filepath.Join(b.dir, "zone-"+name+"-"+sources())
	z, err := loadZone(dir)
	if errors.Is(err, fs.ErrNotExist) {
		b.say("making zone %s …", name)
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
		began := time.Now()
		if z, err = makeIt(dir); err == nil {
			z.Took = time.Since(began)
			b.say("  %d records of %d devices, %d written, in %.1f s", z.Records, z.Devices, z.Written, z.Took.Seconds())
			err = z.save()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make zone %s: %w", name, err)
	}
	b.zones[name] = z
	return z, nil
}

// sources is a short hash of what a zone is made by, where the sources are at
// hand: a zone that was made by others may be stored in another way.
func sources() string {
	h := sha256.New()
	for _, pattern := range []string{"records/*.go", "records/*/*.go", "cmd/bench/*.go"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			if text, err := os.ReadFile(name); err == nil && !strings.HasSuffix(name, "_test.go") {
				h.Write(text)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:4])
}

// close removes what was made and is of no use for the next time.
func (b *bench) close() {
	runs, _ := filepath.Glob(filepath.Join(b.dir, "run-*"))
	for _, dir := range runs {
		os.RemoveAll(dir)
	}
}
