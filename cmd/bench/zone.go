package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/roster"
)

// zone is what was made to be measured: a folder with the store of a holder,
// and this, as JSON. It does not change once it is made.
type zone struct {
	dir    string
	sample []records.Entry // some of what is in it, once it was read

	Records   int    // entries of all logs, as a receiver gets them
	Written   int    // entries ever written
	Devices   int    // that wrote them
	Learner   string // one whose work is spread over several devices, in hex
	Class     string // one of forty, or of all if there are fewer
	ClassSize int
	Contents  []string
	Took      time.Duration // to make it
	Receiver  []byte        // seed of its key
	Founding  struct {
		Zone        identity.ZoneID
		Coordinator []byte
		Roster      []byte
	}
}

const (
	zoneFile   = "zone.json"
	holderName = "holder"
	storeName  = "records.db"
	keyName    = "key"
)

// newZone founds a zone of so many authors, a holder and a receiver, and the
// holder's empty store. It returns the authors' keys.
func newZone(ctx context.Context, dir string, authors int) (*zone, []identity.DeviceKey, error) {
	coordinator, err := identity.GenerateDeviceKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	z := &zone{dir: dir, Devices: authors}
	public := coordinator.Public()
	z.Founding.Zone, z.Founding.Coordinator = identity.ZoneID{1}, public[:]
	ros, err := roster.New(z.Founding.Zone, "bench", coordinator.Public(), now.Add(-100*24*time.Hour).UnixMilli())
	if err != nil {
		return nil, nil, err
	}
	keys := make([]identity.DeviceKey, authors+2)
	for i := range keys {
		if keys[i], err = identity.GenerateDeviceKey(rand.Reader); err != nil {
			return nil, nil, err
		}
		role := roster.RoleClassroom
		if i == 0 || i >= authors {
			role = roster.RoleAdministrates
		}
		if ros, err = ros.AddDevice(keys[i].Public(), fmt.Sprint("device ", i), role, now.UnixMilli()); err != nil {
			return nil, nil, err
		}
	}
	z.Founding.Roster = ros.Sign(coordinator, now.UnixMilli()).Encode()
	z.Receiver = keys[authors+1].Seed()
	return z, keys[:authors], z.found(ctx, filepath.Join(dir, holderName), keys[authors])
}

// save writes the zone's description, which makes the folder a whole zone.
func (z *zone) save() error {
	text, err := json.MarshalIndent(z, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(z.dir, zoneFile), text, 0o600)
}

func loadZone(dir string) (*zone, error) {
	text, err := os.ReadFile(filepath.Join(dir, zoneFile))
	if err != nil {
		return nil, err
	}
	z := &zone{dir: dir}
	return z, json.Unmarshal(text, z)
}

// join founds a receiver that holds nothing.
func (z *zone) join(ctx context.Context, dir string) error {
	key, err := identity.DeviceKeyFromSeed(z.Receiver)
	if err != nil {
		return err
	}
	return z.found(ctx, dir, key)
}

// holder makes a copy of the holder's store, that can be written to.
func (z *zone) holder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(
		copyFile(filepath.Join(dir, keyName), filepath.Join(z.dir, holderName, keyName)),
		copyFile(filepath.Join(dir, storeName), filepath.Join(z.dir, holderName, storeName)))
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// found sets up a replica with nothing in it.
func (z *zone) found(ctx context.Context, dir string, key identity.DeviceKey) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, keyName), key.Seed(), 0o600); err != nil {
		return err
	}
	store, err := boltstore.Create(filepath.Join(dir, storeName), boltstore.Options{})
	if err != nil {
		return err
	}
	_, err = records.Found(ctx, config(store, key), records.Founding{
		Zone: z.Founding.Zone, Coordinator: identity.DevicePublic(z.Founding.Coordinator), Roster: z.Founding.Roster,
	})
	return errors.Join(err, store.Close())
}

// open opens the replica in a folder.
func open(ctx context.Context, dir string) (*records.Replica, func() error, error) {
	key, err := readKey(dir)
	if err != nil {
		return nil, nil, err
	}
	store, err := boltstore.Open(filepath.Join(dir, storeName), boltstore.Options{})
	if err != nil {
		return nil, nil, err
	}
	var r *records.Replica
	disk, err := onDisk(store)
	if err == nil {
		r, err = records.Open(ctx, config(disk, key))
	}
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return r, func() error { return errors.Join(r.Close(), store.Close()) }, nil
}

func readKey(dir string) (identity.DeviceKey, error) {
	seed, err := os.ReadFile(filepath.Join(dir, keyName))
	if err != nil {
		return identity.DeviceKey{}, err
	}
	return identity.DeviceKeyFromSeed(seed)
}

func config(store records.Store, key identity.DeviceKey) records.Config {
	return records.Config{Store: store, Identity: key, Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler)}
}

// count adds up what a replica holds.
func (z *zone) count(ctx context.Context, r *records.Replica) error {
	z.Records, z.Written = 0, 0
	for _, s := range r.Logs() {
		z.Written += int(s.Counter)
		l, err := r.SegmentList(ctx, s.BranchRef, 0, 0)
		if err != nil {
			return err
		}
		for _, row := range l.Rows {
			z.Records += int(row.Live)
		}
	}
	return nil
}

func learnerName(id identity.UserID) string { return hex.EncodeToString(id[:]) }

// errEnough ends a walk through entries.
var errEnough = errors.New("enough")

// readSample returns the first n of the entries that the holder has.
func (z *zone) readSample(ctx context.Context, n int) (entries []records.Entry, err error) {
	err = z.each(ctx, func(e *records.Entry) error {
		entries = append(entries, e.Clone())
		if len(entries) == n {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return entries, err
}

// each visits all entries that the holder has, log by log.
func (z *zone) each(ctx context.Context, fn func(*records.Entry) error) error {
	r, closeStore, err := open(ctx, filepath.Join(z.dir, holderName))
	if err != nil {
		return err
	}
	defer closeStore()
	codec, err := packing.Shared()
	if err != nil {
		return err
	}
	for _, s := range r.Logs() {
		l, err := r.SegmentList(ctx, s.BranchRef, 0, 0)
		if err != nil {
			return err
		}
		for _, row := range l.Rows {
			data, err := r.SegmentData(ctx, s.BranchRef, l.Head.Counter, records.Need{First: row.First})
			if err != nil {
				return err
			}
			if data.Entries == nil {
				if data.Entries, err = codec.Unpack(runsOf(data.Packed)); err != nil {
					return err
				}
			}
			for i := range data.Entries {
				if err := fn(&data.Entries[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func runsOf(packed []records.PackedRun) (runs []records.Run) {
	for _, p := range packed {
		runs = append(runs, p.Run)
	}
	return runs
}
