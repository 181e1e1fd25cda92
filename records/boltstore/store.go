package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/classmesh/classmesh/records"
)

// schema is the version of the layout that this program writes.
const schema = 1

// Options of a store.
type Options struct {
	// MaxSize is the largest size of the file in bytes; a commit that would
	// exceed it is records.ErrFull. 0 means no limit but the disk's.
	MaxSize int
}

// Store is records.Store over one bbolt file.
type Store struct{ db *bolt.DB }

var (
	bucketMeta      = []byte("meta")
	bucketValues    = []byte("values")
	bucketBranches  = []byte("branches")
	bucketStarts    = []byte("starts")
	bucketSegments  = []byte("segments")
	bucketSums      = []byte("sums")
	bucketTargets   = []byte("targets")
	bucketEntries   = []byte("entries")
	bucketRegisters = []byte("registers")
	bucketEvents    = []byte("events")
	bucketDrops     = []byte("drops")
	bucketReceipts  = []byte("receipts")
	bucketItems     = []byte("items")

	buckets = [][]byte{
		bucketMeta, bucketValues, bucketBranches, bucketStarts, bucketSegments, bucketSums, bucketTargets,
		bucketEntries, bucketRegisters, bucketEvents, bucketDrops, bucketReceipts, bucketItems,
	}
	keySchema = []byte("schema")
)

// Create makes a store in a file that must not exist, and opens it. A power
// cut leaves the whole empty store or none.
func Create(path string, o Options) (*Store, error) {
	if err := create(path); err != nil {
		return nil, fmt.Errorf("create store %s: %w", path, mapError(err))
	}
	return Open(path, o)
}

func create(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(err, os.ErrExist)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".new-store-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	temporary := filepath.Join(dir, "store")
	db, err := bolt.Open(temporary, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keySchema, []byte{schema})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// Link, unlike rename, never replaces a file that has appeared meanwhile;
	// where it is not supported, rename.
	if err := os.Link(temporary, path); errors.Is(err, os.ErrExist) {
		return err
	} else if err != nil {
		if err := os.Rename(temporary, path); err != nil {
			return err
		}
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	// Not every system can sync a folder; where it cannot, its file system
	// orders the rename itself.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, os.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return errors.Join(err, d.Close())
	}
	return d.Close()
}

// Open opens the store in a file that must exist. It returns records.ErrInUse
// if another process holds it for two seconds, records.ErrNewerStore if a
// newer version of the program wrote it, and records.ErrDamaged if it is not a
// store that this program could have written.
func Open(path string, o Options) (*Store, error) {
	s, err := open(path, o)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, mapError(err))
	}
	return s, nil
}

func open(path string, o Options) (*Store, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 { // bbolt would begin anew
		return nil, fmt.Errorf("the file is empty: %w", records.ErrDamaged)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout: 2 * time.Second, FreelistType: bolt.FreelistMapType, MaxSize: o.MaxSize, InitialMmapSize: 16 << 20,
	})
	if err != nil {
		return nil, err
	}
	err = db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return fmt.Errorf("no %s: %w", bucketMeta, records.ErrDamaged)
		}
		switch v := meta.Get(keySchema); {
		case len(v) != 1 || v[0] == 0:
			return fmt.Errorf("no schema: %w", records.ErrDamaged)
		case v[0] > schema:
			return records.ErrNewerStore
		}
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("no %s: %w", name, records.ErrDamaged)
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Store{db}, nil
}

// mapError turns bbolt's errors and the system's into those of records.
func mapError(err error) error {
	for _, m := range []struct{ from, to error }{
		{berrors.ErrTimeout, records.ErrInUse},
		{berrors.ErrMaxSizeReached, records.ErrFull},
		{syscall.ENOSPC, records.ErrFull},
		{syscall.EFBIG, records.ErrFull},
		{berrors.ErrInvalid, records.ErrDamaged},
		{berrors.ErrChecksum, records.ErrDamaged},
		{berrors.ErrVersionMismatch, records.ErrDamaged},
	} {
		if errors.Is(err, m.from) {
			return fmt.Errorf("%w: %v", m.to, err)
		}
	}
	return err
}

// View implements records.Store.
func (s *Store) View(ctx context.Context, f func(records.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return mapError(s.db.View(func(tx *bolt.Tx) error { return f(newTx(tx)) }))
}

// Update implements records.Store.
func (s *Store) Update(ctx context.Context, f func(records.WriteTx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return mapError(s.db.Update(func(tx *bolt.Tx) error { return f(newTx(tx)) }))
}

// Check reports what bbolt's own check finds wrong with the file.
func (s *Store) Check() error {
	return s.db.View(func(tx *bolt.Tx) error {
		var all []error
		for err := range tx.Check() {
			all = append(all, err)
		}
		if len(all) > 0 {
			return fmt.Errorf("%w: %w", records.ErrDamaged, errors.Join(all...))
		}
		return nil
	})
}

// Close implements records.Store.
func (s *Store) Close() error { return s.db.Close() }
