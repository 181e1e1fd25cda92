package boltstore_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
)

// fillUp commits until there is no room, and checks that what had been
// committed stays, that reading goes on, and that room is found again. It
// returns how many commits there were.
func fillUp(s *boltstore.Store) (commits int, err error) {
	const n, size = 40, 10_000
	commit := func(i int) error {
		return update(s, func(tx records.WriteTx) error { return put(tx, 1+i*n, n, size) })
	}
	for err == nil {
		if commits > 1000 {
			return commits, errors.New("never full")
		}
		if err = commit(commits); err == nil {
			commits++
		}
	}
	if !errors.Is(err, records.ErrFull) {
		return commits, err
	}
	for range 3 { // it stays full, and nothing becomes worse
		if err := commit(commits); !errors.Is(err, records.ErrFull) {
			return commits, errors.Join(errors.New("full no more"), err)
		}
		if found, err := count(s); err != nil || found != commits*n {
			return commits, errors.Join(errors.New("entries lost or half applied"), err)
		}
	}
	err = update(s, func(tx records.WriteTx) error {
		env := records.Envelope{Kind: eventKind}
		for c := range uint64(2 * n) {
			if err := tx.Delete(1, c+1, &env); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return commits, err
	}
	if err := update(s, func(tx records.WriteTx) error { return nil }); err != nil { // frees what that one deleted
		return commits, err
	}
	if err := update(s, func(tx records.WriteTx) error { return put(tx, 1, n/2, size) }); err != nil {
		return commits, err
	}
	if found, err := count(s); err != nil || found != commits*n-2*n+n/2 {
		return commits, errors.Join(errors.New("entries lost after room was made"), err)
	}
	return commits, nil
}

// A store that reaches its quota refuses, keeps what it has, and goes on.
func TestQuota(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path, boltstore.Options{MaxSize: 40 << 20})
	commits, err := fillUp(s)
	if err != nil || commits < 20 {
		t.Errorf("after %d commits: %v", commits, err)
	}
	mustCheck(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, boltstore.Options{}) // with more room
	defer s.Close()
	putEntries(t, s, 1_000_000, 40)
}
