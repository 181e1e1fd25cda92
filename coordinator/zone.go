package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// zone is a zone that is open.
type zone struct {
	c       *Coordinator
	entry   *entry
	id      identity.ZoneID
	logger  *slog.Logger
	store   records.Store
	replica *records.Replica
	unwatch func()
	// conflict: another roster with the epoch of ours was seen under our
	// signature.
	conflict atomic.Bool
	// unsettled: the replica could not take the roster that is stored.
	unsettled atomic.Bool
	// behind: a head of a log that does not go with what we hold, perhaps our own.
	behind atomic.Pointer[records.Head]

	// broken: the store has failed and the zone is closed as soon as it can be.
	broken atomic.Bool

	authority sync.Mutex // held while a roster is made and stored; guards current
	current   *roster.Roster

	receipts receipts

	mu   sync.Mutex                       // guards live
	live map[identity.DeviceID][]*serving // the newest last
}

// openZone opens a zone's records, and does what a crash may have left undone.
func (c *Coordinator) openZone(ctx context.Context, e *entry) (_ *zone, err error) {
	z := &zone{
		c: c, entry: e, id: e.id,
		logger: c.cfg.Logger.With("zone", e.id),
		live:   map[identity.DeviceID][]*serving{},
	}
	encoded, err := c.cfg.Storage.Roster(ctx, e.id)
	if err != nil {
		return nil, err
	}
	if z.current, err = roster.Accept(nil, encoded, c.public, e.id); err != nil {
		return nil, fmt.Errorf("open zone %v: its stored roster: %w", e.id, err)
	}
	store, err := c.cfg.Storage.OpenRecords(ctx, e.id)
	if err != nil {
		return nil, err
	}
	z.store = &guardedStore{Store: store, failed: z.failed}
	defer func() {
		if err != nil {
			err = errors.Join(err, z.close())
		}
	}()
	if z.replica, err = records.Open(ctx, c.replicaConfig(z.store)); err != nil {
		return nil, fmt.Errorf("open zone %v: %w", e.id, err)
	}
	if err := errors.Join(z.replica.PublishAgain(ctx), z.settle(ctx)); err != nil {
		return nil, fmt.Errorf("open zone %v: %w", e.id, err)
	}
	if err := z.findUnreceipted(ctx); err != nil {
		return nil, fmt.Errorf("open zone %v: %w", e.id, err)
	}
	z.unwatch = z.replica.Watch(z.changed)
	z.prune(ctx)
	if z.due() {
		c.schedule(z)
	}
	return z, nil
}

func (c *Coordinator) replicaConfig(store records.Store) records.Config {
	return records.Config{
		Store: store, Identity: c.cfg.Key, Now: c.cfg.Now, Random: c.random, Logger: c.cfg.Logger,
		TimeQuality: func() records.TimeQuality { return records.TimeSynced },
	}
}

// changed is told by the replica what has become durable.
func (z *zone) changed(change exchange.Change) {
	switch {
	case change.Commit != nil:
		z.receipts.add(change.Commit.Ref)
	case change.Roster, change.Key: // perhaps one that a device brought
	default:
		return
	}
	z.c.schedule(z)
}

// failed is told that the store must be opened again.
func (z *zone) failed(err error) {
	if z.broken.Swap(true) {
		return
	}
	z.logger.Error("the zone's store failed and is opened again", "error", err)
	z.c.zones.abandon(z.entry)
	z.endSessions(&exchange.EndError{Code: wire.CodeFault, Words: "a fault of this side"})
}

// endSessions ends every session in the zone.
func (z *zone) endSessions(cause error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, list := range z.live {
		for _, s := range list {
			s.cancel(cause)
		}
	}
}

func (z *zone) close() error {
	if z.unwatch != nil {
		z.unwatch()
	}
	var err error
	if z.replica != nil {
		err = z.replica.Close()
	}
	return errors.Join(err, z.store.Close())
}

// prune deletes old records of sessions.
func (z *zone) prune(ctx context.Context) {
	if err := z.c.cfg.Storage.PruneSessions(ctx, z.id, z.c.cfg.Now().Add(-keepSessions), keepSessionsOf); err != nil {
		z.logger.Error("old records of sessions could not be deleted", "error", err)
	}
}

// guardedStore notices when a store refuses all work.
type guardedStore struct {
	records.Store
	failed func(error)
}

func (s *guardedStore) View(ctx context.Context, f func(records.Tx) error) error {
	return s.notice(s.Store.View(ctx, f))
}

func (s *guardedStore) Update(ctx context.Context, f func(records.WriteTx) error) error {
	return s.notice(s.Store.Update(ctx, f))
}

func (s *guardedStore) notice(err error) error {
	if errors.Is(err, records.ErrUncertain) {
		s.failed(err)
	}
	return err
}
