package discovery

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// Config is what a [Book] is made of. All of it may be left out.
type Config struct {
	// Own is this device, which is not to be dialled.
	Own identity.DeviceID

	// Load returns what Save was last given; nothing if there was no Save yet.
	// New calls it once. Save keeps the book across restarts; it must put the
	// new in place of the old at once. Run calls it, a while after a change and
	// when it ends. Nil: nothing is kept.
	Load func() ([]byte, error)
	Save func([]byte) error

	Now    func() time.Time // nil: time.Now
	Random io.Reader        // for the waits between attempts; nil: the system's
	Logger *slog.Logger     // nil: nothing is logged
}

// saveAfter is how long changes are gathered before they are saved.
const saveAfter = 10 * time.Second

// Book is the address book of a device. All methods are safe for concurrent
// use and never wait for anything but each other.
type Book struct {
	cfg   Config
	dirty chan struct{} // something is to be saved

	mu       sync.Mutex // guards what follows
	table    *table
	since    time.Time // of the network that there is now
	watchers map[int]func()
	last     int // number of the latest watcher
}

// Target is a device to dial.
type Target struct {
	// Device is who must answer; zero: whoever of the zone does.
	Device identity.DeviceID
	// Addresses are where, likeliest first; not none.
	Addresses []Address
}

// New returns a book with what was kept. A book that cannot be read is logged
// and begun anew: it holds only hints.
func New(cfg Config) (*Book, error) {
	if (cfg.Load == nil) != (cfg.Save == nil) {
		return nil, fmt.Errorf("make address book: Load and Save belong together, but one is missing")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Book{cfg: cfg, dirty: make(chan struct{}, 1), watchers: map[int]func(){}}
	b.table = newTable(cfg.Own, b.chance)
	if cfg.Load == nil {
		return b, nil
	}
	kept, err := cfg.Load()
	var entries []Entry
	if err == nil && len(kept) > 0 {
		entries, err = Decode(kept)
	}
	if err != nil {
		cfg.Logger.Warn("remembered addresses cannot be read; the address book begins empty", "error", err)
	}
	now := cfg.Now()
	for _, e := range entries {
		if e.Device != cfg.Own || cfg.Own.IsZero() {
			// What was saved in order of worth fits; a book of another release
			// may hold more.
			if b.table.roomFor(now, &e, false) {
				b.table.entries[entryKey{e.Device, e.Address}] = &e
			}
		}
	}
	return b, nil
}

// chance draws a number from 0 up to 1.
func (b *Book) chance() float64 {
	var drawn [8]byte
	if _, err := io.ReadFull(b.cfg.Random, drawn[:]); err != nil {
		return 1 // without chance, caution
	}
	return float64(binary.BigEndian.Uint64(drawn[:])>>11) / (1 << 53)
}

// Run saves the book a while after it changed, and when ctx ends. It returns
// nil then, or the error of the last saving.
func (b *Book) Run(ctx context.Context) error {
	if b.cfg.Save == nil {
		<-ctx.Done()
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return b.save()
		case <-b.dirty:
		}
		select {
		case <-ctx.Done():
		case <-time.After(saveAfter):
		}
		select {
		case <-b.dirty: // what changed meanwhile is saved as well
		default:
		}
		err := b.save()
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			b.cfg.Logger.Warn("addresses are not remembered across restarts", "error", err)
		}
	}
}

func (b *Book) save() error {
	if err := b.cfg.Save(b.Encode()); err != nil {
		return fmt.Errorf("save address book: %w", err)
	}
	return nil
}

// step does one thing to the table and tells whom it concerns.
func (b *Book) step(do func(now time.Time) outcome) {
	b.mu.Lock()
	out := do(b.cfg.Now())
	var tell []func()
	if out.changed {
		for _, f := range b.watchers {
			tell = append(tell, f)
		}
	}
	b.mu.Unlock()
	if out.save {
		select {
		case b.dirty <- struct{}{}:
		default:
		}
	}
	for _, f := range tell {
		f()
	}
}

// Learn takes in that a device may be at an address. It reports false if it was
// not taken, for want of room; that harms nothing if it was hearsay.
func (b *Book) Learn(s Sighting) bool {
	var ok bool
	b.step(func(now time.Time) (out outcome) {
		out, ok = b.table.learn(now, s)
		return out
	})
	return ok
}

// Succeeded notes that device has proved to be at address, and is connected
// there until [Book.Ended]. The address must be one that can be called, not the
// port that the device happened to call from.
func (b *Book) Succeeded(device identity.DeviceID, address Address) {
	b.step(func(now time.Time) outcome { return b.table.succeeded(now, device, address) })
}

// Ended notes that the connection that Succeeded told of is closed.
func (b *Book) Ended(device identity.DeviceID, address Address) {
	b.step(func(time.Time) outcome { return b.table.ended(device, address) })
}

// Failed notes that a dial found nobody at address. device is the Target's.
func (b *Book) Failed(device identity.DeviceID, address Address) {
	b.step(func(now time.Time) outcome { return b.table.failed(now, device, address) })
}

// Wrong notes that a dial found somebody else at address than expected, which
// is the Target's device: actual has proved its key, and is zero if it does not
// belong to the zone. The address is forgotten for expected and kept for
// actual. If actual is this device itself, the address is passed over.
func (b *Book) Wrong(expected identity.DeviceID, address Address, actual identity.DeviceID) {
	b.step(func(now time.Time) outcome { return b.table.wrong(now, expected, address, actual) })
}

// NetworkChanged tells that this device has other addresses now, or a network
// again: what failed is tried again at once.
func (b *Book) NetworkChanged() {
	b.step(func(now time.Time) outcome {
		b.since = now
		return b.table.networkChanged(now)
	})
}

// NetworkSince returns when NetworkChanged was last called: what was heard
// before may be of another network. Zero: it was not.
func (b *Book) NetworkSince() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since
}

// Next returns whom to dial now, likeliest first, at most limit of them, and
// when to ask again (zero: when Watch tells of a change). Devices that are
// connected, and those for which want returns false, are left out; nil wants
// all. want is called with the zero DeviceID for addresses whose device is not
// known; it must not call the book.
//
// Each address of a target is to be answered by Succeeded, Failed or Wrong;
// until then it is not returned again for half a minute.
func (b *Book) Next(limit int, want func(identity.DeviceID) bool) (targets []Target, again time.Time) {
	if want == nil {
		want = func(identity.DeviceID) bool { return true }
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.table.next(b.cfg.Now(), limit, want)
}

// Candidates returns what is known of where a device may be, likeliest first.
func (b *Book) Candidates(device identity.DeviceID) []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return sorted(b.table.of(device), likelier(b.cfg.Now()))
}

// All returns the whole book, by device and then likeliest first. What has no
// device comes first.
func (b *Book) All() []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*Entry
	for _, e := range b.table.entries {
		list = append(list, e)
	}
	order := likelier(b.cfg.Now())
	return sorted(list, func(x, y *Entry) int {
		if c := x.Device.Compare(y.Device); c != 0 {
			return c
		}
		return order(x, y)
	})
}

// Encode returns what is worth keeping across a restart; see [Decode].
func (b *Book) Encode() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*Entry
	for _, e := range b.table.entries {
		if e.proven() || e.Failures == 0 {
			list = append(list, e)
		}
	}
	return encode(list)
}

// Watch calls f after changes of the book, in the goroutine that made them: f
// must return soon, and may call the book. stop ends it; a call that has begun
// may still be running.
func (b *Book) Watch(f func()) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	number := b.last
	b.watchers[number] = f
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, number)
	}
}

// encode writes entries in the layout of Decode.
func encode(list []*Entry) []byte {
	slices.SortFunc(list, func(x, y *Entry) int {
		if c := x.Device.Compare(y.Device); c != 0 {
			return c
		}
		return x.Address.compare(y.Address)
	})
	b := []byte{format}
	b = binary.BigEndian.AppendUint16(b, uint16(len(list)))
	for _, e := range list {
		b = append(b, e.Device[:]...)
		b = append(b, byte(len(e.Address)))
		b = append(b, e.Address...)
		for _, t := range []time.Time{e.FirstSeen, e.LastSeen, e.LastSuccess} {
			b = binary.BigEndian.AppendUint64(b, seconds(t))
		}
	}
	return b
}
