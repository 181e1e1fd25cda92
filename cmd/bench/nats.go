package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/classmesh/classmesh/records"
)

// nats measures how NATS mirrors the same records.
func (b *bench) nats(ctx context.Context, n int) error {
	family := "nats/" + sizeName(n)
	program, why := program(natsVariable)
	if why != "" {
		b.table.explain(family+"/time", why)
		return nil
	}
	z, err := b.school(ctx, n)
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "run-nats.records")
	if err := z.export(ctx, file); err != nil {
		return fmt.Errorf("write down the records of zone %s: %w", sizeName(n), err)
	}
	dir := filepath.Join(b.dir, "run-nats")
	defer os.RemoveAll(dir)
	hub, err := startProgram(ctx, nil, program, "hub", filepath.Join(dir, "hub"), file)
	if err != nil {
		return err
	}
	defer hub.kill()
	var ready struct {
		Address string
		Records int
	}
	if err := hub.hear(&ready); err != nil {
		return err
	}
	if ready.Records != z.Records {
		return fmt.Errorf("%s records by NATS: %d are stored of %d", sizeName(n), ready.Records, z.Records)
	}
	count := z.Records
	for i := range b.runsOf(n) {
		b.say("%s records by NATS, run %d of %d …", sizeName(n), i+1, b.runsOf(n))
		copied := filepath.Join(dir, fmt.Sprint("leaf", i))
		leaf, err := startProgram(ctx, nil, program, "leaf", copied, ready.Address, fmt.Sprint(count))
		if err != nil {
			return err
		}
		count, err = b.natsOnce(hub, leaf, count, "nats/"+sizeName(n))
		leaf.kill()
		if err != nil {
			return fmt.Errorf("%s records by NATS: %w", sizeName(n), err)
		}
		if err := os.RemoveAll(copied); err != nil {
			return err
		}
	}
	return hub.end()
}

// natsOnce measures a leaf that mirrors so many records of a hub. It returns how
// many the hub has afterwards.
func (b *bench) natsOnce(hub, leaf *process, count int, family string) (int, error) {
	var open struct{ Open bool }
	if err := leaf.hear(&open); err != nil {
		return 0, err
	}
	before, counted := loopbackBytes()
	var first received
	if err := leaf.hear(&first); err != nil {
		return 0, err
	}
	after, _ := loopbackBytes()
	rate := float64(count) / first.Seconds
	b.table.add(family+"/time", 1e3*first.Seconds)
	b.table.add(family+"/rate", rate)
	if counted {
		b.table.add(family+"/bytes", float64(after-before)/float64(count))
	}
	b.table.add(family+"/receiver", first.Memory.All/1e6)
	if ours := b.table.figure(strings.Replace(family, "nats", "first", 1) + "/rate"); len(ours.values) > 0 {
		b.table.add(family+"/times", ours.median()/rate)
	}

	// A hundred more, over the link that is up, and then one at a time.
	write := func(m int) (took float64, err error) {
		count += m
		if err := leaf.say(fmt.Sprint("until ", count)); err != nil {
			return 0, err
		}
		var wrote written
		if err := hub.ask(fmt.Sprint("write ", m), &wrote); err != nil {
			return 0, err
		}
		var arrived arrival
		err = leaf.hear(&arrived)
		return float64(arrived.Nanos-wrote.Nanos) / 1e6, err
	}
	before, _ = loopbackBytes()
	took, err := write(100)
	if err != nil {
		return 0, err
	}
	b.table.add(family+"/changed-time", took)
	if after, counted := loopbackBytes(); counted {
		b.table.add(family+"/changed-bytes", float64(after-before))
	}
	var each []float64
	for range liveRecords {
		if took, err = write(1); err != nil {
			return 0, err
		}
		each = append(each, took)
	}
	slices.Sort(each)
	b.table.add(family+"/live-p50", each[len(each)/2])
	return count, leaf.end()
}

// export writes all entries that the holder has to a file, each with its length
// before it.
func (z *zone) export(ctx context.Context, file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	w := bufio.NewWriterSize(out, 1<<20)
	err = z.each(ctx, func(e *records.Entry) error {
		var length [binary.MaxVarintLen64]byte
		w.Write(length[:binary.PutUvarint(length[:], uint64(e.Size()))])
		w.Write(e.Envelope)
		_, err := w.Write(e.Body)
		return err
	})
	return errors.Join(err, w.Flush(), out.Close())
}
