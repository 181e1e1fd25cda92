package gossip_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/discovery/gossip"
	"github.com/classmesh/classmesh/records/identity"
)

func device(n int) (d identity.DeviceID) {
	d[0], d[1], d[31] = byte(n>>8), byte(n), 1
	return d
}

func zoneKey(n uint32) discovery.ZoneKey {
	k := discovery.ZoneKey{Number: n}
	k.Secret[0], k.Secret[1] = byte(n), byte(n>>8)
	return k
}

// node is one device of a test, on a wire.
type node struct {
	*gossip.Gossip
	t    *testing.T
	n    int
	stop func()

	mu        sync.Mutex
	at        netip.AddrPort
	found     map[identity.DeviceID]discovery.Address
	hints     []string
	conflicts []gossip.Conflict
}

// lan is devices that all have each other in the address book.
type lan struct {
	t *testing.T
	*wire
	mu   sync.Mutex
	book []netip.AddrPort
}

func newLAN(t *testing.T) *lan { return &lan{t: t, wire: newWire()} }

func at(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 4434)
}

// start starts device n at its own address, known to all.
func (l *lan) start(n int, keys ...discovery.ZoneKey) *node {
	l.t.Helper()
	if len(keys) == 0 {
		keys = []discovery.ZoneKey{zoneKey(1)}
	}
	return l.startAt(n, at(n), byte(n), keys...)
}

func (l *lan) startAt(n int, a netip.AddrPort, start byte, keys ...discovery.ZoneKey) *node {
	l.t.Helper()
	l.mu.Lock()
	if !slices.Contains(l.book, a) {
		l.book = append(l.book, a)
	}
	l.mu.Unlock()
	nd := &node{t: l.t, n: n, at: a, found: map[identity.DeviceID]discovery.Address{}}
	g, err := gossip.New(gossip.Config{
		Device:  device(n),
		Start:   identity.StartID{start},
		Port:    4433,
		Address: func() (netip.AddrPort, error) { nd.mu.Lock(); defer nd.mu.Unlock(); return nd.at, nil },
		Join:    func() []netip.AddrPort { l.mu.Lock(); defer l.mu.Unlock(); return slices.Clone(l.book) },
		Found: func(s discovery.Sighting) {
			nd.mu.Lock()
			defer nd.mu.Unlock()
			nd.found[s.Device] = s.Address
		},
		Hint:     func(b []byte) { nd.mu.Lock(); defer nd.mu.Unlock(); nd.hints = append(nd.hints, string(b)) },
		Conflict: func(c gossip.Conflict) { nd.mu.Lock(); defer nd.mu.Unlock(); nd.conflicts = append(nd.conflicts, c) },
	}.On(host{l.wire, a.Addr()}))
	if err != nil {
		l.t.Fatal(err)
	}
	g.SetKeys(keys)
	nd.Gossip = g
	ctx, cancel := context.WithCancel(l.t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	nd.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
	})
	return nd
}

func (n *node) sees() map[int]netip.AddrPort {
	list := map[int]netip.AddrPort{}
	for _, m := range n.Members() {
		list[int(m.Device[0])<<8|int(m.Device[1])] = m.Gossip
	}
	return list
}

func (n *node) seenHints() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.hints)
}

// eventually waits, in virtual time, until ok.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return time.Since(begin)
}

// connected reports whether all nodes see all others, and nobody else.
func connected(nodes ...*node) bool {
	for _, a := range nodes {
		want := map[int]netip.AddrPort{}
		for _, b := range nodes {
			if b != a {
				b.mu.Lock()
				want[b.n] = b.at
				b.mu.Unlock()
			}
		}
		if !maps.Equal(a.sees(), want) {
			return false
		}
	}
	return true
}

// bubble runs a test in virtual time. At its end nothing may be left running:
// the bubble itself holds that.
func bubble(t *testing.T, f func(t *testing.T, l *lan)) {
	synctest.Test(t, func(t *testing.T) {
		f(t, newLAN(t))
		time.Sleep(time.Minute) // goroutines of memberlist that wait for an answer
	})
}

func stopAll(nodes ...*node) {
	var group sync.WaitGroup
	for _, n := range nodes {
		group.Go(n.stop)
	}
	group.Wait()
}

func TestMembersFindEachOther(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		var nodes []*node
		for n := range 8 {
			nodes = append(nodes, l.start(n+1))
		}
		eventually(t, 5*time.Second, "all see all", func() bool { return connected(nodes...) })
		nodes[0].mu.Lock()
		if got := nodes[0].found[device(2)]; got != "10.0.0.2:4433" {
			t.Errorf("device 2 can be called at %q", got)
		}
		nodes[0].mu.Unlock()
		// A goodbye is heard at once, by those that chance does not leave out, a power cut
		// in a while.
		nodes[7].stop()
		eventually(t, 3*time.Second, "a goodbye is heard", func() bool {
			deaf := 0
			for _, n := range nodes[:7] {
				if _, there := n.sees()[8]; there {
					deaf++
				}
			}
			return deaf <= 2
		})
		eventually(t, time.Minute, "a goodbye is heard by all", func() bool { return connected(nodes[:7]...) })
		l.setCut(func(a, b netip.Addr) bool { return a == at(7).Addr() || b == at(7).Addr() })
		took := eventually(t, time.Minute, "a dead device is noticed", func() bool { return connected(nodes[:6]...) })
		if took < 5*time.Second {
			t.Errorf("buried after %v", took)
		}
		stopAll(nodes...)
	})
}

// Both halves of a network that was cut for so long that they have forgotten
// each other come together again (memberlist#222, all peers dead 60 s).
func TestPartitionHeals(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		var nodes []*node
		for n := range 8 {
			nodes = append(nodes, l.start(n+1))
		}
		eventually(t, 5*time.Second, "all see all", func() bool { return connected(nodes...) })
		left := func(a netip.Addr) bool { return a.As4()[3] <= 4 }
		l.setCut(func(a, b netip.Addr) bool { return left(a) != left(b) })
		eventually(t, 2*time.Minute, "halves", func() bool { return connected(nodes[:4]...) && connected(nodes[4:]...) })
		time.Sleep(time.Hour)
		l.setCut(nil)
		took := eventually(t, time.Minute, "one network again", func() bool { return connected(nodes...) })
		if took > gossip.Rejoin*6/5+5*time.Second {
			t.Errorf("healed after %v", took)
		}
		// Everybody alone, for a minute.
		l.setCut(func(a, b netip.Addr) bool { return true })
		time.Sleep(time.Minute)
		l.setCut(nil)
		eventually(t, time.Minute, "one network again", func() bool { return connected(nodes...) })
		stopAll(nodes...)
	})
}

// Whoever was reached in another way is called at once.
func TestRejoin(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		a, b := l.start(1), l.start(2)
		eventually(t, 5*time.Second, "both", func() bool { return connected(a, b) })
		for range 5 {
			l.setCut(func(netip.Addr, netip.Addr) bool { return true })
			time.Sleep(5 * time.Minute)
			if connected(a, b) {
				t.Fatal("not cut")
			}
			l.setCut(nil)
			a.Rejoin()
			eventually(t, 6*time.Second, "one network again", func() bool { return connected(a, b) })
		}
		stopAll(a, b)
	})
}

// A device that comes back with another address, having said goodbye or not
// (memberlist#157).
func TestSameNameNewLease(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		a, b, c := l.start(1), l.start(2), l.start(3)
		eventually(t, 5*time.Second, "all see all", func() bool { return connected(a, b, c) })
		c.mu.Lock()
		c.at = at(30) // the lease changes while it runs
		c.mu.Unlock()
		eventually(t, 30*time.Second, "at its new address", func() bool { return connected(a, b, c) })
		stopAll(a, b, c)
	})
	// Power cut, and another lease: how long that takes is chance, so it is
	// tried some times.
	const rounds = 9
	var took []time.Duration
	for range rounds {
		bubble(t, func(t *testing.T, l *lan) {
			a, b, c := l.start(1), l.start(2), l.start(3)
			eventually(t, 5*time.Second, "all see all", func() bool { return connected(a, b, c) })
			l.setCut(func(x, y netip.Addr) bool { return x == c.at.Addr() || y == c.at.Addr() })
			again := l.startAt(3, at(31), 99, zoneKey(1))
			took = append(took, eventually(t, 3*time.Minute, "at its newer address", func() bool { return connected(a, b, again) }))
			stopAll(a, b, c, again)
		})
	}
	slices.Sort(took)
	t.Logf("a new lease after a power cut is taken after %v", took)
	if took[rounds/2] > 50*time.Second { // to forget the old one takes longer
		t.Error("too late")
	}
}

// One identity at two addresses at once raises the alarm.
func TestCopyRaisesTheAlarm(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		a, b, c := l.start(1), l.start(2), l.start(3)
		eventually(t, 5*time.Second, "all see all", func() bool { return connected(a, b, c) })
		copied := l.startAt(3, at(30), 99, zoneKey(1))
		var seen gossip.Conflict
		eventually(t, time.Minute, "an alarm", func() bool {
			for _, n := range []*node{a, b, c, copied} {
				n.mu.Lock()
				for _, conflict := range n.conflicts {
					seen = conflict
				}
				n.mu.Unlock()
			}
			return seen.Known.Device == device(3)
		})
		if seen.Other.Device != device(3) || seen.Known.Gossip == seen.Other.Gossip || seen.Known.Start == seen.Other.Start {
			t.Errorf("%+v", seen)
		}
		time.Sleep(10 * time.Minute)
		a.mu.Lock()
		if n := len(a.conflicts); n > 25 {
			t.Errorf("%d alarms in ten minutes", n)
		}
		a.mu.Unlock()
		stopAll(a, b, c, copied)
	})
}

// Who slept through a change of keys is noticed by the others, who hold the old
// key, and takes part as soon as it has been given the new one (serf#579).
func TestAbsentDuringKeyRotation(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		a, b := l.start(1), l.start(2)
		eventually(t, 5*time.Second, "both", func() bool { return connected(a, b) })
		for n := uint32(2); n <= 4; n++ { // while they talk to each other
			keys := []discovery.ZoneKey{zoneKey(1), zoneKey(n), zoneKey(n - 1)}
			a.SetKeys(keys)
			time.Sleep(30 * time.Second)
			b.SetKeys(keys)
			time.Sleep(30 * time.Second)
			if !connected(a, b) {
				t.Fatal("a change of keys separates who is there")
			}
		}
		absent := l.start(3, zoneKey(1))
		eventually(t, time.Minute, "the absent one is noticed", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			b.mu.Lock()
			defer b.mu.Unlock()
			return a.found[device(3)] != "" || b.found[device(3)] != ""
		})
		absent.SetKeys([]discovery.ZoneKey{zoneKey(4), zoneKey(1)})
		eventually(t, time.Minute, "all see all", func() bool { return connected(a, b, absent) })
		// A key that is taken away opens nothing any more.
		a.SetKeys([]discovery.ZoneKey{zoneKey(5)})
		b.SetKeys([]discovery.ZoneKey{zoneKey(5)})
		eventually(t, 2*time.Minute, "the one without the key is gone", func() bool { return connected(a, b) })
		eventually(t, 2*time.Minute, "and alone", func() bool { return len(absent.Members()) == 0 })
		stopAll(a, b, absent)
	})
}

func TestManyKeys(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		a, b := l.start(1), l.start(2)
		eventually(t, 5*time.Second, "both", func() bool { return connected(a, b) })
		for n := uint32(1); n < 200; n++ {
			keys := []discovery.ZoneKey{zoneKey(n), zoneKey(n + 1)}
			a.SetKeys(keys)
			b.SetKeys(keys)
			time.Sleep(5 * time.Second)
			if ring, guard := a.Ring(); ring > 80 || guard > 2 {
				t.Fatalf("%d keys in the ring, %d in the guard", ring, guard)
			}
		}
		eventually(t, time.Minute, "both", func() bool { return connected(a, b) })
		stopAll(a, b)
	})
}

func TestStrangersKeepOut(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		a, b, stranger := l.start(1), l.start(2), l.start(3, zoneKey(9))
		keyless := l.start(4, discovery.ZoneKey{Number: 7})
		time.Sleep(5 * time.Minute)
		if !connected(a, b) || len(stranger.Members()) > 0 || len(keyless.Members()) > 0 {
			t.Errorf("%v %v %v", a.sees(), b.sees(), stranger.sees())
		}
		stopAll(a, b, stranger, keyless)
	})
}

func TestWithoutKeysNothingHappens(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		a, b := l.start(1), l.start(2)
		b.SetKeys(nil)
		eventually(t, 10*time.Second, "b is silent", func() bool { _, ok := b.Address(); return !ok })
		if err := b.Broadcast([]byte("x"), nil); err != nil {
			t.Error(err)
		}
		b.SetKeys([]discovery.ZoneKey{zoneKey(1)})
		eventually(t, time.Minute, "both", func() bool { return connected(a, b) })
		stopAll(a, b)
	})
}

func TestHintsReachEverybodyOnce(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		var nodes []*node
		for n := range 30 {
			nodes = append(nodes, l.start(n+1))
		}
		eventually(t, time.Minute, "all see all", func() bool { return connected(nodes...) })
		large := make([]byte, gossip.MaxHintBytes)
		for i := range large {
			large[i] = 'x'
		}
		if err := nodes[3].Broadcast([]byte("a log"), large); err != nil {
			t.Fatal(err)
		}
		// Of what is said in one moment about one topic, the newest counts.
		for i := range 100 {
			if err := nodes[5].Broadcast([]byte("another log"), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, 15*time.Second, "everybody has heard both", func() bool {
			for i, n := range nodes {
				hints := n.seenHints()
				if i != 3 && !slices.Contains(hints, string(large)) || i != 5 && !slices.Contains(hints, "99") {
					return false
				}
			}
			return true
		})
		time.Sleep(time.Minute)
		for i, n := range nodes {
			hints := n.seenHints()
			slices.Sort(hints)
			if len(slices.Compact(slices.Clone(hints))) != len(hints) || len(hints) > 4 || i == 3 && slices.Contains(hints, string(large)) {
				t.Errorf("device %d heard %q", n.n, hints)
			}
		}
		if err := nodes[0].Broadcast([]byte("a log"), append(large, 'x')); !errors.Is(err, gossip.ErrHint) {
			t.Errorf("too large: %v", err)
		}
		if err := nodes[0].Broadcast(make([]byte, gossip.MaxTopicBytes+1), nil); !errors.Is(err, gossip.ErrHint) {
			t.Errorf("a topic too large: %v", err)
		}
		stopAll(nodes...)
	})
}

// What is told again is heard again, also after a restart of who tells it.
func TestHintsAreHeardAgain(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		var nodes []*node
		for n := range 3 {
			nodes = append(nodes, l.start(n+1))
		}
		heard := func(want int) {
			t.Helper()
			eventually(t, 15*time.Second, fmt.Sprintf("everybody has heard it %d times", want), func() bool {
				return len(nodes[1].seenHints()) == want && len(nodes[2].seenHints()) == want
			})
			time.Sleep(20 * time.Second)
			if n := len(nodes[1].seenHints()); n != want {
				t.Errorf("heard %d times, not %d", n, want)
			}
		}
		for n := range 4 {
			if n == 3 {
				nodes[0].stop()
				nodes[0] = l.startAt(1, at(1), 77, zoneKey(1))
			}
			eventually(t, time.Minute, "all see all", func() bool { return connected(nodes...) })
			if err := nodes[0].Broadcast([]byte("topic"), []byte("as ever")); err != nil {
				t.Fatal(err)
			}
			heard(n + 1)
		}
		stopAll(nodes...)
	})
}

// The heads that thirty busy devices tell, one in a quarter of a minute each, cost
// a device less than 200 bytes a second for each other one, all of membership
// included.
func TestBytesOfHeads(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		const count, every, topic, head = 30, 15 * time.Second, 13, 246
		var nodes []*node
		for n := range count {
			nodes = append(nodes, l.start(n+1))
		}
		eventually(t, time.Minute, "all see all", func() bool { return connected(nodes...) })
		rate := func(tell func(n *node, round int)) int {
			before, began := l.bytes(), time.Now()
			for round := range 12 {
				for _, n := range nodes {
					tell(n, round)
					time.Sleep(every / count)
				}
			}
			return (l.bytes() - before) / int(time.Since(began)/time.Second) / count / (count - 1)
		}
		idle := rate(func(*node, int) {})
		busy := rate(func(n *node, round int) {
			b := make([]byte, topic+head)
			b[topic], b[topic+1], b[0] = byte(n.n), byte(round), byte(n.n)
			if err := n.Broadcast(b[:topic], b[topic:]); err != nil {
				t.Error(err)
			}
		})
		t.Logf("a device sends %d bytes a second for each other one, %d if nothing is written", busy, idle)
		if busy >= 200 || busy <= idle {
			t.Errorf("a device sends %d bytes a second for each other one, %d if nothing is written", busy, idle)
		}
		if n := len(nodes[4].seenHints()); n < 12*(count-1)*95/100 {
			t.Errorf("of %d heads %d were heard", 12*(count-1), n)
		}
		stopAll(nodes...)
	})
}

// A card stalls a device for two seconds: nobody buries it.
func TestStallIsNoDeath(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		var nodes []*node
		for n := range 3 { // tiny networks are the worst case
			nodes = append(nodes, l.start(n+1))
		}
		eventually(t, 5*time.Second, "all see all", func() bool { return connected(nodes...) })
		stalled := at(2).Addr()
		for range 50 {
			l.setCut(func(a, b netip.Addr) bool { return a == stalled || b == stalled })
			time.Sleep(2 * time.Second)
			l.setCut(nil)
			for range 10 {
				if !connected(nodes...) {
					t.Fatal("a device that stalled for two seconds was buried")
				}
				time.Sleep(time.Second)
			}
		}
		stopAll(nodes...)
	})
}

// All devices lose power in one moment and come back in any order
// (memberlist#311).
func TestMassRestart(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		const n = 10
		start := func() (nodes []*node) {
			for i := range n {
				nodes = append(nodes, l.start(i+1))
				time.Sleep(time.Duration(i*i%7) * time.Second)
			}
			return nodes
		}
		for range 3 {
			nodes := start()
			eventually(t, 2*time.Minute, "all see all", func() bool { return connected(nodes...) })
			l.setCut(func(a, b netip.Addr) bool { return true }) // nobody hears the goodbyes
			stopAll(nodes...)
			l.setCut(nil)
		}
	})
}

// A Gossip may be run again after its end, and on an address that is not there
// yet.
func TestRunAgain(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		a := l.start(1)
		b := l.start(2)
		eventually(t, 5*time.Second, "both", func() bool { return connected(a, b) })
		for range 3 {
			b.stop()
			eventually(t, 5*time.Second, "b is gone", func() bool { return len(a.Members()) == 0 })
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- b.Run(ctx) }()
			b.stop = func() { cancel(); <-done }
			eventually(t, time.Minute, "b is back", func() bool { return connected(a, b) })
		}
		// Somebody else has the port.
		taken, err := host{l.wire, at(40).Addr()}.Listen(at(40))
		if err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		b.at = at(40)
		b.mu.Unlock()
		time.Sleep(time.Minute)
		if _, ok := b.Address(); ok {
			t.Error("it listens where somebody else does")
		}
		taken.Close()
		eventually(t, 2*time.Minute, "b is back", func() bool { return connected(a, b) })
		stopAll(a, b)
	})
}

// Who reaches the coordinator says so, and when that changes everybody hears of
// it within seconds, those who come later too.
func TestUplinkIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, l *lan) {
		a, b, c := l.start(1), l.start(2), l.start(3)
		defer stopAll(a, b, c)
		eventually(t, time.Minute, "connected", func() bool { return connected(a, b, c) })
		told := func(of int, up bool, by ...*node) func() bool {
			return func() bool {
				return !slices.ContainsFunc(by, func(n *node) bool { return n.HasUplink(device(of)) != up })
			}
		}
		if a.HasUplink(device(2)) || a.HasUplink(device(9)) {
			t.Error("an uplink that nobody speaks of")
		}
		b.SetUplink(true)
		if took := eventually(t, time.Minute, "the uplink of 2 is known", told(2, true, a, c)); took > 10*time.Second {
			t.Errorf("after %v", took)
		}
		d := l.start(4)
		defer d.stop()
		eventually(t, time.Minute, "the uplink of 2 is known to 4", told(2, true, d))
		b.SetUplink(false)
		if took := eventually(t, time.Minute, "the uplink of 2 is gone", told(2, false, a, c, d)); took > 10*time.Second {
			t.Errorf("after %v", took)
		}
		b.SetUplink(true)
		eventually(t, time.Minute, "the uplink of 2 is back", told(2, true, a))
		b.stop()
		eventually(t, 2*time.Minute, "who has gone has no uplink", told(2, false, a))
	})
}

// Two hundred devices: packets of many parts (cortex#4326), one network in the
// end, and little to say when nothing happens.
func TestTwoHundred(t *testing.T) {
	if testing.Short() {
		t.Skip("a load test: it is left out of short runs")
	}
	bubble(t, func(t *testing.T, l *lan) {
		var nodes []*node
		count := 200
		if raceDetector {
			count = 40
		}
		for n := range count {
			nodes = append(nodes, l.start(n+1))
		}
		took := eventually(t, 3*time.Minute, "all see all", func() bool {
			time.Sleep(2 * time.Second) // looking is work as well
			for _, n := range nodes {
				if len(n.Members()) != len(nodes)-1 {
					return false
				}
			}
			return true
		})
		t.Logf("all see all after %v", took)
		time.Sleep(time.Minute)
		before := l.bytes()
		time.Sleep(time.Minute)
		if rate := (l.bytes() - before) / 60 / len(nodes); rate > 400 {
			t.Errorf("an idle device sends %d bytes a second", rate)
		} else {
			t.Logf("an idle device sends %d bytes a second", rate)
		}
		stopAll(nodes...)
	})
}

func TestNewChecks(t *testing.T) {
	address := func() (netip.AddrPort, error) { return at(1), nil }
	join := func() []netip.AddrPort { return nil }
	for _, c := range []gossip.Config{
		{}, {Device: device(1)}, {Device: device(1), Port: 1}, {Device: device(1), Port: 1, Address: address},
		{Device: device(1), Address: address, Join: join}, {Port: 1, Address: address, Join: join},
	} {
		if _, err := gossip.New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
