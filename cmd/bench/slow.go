package main

import (
	"context"
	"os"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
)

// slowVariable says, in the environment of a process that is measured, how long
// each fsync of its store takes, as on a cheap card.
const slowVariable = "CLASSMESH_BENCH_FSYNC"

// syncsPerCommit is how often bbolt waits for the disk in a commit: for the
// pages, then for the page that names them.
const syncsPerCommit = 2

// slowStore is a store on a disk that takes its time. It waits where bbolt waits:
// within the commit, when the next one cannot begin and nobody sees the changes.
type slowStore struct {
	*boltstore.Store
	delay time.Duration // of one fsync
}

// Update is [boltstore.Store.Update], with the disk's delay before the commit is
// visible.
func (s slowStore) Update(ctx context.Context, f func(records.WriteTx) error) error {
	return s.Store.Update(ctx, func(tx records.WriteTx) error {
		err := f(tx)
		if err == nil {
			time.Sleep(syncsPerCommit * s.delay)
		}
		return err
	})
}

// onDisk returns the store as fast as the environment says.
func onDisk(store *boltstore.Store) (records.Store, error) {
	delay := os.Getenv(slowVariable)
	if delay == "" {
		return store, nil
	}
	d, err := time.ParseDuration(delay)
	return slowStore{store, d}, err
}
