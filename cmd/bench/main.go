// Command bench measures how fast classmesh moves records, what that costs in
// bytes and memory, and what the machine allows at the same moment.
//
//	make bench                    everything, as one table
//	make bench ROW=first          one family of rows; ROW=first/100k/rate one row
//	make bench BENCH_N=20000      with zones of that many records only
//	go run ./cmd/bench -list      the names of all rows
//
// A first process, the holder, has the records of a zone of many devices on
// disk. A second, the receiver, has joined and holds nothing; it connects over
// loopback QUIC and exchanges with it, as any two devices do. Its clock stops
// when heads and fingerprints are verified, everything is on disk and a query by
// learner has answered from it. Both are processes of their own, so that memory
// is that of one side, and bytes are those of the interface between them, which
// is a loopback interface of the benchmark's own.
//
// The program rows are classmesh itself, built and started as people start it.
//
// Machines are noisy: each figure is the median of the runs, with the range, and
// stands next to what is asked of it, and to the limits measured in
// the same run: how fast bbolt takes keys in ascending order, how fast a stream
// of bytes goes over the same link, and so on. docs/performance.md says how to
// read the table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"

	"github.com/classmesh/classmesh/cmd/internal/heap"
)

func main() {
	heap.SetPercent() // as in the program
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, errSaid) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

// errSaid: another process of this program failed, and has said why.
var errSaid = errors.New("said already")

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && parts[args[0]] != nil {
		if err := enterGroup(); err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
		<-heap.StartYoung() // as the program does what takes long
		return profiled(args[0], func() error { return parts[args[0]](ctx, args[1:], os.Stdin, os.Stdout) })
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	n := flags.Int("n", 0, "records in the zone; 0: 10,000, then 100,000, then 1,000,000")
	runs := flags.Int("runs", 5, "how often each is measured; at most three times with 1,000,000 records")
	row := flags.String("row", "", "the rows to measure, with commas: names as -list shows them, or what they begin with; empty: all")
	dir := flags.String("dir", "", "where the stores stand, and zones are kept for the next time; empty: a temporary folder")
	profiles := flags.String("profiles", "", "folder for CPU and allocation profiles of both sides; empty: none")
	short := flags.Bool("short", false, "measure the rows that stand in the README")
	markdown := flags.Bool("markdown", false, "print the table for a document")
	list := flags.Bool("list", false, "print the names of all rows, and measure nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *short {
		*row = strings.Join(shortRows, ",")
	}
	b, err := newBench(*n, *runs, *row)
	if err != nil {
		return err
	}
	if *list {
		for _, f := range b.table.figures {
			fmt.Printf("%-28s %s\n", f.id, f.what)
		}
		return nil
	}
	if os.Getenv(apartVariable) == "" {
		remove, err := b.buildPrograms(ctx)
		if err != nil {
			return err
		}
		defer remove()
	}
	if apart, err := inOwnNetwork(ctx); apart || err != nil {
		return err
	}
	if b.dir = *dir; b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "classmesh-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(b.dir)
	}
	if *profiles != "" {
		if err := os.MkdirAll(*profiles, 0o755); err != nil {
			return err
		}
		if err := os.Setenv(profilesVariable, *profiles); err != nil {
			return err
		}
	}
	defer b.close()
	err = b.measure(ctx)
	b.table.print(os.Stdout, *markdown)
	return err
}

// profilesVariable names, in the environment of the processes that are measured,
// the folder for their profiles.
const profilesVariable = "CLASSMESH_BENCH_PROFILES"

// profiled runs f under the profiler, if that is wanted.
func profiled(name string, f func() error) error {
	dir := os.Getenv(profilesVariable)
	if dir == "" {
		return f()
	}
	base := filepath.Join(dir, fmt.Sprintf("%s-%d", name, os.Getpid()))
	file, err := os.Create(base + ".pprof")
	if err != nil {
		return err
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	err = f()
	pprof.StopCPUProfile()
	allocs, failed := os.Create(base + ".allocs.pprof")
	if failed != nil {
		return failed
	}
	defer allocs.Close()
	if failed := pprof.Lookup("allocs").WriteTo(allocs, 0); err == nil {
		err = failed
	}
	return err
}
