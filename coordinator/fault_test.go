package coordinator_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/coordinator/boltstore"
	"github.com/classmesh/classmesh/coordinator/storagetest"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/storetest"
)

var (
	randomReader = rand.Reader
	discard      = slog.New(slog.DiscardHandler)
)

func openStorage(folder string) (coordinator.Storage, error) {
	return boltstore.Open(folder, boltstore.Options{})
}

func newCentreWith(t testing.TB, folder string, config func(*coordinator.Config)) *centre {
	t.Helper()
	s, err := boltstore.Create(folder, boltstore.Options{})
	must(t, err)
	c := &centre{t: t, key: newKey(t), storage: s, now: time.Now(), config: config}
	c.start()
	return c
}

// faultyCentre is a coordinator over memory whose stores can fail.
type faultyCentre struct {
	*centre
	faults *faults
}

func newFaultyCentre(t testing.TB) faultyCentre {
	t.Helper()
	f := &faults{count: map[identity.ZoneID]int{}}
	f.Storage = storagetest.NewMemory(func() records.Store {
		return &storetest.Faulty{Store: storetest.NewMemory(), Next: f.next}
	})
	c := &centre{t: t, key: newKey(t), storage: f, now: time.Now(), config: func(cfg *coordinator.Config) { cfg.IdleZones = 2 }}
	c.start()
	return faultyCentre{c, f}
}

// faults is a storage whose stores fail when they are told to, until they are
// opened again; and that counts openings.
type faults struct {
	coordinator.Storage

	mu    sync.Mutex // guards what follows
	armed bool
	count map[identity.ZoneID]int
	now   int
}

// fail has the next commit fail, after it was applied.
func (f *faults) fail() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = true
}

func (f *faults) next() storetest.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.armed {
		f.armed = false
		return storetest.After
	}
	return storetest.None
}

func (f *faults) opened(zone identity.ZoneID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[zone]
}

func (f *faults) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// OpenRecords counts.
func (f *faults) OpenRecords(ctx context.Context, zone identity.ZoneID) (records.Store, error) {
	s, err := f.Storage.OpenRecords(ctx, zone)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count[zone]++
	f.now++
	if r, ok := s.(interface{ Beneath() records.Store }); ok {
		if faulty, ok := r.Beneath().(*storetest.Faulty); ok {
			faulty.Reopen()
		}
	}
	return &counted{s, sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now--
	})}, nil
}

type counted struct {
	records.Store
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.Store.Close()
}
