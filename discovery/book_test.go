package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/records/identity"
)

func device(n int) (d identity.DeviceID) {
	d[0], d[1] = byte(n>>8), byte(n)
	return d
}

func address(t testing.TB, s string) discovery.Address {
	t.Helper()
	a, err := discovery.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// zeros is chance that always falls the same way.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// world is a book with a clock that is moved by hand.
type world struct {
	t testing.TB
	*discovery.Book
	now time.Time
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: time.Date(2026, 9, 1, 8, 0, 0, 0, time.UTC)}
	b, err := discovery.New(discovery.Config{Own: device(0xffff), Now: func() time.Time { return w.now }, Random: zeros{}})
	if err != nil {
		t.Fatal(err)
	}
	w.Book = b
	return w
}

func (w *world) learn(d identity.DeviceID, a string, s discovery.Source) bool {
	w.t.Helper()
	return w.Learn(discovery.Sighting{Device: d, Address: address(w.t, a), Source: s})
}

func (w *world) next() []string {
	targets, _ := w.Next(100, nil)
	var list []string
	for _, target := range targets {
		who := "?"
		if !target.Device.IsZero() {
			who = fmt.Sprint(int(target.Device[0])<<8 | int(target.Device[1]))
		}
		list = append(list, fmt.Sprint(who, target.Addresses))
	}
	return list
}

func (w *world) expect(want ...string) {
	w.t.Helper()
	if got := w.next(); !slices.Equal(got, want) {
		w.t.Fatalf("to dial: %q, want %q", got, want)
	}
}

func TestWhatIsLearnedIsDialled(t *testing.T) {
	w := newWorld(t)
	w.expect()
	w.learn(device(1), "10.0.0.1:4433", discovery.Gossip)
	w.learn(identity.DeviceID{}, "10.0.0.2:4433", discovery.MDNS)
	w.learn(device(0xffff), "10.0.0.3:4433", discovery.Gossip) // ourselves
	w.expect("?[10.0.0.2:4433]", "1[10.0.0.1:4433]")
	w.expect() // they are being dialled
	w.Succeeded(device(2), address(t, "10.0.0.2:4433"))
	w.Failed(device(1), address(t, "10.0.0.1:4433"))
	w.expect()
	w.now = w.now.Add(time.Second)
	w.expect("1[10.0.0.1:4433]")
	w.now = w.now.Add(time.Hour)
	w.expect("1[10.0.0.1:4433]") // nobody said how the dial went
	w.Ended(device(2), address(t, "10.0.0.2:4433"))
	w.expect("2[10.0.0.2:4433]") // it has a name now
}

func TestOneDialForAllAddressesOfADevice(t *testing.T) {
	w := newWorld(t)
	w.learn(device(1), "[fe80::1%eth0]:4433", discovery.MDNS)
	w.learn(device(1), "192.168.1.5:4433", discovery.MDNS)
	w.learn(device(1), "10.0.0.1:4433", discovery.Coordinator)
	w.expect("1[192.168.1.5:4433 [fe80::1%eth0]:4433 10.0.0.1:4433]")
	w.Succeeded(device(1), address(t, "10.0.0.1:4433"))
	w.expect() // connected by one: the others are left alone
	w.Ended(device(1), address(t, "10.0.0.1:4433"))
	w.now = w.now.Add(time.Minute)
	w.expect("1[10.0.0.1:4433 192.168.1.5:4433 [fe80::1%eth0]:4433]")
}

func TestWaitsDoubleAndAreBounded(t *testing.T) {
	w := newWorld(t)
	a := address(t, "10.0.0.1:4433")
	w.learn(device(1), string(a), discovery.Coordinator)
	var last time.Duration
	for range 20 {
		if got := w.next(); len(got) != 1 {
			t.Fatalf("nothing to dial after %v", last)
		}
		w.Failed(device(1), a)
		wait := w.Candidates(device(1))[0].NextTry.Sub(w.now)
		if wait < last || wait > 5*time.Minute || wait <= 0 {
			t.Fatalf("a wait of %v after one of %v", wait, last)
		}
		last = wait
		_, again := w.Next(10, nil)
		if !again.Equal(w.now.Add(wait)) {
			t.Fatalf("to be asked again at %v, not in %v", again, wait)
		}
		w.now = again
	}
	if last < 2*time.Minute {
		t.Errorf("the waits grow to %v only", last)
	}
	// An announcement shows that it may be there after all.
	w.next()
	w.Failed(device(1), a)
	w.learn(device(1), string(a), discovery.MDNS)
	w.expect()
	w.now = w.now.Add(15 * time.Second)
	w.expect("1[10.0.0.1:4433]")
	// And so does another network.
	w.Failed(device(1), a)
	w.NetworkChanged()
	w.expect("1[10.0.0.1:4433]")
}

// The address of a device was given to another one.
func TestAddressFoundWrongIsUnlearned(t *testing.T) {
	w := newWorld(t)
	a := address(t, "10.0.0.1:4433")
	w.learn(device(1), string(a), discovery.Coordinator)
	w.next()
	w.Wrong(device(1), a, device(2))
	if got := w.Candidates(device(1)); len(got) != 0 {
		t.Errorf("still there: %v", got)
	}
	if got := w.Candidates(device(2)); len(got) != 1 || got[0].LastSuccess.IsZero() {
		t.Errorf("not learned for who is there: %v", got)
	}
	// A stranger sits there: hearsay goes, what people typed stays.
	w.learn(device(3), "10.0.0.3:4433", discovery.Gossip)
	w.learn(identity.DeviceID{}, "10.0.0.4:4433", discovery.Typed)
	w.next()
	w.Wrong(device(3), address(t, "10.0.0.3:4433"), identity.DeviceID{})
	w.Wrong(identity.DeviceID{}, address(t, "10.0.0.4:4433"), identity.DeviceID{})
	if got := w.Candidates(device(3)); len(got) != 0 {
		t.Errorf("still there: %v", got)
	}
	if got := w.Candidates(identity.DeviceID{}); len(got) != 1 || got[0].Failures != 1 {
		t.Errorf("typed address: %v", got)
	}
	// What answers as ourselves is passed over, also when told again.
	w.learn(device(5), "127.0.0.1:4433", discovery.Peer)
	w.Wrong(device(5), address(t, "127.0.0.1:4433"), device(0xffff))
	w.learn(device(5), "127.0.0.1:4433", discovery.Peer)
	if got := w.Candidates(device(5)); len(got) != 0 {
		t.Errorf("would dial itself: %v", got)
	}
}

// A typed address that gets another device keeps being typed.
func TestTypedAddressFollowsWhoAnswers(t *testing.T) {
	w := newWorld(t)
	a := address(t, "pc7.school.lan:4433")
	w.learn(identity.DeviceID{}, string(a), discovery.Typed)
	w.Succeeded(device(1), a)
	w.Ended(device(1), a)
	w.Wrong(device(1), a, device(2))
	all := w.All()
	if len(all) != 1 || all[0].Device != device(2) || !slices.Contains(all[0].Sources(), discovery.Typed) {
		t.Errorf("%+v", all)
	}
}

// A device got the address that another, which is connected elsewhere, had.
func TestNewDeviceAtAKnownAddressIsFound(t *testing.T) {
	w := newWorld(t)
	old := address(t, "10.0.0.1:4433")
	w.Succeeded(device(1), old)
	w.Ended(device(1), old)
	w.Succeeded(device(1), address(t, "10.0.0.9:4433"))
	w.now = w.now.Add(time.Hour)
	w.learn(identity.DeviceID{}, string(old), discovery.MDNS)
	w.expect("?[10.0.0.1:4433]")
	w.Wrong(identity.DeviceID{}, old, device(2))
	w.Succeeded(device(2), old)
	for range 100 { // and it is not dialled again at each announcement
		w.now = w.now.Add(time.Minute)
		w.learn(identity.DeviceID{}, string(old), discovery.MDNS)
		w.expect()
	}
}

func TestHostileAnnouncersPushNothingOut(t *testing.T) {
	w := newWorld(t)
	good := address(t, "10.0.0.1:4433")
	w.Succeeded(device(1), good)
	w.Ended(device(1), good)
	w.learn(identity.DeviceID{}, "10.0.0.2:4433", discovery.Typed)
	n := 0
	for _, source := range []discovery.Source{discovery.MDNS, discovery.Gossip, discovery.Peer, discovery.Coordinator} {
		for i := range 1200 {
			w.now = w.now.Add(time.Second)
			ip := netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})
			ip6 := netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)})
			for _, d := range []identity.DeviceID{{}, device(1), device(i + 10)} {
				for _, at := range []netip.Addr{ip, ip6} {
					if w.learn(d, netip.AddrPortFrom(at, uint16(1000+n%9)).String(), source) {
						n++
					}
				}
			}
		}
	}
	all := w.All()
	if len(all) > discovery.MaxEntries {
		t.Fatalf("%d entries", len(all))
	}
	families := map[identity.DeviceID]map[discovery.Family]int{}
	per := map[discovery.Source]int{}
	for _, e := range all {
		if families[e.Device] == nil {
			families[e.Device] = map[discovery.Family]int{}
		}
		families[e.Device][e.Address.Family()]++
		if !e.Device.IsZero() && families[e.Device][e.Address.Family()] > 8 {
			t.Fatalf("more than 8 addresses of one device and family")
		}
		for _, s := range e.Sources() {
			per[s]++
		}
	}
	for s, count := range per {
		if count > 512 {
			t.Errorf("%d addresses from %v", count, s)
		}
	}
	if got := w.Candidates(device(1)); !slices.ContainsFunc(got, func(e discovery.Entry) bool { return e.Address == good }) {
		t.Error("an address that had answered is gone")
	}
	if got := w.Candidates(identity.DeviceID{}); !slices.ContainsFunc(got, func(e discovery.Entry) bool { return slices.Contains(e.Sources(), discovery.Typed) }) {
		t.Error("a typed address is gone")
	}
	// What was made up fails, and then there is room for what is true.
	for range 3 {
		for {
			targets, _ := w.Next(1000, nil)
			if len(targets) == 0 {
				break
			}
			for _, target := range targets {
				for _, a := range target.Addresses {
					w.Failed(target.Device, a)
				}
			}
		}
		w.now = w.now.Add(time.Hour)
	}
	if !w.learn(identity.DeviceID{}, "10.0.0.77:4433", discovery.MDNS) {
		t.Error("no room for a new device after all the others failed")
	}
}

func TestNextIsBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 50 {
		w.learn(device(i), fmt.Sprintf("10.0.0.%d:4433", i+1), discovery.MDNS)
	}
	seen := map[identity.DeviceID]bool{}
	for range 10 {
		targets, _ := w.Next(7, func(d identity.DeviceID) bool { return d != device(3) })
		if len(targets) > 7 {
			t.Fatalf("%d targets", len(targets))
		}
		for _, target := range targets {
			seen[target.Device] = true
		}
	}
	if len(seen) != 49 || seen[device(3)] {
		t.Errorf("%d devices handed out", len(seen))
	}
}

func TestBookSurvivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var disk []byte
		saves := 0
		saved := func() int { mu.Lock(); defer mu.Unlock(); return saves }
		conf := discovery.Config{
			Load: func() ([]byte, error) { mu.Lock(); defer mu.Unlock(); return disk, nil },
			Save: func(b []byte) error { mu.Lock(); defer mu.Unlock(); disk = b; saves++; return nil },
		}
		run := func(work func(*discovery.Book)) {
			b, err := discovery.New(conf)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- b.Run(ctx) }()
			work(b)
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		a := address(t, "10.0.0.1:4433")
		run(func(b *discovery.Book) {
			for range 1000 { // one saving for all that happens in a while
				b.Succeeded(device(1), a)
				b.Learn(discovery.Sighting{Device: device(2), Address: address(t, "10.0.0.2:4433"), Source: discovery.Typed})
			}
			time.Sleep(time.Minute)
			if n := saved(); n != 1 {
				t.Errorf("saved %d times", n)
			}
			for range 1000 { // what is merely seen again wears no card out
				b.Learn(discovery.Sighting{Device: device(1), Address: a, Source: discovery.Gossip})
				b.Succeeded(device(1), a)
				time.Sleep(time.Second)
			}
			if n := saved(); n > 3 {
				t.Errorf("saved %d times", n)
			}
		})
		run(func(b *discovery.Book) {
			got := b.Candidates(device(1))
			if len(got) != 1 || got[0].Address != a || got[0].LastSuccess.IsZero() ||
				!slices.Equal(got[0].Sources(), []discovery.Source{discovery.Remembered}) {
				t.Errorf("remembered: %+v", got)
			}
			if got := b.Candidates(device(2)); len(got) != 1 || !slices.Equal(got[0].Sources(), []discovery.Source{discovery.Remembered}) {
				t.Errorf("remembered: %+v", got)
			}
			if targets, _ := b.Next(10, nil); len(targets) != 2 {
				t.Errorf("to dial after a restart: %v", targets)
			}
		})
		disk = []byte("rubbish")
		run(func(b *discovery.Book) {
			if len(b.All()) != 0 {
				t.Error("something was read from rubbish")
			}
		})
	})
}

func TestSavingThatFails(t *testing.T) {
	full := errors.New("disk full")
	b, err := discovery.New(discovery.Config{
		Load: func() ([]byte, error) { return nil, io.ErrUnexpectedEOF },
		Save: func([]byte) error { return full },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := b.Run(ctx); !errors.Is(err, full) {
		t.Errorf("Run returned %v", err)
	}
	if _, err := discovery.New(discovery.Config{Save: func([]byte) error { return nil }}); err == nil {
		t.Error("half a store was taken")
	}
}

func TestWatchTellsOfChanges(t *testing.T) {
	w := newWorld(t)
	told := 0
	stop := w.Watch(func() {
		told++
		w.All() // the book may be asked
	})
	w.learn(device(1), "10.0.0.1:4433", discovery.MDNS)
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	w.learn(device(1), "10.0.0.1:4433", discovery.MDNS) // nothing new
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	w.Failed(device(1), address(t, "10.0.0.1:4433"))
	w.NetworkChanged()
	if told != 3 {
		t.Errorf("told %d times", told)
	}
	stop()
	w.learn(device(2), "10.0.0.2:4433", discovery.MDNS)
	if told != 3 {
		t.Error("told after the end")
	}
}

// A board without a clock starts in 1970 and learns the time later; another one
// is set back.
func TestClockAt1970(t *testing.T) {
	w := newWorld(t)
	w.now = time.Unix(0, 0)
	a := address(t, "10.0.0.1:4433")
	w.Succeeded(device(1), a)
	w.Ended(device(1), a)
	w.learn(device(2), "10.0.0.2:4433", discovery.MDNS)
	kept := w.Encode()
	if entries, err := discovery.Decode(kept); err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, year := range []int{2026, 1970, 2106} {
		w.now = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		w.learn(device(3), "10.0.0.3:4433", discovery.MDNS)
		if len(w.Candidates(device(1))) != 1 || len(w.Candidates(device(2))) != 1 {
			t.Fatalf("forgotten because of the clock in %d", year)
		}
	}
	w.now = w.now.Add(time.Minute)
	if got := w.next(); len(got) != 3 {
		t.Errorf("to dial: %v", got)
	}
	if !bytes.Equal(kept[:1], []byte{1}) {
		t.Error("format")
	}
}

// Whoever is said to be where another is connected is not looked for there.
func TestAddressInUseIsNotDialledForOthers(t *testing.T) {
	w := newWorld(t)
	w.Succeeded(device(1), address(t, "10.0.0.1:4433"))
	w.learn(device(2), "10.0.0.1:4433", discovery.Gossip)
	w.expect()
	w.Ended(device(1), address(t, "10.0.0.1:4433"))
	w.Failed(device(1), address(t, "10.0.0.1:4433"))
	w.expect("2[10.0.0.1:4433]")
}

func TestOneDialForOneAddress(t *testing.T) {
	w := newWorld(t)
	w.learn(identity.DeviceID{}, "10.0.0.1:4433", discovery.MDNS)
	w.learn(device(1), "10.0.0.1:4433", discovery.Coordinator)
	w.expect("1[10.0.0.1:4433]")
	w.Wrong(device(1), address(t, "10.0.0.1:4433"), device(2))
	w.expect("2[10.0.0.1:4433]")
	if all := w.All(); len(all) != 1 || !slices.Contains(all[0].Sources(), discovery.MDNS) {
		t.Errorf("%+v", all)
	}
}

// Among things that nobody has tried, the first to come stay for a while: who
// announces more does not push out who announced before.
func TestFirstComeStayAWhile(t *testing.T) {
	w := newWorld(t)
	for i := range 600 {
		w.now = w.now.Add(500 * time.Millisecond)
		w.learn(device(i+1), fmt.Sprintf("10.0.%d.%d:4433", i>>8, i&0xff|1), discovery.MDNS)
		w.learn(device(1), fmt.Sprintf("10.1.%d.%d:4433", i>>8, i&0xff), discovery.Peer)
	}
	for i := range 7 {
		if len(w.Candidates(device(i+2))) != 1 {
			t.Errorf("device %d was pushed out", i+2)
		}
	}
	got := w.Candidates(device(1))
	if len(got) != 8 || !slices.ContainsFunc(got, func(e discovery.Entry) bool { return e.Address == "10.0.0.1:4433" }) {
		t.Errorf("%d addresses", len(got))
	}
	// Later they make room.
	w.now = w.now.Add(time.Hour)
	if !w.learn(device(1), "10.2.0.1:4433", discovery.MDNS) || !w.learn(device(999), "10.2.0.2:4433", discovery.MDNS) {
		t.Error("no room after an hour")
	}
}

func TestLikeliestFirst(t *testing.T) {
	w := newWorld(t)
	d := device(1)
	order := func() (list []string) {
		for _, e := range w.Candidates(d) {
			list = append(list, string(e.Address))
		}
		return list
	}
	check := func(why string, want ...string) {
		t.Helper()
		if got := order(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", why, got, want)
		}
	}
	w.Succeeded(d, address(t, "10.0.0.1:1"))
	w.Ended(d, address(t, "10.0.0.1:1"))
	w.now = w.now.Add(24 * time.Hour)
	w.learn(d, "10.0.0.2:1", discovery.Coordinator)
	check("what answered before what was told", "10.0.0.1:1", "10.0.0.2:1")
	w.learn(d, "10.0.0.3:1", discovery.MDNS)
	check("what is announced now before what answered yesterday", "10.0.0.3:1", "10.0.0.1:1", "10.0.0.2:1")
	w.now = w.now.Add(time.Second)
	w.Failed(d, address(t, "10.0.0.3:1"))
	check("what just failed last", "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
	w.now = w.now.Add(time.Second)
	w.learn(d, "10.0.0.3:1", discovery.MDNS)
	check("announced again", "10.0.0.3:1", "10.0.0.1:1", "10.0.0.2:1")
	w.Succeeded(d, address(t, "10.0.0.2:1"))
	check("what is in use first", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.1:1")
}

// An address that was ours on one network is somebody else's on the next.
func TestOwnAddressOfAnotherNetwork(t *testing.T) {
	w := newWorld(t)
	a := address(t, "10.0.0.1:4433")
	w.Wrong(identity.DeviceID{}, a, device(0xffff))
	w.learn(identity.DeviceID{}, string(a), discovery.MDNS)
	w.expect()
	w.NetworkChanged()
	w.learn(identity.DeviceID{}, string(a), discovery.MDNS)
	w.expect("?[10.0.0.1:4433]")
}
