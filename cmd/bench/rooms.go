package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/classmesh/classmesh/discovery/netns"
)

const (
	// contactDevices are started at the same time, idleDevices left alone.
	contactDevices = 8
	idleDevices    = 30
	// idleRuns is how often idle devices are measured: it takes two minutes, and each
	// of thirty is a measurement.
	idleRuns = 1
	// settleFor is how long devices are left alone before it counts: in the first
	// minute they look for one another eagerly. watchFor is for how long it does.
	settleFor = 75 * time.Second
	watchFor  = 30 * time.Second
	// askEvery is how often a device is asked how it stands.
	askEvery = 10 * time.Millisecond
)

// rooms are devices of one zone without a coordinator, each a process of the
// program on a host of its own on one LAN, with all that belongs to it: pages,
// announcements, membership, connections.
type rooms struct {
	*site
	lan     *netns.LAN
	seed    int
	running []*daemon // by host
}

// rooms measures the program on a LAN: first contact and idleness.
func (b *bench) rooms(ctx context.Context) (err error) {
	path, why := program(programVariable)
	if impossible := netns.Possible(); why == "" && impossible != nil {
		why = impossible.Error()
	}
	contact, idle := fmt.Sprint("program/contact/", contactDevices), fmt.Sprint("program/idle/", idleDevices)
	if why != "" {
		b.table.explain(contact+"/time", why)
		b.table.explain(idle+"/cpu", why)
		return nil
	}
	dir, err := os.MkdirTemp(b.dir, "run-rooms-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	n := contactDevices
	if b.table.wants(idle) {
		n = idleDevices
	}
	b.say("joining %d devices with the program …", n)
	r, err := newRooms(ctx, path, dir, n)
	if err != nil {
		return fmt.Errorf("join %d devices: %w", n, err)
	}
	defer func() { err = errors.Join(err, r.lan.Close()) }()
	defer func() { err = errors.Join(err, r.stop()) }()
	if b.table.wants(contact) {
		for i := range b.runs {
			b.say("first contact of %d devices, run %d of %d …", contactDevices, i+1, b.runs)
			if err := b.contact(ctx, r, contact); err != nil {
				return fmt.Errorf("first contact of %d devices: %w", contactDevices, err)
			}
		}
	}
	if b.table.wants(idle) {
		for range idleRuns {
			b.say("%d devices of the program with nothing to do …", idleDevices)
			if err := b.idleness(ctx, r, idle); err != nil {
				return fmt.Errorf("%d devices with nothing to do: %w", idleDevices, err)
			}
		}
	}
	return nil
}

// newRooms makes n devices that have met the coordinator, so that they hold the
// zone's key, and then leaves them without it. None of them runs.
func newRooms(ctx context.Context, program, dir string, n int) (*rooms, error) {
	s, err := newSite(ctx, program, dir)
	if err != nil {
		return nil, err
	}
	r := &rooms{site: s}
	for i := 1; i <= n && err == nil; i++ {
		err = s.join(ctx, roomName(i))
	}
	for i := 1; i <= n && err == nil; i++ {
		_, err = s.run(ctx, "device", "sync", "--data", s.data(roomName(i)))
	}
	if err = errors.Join(err, s.stopCoordinator()); err != nil {
		return nil, err
	}
	r.lan, err = netns.New(n)
	return r, err
}

func roomName(host int) string { return fmt.Sprint("room", host) }

// work has a device that does not run write something that no other has.
func (r *rooms) work(ctx context.Context, host int) error {
	r.seed++
	_, err := r.run(ctx, "generate", "--data", r.data(roomName(host)), "--learners", "2", "--days", "7", "--seed", strconv.Itoa(r.seed))
	return err
}

// start starts the devices 1 to n at the same time and calls each with those that
// are ready, beside one another. None of them remembers where others were.
func (r *rooms) start(ctx context.Context, n int, each func(host int, d *daemon, began time.Time) error) error {
	for i := 1; i <= n; i++ {
		if err := os.RemoveAll(filepath.Join(r.data(roomName(i)), "addresses")); err != nil {
			return err
		}
	}
	r.running = make([]*daemon, n)
	failed := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			data := r.data(roomName(i + 1))
			began := time.Now()
			d, err := startDaemon(r.lan.Command(ctx, i+1, r.program, "device", "serve", "--data", data, "--web", "127.0.0.1:8080"), data)
			if err == nil {
				r.running[i] = d
				err = each(i+1, d, began)
			}
			failed[i] = err
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

func (r *rooms) stop() error {
	failed := make([]error, len(r.running))
	var all sync.WaitGroup
	for i, d := range r.running {
		if d != nil {
			all.Go(func() { failed[i] = d.stop() })
		}
	}
	all.Wait()
	r.running = nil
	return errors.Join(failed...)
}

// await asks a device how it stands until that is as it should be.
func await(ctx context.Context, d *daemon, what string, holds func(*standing) bool) error {
	ctx, cancel := context.WithTimeout(ctx, lanPatience)
	defer cancel()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		s, err := d.status(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w: %s", what, err, d.log.text())
		}
		if holds(&s) {
			return nil
		}
		<-tick.C
	}
}

// contact measures how long devices that are switched on together take until they
// have records of one another.
func (b *bench) contact(ctx context.Context, r *rooms, family string) error {
	had := make([]uint64, contactDevices+1)
	for i := 1; i <= contactDevices; i++ {
		if err := r.work(ctx, i); err != nil {
			return err
		}
		s, err := r.status(ctx, roomName(i))
		if err != nil {
			return err
		}
		had[i] = s.others()
	}
	took := make([]float64, contactDevices)
	began := time.Now()
	err := r.start(ctx, contactDevices, func(host int, d *daemon, began time.Time) error {
		err := await(ctx, d, "something of another device", func(s *standing) bool { return s.others() > had[host] })
		took[host-1] = ms(time.Since(began))
		return err
	})
	if err == nil {
		err = r.agree(ctx, 1)
	}
	if err != nil {
		return err
	}
	b.table.add(family+"/all", ms(time.Since(began)))
	b.table.add(family+"/time", slices.Max(took))
	for _, t := range took {
		b.table.add(family+"/each", t)
	}
	return r.stop()
}

// agree waits until all that run hold the same, and have so many connections.
func (r *rooms) agree(ctx context.Context, links int) error {
	ctx, cancel := context.WithTimeout(ctx, lanPatience)
	defer cancel()
	for {
		prints, fewest := map[string]bool{}, len(r.running)
		for _, d := range r.running {
			s, err := d.status(ctx)
			if err != nil {
				return fmt.Errorf("all hold the same: %w", err)
			}
			prints[s.Fingerprint] = true
			fewest = min(fewest, s.linked())
		}
		if len(prints) == 1 && fewest >= links {
			return nil
		}
		if err := pause(ctx, askEvery); err != nil {
			return fmt.Errorf("all hold the same: %w", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// idleness measures what devices cost that have nothing to do.
func (b *bench) idleness(ctx context.Context, r *rooms, family string) error {
	if err := r.work(ctx, 1); err != nil {
		return err
	}
	err := r.start(ctx, idleDevices, func(int, *daemon, time.Time) error { return nil })
	if err == nil {
		err = r.agree(ctx, 5)
	}
	if err == nil {
		err = pause(ctx, settleFor)
	}
	if err != nil {
		return err
	}
	before, err := r.used()
	if err != nil {
		return err
	}
	if err := pause(ctx, watchFor); err != nil {
		return err
	}
	after, err := r.used()
	if err != nil {
		return err
	}
	worst := 0.0
	for i, now := range after {
		seconds := now.at.Sub(before[i].at).Seconds()
		cpu := 100 * (now.processor - before[i].processor).Seconds() / seconds
		worst = max(worst, cpu)
		sent := float64(now.sent-before[i].sent) / seconds
		b.table.add(family+"/cpu", cpu)
		b.table.add(family+"/bytes", sent/(idleDevices-1))
		b.table.add(family+"/sent", sent)
		b.table.add(family+"/received", float64(now.received-before[i].received)/seconds)
		b.table.add(family+"/memory", peakMemory(r.running[i].pid())/1e6)
	}
	b.table.add(family+"/cpu-worst", worst)
	return r.stop()
}

// usage is what a device has used until now.
type usage struct {
	at             time.Time
	processor      time.Duration
	sent, received uint64 // bytes on its interface
}

func (r *rooms) used() (list []usage, err error) {
	for _, d := range r.running {
		u := usage{at: time.Now()}
		if u.processor, err = processorTimeOf(d.pid()); err != nil {
			return nil, err
		}
		if u.received, u.sent, err = interfaceBytes(d.pid(), "eth0"); err != nil {
			return nil, err
		}
		list = append(list, u)
	}
	return list, nil
}

// processorTimeOf is what a process has used of all processors, to a hundredth of
// a second.
func processorTimeOf(process string) (time.Duration, error) {
	stat, err := os.ReadFile("/proc/" + process + "/stat")
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const user, system = 11, 12
	if len(fields) <= system {
		return 0, fmt.Errorf("/proc/%s/stat has %d fields", process, len(fields))
	}
	var ticks time.Duration
	for _, text := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += time.Duration(n)
	}
	return ticks * time.Second / 100, nil
}

// interfaceBytes is how many bytes went over an interface of the network in which a
// process is, with all headers.
func interfaceBytes(process, name string) (received, sent uint64, err error) {
	devices, err := os.ReadFile("/proc/" + process + "/net/dev")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(devices)) {
		device, counts, _ := strings.Cut(strings.TrimSpace(line), ":")
		if fields := strings.Fields(counts); device == name && len(fields) > 8 {
			received, err = strconv.ParseUint(fields[0], 10, 64)
			if err == nil {
				sent, err = strconv.ParseUint(fields[8], 10, 64)
			}
			return received, sent, err
		}
	}
	return 0, 0, fmt.Errorf("process %s has no interface %s", process, name)
}
