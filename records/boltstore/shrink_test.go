package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/storetest"
)

// A store is the same before and after it was written anew.
func TestShrinkConforms(t *testing.T) {
	storetest.Run(t, func(t testing.TB, dir string) records.Store {
		return &shrinking{Store: open(t, filepath.Join(dir, "store"), boltstore.Options{})}
	})
}

// shrinking is a store that is written anew after every few changes.
type shrinking struct {
	*boltstore.Store
	updates atomic.Int64
}

func (s *shrinking) Update(ctx context.Context, f func(records.WriteTx) error) error {
	if err := s.Store.Update(ctx, f); err != nil || s.updates.Add(1)%13 != 0 {
		return err
	}
	return s.Shrink(context.Background())
}

// Shrinking holds up neither who reads nor who writes, and loses nothing.
func TestShrinkWhileInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path, boltstore.Options{})
	defer func() { s.Close() }()
	err := update(s, func(tx records.WriteTx) error { // much that goes again
		_, err := tx.CreateBranch(records.Branch{})
		for i := range 3000 {
			err = errors.Join(err, tx.SetValue(fmt.Sprint("old ", i), make([]byte, 10_000)))
		}
		return err
	})
	if err == nil {
		err = update(s, func(tx records.WriteTx) (err error) {
			for i := range 3000 {
				err = errors.Join(err, tx.SetValue(fmt.Sprint("old ", i), nil))
			}
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	var done atomic.Bool
	first, written := make(chan struct{}), uint64(0)
	group.Go(func() error {
		for n := uint64(1); !done.Load(); n++ {
			if err := update(s, func(tx records.WriteTx) error { return transaction(tx, n) }); err != nil {
				return err
			}
			if written = n; n == 1 {
				close(first)
			}
		}
		return nil
	})
	<-first
	group.Go(func() error {
		for !done.Load() {
			if err := s.View(t.Context(), func(tx records.Tx) error { _, err := verify(tx); return err }); err != nil {
				return err
			}
		}
		return nil
	})
	for range 5 {
		if err := s.Shrink(t.Context()); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := s.View(t.Context(), func(tx records.Tx) error {
			n, err := verify(tx)
			if n != written {
				t.Errorf("%d transactions were written, %d are there", written, n)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		mustCheck(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, path, boltstore.Options{})
	}
	after, err := s.Stats()
	if err != nil || after.Bytes > before.Bytes/2 {
		t.Errorf("%d bytes, before %d, %v", after.Bytes, before.Bytes, err)
	}
	err = update(s, func(tx records.WriteTx) error {
		slot, err := tx.CreateBranch(records.Branch{})
		if slot != 2 {
			t.Errorf("slot %d was given out", slot)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A View that began before the new file was there goes on in the old one.
func TestShrinkBesideAView(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"), boltstore.Options{})
	defer s.Close()
	putEntries(t, s, 1, 500)
	shrunk := make(chan error, 1)
	err := s.View(t.Context(), func(tx records.Tx) error {
		go func() { shrunk <- s.Shrink(context.Background()) }()
		putEntries(t, s, 501, 500) // of a sibling: in whichever file
		n := 0
		return errors.Join(tx.Entries(1, 0, ^uint64(0), func(records.Entry) error { n++; return nil }), func() error {
			if n != 500 {
				return fmt.Errorf("%d entries", n)
			}
			return nil
		}())
	})
	if err := errors.Join(err, <-shrunk); err != nil {
		t.Fatal(err)
	}
	if n, err := count(s); err != nil || n != 1000 {
		t.Errorf("%d entries, %v", n, err)
	}
}

// While somebody still reads in the old file, nothing is noted any more.
func TestShrinkForgetsItsJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path, boltstore.Options{})
	defer s.Close()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	shrunk := make(chan error, 1)
	err = s.View(t.Context(), func(records.Tx) error {
		go func() { shrunk <- s.Shrink(context.Background()) }()
		for deadline := time.Now().Add(time.Minute); ; {
			if now, err := os.Stat(path); err != nil || time.Now().After(deadline) {
				return fmt.Errorf("the file was not replaced: %v", err)
			} else if !os.SameFile(before, now) {
				break
			}
		}
		if s.Noting() { // it waits for whoever is replacing the file
			t.Error("what is written is noted for ever")
		}
		return nil
	})
	if err := errors.Join(err, <-shrunk); err != nil {
		t.Fatal(err)
	}
}

// Another process that waits for the store while it is written anew does not get
// the file that nobody will see any more.
func TestShrinkWhileAnotherWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path, boltstore.Options{})
	defer s.Close()
	for range 3 { // it may come after the new file is there
		other := make(chan error, 1)
		began := make(chan struct{})
		go func() {
			close(began)
			o, err := boltstore.Open(path, boltstore.Options{})
			if err == nil {
				err = errors.Join(errors.New("the store is open twice"), o.Close())
			}
			other <- err
		}()
		<-began
		if err := s.Shrink(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-other; !errors.Is(err, records.ErrInUse) {
			t.Fatal(err)
		}
	}
}

// Behind a link, the file itself is written anew.
func TestShrinkBehindALink(t *testing.T) {
	path, link := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "link")
	if err := open(t, path, boltstore.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	s, err := boltstore.Open(link, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Shrink(t.Context())
	if err == nil {
		putEntries(t, s, 1, 100)
	}
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, boltstore.Options{})
	defer s.Close()
	if n, err := count(s); n != 100 || err != nil {
		t.Errorf("%d entries are in the file, %v", n, err)
	}
}

func TestShrinkGivesUpAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store"), boltstore.Options{})
	putEntries(t, s, 1, 5000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shrink(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shrunk though nobody waits for it: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Shrink(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed store was shrunk: %v", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// roleShrinker is the writer while the file is written anew all the time, and what
// stands one by one is packed.
const roleShrinker = "shrinker"

func init() {
	roles[roleShrinker] = func(path string) error {
		return write(path, func(s *boltstore.Store) error {
			s.TidySoon()
			for {
				_, err := s.Tidy(context.Background())
				if err == nil {
					err = s.Shrink(context.Background())
				}
				if err != nil {
					return err
				}
			}
		})
	}
}

// Whenever the process is killed while it writes the file anew: everything that
// was acknowledged is there.
func TestKilledWhileShrinking(t *testing.T) {
	killedOften(t, roleShrinker, filepath.Join(t.TempDir(), "store"), 60, 2)
}
