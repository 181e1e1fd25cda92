package boltstore

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/packing"
)

// Store is a records.Store over one bbolt file.
type Store struct {
	path    string
	options Options
	codec   *packing.Codec
	db      atomic.Pointer[bolt.DB] // another one after a Shrink
	logger  *slog.Logger
	writer  chan struct{} // holds a token while an Update or a Check runs
	journal *journal      // while a Shrink runs; owned by whoever writes
	broken  atomic.Bool   // see records.ErrUncertain

	closing  atomic.Bool
	tidying  sync.Mutex // held by Tidy and Shrink; guards tidied, indexing and packer
	tidied   []byte     // how far Tidy has come, nil at the beginning
	indexing bool       // it has come to the registers
	packer   packer

	tidyLeast int // tidyEntries, fewer in tests
	shrunk    atomic.Pointer[time.Time]
}

// View runs f on a snapshot.
func (s *Store) View(ctx context.Context, f func(records.Tx) error) error {
	if err := s.usable(ctx); err != nil {
		return fmt.Errorf("read store: %w", err)
	}
	t := newReadTx(s.codec)
	return guard(&t.inside, func() error {
		tx, err := s.begin()
		if err != nil {
			return fmt.Errorf("read store: %w", mapError(err))
		}
		defer tx.Rollback() // ends a View, and cannot fail
		t.bolt = tx
		return f(&t)
	})
}

// Update runs f in a transaction and commits it. While a View is running that
// began before the file outgrew its mapping (Options.InitialMmapSize), the
// commit that makes the mapping larger waits for it.
func (s *Store) Update(ctx context.Context, f func(records.WriteTx) error) error {
	return s.update(ctx, func(t *writeTx) error { return f(t) })
}

func (s *Store) update(ctx context.Context, f func(*writeTx) error) error {
	release, err := s.lock(ctx)
	if err != nil {
		return fmt.Errorf("update store: %w", err)
	}
	defer release()
	t := newWriteTx(s.codec)
	t.noting = s.journal != nil
	return guard(&t.inside, func() error {
		tx, err := s.db.Load().Begin(true)
		if err != nil {
			return fmt.Errorf("update store: %w", mapError(err))
		}
		defer tx.Rollback() // does nothing after a commit
		t.bolt = tx
		if err := f(t); err != nil {
			return err
		}
		if err := t.flush(); err != nil {
			return fmt.Errorf("update store: %w", err)
		}
		t.inside = true
		if err := s.commit(tx); err != nil {
			return err
		}
		if t.noting {
			s.journal.add(t.changes)
		}
		if t.erased {
			s.codec.Forget()
		}
		return nil
	})
}

// begin begins to read. A file that was closed meanwhile has been replaced by
// another, or the store was closed.
func (s *Store) begin() (*bolt.Tx, error) {
	for {
		db := s.db.Load()
		tx, err := db.Begin(false)
		if err == nil || s.db.Load() == db {
			return tx, err
		}
	}
}

// lock waits for the right to write, until release gives it back.
func (s *Store) lock(ctx context.Context) (release func(), err error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	select {
	case s.writer <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	release = func() { <-s.writer }
	if err := s.usable(ctx); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func (s *Store) usable(ctx context.Context) error {
	if s.broken.Load() {
		return records.ErrUncertain
	}
	return ctx.Err()
}

// commit commits tx. bbolt writes and syncs the pages of a transaction, then
// the one page that makes them count. If that second step fails, nobody knows
// what the disk holds; bbolt would go on from what is in memory, where the
// transaction is complete. So the store stops there.
func (s *Store) commit(tx *bolt.Tx) error {
	id := tx.ID()
	failed := tx.Commit()
	if failed == nil {
		return nil
	}
	if now, err := s.db.Load().Begin(false); err == nil {
		counts := now.ID() >= id
		now.Rollback()
		if !counts {
			return fmt.Errorf("commit: %w", mapError(failed))
		}
	}
	s.broken.Store(true)
	s.logger.Error("the disk failed within a commit, the store takes nothing more until it is opened again", "error", failed)
	return fmt.Errorf("commit: %w: %v", records.ErrUncertain, failed)
}

// guard runs f. It returns an error where a page of the mapped file cannot be
// read, because the disk fails or the file was cut short, and where bbolt
// panics over what it reads; both otherwise end the process. Inside says
// whether bbolt is at work: panics of others go on.
func guard(inside *bool, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		_, fault := r.(interface{ Addr() uintptr })
		if !fault && !*inside {
			panic(r)
		}
		err = fmt.Errorf("a part of the file cannot be read, perhaps the disk is failing (%v); %s: %w", r, advice, records.ErrDamaged)
	}()
	return f()
}

// Close waits for running transactions and closes the file.
func (s *Store) Close() error {
	s.closing.Store(true)
	s.tidying.Lock() // a Shrink gives up
	defer s.tidying.Unlock()
	if err := s.db.Load().Close(); err != nil {
		return fmt.Errorf("close store: %w", mapError(err))
	}
	return nil
}
