package main

import (
	"context"
	"fmt"
	"net/http"

	"time"
)

// smallMachine is a way in which a device can be weak.
type smallMachine struct {
	name, what string
	env        []string
	memory     int64 // bytes it has; 0: as much as there is
}

// slowSync is how long an fsync takes on a cheap card.
const slowSync = 20 * time.Millisecond

// smallMemory is what a device with little memory leaves to the program, and
// smallHeap what the program is told to keep to.
const (
	smallMemory = 256 << 20
	smallHeap   = 200 << 20
)

var smallMachines = []smallMachine{
	{name: "none", what: "this machine"},
	{name: "one-core", what: "GOMAXPROCS=1", env: []string{"GOMAXPROCS=1"}},
	{name: "memory", what: "256 MB of memory", env: []string{fmt.Sprint("GOMEMLIMIT=", smallHeap)}, memory: smallMemory},
	{name: "fsync", what: "fsync of 20 ms", env: []string{slowVariable + "=" + slowSync.String()}},
}

// small measures devices that are weak: a first sync, and how long a class of
// forty waits that answers while there is one.
func (b *bench) small(ctx context.Context, n int) error {
	z, err := b.school(ctx, n)
	if err != nil {
		return err
	}
	for _, m := range smallMachines {
		family := "small/" + m.name
		if !b.table.wants(family) {
			continue
		}
		s, remove, err := b.settings(&m)
		if err != nil {
			return err
		}
		b.say("small machine: %s …", m.what)
		for i := range min(b.runs, 3) {
			name := fmt.Sprint("run-small-", m.name, "-", i)
			first, err := b.firstSync(ctx, z, name, s)
			if err == nil {
				b.table.add(family+"/rate", float64(first.Records)/first.Seconds)
				b.table.add(family+"/receiver", first.Memory.All/1e6)
				err = b.class(ctx, z, name, s, family)
			}
			if err != nil {
				remove()
				return fmt.Errorf("small machine %s: %w", m.name, err)
			}
		}
		remove()
	}
	return nil
}

// smallLarge measures a first sync of much with little memory.
func (b *bench) smallLarge(ctx context.Context, n int) error {
	z, err := b.school(ctx, n)
	if err != nil {
		return err
	}
	for _, m := range smallMachines {
		if m.memory == 0 {
			continue
		}
		s, remove, err := b.settings(&m)
		if err != nil {
			return err
		}
		b.say("%s records, %s …", sizeName(n), m.what)
		first, err := b.firstSync(ctx, z, "run-small-large", s)
		remove()
		if err != nil {
			return fmt.Errorf("%s records, %s: %w", sizeName(n), m.what, err)
		}
		family := fmt.Sprint("small/", m.name, "-", sizeName(n))
		b.table.add(family+"/rate", float64(first.Records)/first.Seconds)
		b.table.add(family+"/receiver", first.Memory.All/1e6)
		b.table.add(family+"/receiver-heap", first.Memory.Heap/1e6)
	}
	return nil
}

// settings are those of two devices that are weak in one way.
func (b *bench) settings(m *smallMachine) (s settings, remove func(), err error) {
	s = settings{m.env, m.env}
	if m.memory == 0 {
		return s, func() {}, nil
	}
	holder, removeHolder, err := memoryGroup("holder", m.memory)
	if err != nil {
		b.table.note(fmt.Sprintf("Memory was limited by GOMEMLIMIT alone, for want of a control group: %v.", err))
		return s, func() {}, nil
	}
	receiver, removeReceiver, err := memoryGroup("receiver", m.memory)
	if err != nil {
		removeHolder()
		return s, nil, err
	}
	b.table.note(fmt.Sprintf("Memory was limited by a control group of %d MiB for each side, page cache included, and GOMEMLIMIT=%dMiB.", smallMemory>>20, smallHeap>>20))
	s.holder = append([]string{groupVariable + "=" + holder}, m.env...)
	s.receiver = append([]string{groupVariable + "=" + receiver}, m.env...)
	return s, func() { removeHolder(); removeReceiver() }, nil
}

// burstEvery is how often all of a class answer at the same moment.
const burstEvery = 200 * time.Millisecond

// class measures how long a class waits, while nothing else happens and while
// its device gets everything for the first time.
func (b *bench) class(ctx context.Context, z *zone, name string, s settings, family string) error {
	p, err := b.pair(ctx, z, name, s)
	if err != nil {
		return err
	}
	defer p.close()
	device, err := start(ctx, s.receiver, "serve", p.receiver, z.dir, p.address)
	if err != nil {
		return err
	}
	defer device.kill()
	var said serving
	if err := device.hear(&said); err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: ownClass}
	defer transport.CloseIdleConnections()
	class, err := classSignedIn(ctx, transport, &said)
	if err != nil {
		return err
	}
	var waits []time.Duration
	burst := func() error {
		next := time.After(burstEvery)
		w, err := allAnswer(ctx, class, z.Contents[0])
		waits = append(waits, w...)
		select {
		case <-next:
		case <-ctx.Done():
		}
		return err
	}
	for range 4 {
		if err := burst(); err != nil {
			return err
		}
	}
	b.table.add(family+"/quiet-p95", percentile(waits, 95))

	waits = nil
	type result struct {
		received
		err error
	}
	done := make(chan result, 1)
	go func() {
		var got result
		got.err = device.ask(fmt.Sprint("sync ", z.Records), &got.received)
		done <- got
	}()
	for {
		if err := burst(); err != nil {
			return err
		}
		select {
		case got := <-done:
			if got.err != nil {
				return got.err
			}
			b.table.add(family+"/class-p95", percentile(waits, 95))
			b.table.add(family+"/class-worst", percentile(waits, 100))
			b.table.add(family+"/class-rate", float64(got.Records)/got.Seconds)
			return device.end()
		default:
		}
	}
}
