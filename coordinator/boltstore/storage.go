package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
)

// layout is the version of the control file's layout.
const layout = 1

// valueLayout names the value that holds it.
const valueLayout = "coordinator"

const (
	controlFile = "coordinator.db"
	zonesFolder = "zones"
)

// Options of a storage. The zero value is good.
type Options struct {
	// ZoneMmapSize is how many bytes of address space the file of each open
	// zone is mapped into from the start; it grows as the file does. 0 means
	// 16 MiB, but on Windows, where the file itself becomes that large at
	// once, 1 MiB.
	ZoneMmapSize int
	// MaxZoneSize is the largest size of a zone's file in bytes, beyond which
	// the zone is full (records.ErrFull). 0 means that the disk is the limit.
	MaxZoneSize int64
	// Allow32Bit permits a 32-bit system; see records/boltstore.
	Allow32Bit bool
	// Logger is told what nobody gets as an error. Nil means nobody.
	Logger *slog.Logger
}

func (o Options) zone() boltstore.Options {
	size := o.ZoneMmapSize
	switch {
	case size > 0:
	case runtime.GOOS == "windows":
		size = 1 << 20
	default:
		size = 16 << 20
	}
	return boltstore.Options{MaxSize: o.MaxZoneSize, InitialMmapSize: size, Allow32Bit: o.Allow32Bit, Logger: o.Logger}
}

func (o Options) control() boltstore.Options {
	return boltstore.Options{InitialMmapSize: o.zone().InitialMmapSize, Allow32Bit: o.Allow32Bit, Logger: o.Logger}
}

// Storage is a coordinator.Storage in a folder.
type Storage struct {
	folder  string
	options Options
	control *boltstore.Store
	commits committer

	mu   sync.Mutex                           // guards open
	open map[identity.ZoneID]*boltstore.Store // zones whose records somebody has open; nil: is opening
}

var _ coordinator.Storage = (*Storage)(nil)

// Create makes an empty storage in folder, which is made if it is missing, and
// opens it. It is os.ErrExist if there is one.
func Create(folder string, o Options) (*Storage, error) {
	s, err := create(folder, o)
	if err != nil {
		return nil, fmt.Errorf("create coordinator's storage in %s: %w", folder, err)
	}
	return s, nil
}

func create(folder string, o Options) (*Storage, error) {
	if err := os.MkdirAll(filepath.Join(folder, zonesFolder), 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(folder, controlFile)
	if _, err := os.Lstat(path); err == nil {
		return nil, fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// The file gets its name when it is whole: a crash leaves it or none.
	unfinished := path + ".unfinished"
	if err := os.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	control, err := boltstore.Create(unfinished, o.control())
	if err != nil {
		return nil, err
	}
	err = control.Update(context.Background(), func(tx records.WriteTx) error {
		return tx.SetValue(valueLayout, binary.BigEndian.AppendUint32(nil, layout))
	})
	if err := errors.Join(err, control.Close()); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Rename(unfinished, path), syncFolder(folder)); err != nil {
		return nil, err
	}
	if control, err = boltstore.Open(path, o.control()); err != nil {
		return nil, err
	}
	return newStorage(folder, o, control), nil
}

// syncFolder writes a folder's list of names to disk.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil // cannot be done there, and needn't
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Open opens the storage in folder. It is os.ErrNotExist if there is none,
// records.ErrInUse if another process has it open, records.ErrNewerStore if a
// newer version of the program wrote it, records.ErrDamaged if it is not what
// this program writes.
func Open(folder string, o Options) (*Storage, error) {
	control, err := boltstore.Open(filepath.Join(folder, controlFile), o.control())
	if err != nil {
		return nil, fmt.Errorf("open coordinator's storage in %s: %w", folder, err)
	}
	if err := control.View(context.Background(), examine); err != nil {
		return nil, fmt.Errorf("open coordinator's storage in %s: %w", folder, errors.Join(err, control.Close()))
	}
	return newStorage(folder, o, control), nil
}

// examine refuses a file that this version does not understand.
func examine(tx records.Tx) error {
	v, err := tx.Value(valueLayout)
	switch {
	case errors.Is(err, records.ErrNotFound) || err == nil && len(v) != 4:
		return fmt.Errorf("%s is not a coordinator's control file: %w", controlFile, records.ErrDamaged)
	case err != nil:
		return err
	}
	if n := binary.BigEndian.Uint32(v); n > layout {
		return fmt.Errorf("%s has layout %d, this version reads %d: %w", controlFile, n, layout, records.ErrNewerStore)
	}
	return nil
}

func newStorage(folder string, o Options, control *boltstore.Store) *Storage {
	return &Storage{
		folder: folder, options: o, control: control,
		commits: committer{store: control},
		open:    map[identity.ZoneID]*boltstore.Store{},
	}
}

// Close waits for what was begun and closes the control file.
func (s *Storage) Close() error {
	s.commits.close()
	return s.control.Close()
}

func (s *Storage) zonePath(id identity.ZoneID) string {
	return filepath.Join(s.folder, zonesFolder, id.String()+".db")
}

// OpenRecords opens a zone's file.
func (s *Storage) OpenRecords(ctx context.Context, id identity.ZoneID) (records.Store, error) {
	if _, err := s.Zone(ctx, id); err != nil {
		return nil, err
	}
	s.mu.Lock()
	_, taken := s.open[id]
	if !taken {
		s.open[id] = nil
	}
	s.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("open records of %v: %w", id, records.ErrInUse)
	}
	store, err := boltstore.Open(s.zonePath(id), s.options.zone())
	if err != nil {
		s.release(id)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("the control file lists the zone, but its file is gone; restore both from one backup: %w (%v)", records.ErrDamaged, err)
		}
		return nil, fmt.Errorf("open records of %v: %w", id, err)
	}
	s.mu.Lock()
	s.open[id] = store
	s.mu.Unlock()
	return &zoneStore{Store: store, close: sync.OnceValue(func() error {
		defer s.release(id)
		return store.Close()
	})}, nil
}

// Upkeep looks after the control file and the files of the zones that are open,
// one after the other: see boltstore.Store.UpkeepRound.
func (s *Storage) Upkeep(ctx context.Context) {
	s.mu.Lock()
	list := append(slices.Collect(maps.Values(s.open)), s.control)
	s.mu.Unlock()
	for _, store := range list {
		if store != nil && ctx.Err() == nil {
			store.UpkeepRound(ctx) // one that was closed meanwhile has its time again
		}
	}
}

func (s *Storage) release(id identity.ZoneID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, id)
}

// zoneStore gives the zone free when it is closed.
type zoneStore struct {
	*boltstore.Store
	close func() error
}

// Close closes the file.
func (z *zoneStore) Close() error { return z.close() }
