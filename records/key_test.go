package records_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

func (z *zone) key(t testing.TB, number uint32) []byte {
	t.Helper()
	k, err := roster.NewZoneKey(z.random, z.coordinator, zoneID, number)
	if err != nil {
		t.Fatal(err)
	}
	return k.Encode()
}

func numbers(r *records.Replica) (list []uint32) {
	for _, k := range r.Keys() {
		list = append(list, k.Number)
	}
	return list
}

// A replica takes what its coordinator signed, newer than what it has, and
// keeps the last four.
func TestAcceptKey(t *testing.T) {
	z := newZone(t, 1)
	store := storetest.NewMemory()
	r := z.found(t, 0, store)
	stranger, _ := identity.GenerateDeviceKey(z.random)
	forged, _ := roster.NewZoneKey(z.random, stranger, zoneID, 9)
	elsewhere, _ := roster.NewZoneKey(z.random, z.coordinator, identity.ZoneID{9}, 9)
	later := z.key(t, 9)
	later[0] = 2
	second, third := z.key(t, 2), z.key(t, 3)
	for i, c := range []struct {
		name    string
		encoded []byte
		want    error
		held    []uint32
	}{
		{"nothing", nil, roster.ErrZoneKey, nil},
		{"signed by another", forged.Encode(), roster.ErrCoordinator, nil},
		{"of another zone", elsewhere.Encode(), roster.ErrZone, nil},
		{"of a later release", later, roster.ErrNewerFormat, nil},
		{"cut short", second[:60], roster.ErrZoneKey, nil},
		{"the first", second, nil, []uint32{2}},
		{"again", second, records.ErrStale, []uint32{2}},
		{"another with its number", z.key(t, 2), roster.ErrConflictingKey, []uint32{2}},
		{"an older one", z.key(t, 1), records.ErrStale, []uint32{2}},
		{"the next", third, nil, []uint32{3, 2}},
		{"one that is held", second, records.ErrStale, []uint32{3, 2}},
		{"another with a number that is held", z.key(t, 2), roster.ErrConflictingKey, []uint32{3, 2}},
		{"the last but far", z.key(t, 1<<32-9), nil, []uint32{1<<32 - 9, 3, 2}},
		{"one between", z.key(t, 4), records.ErrStale, []uint32{1<<32 - 9, 3, 2}},
		{"a fourth", z.key(t, 1<<32-3), nil, []uint32{1<<32 - 3, 1<<32 - 9, 3, 2}},
		{"a fifth", z.key(t, 1<<32-2), nil, []uint32{1<<32 - 2, 1<<32 - 3, 1<<32 - 9, 3}},
		{"the last", z.key(t, 1<<32-1), nil, []uint32{1<<32 - 1, 1<<32 - 2, 1<<32 - 3, 1<<32 - 9}},
	} {
		if err := r.AcceptKey(t.Context(), c.encoded); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if got := numbers(r); !slices.Equal(got, c.held) {
			t.Errorf("%s: %v are held, want %v", c.name, got, c.held)
		}
		if i%4 == 3 { // and so it is after a restart
			before := r.Keys()
			r.Close()
			var err error
			if r, err = records.Open(t.Context(), z.config(0, store)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(r.Keys(), before) {
				t.Errorf("%s: after a restart %v are held", c.name, numbers(r))
			}
		}
	}
	if _, err := records.Check(t.Context(), store, func(f records.Finding) { t.Error(f) }); err != nil {
		t.Error(err)
	}
}

// Watchers learn of a key once, when it is on disk; one whose transaction
// failed is not held.
func TestKeyIsDurableBeforeItIsTold(t *testing.T) {
	z := newZone(t, 1)
	var fault storetest.Fault
	store := &storetest.Faulty{Store: storetest.NewMemory(), Next: func() (f storetest.Fault) { f, fault = fault, storetest.None; return f }}
	r := z.found(t, 0, store)
	told := 0
	defer r.Watch(func(c records.Change) {
		if c.Key {
			told++
		}
	})()
	first := z.key(t, 1)
	for _, f := range []storetest.Fault{storetest.Before, storetest.Full} {
		fault = f
		if err := r.AcceptKey(t.Context(), first); err == nil || len(r.Keys()) != 0 || told != 0 {
			t.Errorf("fault %v: %v, %d held, %d told", f, err, len(r.Keys()), told)
		}
	}
	for range 2 {
		r.AcceptKey(t.Context(), first)
	}
	if told != 1 || len(r.Keys()) != 1 {
		t.Errorf("%d held, %d told", len(r.Keys()), told)
	}
}

// What stands in a store and cannot have been written is found.
func TestCheckOfKeys(t *testing.T) {
	z := newZone(t, 1)
	stranger, _ := identity.GenerateDeviceKey(z.random)
	forged, _ := roster.NewZoneKey(z.random, stranger, zoneID, 9)
	for _, c := range []struct {
		name  string
		keys  []byte
		opens bool
	}{
		{"cut short", z.key(t, 1)[:100], false},
		{"too many", slices.Concat(z.key(t, 5), z.key(t, 4), z.key(t, 3), z.key(t, 2), z.key(t, 1)), false},
		{"the oldest first", slices.Concat(z.key(t, 1), z.key(t, 2)), false},
		{"a number twice", slices.Concat(z.key(t, 2), z.key(t, 2)), false},
		{"signed by another", forged.Encode(), true},
	} {
		store := storetest.NewMemory()
		z.found(t, 0, store).Close()
		err := store.Update(t.Context(), func(tx records.WriteTx) error { return tx.SetValue("keys", c.keys) })
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		if _, err := records.Check(t.Context(), store, func(records.Finding) { found++ }); err != nil || found != 1 {
			t.Errorf("%s: %d findings, %v", c.name, found, err)
		}
		if _, err := records.Open(t.Context(), z.config(0, store)); (err == nil) != c.opens || !c.opens && !errors.Is(err, records.ErrDamaged) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
