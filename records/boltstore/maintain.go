package boltstore

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/classmesh/classmesh/records"
)

// Check has bbolt check every page of the file, opens every block of registers, and
// calls report with each problem as it is found. It returns records.ErrDamaged if there was any.
// Updates wait meanwhile; ctx counts until the check begins.
func (s *Store) Check(ctx context.Context, report func(problem error)) error {
	release, err := s.lock(ctx)
	if err != nil {
		return fmt.Errorf("check store: %w", err)
	}
	defer release()
	problems := 0
	err = guard(new(bool), func() error {
		t := newReadTx(s.codec)
		tx, err := s.begin()
		if err != nil {
			return mapError(err)
		}
		defer tx.Rollback()
		t.bolt = tx
		for problem := range tx.Check() {
			problems++
			report(pageProblem(problem))
		}
		return t.checkBlocks(func(problem error) {
			problems++
			report(problem)
		})
	})
	if err == nil && problems > 0 {
		err = fmt.Errorf("%d problems; %s: %w", problems, advice, records.ErrDamaged)
	}
	if err != nil {
		return fmt.Errorf("check store: %w", err)
	}
	return nil
}

// pageProblem is what bbolt's check of a page says. A page that is no page at
// all makes it panic, which the check reports as well.
func pageProblem(err error) error {
	if strings.HasPrefix(err.Error(), "panic") {
		return fmt.Errorf("a part of the file cannot be read (%s)", strings.TrimPrefix(err.Error(), "panic: "))
	}
	return mapError(err)
}

// Backup writes the store as of now to w, as a file that Open opens. Updates
// go on meanwhile, but the space that they free is not used again before it
// ends: don't let a slow network be w. Who restores a backup begins a new
// incarnation.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if err := s.usable(ctx); err != nil {
		return fmt.Errorf("back up store: %w", err)
	}
	return guard(new(bool), func() error {
		tx, err := s.begin()
		if err != nil {
			return fmt.Errorf("back up store: %w", mapError(err))
		}
		defer tx.Rollback()
		if _, err := tx.WriteTo(w); err != nil {
			return fmt.Errorf("back up store: %w", mapError(err))
		}
		return nil
	})
}

// Stats says how large a store is and how it is used.
type Stats struct {
	Bytes     int64 // of the file that are in use or were before
	FreeBytes int64 // of these, what Updates fill before the file grows
	Views     int   // running now
}

// Stats returns the numbers as of the last transaction that ended.
func (s *Store) Stats() (Stats, error) {
	tx, err := s.begin()
	if err != nil {
		return Stats{}, fmt.Errorf("measure store: %w", mapError(err))
	}
	db := tx.DB()
	size, page := tx.Size(), int64(db.Info().PageSize)
	tx.Rollback()
	st := db.Stats()
	return Stats{Bytes: size, FreeBytes: int64(st.FreePageN+st.PendingPageN) * page, Views: st.OpenTxN}, nil
}
