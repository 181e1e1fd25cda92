package records

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Errors of Found and Open.
var (
	// ErrFounded: the store holds a replica already.
	ErrFounded = errors.New("the store already belongs to a zone")
	// ErrNotFounded: the store is empty where a replica was expected.
	ErrNotFounded = errors.New("the store is empty: the device has not joined a zone")
	// ErrOtherIdentity: the store belongs to a device with another key.
	ErrOtherIdentity = errors.New("the store belongs to another device: its records were written under another identity key")
)

// Config is what a Replica is built from. Store, Identity, Now, Random and
// Logger are required.
type Config struct {
	Store    Store
	Identity identity.DeviceKey // of this device, or of the coordinator
	Now      func() time.Time
	Random   io.Reader // cryptographic; need not be safe for concurrent use
	Logger   *slog.Logger
	// TimeQuality says how far Now can be trusted at the moment; nil means
	// TimeFree.
	TimeQuality func() TimeQuality
}

// Founding is what a device learns when it joins a zone.
type Founding struct {
	Zone        identity.ZoneID
	Coordinator identity.DevicePublic
	Roster      []byte // signed and encoded
}

// Names of the values that a replica keeps in its store.
const (
	valueFounding    = "founding"    // zone (16), coordinator (32), device (32)
	valueRoster      = "roster"      // encoded roster
	valueIncarnation = "incarnation" // author seed (32), certificate
	valueClock       = "clock"       // 8 bytes
	valueLife        = "life"        // of the coordinator, the highest whose receipts are counted: 4 bytes
	valueKeys        = "keys"        // encoded zone keys, the newest first
)

// Replica is what one device holds of a zone. All methods are safe for
// concurrent use.
type Replica struct {
	cfg         Config
	store       Store
	zone        identity.ZoneID
	coordinator identity.DevicePublic
	device      identity.DeviceID
	start       identity.StartID

	segmentCounters uint64 // after which a segment of an own log ends: SegmentCounters, fewer in tests

	roster atomic.Pointer[rosterState]
	keys   atomic.Pointer[[]roster.ZoneKey] // the newest first; never nil

	queue     queue         // see batch.go
	verifiers chan struct{} // see verifying

	mu       sync.RWMutex // guards what follows; written only by the batch's owner
	branches map[Slot]*branch
	logs     map[identity.LogID]Slot
	devices  map[identity.DeviceID][]Slot // of their logs
	asides   map[Slot]*aside              // what was set aside of them
	order    []Slot                       // by log; made anew when there are more logs
	state    *State                       // the last that was made; nil: it must be made of all
	stale    map[Slot]bool                // branches that have changed since
	zoneText []byte                       // of which its fingerprint is the hash

	self atomic.Pointer[incarnation]

	// Owned by whoever runs the batch.
	clock   Clock
	own     [len(identity.Lanes)]*ownLog
	life    uint32            // of the coordinator, the highest whose receipts are counted
	unswept map[Slot]sweeping // branches with entries to delete; see sweep.go

	again     publisher
	pins      pins
	watchers  watchers
	revisions revisions
}

type rosterState struct {
	*roster.Roster
	encoded []byte
	hash    identity.Hash
}

// Found sets up a replica in an empty store and opens it. It returns
// [ErrFounded] if the store is not empty.
func Found(ctx context.Context, cfg Config, f Founding) (*Replica, error) {
	ros, err := roster.Accept(nil, f.Roster, f.Coordinator, f.Zone)
	if err != nil {
		return nil, fmt.Errorf("found replica: %w", err)
	}
	in, err := newIncarnation(&cfg, f.Zone, 1)
	if err != nil {
		return nil, fmt.Errorf("found replica: %w", err)
	}
	err = cfg.Store.Update(ctx, func(tx WriteTx) error {
		if _, err := tx.Value(valueFounding); !errors.Is(err, ErrNotFound) {
			if err == nil {
				err = ErrFounded
			}
			return err
		}
		public := cfg.Identity.Public()
		founding := append(append(f.Zone[:len(f.Zone):len(f.Zone)], f.Coordinator[:]...), public[:]...)
		return errors.Join(
			tx.SetValue(valueFounding, founding),
			tx.SetValue(valueRoster, ros.Encode()),
			tx.SetValue(valueIncarnation, in.encode()))
	})
	if err != nil {
		return nil, fmt.Errorf("found replica: %w", err)
	}
	return Open(ctx, cfg)
}

// Open continues the replica in a store. It returns [ErrNotFounded] on an
// empty store and [ErrOtherIdentity] if cfg.Identity is not the key under
// which it was founded.
func Open(ctx context.Context, cfg Config) (*Replica, error) {
	r := &Replica{
		cfg:     cfg,
		store:   cfg.Store,
		device:  cfg.Identity.Public().ID(),
		devices: map[identity.DeviceID][]Slot{},
		asides:  map[Slot]*aside{},
		unswept: map[Slot]sweeping{},
		stale:   map[Slot]bool{},

		verifiers: make(chan struct{}, runtime.GOMAXPROCS(0)),

		segmentCounters: SegmentCounters,
	}
	r.again.most = againEntries
	r.queue.init()
	r.pins.now = cfg.Now
	var err error
	if r.start, err = identity.NewStartID(cfg.Random); err != nil {
		return nil, fmt.Errorf("open replica: %w", err)
	}
	if err := cfg.Store.View(ctx, r.load); err != nil {
		return nil, fmt.Errorf("open replica: %w", err)
	}
	r.State() // sorts all logs, for which the first session should not wait
	return r, nil
}

func (r *Replica) load(tx Tx) error {
	b, err := tx.Value(valueFounding)
	if errors.Is(err, ErrNotFound) {
		return ErrNotFounded
	}
	if err != nil {
		return err
	}
	if len(b) != 16+32+32 {
		return fmt.Errorf("founding of %d bytes: %w", len(b), ErrDamaged)
	}
	copy(r.zone[:], b)
	copy(r.coordinator[:], b[16:])
	if own := r.cfg.Identity.Public(); !bytes.Equal(b[48:], own[:]) {
		return ErrOtherIdentity
	}
	if b, err = tx.Value(valueRoster); err != nil {
		return fmt.Errorf("read roster: %w", err)
	}
	ros, err := roster.Accept(nil, b, r.coordinator, r.zone)
	if err != nil {
		return fmt.Errorf("read roster: %w", err)
	}
	r.roster.Store(&rosterState{ros, b, roster.HashOf(b)})
	if b, err = tx.Value(valueIncarnation); err != nil {
		return fmt.Errorf("read incarnation: %w", err)
	}
	self, err := decodeIncarnation(b)
	if err != nil {
		return fmt.Errorf("read incarnation: %w", err)
	}
	r.self.Store(self)
	if b, err = tx.Value(valueClock); err == nil && len(b) == 8 {
		r.clock = Clock(binary.BigEndian.Uint64(b))
	} else if !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read clock: %w", errors.Join(err, ErrDamaged))
	}
	if b, err = tx.Value(valueLife); err == nil && len(b) == 4 {
		r.life = binary.BigEndian.Uint32(b)
	} else if !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read life of the coordinator: %w", errors.Join(err, ErrDamaged))
	}
	r.life = max(r.life, ros.Epoch.Life)
	if b, err = tx.Value(valueKeys); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read zone keys: %w", err)
	}
	keys, err := decodeKeys(b)
	if err != nil {
		return fmt.Errorf("read zone keys: %w", err)
	}
	r.keys.Store(&keys)
	if r.asides, err = asidesOf(tx); err != nil {
		return fmt.Errorf("read what was set aside: %w", err)
	}
	var list []*branch
	err = tx.Branches(func(b Branch) error {
		aside := r.asides[b.Slot]
		if aside != nil && aside.state == asideOver {
			return nil
		}
		starts, err := tx.Starts(b.Slot)
		if err != nil {
			return err
		}
		br := &branch{Branch: b, starts: starts, aside: aside != nil}
		if !b.Target.IsZero() {
			rows, err := tx.TargetRows(b.Slot)
			if err != nil {
				return fmt.Errorf("read segment list of target: %w", err)
			}
			br.targets = []*target{newTarget(b.Target, rows)}
		}
		list = append(list, br)
		if br.aside {
			return nil
		}
		return r.findDrops(tx, b.Slot)
	})
	r.branches, r.logs = make(map[Slot]*branch, len(list)), make(map[identity.LogID]Slot, len(list))
	for _, br := range list {
		r.branches[br.Slot] = br
		if !br.aside {
			r.index(br)
		}
	}
	return err
}

// Zone returns the zone's ID.
func (r *Replica) Zone() identity.ZoneID { return r.zone }

// Device returns the ID of the device whose replica this is.
func (r *Replica) Device() identity.DeviceID { return r.device }

// Coordinator returns the public key of the zone's coordinator.
func (r *Replica) Coordinator() identity.DevicePublic { return r.coordinator }

// StartID returns the random number of this start of the process.
func (r *Replica) StartID() identity.StartID { return r.start }

// Certificate returns the certificate of the current incarnation.
func (r *Replica) Certificate() identity.Certificate { return r.self.Load().cert }

// Roster returns the highest roster known. It must not be changed.
func (r *Replica) Roster() *roster.Roster { return r.roster.Load().Roster }

// RosterBytes returns the encoding of Roster. It must not be changed.
func (r *Replica) RosterBytes() []byte { return r.roster.Load().encoded }

// RosterHash returns the hash of Roster, which is not computed anew: with hundreds of
// devices that takes as long as verifying a signature.
func (r *Replica) RosterHash() identity.Hash { return r.roster.Load().hash }

// Close ends the replica: no further write is begun. The store stays open.
func (r *Replica) Close() error {
	r.queue.close()
	return nil
}
