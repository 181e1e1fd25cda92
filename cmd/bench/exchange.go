package main

import (
	"context"
	"fmt"
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
	if err := b.machineLimits(ctx); err != nil {
		return err
	}
	inserts, err := b.zoneLimits(ctx, z, size)
	if err != nil {
		return err
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

const (
	sessions    = 5 // one after the other, of what takes milliseconds
	liveRecords = 200
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
