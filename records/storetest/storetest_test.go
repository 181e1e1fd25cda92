package storetest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, opener())
}

// A store that is told to fail never also keeps the seam's contracts.
func TestFaultyWithoutFaults(t *testing.T) {
	open := opener()
	storetest.Run(t, func(t testing.TB, dir string) records.Store { return &storetest.Faulty{Store: open(t, dir)} })
}

// opener returns a function that opens a Memory as if it stood in a folder.
func opener() func(t testing.TB, dir string) records.Store {
	disks := map[string]*storetest.Memory{}
	return func(_ testing.TB, dir string) records.Store {
		if m := disks[dir]; m != nil {
			disks[dir] = m.Reopen()
		} else {
			disks[dir] = storetest.NewMemory()
		}
		return disks[dir]
	}
}

func set(s records.Store, name string) error {
	return s.Update(context.Background(), func(tx records.WriteTx) error { return tx.SetValue(name, []byte(name)) })
}

func has(t *testing.T, s records.Store, name string) bool {
	t.Helper()
	found := true
	err := s.View(t.Context(), func(tx records.Tx) error {
		_, err := tx.Value(name)
		if errors.Is(err, records.ErrNotFound) {
			found, err = false, nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		fault   storetest.Fault
		want    error
		applied bool
		broken  bool
	}{
		{storetest.None, nil, true, false},
		{storetest.Before, storetest.ErrInjected, false, false},
		{storetest.Full, records.ErrFull, false, false},
		{storetest.Crash, records.ErrUncertain, false, true},
		{storetest.After, records.ErrUncertain, true, true},
	} {
		t.Run(test.fault.String(), func(t *testing.T) {
			s := &storetest.Faulty{Store: storetest.NewMemory(), Next: storetest.Nth(2, test.fault)}
			if err := set(s, "first"); err != nil {
				t.Fatal(err)
			}
			if err := set(s, "second"); !errors.Is(err, test.want) || test.want != nil && !errors.Is(err, storetest.ErrInjected) {
				t.Errorf("second update: %v", err)
			}
			if err := set(s, "third"); errors.Is(err, records.ErrUncertain) != test.broken {
				t.Errorf("third update: %v", err)
			}
			if err := s.View(t.Context(), func(records.Tx) error { return nil }); errors.Is(err, records.ErrUncertain) != test.broken {
				t.Errorf("view: %v", err)
			}
			s.Reopen()
			if !has(t, s, "first") || has(t, s, "second") != test.applied || has(t, s, "third") == test.broken {
				t.Errorf("first %v, second %v, third %v", has(t, s, "first"), has(t, s, "second"), has(t, s, "third"))
			}
			if err := set(s, "fourth"); err != nil {
				t.Error(err)
			}
			commits := 2 // the first and the fourth
			if test.applied {
				commits++
			}
			if !test.broken {
				commits++
			}
			if c := s.Counts(); c.Commits != commits || c.Views < 3 || c.Updates < 3 {
				t.Errorf("counts %+v, want %d commits", c, commits)
			}
		})
	}
}

// An Update waits for the disk before it shows, and fails if the disk does.
func TestSync(t *testing.T) {
	syncing, synced := make(chan struct{}), make(chan error)
	s := &storetest.Faulty{Store: storetest.NewMemory(), Sync: func(context.Context) error {
		syncing <- struct{}{}
		return <-synced
	}}
	for _, want := range []error{nil, errors.New("disk failed")} {
		name, done := "kept", make(chan error)
		if want != nil {
			name = "lost"
		}
		go func() { done <- set(s, name) }()
		<-syncing
		if has(t, s, name) {
			t.Errorf("%s shows before it is on disk", name)
		}
		synced <- want
		if err := <-done; !errors.Is(err, want) || has(t, s, name) != (want == nil) {
			t.Errorf("%s: %v, shows: %v", name, err, has(t, s, name))
		}
	}
}

// Misuse that a store on disk lets pass now and then is noticed here.
func TestMemoryIsStrict(t *testing.T) {
	m := storetest.NewMemory()
	var kept []byte
	err := m.Update(t.Context(), func(tx records.WriteTx) error {
		if err := tx.SetItem("table", []byte("key"), []byte("value")); err != nil {
			return err
		}
		return tx.Items("table", nil, func(_, v []byte) error { kept = v; return nil })
	})
	if err != nil || string(kept) == "value" {
		t.Errorf("%v, kept %q beyond the transaction", err, kept)
	}
	defer func() {
		if recover() == nil {
			t.Error("the store was changed from within an iterator")
		}
	}()
	m.Update(t.Context(), func(tx records.WriteTx) error {
		return tx.Items("table", nil, func(k, _ []byte) error { return tx.SetItem("table", k, nil) })
	})
}

// Two stores with a common past have separate futures.
func TestClone(t *testing.T) {
	a := storetest.NewMemory()
	if err := set(a, "before"); err != nil {
		t.Fatal(err)
	}
	b := a.Clone()
	if err := errors.Join(set(a, "a"), set(b, "b")); err != nil {
		t.Fatal(err)
	}
	if !has(t, b, "before") || has(t, a, "b") || has(t, b, "a") {
		t.Error("the clones share more than their past")
	}
}

// BenchmarkMemory is a commit of a simulation: a few entries put, a few
// versions deleted, a page read, among 2,000 entries.
func BenchmarkMemory(b *testing.B) {
	m := storetest.NewMemory()
	random := rand.New(rand.NewPCG(1, 1))
	env := records.Envelope{Kind: 1, Register: true, Learner: identity.UserID{1}}
	counter := uint64(0)
	commit := func() {
		err := m.Update(b.Context(), func(tx records.WriteTx) error {
			for range 4 {
				counter++
				env.Key = []byte{byte(random.IntN(8)), byte(random.IntN(250))}
				e := records.Entry{Counter: counter, Envelope: env.Append(nil), Body: []byte("a body of some forty bytes, as they are.")}
				versions, err := tx.Versions(1, env.RegisterKey())
				if err != nil {
					return err
				}
				for _, v := range slices.Clone(versions) {
					if err := tx.Delete(1, v, &env); err != nil {
						return err
					}
				}
				if err := tx.Put(1, e, &env); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for range 1000 {
		commit()
	}
	for b.Loop() {
		commit()
	}
}
