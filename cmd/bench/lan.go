package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/packing"
)

// lanSizes are how many devices a LAN has that is measured.
var lanSizes = []int{8, 30}

const (
	lanCommits = 200
	// healDevices are cut in two halves, of which each writes healRecords.
	healDevices = 8
	healRecords = 10_000
)

// lan is devices of one zone on loopback: real nodes, links and stores, in this
// process.
type lan struct {
	devices []*lanDevice
	stop    context.CancelFunc
	running *errgroup.Group
}

type lanDevice struct {
	replica *records.Replica
	close   func() error
	node    *mesh.Node
	book    *discovery.Book
	address discovery.Address
	moved   mesh.Moved // up to when the measuring began
}

// startLAN makes n devices that hold nothing and know of nobody.
func startLAN(ctx context.Context, dir string, n int) (_ *lan, err error) {
	z, keys, err := newZone(ctx, dir, n)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	l := &lan{stop: stop, running: &errgroup.Group{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.end())
		}
	}()
	codec, err := packing.Shared()
	if err != nil {
		return nil, err
	}
	limits := exchange.NewLimits(0)
	for i, key := range keys {
		at := filepath.Join(dir, fmt.Sprint("device-", i))
		if err := z.found(ctx, at, key); err != nil {
			return nil, err
		}
		d := &lanDevice{}
		if d.replica, d.close, err = open(ctx, at); err != nil {
			return nil, err
		}
		l.devices = append(l.devices, d)
		listener, err := link.Listen(link.Config{Key: key, Address: "127.0.0.1:0", Protocols: []string{link.ProtocolExchange}})
		if err != nil {
			return nil, err
		}
		if d.address, err = discovery.AddressOf(listener.Addr()); err != nil {
			return nil, err
		}
		if d.book, err = discovery.New(discovery.Config{Own: key.Public().ID(), Random: rand.Reader}); err != nil {
			return nil, err
		}
		d.node, err = mesh.New(mesh.Config{
			Replica: d.replica, Identity: key, Listener: listener, Book: d.book, Codec: codec, Limits: limits, Software: "bench",
		})
		if err != nil {
			return nil, err
		}
		l.running.Go(func() error { return listener.Run(context.WithoutCancel(ctx)) })
		l.running.Go(func() error {
			defer listener.Close()
			return d.node.Run(ctx)
		})
	}
	return l, nil
}

// introduce tells devices where the others of them are.
func (l *lan) introduce(among []*lanDevice) {
	for _, d := range among {
		for _, other := range among {
			if other != d {
				d.book.Learn(discovery.Sighting{Device: other.replica.Device(), Address: other.address, Source: discovery.MDNS})
			}
		}
	}
}

func (l *lan) end() error {
	l.stop()
	err := l.running.Wait()
	for _, d := range l.devices {
		err = errors.Join(err, d.close())
	}
	return err
}

// lanPatience bounds what is waited for.
const lanPatience = 5 * time.Minute

// until waits for a condition.
func until(ctx context.Context, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, lanPatience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("in vain: %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// equal reports whether devices hold the same.
func equal(among []*lanDevice) bool {
	first := among[0].replica.State().Fingerprint
	return !slices.ContainsFunc(among[1:], func(d *lanDevice) bool { return d.replica.State().Fingerprint != first })
}

// joined reports whether devices have as many links as they want, and have told
// each other what they hold.
func joined(among []*lanDevice) bool {
	for _, d := range among {
		links := 0
		for _, p := range d.node.Status().Peers {
			if p.State == mesh.PeerConnected && p.Told {
				links++
			}
		}
		if links < min(len(among)-1, 5) || len(among) <= 11 && links < len(among)-1 {
			return false
		}
	}
	return true
}

// lan measures how soon what is written on one device is on the disks of all, and
// how often it crosses the LAN for that.
func (b *bench) lan(ctx context.Context, n int) error {
	for i := range b.runs {
		b.say("%d devices on a LAN, run %d of %d …", n, i+1, b.runs)
		if err := b.lanOnce(ctx, n, i); err != nil {
			return fmt.Errorf("%d devices on a LAN: %w", n, err)
		}
	}
	return nil
}

func (b *bench) lanOnce(ctx context.Context, n, run int) (err error) {
	dir, err := os.MkdirTemp(b.dir, "run-lan-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := startLAN(ctx, dir, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	l.introduce(l.devices)
	writers := make([]*probeWriter, n)
	for i, d := range l.devices {
		writers[i] = newProbeWriter(d.replica)
		if err := writers[i].events(ctx, 1, 1); err != nil {
			return err
		}
	}
	err = until(ctx, "all are linked and hold the same", func() bool { return joined(l.devices) && equal(l.devices) })
	if err != nil {
		return err
	}
	for _, d := range l.devices {
		d.moved = d.node.Traffic().Peers
	}
	before, counted := loopbackBytes()

	arrived := newArrivals(l.devices)
	defer arrived.stop()
	var took []float64
	for i := range lanCommits {
		began := time.Now()
		all := arrived.expect(n - 1)
		if err := writers[i%n].events(ctx, 1, 1); err != nil {
			return err
		}
		select {
		case <-all:
			took = append(took, 1e3*time.Since(began).Seconds())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lanPatience):
			return errors.New("a record did not get to all")
		}
	}
	after, _ := loopbackBytes()
	var moved mesh.Moved
	for _, d := range l.devices {
		now := d.node.Traffic().Peers
		moved.BytesSent += now.BytesSent - d.moved.BytesSent
		for lane := range now.Sent {
			moved.Sent[lane] += now.Sent[lane] - d.moved.Sent[lane]
		}
	}
	receivers := float64(lanCommits * (n - 1))
	at := func(name string) string { return fmt.Sprint("lan/", n, "/", name) }
	slices.Sort(took)
	b.table.add(at("p50"), took[len(took)/2])
	b.table.add(at("p99"), took[len(took)*99/100])
	sent := uint64(0)
	for _, records := range moved.Sent {
		sent += records
	}
	b.table.add(at("copies"), float64(sent)/receivers)
	b.table.add(at("messages"), float64(moved.BytesSent)/receivers)
	if counted {
		b.table.add(at("bytes"), float64(after-before)/receivers)
	} else {
		b.table.explain(at("bytes"), "only root on Linux can have a network of its own")
	}
	if run >= lanIdleRuns {
		return nil
	}
	return b.idle(ctx, l, at)
}

// A LAN that has nothing to do is watched for so long, in so many of the runs.
const (
	idleFor     = 5 * time.Second
	lanIdleRuns = 3
)

// idle measures what devices cost that have nothing to do. All are in this
// process, so its time is theirs.
func (b *bench) idle(ctx context.Context, l *lan, at func(string) string) error {
	ends := 0 // of links
	for _, d := range l.devices {
		for _, p := range d.node.Status().Peers {
			if p.State == mesh.PeerConnected {
				ends++
			}
		}
	}
	before, counted := loopbackBytes()
	began := processorTime()
	select {
	case <-time.After(idleFor):
	case <-ctx.Done():
		return ctx.Err()
	}
	used := processorTime() - began
	after, _ := loopbackBytes()
	if used > 0 {
		b.table.add(at("idle-cpu"), 100*used.Seconds()/idleFor.Seconds()/float64(len(l.devices)))
	} else {
		b.table.explain(at("idle-cpu"), "the system does not tell")
	}
	if counted {
		b.table.add(at("idle-bytes"), float64(after-before)/idleFor.Seconds()/float64(ends))
	} else {
		b.table.explain(at("idle-bytes"), "only root on Linux can have a network of its own")
	}
	return nil
}

// arrivals tells when a commit is on the disks of all that did not write it.
type arrivals struct {
	mu    sync.Mutex
	left  int
	all   chan struct{}
	stops []func()
}

func newArrivals(devices []*lanDevice) *arrivals {
	a := &arrivals{}
	for _, d := range devices {
		a.stops = append(a.stops, d.replica.Watch(func(c records.Change) {
			if c.Commit == nil || c.Commit.Own {
				return
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.left--; a.left == 0 {
				close(a.all)
			}
		}))
	}
	return a
}

// expect waits for so many arrivals.
func (a *arrivals) expect(n int) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left, a.all = n, make(chan struct{})
	return a.all
}

func (a *arrivals) stop() {
	for _, stop := range a.stops {
		stop()
	}
}

// heal measures how long two halves that worked apart take to hold the same.
func (b *bench) heal(ctx context.Context) error {
	for i := range b.runs {
		b.say("two halves of %d devices come together, run %d of %d …", healDevices, i+1, b.runs)
		if err := b.healOnce(ctx); err != nil {
			return fmt.Errorf("two halves of %d devices: %w", healDevices, err)
		}
	}
	return nil
}

func (b *bench) healOnce(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp(b.dir, "run-heal-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := startLAN(ctx, dir, healDevices)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	halves := [][]*lanDevice{l.devices[:healDevices/2], l.devices[healDevices/2:]}
	for _, half := range halves {
		l.introduce(half)
		for _, d := range half {
			// An hour of work: commits of some records, as a class makes them.
			if err := newProbeWriter(d.replica).events(ctx, healRecords/len(half), 20); err != nil {
				return err
			}
		}
	}
	for _, half := range halves {
		err := until(ctx, "a half holds the same", func() bool { return equal(half) && joined(half) })
		if err != nil {
			return err
		}
	}
	if equal(l.devices) {
		return errors.New("the halves were not apart")
	}
	before, counted := loopbackBytes()
	began := time.Now()
	l.introduce(l.devices)
	if err := until(ctx, "all hold the same", func() bool { return equal(l.devices) }); err != nil {
		return err
	}
	b.table.add("lan/heal/time", 1e3*time.Since(began).Seconds())
	if after, _ := loopbackBytes(); counted {
		b.table.add("lan/heal/bytes", float64(after-before)/(2*healRecords*healDevices/2))
	} else {
		b.table.explain("lan/heal/bytes", "only root on Linux can have a network of its own")
	}
	return nil
}
