package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// exchange measures two devices that exchange, with n records at one of them.
func (b *bench) exchange(ctx context.Context, n int) error {
	z, err := b.school(ctx, n)
	if err != nil {
		return err
	}
	runs := b.runsOf(n)
	for i := range runs {
		b.say("%s records, run %d of %d …", sizeName(n), i+1, runs)
		if err := b.exchangeOnce(ctx, z, n, i); err != nil {
			return fmt.Errorf("exchange %s records: %w", sizeName(n), err)
		}
	}
	return nil
}

// exchangeOnce measures everything one time: the limits, a first sync, a session
// with nothing new, one with little, and records over an open session.
func (b *bench) exchangeOnce(ctx context.Context, z *zone, n, i int) error {
	size := sizeName(n)
	inserts, err := b.limits(ctx, z, size, i)
	if err != nil {
		return fmt.Errorf("measure limits: %w", err)
	}
	p, err := b.pair(ctx, z, fmt.Sprint("run-", size, "-", i), settings{})
	if err != nil {
		return err
	}
	defer p.close()
	t := b.table

	receiver, err := p.receive(ctx, "sync")
	if err != nil {
		return err
	}
	defer receiver.kill()
	first, err := p.visit(receiver)
	if err != nil {
		return fmt.Errorf("first sync: %w", err)
	}
	if first.Records != z.Records {
		return fmt.Errorf("first sync: %d records came of %d", first.Records, z.Records)
	}
	rate := float64(first.Records) / first.Seconds
	t.add("first/"+size+"/records", float64(first.Records))
	t.add("first/"+size+"/time", 1e3*first.Seconds)
	t.add("first/"+size+"/rate", rate)
	t.add("first/"+size+"/share", 100*rate/inserts)
	t.add("first/"+size+"/bytes", float64(first.Bytes)/float64(first.Records))
	var held memory
	if err := p.holder.ask("memory", &held); err != nil {
		return err
	}
	t.add("memory/"+size+"/holder", held.All/1e6)
	t.add("memory/"+size+"/holder-heap", held.Heap/1e6)
	t.add("memory/"+size+"/receiver", first.Memory.All/1e6)
	t.add("memory/"+size+"/receiver-heap", first.Memory.Heap/1e6)

	if t.wants("nothing/" + size) {
		for range sessions {
			nothing, err := p.visit(receiver)
			if err != nil {
				return fmt.Errorf("nothing new: %w", err)
			}
			t.add("nothing/"+size+"/time", 1e3*nothing.Seconds)
			t.add("nothing/"+size+"/bytes", float64(nothing.Bytes))
		}
	}
	if t.wants("changed/"+size) || t.wants("growth/changed") {
		for range sessions {
			var wrote written
			if err := p.holder.ask("write 100", &wrote); err != nil {
				return err
			}
			few, err := p.visit(receiver)
			if err != nil {
				return fmt.Errorf("100 changed: %w", err)
			}
			if few.Records != 100 {
				return fmt.Errorf("100 changed: %d records came", few.Records)
			}
			t.add("changed/"+size+"/time", 1e3*few.Seconds)
			t.add("changed/"+size+"/bytes", float64(few.Bytes))
		}
	}
	if err := receiver.end(); err != nil {
		return err
	}
	if t.wants("live/"+size) || t.wants("open/"+size) {
		if err := b.live(ctx, p, size); err != nil {
			return fmt.Errorf("an open session: %w", err)
		}
	}
	return nil
}

// limits measures what the machine allows, and returns bbolt's insert rate.
func (b *bench) limits(ctx context.Context, z *zone, size string, i int) (inserts float64, err error) {
	t := b.table
	if inserts, err = boltInsert(filepath.Join(b.dir, "run-limit.db"), z.Records); err != nil {
		return 0, err
	}
	t.add("limit/bbolt/"+size, inserts)
	stream, err := quicStream(ctx, 64<<20)
	if err != nil {
		return 0, err
	}
	t.add("limit/quic", stream/1e6)
	t.add("limit/lthash", latticeHash())
	for _, limit := range []struct {
		row  string
		unit time.Duration
		took func() (time.Duration, error)
	}{
		{"limit/fsync", time.Millisecond, func() (time.Duration, error) { return syncFile(filepath.Join(b.dir, "run-limit.sync")) }},
		{"limit/commit", time.Millisecond, func() (time.Duration, error) { return commitOne(filepath.Join(b.dir, "run-limit.db")) }},
		{"limit/connect", time.Millisecond, func() (time.Duration, error) { return connect(ctx) }},
		{"limit/datagram", time.Millisecond, func() (time.Duration, error) { return roundTrip(ctx) }},
		{"limit/page", time.Microsecond, firstTouch},
	} {
		took, err := limit.took()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", limit.row, err)
		}
		if took > 0 {
			t.add(limit.row, float64(took)/float64(limit.unit))
		} else {
			t.explain(limit.row, "not known on "+runtime.GOOS)
		}
	}
	if z.sample == nil {
		if z.sample, err = z.readSample(ctx, sampleRecords); err != nil {
			return 0, err
		}
	}
	rate, each, err := compress(z.sample)
	if err != nil {
		return 0, err
	}
	t.add("limit/zstd/"+size, rate)
	t.add("limit/zstd-bytes/"+size, each)
	return inserts, nil
}

const (
	sessions      = 5 // one after the other, of what takes milliseconds
	liveRecords   = 200
	sampleRecords = 50_000
)

// live measures records that are pushed over an open session, one at a time, and
// then what a comparison costs that finds nothing new.
func (b *bench) live(ctx context.Context, p *pair, size string) error {
	r, err := p.receive(ctx, "live")
	if err != nil {
		return err
	}
	defer r.kill()
	var open struct{ Open bool }
	if err := r.hear(&open); err != nil {
		return err
	}
	var took []float64
	for range liveRecords {
		var wrote written
		if err := p.holder.ask("write 1", &wrote); err != nil {
			return err
		}
		var arrived arrival
		if err := r.hear(&arrived); err != nil {
			return err
		}
		took = append(took, float64(arrived.Nanos-wrote.Nanos)/1e6)
	}
	slices.Sort(took)
	b.table.add("live/"+size+"/p50", took[len(took)/2])
	b.table.add("live/"+size+"/p99", took[len(took)*99/100])

	// The record is there, and the comparison that follows it is still to come:
	// what goes over the interface from now on is that.
	time.Sleep(3 * compareEvery) // of the records above
	var wrote written
	if err := p.holder.ask("write 1", &wrote); err != nil {
		return err
	}
	var arrived arrival
	if err := r.hear(&arrived); err != nil {
		return err
	}
	time.Sleep(compareEvery / 2)
	var frames, framesAfter sessionBytes
	if err := r.ask("bytes", &frames); err != nil {
		return err
	}
	before, counted := loopbackBytes()
	time.Sleep(compareEvery * 3 / 2)
	after, _ := loopbackBytes()
	if err := r.ask("bytes", &framesAfter); err != nil {
		return err
	}
	b.table.add("open/"+size+"/messages", float64(framesAfter.Bytes-frames.Bytes))
	if counted {
		b.table.add("open/"+size+"/bytes", float64(after-before))
	} else {
		b.table.explain("open/"+size+"/bytes", "needs a network of its own (root)")
	}
	return r.end()
}
