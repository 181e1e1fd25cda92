package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// zone is what was made to be measured.
type zone struct {
	records  int // entries of all logs, as a receiver gets them
	written  int // entries ever written
	founding records.Founding
	receiver identity.DeviceKey
}

// authors is how many devices wrote the records.
const authors = 5

// makeZone makes a zone with authors, a holder of all that they wrote and a
// receiver that has nothing yet. The holder's store stands below dir.
func makeZone(ctx context.Context, dir string, n int) (zone, error) {
	var z zone
	coordinator, err := identity.GenerateDeviceKey(rand.Reader)
	if err != nil {
		return z, err
	}
	now := time.Now()
	id := identity.ZoneID{1}
	ros, err := roster.New(id, "bench", coordinator.Public(), now.Add(-100*24*time.Hour).UnixMilli())
	if err != nil {
		return z, err
	}
	keys := make([]identity.DeviceKey, authors+2)
	for i := range keys {
		if keys[i], err = identity.GenerateDeviceKey(rand.Reader); err != nil {
			return z, err
		}
		if ros, err = ros.AddDevice(keys[i].Public(), fmt.Sprint("device ", i), roster.RoleAdministrates, now.UnixMilli()); err != nil {
			return z, err
		}
	}
	z.founding = records.Founding{Zone: id, Coordinator: coordinator.Public(), Roster: ros.Sign(coordinator, now.UnixMilli()).Encode()}
	z.receiver = keys[authors+1]

	holderDir := filepath.Join(dir, "holder")
	if err := found(ctx, holderDir, keys[authors], z.founding); err != nil {
		return z, err
	}
	holder, closeHolder, err := open(ctx, holderDir)
	if err != nil {
		return z, err
	}
	defer closeHolder()
	for i := range authors {
		if err := z.author(ctx, filepath.Join(dir, fmt.Sprint("author", i)), keys[i], n/authors, uint64(i), holder); err != nil {
			return z, err
		}
	}
	return z, nil
}

// author writes about n records on a device of their own and gives them to the
// holder.
func (z *zone) author(ctx context.Context, dir string, key identity.DeviceKey, n int, seed uint64, holder *records.Replica) error {
	defer os.RemoveAll(dir)
	if err := found(ctx, dir, key, z.founding); err != nil {
		return err
	}
	r, closeStore, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer closeStore()
	exercises := make([]classroom.GeneratedExercise, 20)
	for i := range exercises {
		exercises[i] = classroom.GeneratedExercise{ID: fmt.Sprint("numbers/exercise-", i), Items: []string{"a", "b", "c", "d"}, Needed: 5, Base: 1}
	}
	videos := []classroom.GeneratedVideo{{ID: "numbers/video", Duration: 5 * time.Minute, Worth: 10}}
	// About 60 learners and 5 devices for each 20,000 records; a learner leaves
	// some 33 live ones a week.
	learners, weeks := max(2, n/333), 10
	_, err = classroom.Generate(ctx, classroom.GenerateConfig{
		Replica: r, Learners: learners, Days: 7 * weeks, Seed: seed, Until: time.Now(),
		Exercises: exercises, Videos: videos, Batch: 1024,
	})
	if err != nil {
		return err
	}
	for _, s := range r.Logs() {
		z.written += int(s.Counter)
		l, err := r.SegmentList(ctx, s.BranchRef, 0, 0)
		if err != nil {
			return err
		}
		for _, row := range l.Rows {
			z.records += int(row.Live)
		}
		if err := give(ctx, holder, r, l); err != nil {
			return err
		}
	}
	return nil
}

// give brings a whole log from one replica to another.
func give(ctx context.Context, to, from *records.Replica, l *records.SegmentList) error {
	ref := records.BranchRef{Log: l.Head.Log, Start: l.Head.Start()}
	plan, err := to.AcceptSegmentList(ctx, l)
	for err == nil && len(plan.Needs) > 0 {
		for _, need := range plan.Needs {
			data, err := from.SegmentData(ctx, ref, l.Head.Counter, need)
			if err != nil {
				return err
			}
			if err := to.AcceptSegmentData(ctx, data); err != nil {
				return err
			}
		}
		plan, err = to.Promote(ctx, ref, l.Head.Counter)
	}
	if err == nil && !plan.Done {
		_, err = to.Promote(ctx, ref, l.Head.Counter)
	}
	return err
}

// join founds a receiver that holds nothing.
func (z *zone) join(ctx context.Context, dir string) error {
	return found(ctx, dir, z.receiver, z.founding)
}

func found(ctx context.Context, dir string, key identity.DeviceKey, f records.Founding) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), key.Seed(), 0o600); err != nil {
		return err
	}
	store, err := boltstore.Create(filepath.Join(dir, "records.db"), boltstore.Options{})
	if err != nil {
		return err
	}
	_, err = records.Found(ctx, config(store, key), f)
	return errors.Join(err, store.Close())
}

// open opens the replica in a folder.
func open(ctx context.Context, dir string) (*records.Replica, func() error, error) {
	key, err := readKey(dir)
	if err != nil {
		return nil, nil, err
	}
	store, err := boltstore.Open(filepath.Join(dir, "records.db"), boltstore.Options{})
	if err != nil {
		return nil, nil, err
	}
	r, err := records.Open(ctx, config(store, key))
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return r, func() error { return errors.Join(r.Close(), store.Close()) }, nil
}

func readKey(dir string) (identity.DeviceKey, error) {
	seed, err := os.ReadFile(filepath.Join(dir, "key"))
	if err != nil {
		return identity.DeviceKey{}, err
	}
	return identity.DeviceKeyFromSeed(seed)
}

func config(store records.Store, key identity.DeviceKey) records.Config {
	return records.Config{Store: store, Identity: key, Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler)}
}
