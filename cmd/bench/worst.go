package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// worstCase is a zone that nobody has, and that must work all the same.
type worstCase struct {
	name, what string
	make       func(ctx context.Context, dir string, n int) (*zone, error)
	records    func(n int) int // that it has of n
}

// rewritten is how often each register is written in the zone that has registers
// only, and registersOf how many there are among n records.
const rewritten = 50

func registersOf(n int) int { return max(1, n/10) }

// logRecords is how many records a log has in the zone of many small logs.
const logRecords = 200

var worstCases = []worstCase{
	{"one-log", "all in one log", func(ctx context.Context, dir string, n int) (*zone, error) {
		return makeOwn(ctx, dir, func(w *probeWriter) error { return w.events(ctx, n, 1000) })
	}, all},
	{"small-logs", "logs of 200 records each", makeSmallLogs, all},
	{"registers", "registers written 50 times each", func(ctx context.Context, dir string, n int) (*zone, error) {
		return makeOwn(ctx, dir, func(w *probeWriter) error { return w.registers(ctx, registersOf(n)) })
	}, registersOf},
	{"single", "a commit for each record", func(ctx context.Context, dir string, n int) (*zone, error) {
		return makeOwn(ctx, dir, func(w *probeWriter) error { return w.events(ctx, n, 1) })
	}, all},
}

func all(n int) int { return n }

// worst measures first syncs of the worst cases.
func (b *bench) worst(ctx context.Context, n int) error {
	for _, c := range worstCases {
		family := "worst/" + c.name
		if !b.table.wants(family) {
			continue
		}
		z, err := b.zone(ctx, c.name+"-"+sizeName(n), func(dir string) (*zone, error) { return c.make(ctx, dir, n) })
		if err != nil {
			return err
		}
		b.say("worst case %s …", c.name)
		for i := range min(b.runs, 3) {
			first, err := b.firstSync(ctx, z, fmt.Sprint("run-", c.name, "-", i), settings{})
			if err != nil {
				return fmt.Errorf("worst case %s: %w", c.name, err)
			}
			b.table.add(family+"/rate", float64(first.Records)/first.Seconds)
			b.table.add(family+"/bytes", float64(first.Bytes)/float64(first.Records))
			b.table.add(family+"/receiver", first.Memory.All/1e6)
		}
	}
	return nil
}

// firstSync measures one first sync and nothing else.
func (b *bench) firstSync(ctx context.Context, z *zone, name string, s settings) (first received, err error) {
	p, err := b.pair(ctx, z, name, s)
	if err != nil {
		return first, err
	}
	defer p.close()
	if first, err = p.sync(ctx); err != nil {
		return first, err
	}
	if first.Records != z.Records {
		err = fmt.Errorf("%d records came of %d", first.Records, z.Records)
	}
	return first, err
}

// makeOwn makes a zone in which the holder wrote everything itself. Its store is
// made in the scratch folder: what takes time is to be measured later.
func makeOwn(ctx context.Context, dir string, write func(*probeWriter) error) (*zone, error) {
	z, _, err := newZone(ctx, dir, 0)
	if err != nil {
		return nil, err
	}
	temporary, err := os.MkdirTemp(scratch(dir), "classmesh-holder-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temporary)
	if err := z.holder(temporary); err != nil {
		return nil, err
	}
	r, closeStore, err := open(ctx, temporary)
	if err != nil {
		return nil, err
	}
	defer closeStore()
	w := newProbeWriter(r)
	if err := write(w); err != nil {
		return nil, err
	}
	z.Devices, z.Learner = 1, learnerName(w.learner(0))
	if err := z.count(ctx, r); err != nil {
		return nil, err
	}
	if err := closeStore(); err != nil {
		return nil, err
	}
	return z, copyFile(filepath.Join(dir, holderName, storeName), filepath.Join(temporary, storeName))
}

// makeSmallLogs makes a zone of many devices that wrote little.
func makeSmallLogs(ctx context.Context, dir string, n int) (*zone, error) {
	z, keys, err := newZone(ctx, dir, max(1, n/logRecords))
	if err != nil {
		return nil, err
	}
	h, closeHolder, err := open(ctx, filepath.Join(dir, holderName))
	if err != nil {
		return nil, err
	}
	defer closeHolder()
	z.Learner = learnerName(newProbeWriter(h).learner(0))
	err = each(ctx, keys, func(_ int, key identity.DeviceKey) error {
		return author(ctx, z, key, h, func(r *records.Replica) error { return newProbeWriter(r).events(ctx, logRecords, logRecords) })
	})
	if err != nil {
		return nil, err
	}
	return z, z.count(ctx, h)
}
