package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
)

// deviceSettings is what device.json holds.
type deviceSettings struct {
	Format      int             `json:"format"`
	Name        string          `json:"name"`
	Zone        identity.ZoneID `json:"zone"`
	ZoneName    string          `json:"zone_name"`
	Coordinator publicKey       `json:"coordinator"`
	Addresses   []string        `json:"addresses"` // of the coordinator
}

// publicKey is a device's public key in hex.
type publicKey identity.DevicePublic

func (k publicKey) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, k[:]), nil
}

func (k *publicKey) UnmarshalText(b []byte) error {
	raw, err := hex.DecodeString(string(b))
	if err != nil || len(raw) != len(k) {
		return errors.New("not a public key")
	}
	copy(k[:], raw)
	return nil
}

// device is the data of a device, opened by this process.
type device struct {
	*program
	folder   *folder
	settings deviceSettings
	key      identity.DeviceKey
	store    *boltstore.Store
	replica  *records.Replica
	gate     *classroom.Gate
	clock    *settableClock
	node     *mesh.Node // nil unless the device serves
	lan      *lan       // while it serves, if it takes part in one
	commits  *commitTimes
	// dial makes connections; nil: as mesh does.
	dial func(context.Context, link.DialConfig) (mesh.Conn, error)
}

// makeDevice puts what a device has learnt by joining into its folder, which
// is whole afterwards. What a killed process left of the records is removed:
// nothing was ever written into them.
func makeDevice(ctx context.Context, p *program, f *folder, key identity.DeviceKey, s deviceSettings, rosterBytes []byte) error {
	if err := removeRecords(f); err != nil {
		return fmt.Errorf("make device: %w", err)
	}
	store, err := boltstore.Create(f.path(recordsName), boltstore.Options{Logger: p.log})
	if err != nil {
		return fmt.Errorf("make device: %w", err)
	}
	r, err := records.Found(ctx, replicaConfig(p, store, key, p.now),
		records.Founding{Zone: s.Zone, Coordinator: identity.DevicePublic(s.Coordinator), Roster: rosterBytes})
	if err == nil {
		err = r.Close()
	}
	if err = errors.Join(err, store.Close()); err != nil {
		return fmt.Errorf("make device: %w", err)
	}
	s.Format = folderFormat
	return f.finish(s)
}

func removeRecords(f *folder) error {
	names, err := filepath.Glob(f.path(recordsName) + "*")
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func replicaConfig(p *program, store records.Store, key identity.DeviceKey, now func() time.Time) records.Config {
	return records.Config{Store: store, Identity: key, Now: now, Random: p.random, Logger: p.log}
}

// openDevice opens a device's data for this process alone.
func openDevice(ctx context.Context, p *program, dir string) (_ *device, err error) {
	d := &device{program: p, clock: &settableClock{real: p.now}, commits: newCommitTimes()}
	if d.folder, err = openFolder(ctx, dir, deviceFolder, &d.settings); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open device in %s: %w", dir, err), d.Close())
		}
	}()
	if d.key, err = readKey(d.folder.path(keyName)); err != nil {
		return nil, err
	}
	d.store, err = boltstore.Open(d.folder.path(recordsName), boltstore.Options{Logger: p.log})
	if errors.Is(err, fs.ErrNotExist) {
		err = errNoRecords
	}
	if err != nil {
		return nil, err
	}
	if d.replica, err = records.Open(ctx, replicaConfig(p, &timedStore{d.store, d.commits}, d.key, d.clock.now)); err != nil {
		return nil, err
	}
	d.gate, err = classroom.NewGate(p.random, max(1, runtime.NumCPU()/2))
	return d, err
}

// Close ends the device's writing and closes its files.
func (d *device) Close() error {
	var errs []error
	if d.replica != nil {
		errs = append(errs, d.replica.Close())
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	return errors.Join(append(errs, d.folder.Close())...)
}

// logger is what parts of the device log to.
func (d *device) logger() *slog.Logger { return d.log.With("device", d.settings.Name) }

// dump writes the merged state.
func (d *device) dump(ctx context.Context, w io.Writer) error { return dumpReplica(ctx, d.replica, w) }

func dumpReplica(ctx context.Context, r *records.Replica, w io.Writer) error {
	err := r.ReadPromoted(ctx, func(v *records.View) error { return classroom.Dump(v, interruptible{ctx, w}) })
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	return nil
}

// interruptible is a writer that fails when ctx is done.
type interruptible struct {
	ctx context.Context
	io.Writer
}

func (w interruptible) Write(b []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.Writer.Write(b)
}

// importUsers adds the people in a CSV file.
func (d *device) importUsers(ctx context.Context, csv io.Reader, partial bool) (importReport, error) {
	res, err := classroom.ImportUsers(ctx, d.replica, d.gate, csv, classroom.ImportOptions{Partial: partial})
	report := importReport{ImportResult: res, Refused: []string{}}
	for _, row := range res.Refused {
		report.Refused = append(report.Refused, row.Error())
	}
	return report, err
}

// passwordOptions say whose password to set.
type passwordOptions struct{ Username, Password string }

// passwordReport is whose password was set.
type passwordReport struct {
	Name     string `json:"name"`
	Username string `json:"username"`
	Role     string `json:"role"`
}

// setPassword gives somebody another password: of namesakes, the one who teaches.
func (d *device) setPassword(ctx context.Context, o passwordOptions) (report passwordReport, err error) {
	var people []*classroom.Person
	err = d.replica.Read(ctx, func(v *records.View) error {
		roll, err := classroom.People(v)
		if err == nil {
			people = roll.Named(o.Username)
		}
		return err
	})
	switch {
	case err != nil:
		return report, fmt.Errorf("set password: %w", err)
	case len(people) == 0:
		return report, fmt.Errorf("set password: the user name %q: %w", o.Username, classroom.ErrUnknown)
	case len(people) > 1 && people[0].Role == people[1].Role:
		return report, fmt.Errorf("set password: %d people have the user name %q: give all but one another name on the pages, or set it there: %w", len(people), o.Username, classroom.ErrInput)
	}
	p := people[0]
	report = passwordReport{p.Name, o.Username, p.Role.String()}
	return report, classroom.SetPassword(ctx, d.replica, d.gate, identity.UserID{}, p.ID, o.Password)
}

// importReport is what an import did, as it is shown.
type importReport struct {
	classroom.ImportResult
	Refused []string `json:"refused"` // with --partial
}
