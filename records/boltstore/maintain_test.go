package boltstore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
)

// A backup holds what the store held, and so does the store when it was written
// anew.
func TestBackupAndShrink(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store"), boltstore.Options{})
	defer s.Close()
	for i := range 10 {
		putEntries(t, s, 1+i*500, 500)
	}
	err := s.Update(t.Context(), func(tx records.WriteTx) error {
		for c := uint64(501); c <= 5000; c++ {
			env := records.Envelope{Kind: eventKind}
			if err := tx.Delete(1, c, &env); err != nil {
				return err
			}
		}
		for range 3 {
			if _, err := tx.CreateBranch(records.Branch{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if err := s.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "backup"), backup.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	refuse := errors.New("refuse")
	if err := s.Backup(t.Context(), refusing{refuse}); err == nil {
		t.Error("a backup to a writer that fails was said to be one")
	}
	full, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		if err := s.Shrink(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"backup", "store"} {
		c := open(t, filepath.Join(dir, name), boltstore.Options{})
		defer c.Close()
		mustCheck(t, c)
		if n, err := count(c); err != nil || n != 500 {
			t.Errorf("%s: %d entries, %v", name, n, err)
		}
		st, err := c.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if name == "store" && runtime.GOOS != "windows" && st.Bytes > full.Bytes/3 {
			t.Errorf("shrunk from %+v to %+v", full, st)
		}
		if err := c.Update(t.Context(), func(tx records.WriteTx) error {
			slot, err := tx.CreateBranch(records.Branch{})
			if slot != 4 {
				t.Errorf("%s: slot %d is given out after 3", name, slot)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	if full.FreeBytes == 0 || full.FreeBytes >= full.Bytes || full.Views != 0 {
		t.Errorf("stats %+v", full)
	}
}

type refusing struct{ err error }

func (r refusing) Write([]byte) (int, error) { return 0, r.err }

// After a commit that nobody knows the end of, nothing is done until the
// store is opened again.
func TestUncertain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path, boltstore.Options{})
	putEntries(t, s, 1, 3)
	s.Break()
	for what, err := range map[string]error{
		"view":   s.View(t.Context(), func(records.Tx) error { return nil }),
		"update": s.Update(t.Context(), func(records.WriteTx) error { return nil }),
		"backup": s.Backup(t.Context(), new(bytes.Buffer)),
		"shrink": s.Shrink(t.Context()),
		"check":  s.Check(t.Context(), func(error) {}),
	} {
		if !errors.Is(err, records.ErrUncertain) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, boltstore.Options{})
	defer s.Close()
	if n, err := count(s); err != nil || n != 3 {
		t.Errorf("%d entries, %v", n, err)
	}
}

// A disk that fails under a running store gives errors and ends no process.
func TestUnreadable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open cannot be cut short on Windows")
	}
	for name, damage := range map[string]func(f *os.File, size int64) error{
		"cut short": func(f *os.File, size int64) error { return f.Truncate(int64(2 * os.Getpagesize())) },
		"overwritten": func(f *os.File, size int64) error {
			_, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(size)-2*os.Getpagesize()), int64(2*os.Getpagesize()))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store")
			s := open(t, path, boltstore.Options{})
			defer s.Close()
			for i := range 10 {
				putEntries(t, s, 1+i*500, 500)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(f, info.Size()); err != nil {
				t.Fatal(err)
			}
			if n, err := count(s); !errors.Is(err, records.ErrDamaged) {
				t.Errorf("view: %d entries, %v", n, err)
			}
			err = s.Update(t.Context(), func(tx records.WriteTx) error { return put(tx, 9000, 10, 100) })
			if !errors.Is(err, records.ErrDamaged) {
				t.Errorf("update: %v", err)
			}
			// Panics of others are theirs, also then.
			defer func() {
				if recover() == nil {
					t.Error("a panic was swallowed")
				}
			}()
			s.View(t.Context(), func(records.Tx) error { panic("theirs") })
		})
	}
}
