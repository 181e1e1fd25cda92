// Command bench measures how fast classmesh moves records, what that costs in
// bytes and memory, and what the machine allows at the same moment.
//
//	go run ./cmd/bench [-n records] [-runs N] [-dir DIR] [-profiles DIR]
//
// A first process, the holder, has the records of a zone of several devices on
// disk. A second, the receiver, has joined and holds nothing; it connects over
// loopback QUIC and exchanges with it, as any two devices do. Its clock stops
// when everything is verified and on disk and a query by learner has answered
// from it. Both are processes of their own, so that memory is that of one side.
//
// Machines are noisy: each figure is the median of the runs, with the range, and
// stands next to the limits of the same run: how fast bbolt takes keys in
// ascending order, and how fast a stream of bytes goes over the same link.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "hold":
			return profiled("holder", func() error { return hold(ctx, args[1], os.Stdin, os.Stdout) })
		case "receive":
			return profiled("receiver", func() error { return receive(ctx, args[1], args[2], args[3], os.Stdin, os.Stdout) })
		}
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	n := flags.Int("n", 100_000, "records in the zone")
	runs := flags.Int("runs", 3, "how often each is measured")
	dir := flags.String("dir", "", "where the stores stand; empty: a temporary folder")
	profiles := flags.String("profiles", "", "folder for CPU profiles of both sides of the first sync; empty: none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		temp, err := os.MkdirTemp("", "classmesh-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		*dir = temp
	}
	if *profiles != "" {
		if err := os.Setenv(profilesVariable, *profiles); err != nil {
			return err
		}
	}
	return measure(ctx, *dir, *n, *runs)
}

// profilesVariable names, in the environment of the processes that are measured,
// the folder for their CPU profiles.
const profilesVariable = "CLASSMESH_BENCH_PROFILES"

// profiled runs f under the CPU profiler, if that is wanted.
func profiled(name string, f func() error) error {
	dir := os.Getenv(profilesVariable)
	if dir == "" {
		return f()
	}
	file, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", name, os.Getpid())))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return f()
}

// series is what one figure was in each run.
type series struct {
	what, unit, must string
	values           []float64
}

func (s *series) median() float64 {
	sorted := slices.Sorted(slices.Values(s.values))
	return sorted[len(sorted)/2]
}

// table collects figures in the order in which they first come.
type table struct{ rows []*series }

func (t *table) add(what, unit, must string, value float64) {
	for _, r := range t.rows {
		if r.what == what {
			r.values = append(r.values, value)
			return
		}
	}
	t.rows = append(t.rows, &series{what, unit, must, []float64{value}})
}

func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "%-52s %12s  %-27s %s\n", "", "median", "range", "must (design section 13)")
	for _, r := range t.rows {
		low, high := slices.Min(r.values), slices.Max(r.values)
		fmt.Fprintf(w, "%-52s %12s  %-27s %s\n", r.what, format(r.median(), r.unit),
			format(low, "")+" – "+format(high, r.unit), r.must)
	}
}

func format(v float64, unit string) string {
	digits := 0
	if v < 100 {
		digits = 1
	}
	if unit != "" {
		unit = " " + unit
	}
	return fmt.Sprintf("%.*f%s", digits, v, unit)
}

// measure makes a zone and measures it several times.
func measure(ctx context.Context, dir string, n, runs int) error {
	fmt.Fprintf(os.Stderr, "writing about %d records …\n", n)
	began := time.Now()
	made, err := makeZone(ctx, dir, n)
	if err != nil {
		return fmt.Errorf("make a zone: %w", err)
	}
	var t table
	t.add("records in the zone", "", "", float64(made.records))
	t.add("written through the ordinary write path", "rec/s", "", float64(made.written)/time.Since(began).Seconds())
	for i := range runs {
		fmt.Fprintf(os.Stderr, "run %d of %d …\n", i+1, runs)
		if err := once(ctx, &t, dir, &made, i); err != nil {
			return err
		}
	}
	t.print(os.Stdout)
	return nil
}

// once measures everything one time.
func once(ctx context.Context, t *table, dir string, made *zone, i int) error {
	inserts, err := boltInsert(filepath.Join(dir, fmt.Sprintf("limit%d.db", i)), made.records)
	if err != nil {
		return fmt.Errorf("measure bbolt: %w", err)
	}
	stream, err := quicStream(ctx, 64<<20)
	if err != nil {
		return fmt.Errorf("measure QUIC: %w", err)
	}
	receiver := filepath.Join(dir, fmt.Sprintf("receiver%d", i))
	if err := made.join(ctx, receiver); err != nil {
		return err
	}
	holder, err := start(ctx, "hold", filepath.Join(dir, "holder"))
	if err != nil {
		return err
	}
	defer holder.kill()
	var ready struct{ Address string }
	if err := holder.hear(&ready); err != nil {
		return err
	}
	sync := func(mode string) (got received, memory float64, err error) {
		p, err := start(ctx, "receive", receiver, ready.Address, mode)
		if err != nil {
			return got, 0, err
		}
		defer p.kill()
		if err := p.hear(&got); err != nil {
			return got, 0, err
		}
		memory, err = p.end()
		return got, memory, err
	}

	first, memory, err := sync("sync")
	if err != nil {
		return fmt.Errorf("first sync: %w", err)
	}
	if first.Records != made.records {
		return fmt.Errorf("first sync: %d records came of %d", first.Records, made.records)
	}
	rate := float64(first.Records) / first.Seconds
	t.add("first sync", "rec/s", "150,000", rate)
	t.add("  of bbolt's ascending insert rate", "%", "25", 100*rate/inserts)
	t.add("  limit: bbolt ascending insert", "rec/s", "", inserts)
	t.add("  limit: stream over the same link", "MB/s", "", stream/1e6)
	t.add("  bytes on the link a record, both directions", "B", "45", float64(first.Bytes)/float64(first.Records))
	t.add("  peak memory of the receiver", "MB", "128", memory/1e6)

	nothing, _, err := sync("sync")
	if err != nil {
		return fmt.Errorf("nothing new: %w", err)
	}
	t.add("nothing new, new session", "ms", "10", 1e3*nothing.Seconds)
	t.add("  bytes on the link, nothing new", "B", "8,000", float64(nothing.Bytes))

	if err := holder.say("write 100"); err != nil {
		return err
	}
	var wrote struct{ Written int }
	if err := holder.hear(&wrote); err != nil {
		return err
	}
	few, _, err := sync("sync")
	if err != nil {
		return fmt.Errorf("100 changed: %w", err)
	}
	t.add("100 new, new session", "ms", "10", 1e3*few.Seconds)
	t.add("  bytes on the link, 100 new", "B", "10,000", float64(few.Bytes))

	if err := live(ctx, t, holder, receiver, ready.Address); err != nil {
		return fmt.Errorf("one live record: %w", err)
	}
	made.records += 100 + liveRecords
	memory, err = holder.end()
	if err != nil {
		return err
	}
	t.add("peak memory of the holder, over all of it", "MB", "128", memory/1e6)
	return nil
}

const liveRecords = 200

// live measures records that are pushed over an open session, one at a time.
func live(ctx context.Context, t *table, holder *process, receiver, address string) error {
	p, err := start(ctx, "receive", receiver, address, "live")
	if err != nil {
		return err
	}
	defer p.kill()
	var open struct{ Open bool }
	if err := p.hear(&open); err != nil {
		return err
	}
	var took []float64
	for range liveRecords {
		if err := holder.say("write 1"); err != nil {
			return err
		}
		var wrote struct{ Written, Nanos int64 }
		if err := holder.hear(&wrote); err != nil {
			return err
		}
		var arrived struct{ Nanos int64 }
		if err := p.hear(&arrived); err != nil {
			return err
		}
		took = append(took, float64(arrived.Nanos-wrote.Nanos)/1e6)
	}
	slices.Sort(took)
	t.add("one live record, on disk at both ends, p50", "ms", "2.5", took[len(took)/2])
	t.add("  one live record, p99", "ms", "8", took[len(took)*99/100])
	_, err = p.end()
	return err
}

// process is another process of this program.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	ended bool
}

func start(ctx context.Context, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self, args...)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	return p, p.cmd.Start()
}

// say sends a line, hear reads one as JSON.
func (p *process) say(line string) error {
	_, err := fmt.Fprintln(p.in, line)
	return err
}

func (p *process) hear(v any) error {
	if !p.out.Scan() {
		return errors.Join(errors.New("the other process ended early"), p.out.Err())
	}
	return json.Unmarshal(p.out.Bytes(), v)
}

// end waits for the process to end in good order and returns the most memory
// that it had, in bytes.
func (p *process) end() (float64, error) {
	p.in.Close()
	for p.out.Scan() {
	}
	p.ended = true
	if err := p.cmd.Wait(); err != nil {
		return 0, err
	}
	return peakMemory(p.cmd.ProcessState), nil
}

func (p *process) kill() {
	if !p.ended {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
}
