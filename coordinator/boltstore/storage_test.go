package boltstore_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/coordinator/boltstore"
	"github.com/classmesh/classmesh/coordinator/storagetest"
	"github.com/classmesh/classmesh/records"
	zonestore "github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
)

func TestStorage(t *testing.T) {
	folders := map[coordinator.Storage]string{}
	var mu sync.Mutex
	storagetest.Run(t, storagetest.Harness{
		New: func(t testing.TB) coordinator.Storage {
			folder := filepath.Join(t.TempDir(), "data")
			s, err := boltstore.Create(folder, boltstore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			folders[s] = folder
			return s
		},
		Reopen: func(t testing.TB, old coordinator.Storage) coordinator.Storage {
			mu.Lock()
			defer mu.Unlock()
			s, err := boltstore.Open(folders[old], boltstore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			folders[s] = folders[old]
			return s
		},
	})
}

func create(t *testing.T) (*boltstore.Storage, string) {
	t.Helper()
	folder := t.TempDir()
	s, err := boltstore.Create(folder, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, folder
}

func TestOpenRefuses(t *testing.T) {
	s, folder := create(t)
	if _, err := boltstore.Open(t.TempDir(), boltstore.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := boltstore.Create(folder, boltstore.Options{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	if _, err := boltstore.Open(folder, boltstore.Options{}); !errors.Is(err, records.ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	control := filepath.Join(folder, "coordinator.db")
	change := func(value []byte) {
		t.Helper()
		store, err := zonestore.Open(control, zonestore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = store.Update(t.Context(), func(tx records.WriteTx) error { return tx.SetValue("coordinator", value) })
		if err := errors.Join(err, store.Close()); err != nil {
			t.Fatal(err)
		}
	}
	change(binary.BigEndian.AppendUint32(nil, 1000))
	if _, err := boltstore.Open(folder, boltstore.Options{}); !errors.Is(err, records.ErrNewerStore) {
		t.Errorf("a newer layout: %v", err)
	}
	change(nil)
	if _, err := boltstore.Open(folder, boltstore.Options{}); !errors.Is(err, records.ErrDamaged) {
		t.Errorf("a device's store: %v", err)
	}
	if err := os.WriteFile(control, []byte(strings.Repeat("noise", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Open(folder, boltstore.Options{}); !errors.Is(err, records.ErrDamaged) {
		t.Errorf("noise: %v", err)
	}
}

// A zone whose file is gone is an error, not a fresh start.
func TestLostZoneIsNotMadeAnew(t *testing.T) {
	s, folder := create(t)
	ctx := t.Context()
	z := coordinator.Zone{ID: identity.ZoneID{1}, Name: "School"}
	err := errors.Join(
		s.CreateOrg(ctx, coordinator.Org{Name: "Org"}),
		s.CreateZone(ctx, z, []byte("roster"), func(records.Store) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "zones", z.ID.String()+".db")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.OpenRecords(ctx, z.ID); !errors.Is(err, records.ErrDamaged) {
			t.Errorf("opened a zone without a file: %v", err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there again: %v", err)
	}
}

// Changes at the same time share commits, and one that is refused spoils none
// of the others.
func TestChangesShareCommits(t *testing.T) {
	s, _ := create(t)
	var wg sync.WaitGroup
	const n = 200
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			errs[i] = s.CreateOrg(context.Background(), coordinator.Org{ID: coordinator.OrgID{1, byte(i / 2)}, Name: fmt.Sprint(i)})
		})
	}
	wg.Wait()
	for i := 0; i < n; i += 2 {
		if a, b := errs[i], errs[i+1]; (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), coordinator.ErrExists) {
			t.Errorf("two with one ID: %v and %v", a, b)
		}
	}
	if list, err := s.Orgs(t.Context()); err != nil || len(list) != n/2 {
		t.Errorf("%d organisations, %v", len(list), err)
	}
}

// The zones that are open are looked after while they are used.
func TestUpkeep(t *testing.T) {
	s, _ := create(t)
	ctx := t.Context()
	org := coordinator.Org{ID: coordinator.OrgID{1}, Name: "school"}
	z := coordinator.Zone{ID: identity.ZoneID{1}, Org: org.ID, Name: "zone"}
	err := errors.Join(s.CreateOrg(ctx, org), s.CreateZone(ctx, z, []byte("roster"), func(records.Store) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	store, err := s.OpenRecords(ctx, z.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	const n = 1024 // what is packed at once
	err = store.Update(ctx, func(tx records.WriteTx) error {
		env := records.Envelope{Kind: 1}
		for c := range uint64(n) {
			if err := tx.Put(1, records.Entry{Counter: c + 1, Envelope: env.Append(nil), Body: []byte("body")}, &env); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Upkeep(ctx)
	packed := 0
	err = store.View(ctx, func(tx records.Tx) error {
		_, err := tx.Packed(1, 1, n, func(p records.PackedRun) error { packed += p.Count; return nil })
		return err
	})
	if err != nil || packed != n {
		t.Errorf("%d of %d entries are packed, %v", packed, n, err)
	}
}
