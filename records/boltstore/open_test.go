package boltstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
)

func TestOpenNeverCreates(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store")
	if _, err := boltstore.Open(path, boltstore.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open nothing: %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("open left %v, %v", files, err)
	}
	if _, err := boltstore.Create(filepath.Join(dir, "none", "store"), boltstore.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("create in no folder: %v", err)
	}
}

func TestCreateNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store")
	s, err := boltstore.Create(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Create(path, boltstore.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("create left %v, %v", files, err)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Create(other, boltstore.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create in the place of a file: %v", err)
	}
}

func TestInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	defer open(t, path, boltstore.Options{}).Close()
	if _, err := boltstore.Open(path, boltstore.Options{}); !errors.Is(err, records.ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("open twice: %v", err)
	}
}

func TestOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	for _, o := range []boltstore.Options{{MaxSize: -1}, {InitialMmapSize: -1}} {
		if _, err := boltstore.Create(path, o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("refused options left a file: %v", err)
	}
}

// edit changes a closed store with bbolt itself.
func edit(t *testing.T, path string, f func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err == nil {
		err = errors.Join(db.Update(f), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is not a store that this version understands is refused with the
// reason, and left as it is.
func TestOpenRefuses(t *testing.T) {
	flip := func(from, to int) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := from; i < to; i++ {
				b[i] ^= 0xa5
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(content []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	noise := make([]byte, 1<<16)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(noise)
	page := os.Getpagesize()
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, path string)
		want   error
		says   string
	}{
		{"empty", write(nil), records.ErrDamaged, "last backup"},
		{"text", write([]byte("this is a text")), records.ErrDamaged, "last backup"},
		{"zeros", write(make([]byte, 1<<16)), records.ErrDamaged, "last backup"},
		{"noise", write(noise), records.ErrDamaged, "last backup"},
		{"both meta pages", flip(0, 2*page), records.ErrDamaged, "last backup"},
		{"free list", flip(2*page, 200*page), records.ErrDamaged, "last backup"},
		{"end cut off", func(t *testing.T, path string) {
			var size int64
			edit(t, path, func(tx *bolt.Tx) error { size = tx.Size(); return nil })
			if err := os.Truncate(path, size-1); err != nil {
				t.Fatal(err)
			}
		}, records.ErrDamaged, "should have"},
		{"cut to its beginning", func(t *testing.T, path string) {
			if err := os.Truncate(path, int64(2*page)); err != nil {
				t.Fatal(err)
			}
		}, records.ErrDamaged, "last backup"},
		{"another program's", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			edit(t, path, func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
		}, records.ErrDamaged, "another program's"},
		{"no version", func(t *testing.T, path string) {
			edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte("schema")) })
		}, records.ErrDamaged, "version"},
		{"a bucket missing", func(t *testing.T, path string) {
			edit(t, path, func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("drops")) })
		}, records.ErrDamaged, "drops"},
		{"newer", func(t *testing.T, path string) {
			edit(t, path, func(tx *bolt.Tx) error {
				return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint32(nil, 1<<16))
			})
		}, records.ErrNewerStore, "update the program"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store")
			s := open(t, path, boltstore.Options{})
			for i := range 3 {
				putEntries(t, s, 1+300*i, 300)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			test.damage(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err = boltstore.Open(path, boltstore.Options{})
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, test.want) || !strings.Contains(fmt.Sprint(err), test.says) || !strings.Contains(fmt.Sprint(err), path) {
				t.Errorf("got %v, want %v, saying %q", err, test.want, test.says)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
				t.Errorf("refusing changed the file: %v", err)
			}
		})
	}
}

// bbolt keeps two meta pages for this: one may be lost.
func TestOneMetaPageLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path, boltstore.Options{})
	putEntries(t, s, 1, 300)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(make([]byte, os.Getpagesize()), 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, boltstore.Options{})
	defer s.Close()
	if n, err := count(s); err != nil || n != 300 {
		t.Errorf("%d entries, %v", n, err)
	}
	for i := range 2 { // writes both again
		putEntries(t, s, 301+i, 1)
	}
	mustCheck(t, s)
}

// putEntries stores n events of 100 bytes in branch 1 in one transaction.
func putEntries(t testing.TB, s records.Store, first, n int) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx records.WriteTx) error { return put(tx, first, n, 100) }); err != nil {
		t.Fatal(err)
	}
}

func put(tx records.WriteTx, first, n, size int) error {
	env := records.Envelope{Kind: eventKind, Learner: identity.UserID{1}}
	for c := first; c < first+n; c++ {
		e := records.Entry{Counter: uint64(c), Envelope: env.Append(nil), Body: make([]byte, size)}
		if err := tx.Put(1, e, &env); err != nil {
			return err
		}
	}
	return nil
}

// count returns how many entries branch 1 has.
func count(s records.Store) (n int, err error) {
	err = s.View(context.Background(), func(tx records.Tx) error {
		return tx.Entries(1, 0, ^uint64(0), func(e records.Entry) error {
			if _, err := records.DecodeEnvelope(e.Envelope); err != nil {
				return err
			}
			n++
			return nil
		})
	})
	return n, err
}

func mustCheck(t testing.TB, s *boltstore.Store) {
	t.Helper()
	if err := s.Check(t.Context(), func(problem error) { t.Error(problem) }); err != nil {
		t.Error(err)
	}
}
