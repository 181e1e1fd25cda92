package mesh_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/link"
)

// napClock is the clock of a machine that can be asleep: what it has set itself
// waits as long, and finds that much time has passed.
type napClock struct {
	mu     sync.Mutex
	asleep bool
	timers map[*napTimer]struct{}
}

type napTimer struct {
	f     func()
	left  time.Duration
	since time.Time // when it began to run, or went on
	timer *time.Timer
}

func (c *napClock) Now() time.Time { return time.Now() }

func (c *napClock) AfterFunc(d time.Duration, f func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &napTimer{f: f, left: d}
	c.timers[t] = struct{}{}
	if !c.asleep {
		c.run(t)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, t)
		if t.timer != nil {
			t.timer.Stop()
		}
	}
}

// run has a timer go on. c.mu is held.
func (c *napClock) run(t *napTimer) {
	t.since = time.Now()
	t.timer = time.AfterFunc(t.left, func() {
		c.mu.Lock()
		_, due := c.timers[t]
		if due = due && !c.asleep; due {
			delete(c.timers, t)
		}
		c.mu.Unlock()
		if due {
			t.f()
		}
	})
}

func (c *napClock) sleep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asleep = true
	for t := range c.timers {
		t.timer.Stop()
		t.left -= time.Since(t.since)
	}
}

func (c *napClock) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asleep = false
	for t := range c.timers {
		c.run(t)
	}
}

// A laptop is closed for an hour, in the middle of everything: it says nothing, hears
// nothing, and when it is opened takes its connections for good. It comes back by
// itself, and has what the others did meanwhile.
func TestAsleepForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 3, 77)
		defer w.stopAll()
		const laptop = 2
		clock := &napClock{timers: map[*napTimer]struct{}{}}
		w.devices[laptop].change = func(c *mesh.Config) { c.Clock = clock }
		w.start(0, 1, laptop, 3)
		w.after(10 * time.Second)
		w.write(laptop, 5)
		w.after(5 * time.Second)
		if !w.equal(upTo(3)...) || !w.linked(1, laptop) {
			t.Fatal("the devices are not together before")
		}

		isLaptop := func(a, b int) bool { return a == laptop || b == laptop }
		clock.sleep()
		w.mu.Lock()
		w.cut = isLaptop
		var left []func() // what the laptop learns of its connections once it is awake
		for p := range w.conns {
			if !isLaptop(p.numbers[0], p.numbers[1]) {
				continue
			}
			side := 0
			if p.numbers[1] == laptop {
				side = 1
			}
			p.stall()
			time.AfterFunc(30*time.Second, func() { p.closeUnheard(1-side, link.ErrTimeout) })
			left = append(left, func() { p.closeUnheard(side, link.ErrTimeout) })
		}
		w.mu.Unlock()
		if len(left) < 3 {
			t.Errorf("%d connections fell asleep", len(left))
		}
		for range 30 {
			w.write(1, 1)
			w.write(3, 1)
			w.after(2 * time.Minute)
		}
		if !w.equal(1, 3) || w.equal(1, laptop) {
			t.Error("the others are not equal, or the laptop has heard of them")
		}
		for _, p := range w.devices[1].node.Status().Peers {
			if p.Device == w.zone.keys[laptop].Public().ID() && p.State == mesh.PeerConnected {
				t.Error("a device that sleeps counts as connected")
			}
		}

		w.mu.Lock()
		w.cut = func(int, int) bool { return false }
		w.mu.Unlock()
		clock.wake()
		for _, learn := range left {
			time.AfterFunc(30*time.Second, learn)
		}
		w.write(laptop, 1)
		w.after(20 * time.Second)
		if !w.equal(upTo(3)...) {
			t.Error("not equal 20 s after the laptop was opened")
		}
		w.after(40 * time.Second)
		if !w.equal(0, 1, 2, 3) || !w.safe(laptop) {
			t.Error("a minute after the laptop was opened its work is not safe")
		}
	})
}
