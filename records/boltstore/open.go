package boltstore

import (
	"bytes"
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
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/packing"
)

// lockTimeout is how long Open waits for another process that has the file.
const lockTimeout = 2 * time.Second

// Options of a store. The zero value is good for a device.
type Options struct {
	// MaxSize is the largest size of the file in bytes; a commit that would
	// exceed it is records.ErrFull. The file grows in steps of up to 16 MiB,
	// and is full when there is no room for the next. 0 means that the disk
	// is the limit.
	MaxSize int64
	// InitialMmapSize is how many bytes of address space the file is mapped
	// into, from the start; a larger file is mapped again as it grows, for
	// which a commit waits until no View is running. 0 means 256 MiB, but on
	// Windows, where the file itself becomes that large at once, 8 MiB.
	InitialMmapSize int
	// Allow32Bit permits a 32-bit system, where a file can have 2 GiB at most
	// and bbolt is little tested.
	Allow32Bit bool
	// Logger is told what nobody gets as an error. Nil means nobody.
	Logger *slog.Logger
	// Now is the clock by which Tidy keeps its transactions short; nil means
	// time.Now.
	Now func() time.Time
}

func (o *Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

func (o *Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger
}

func (o *Options) initialMmapSize() int {
	switch {
	case o.InitialMmapSize > 0:
		return o.InitialMmapSize
	case runtime.GOOS == "windows":
		return 8 << 20
	case strconv.IntSize == 32:
		return 64 << 20
	}
	return 256 << 20
}

// check refuses options, and systems, that cannot work.
func (o *Options) check() error {
	switch {
	case strconv.IntSize == 32 && !o.Allow32Bit:
		return errors.New("this is a 32-bit program, in which a store can get neither large nor old: use a 64-bit system, or allow 32 bits on purpose")
	case o.MaxSize < 0 || o.MaxSize > int64(^uint(0)>>1):
		return fmt.Errorf("a maximum size of %d bytes", o.MaxSize)
	case o.InitialMmapSize < 0:
		return fmt.Errorf("a mapping of %d bytes", o.InitialMmapSize)
	}
	return nil
}

// Create makes an empty store in a file that must not exist (os.ErrExist),
// and opens it. A power cut leaves a whole empty store at path or none,
// perhaps with a small file beside it whose name begins with path and ".new".
func Create(path string, o Options) (*Store, error) {
	err := o.check()
	if err == nil {
		err = create(path, func(db *bolt.DB) error { return db.Update(initialise) })
	}
	if err != nil {
		return nil, fmt.Errorf("create store %s: %w", path, err)
	}
	return Open(path, o)
}

// initialise writes the buckets and the version of the layout.
func initialise(tx *bolt.Tx) error {
	for _, name := range names {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	return tx.Bucket([]byte(names[meta])).Put(keySchema, binary.BigEndian.AppendUint32(nil, schema))
}

// create makes a file at path, which must not exist, from what fill puts into
// a bbolt file of another name: it appears whole, synced, or not at all.
func create(path string, fill func(*bolt.DB) error) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	temporary := f.Name()
	defer os.Remove(temporary)
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bolt.Open(temporary, 0o600, &bolt.Options{Timeout: lockTimeout, FreelistType: freelist})
	if err != nil {
		return mapError(err)
	}
	if err := errors.Join(mapError(fill(db)), mapError(db.Close())); err != nil {
		return err
	}
	if err := syncPath(temporary); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces a file that has appeared in the
	// meantime; but not every file system has links.
	if err := os.Link(temporary, path); errors.Is(err, fs.ErrExist) {
		return err
	} else if err != nil {
		if err := os.Rename(temporary, path); err != nil {
			return err
		}
	}
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be synced there, and needn't
	}
	return syncPath(filepath.Dir(path))
}

// syncPath writes a file or folder to disk.
func syncPath(path string) error {
	flag := os.O_RDWR
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		flag = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Open opens the store in a file that must exist (os.ErrNotExist). It returns
// records.ErrInUse if another process has it open and keeps it for two more
// seconds, records.ErrNewerStore if a newer version of the program wrote it,
// and records.ErrDamaged if it is not what this program writes. The file is
// not searched for damage beyond its beginning: that is [Store.Check]. After
// damage that bbolt panics over, the file stays locked until the process ends.
func Open(path string, o Options) (*Store, error) {
	s, err := open(path, o)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return s, nil
}

func open(path string, o Options) (*Store, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	codec, err := packing.Shared()
	if err != nil {
		return nil, err
	}
	var db *bolt.DB
	err = guard(new(true), func() (err error) {
		db, err = openBolt(path, o, 0)
		if err == nil {
			err = db.View(examine)
		}
		if errors.Is(err, errOlder) {
			err = db.Update(migrate)
		}
		return err
	})
	if err != nil {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
		if errors.Is(err, records.ErrDamaged) || errors.Is(err, records.ErrNewerStore) {
			return nil, err
		}
		return nil, mapError(err)
	}
	// A Shrink puts its file where this one is, not where a link to it is.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	// What a crash left of a Shrink; nobody else has the store open.
	if err := os.Remove(path + shrinkingSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, db.Close())
	}
	s := &Store{path: path, options: o, codec: codec, logger: o.logger(), writer: make(chan struct{}, 1), tidyLeast: tidyEntries, packer: newPacker()}
	s.db.Store(db)
	return s, nil
}

// freelist has bbolt take the lowest pages that are free. Its other kind finds any of the
// right number faster, where hundreds of thousands are free, and scatters what a commit
// writes over the file, for which disks take longer.
const freelist = bolt.FreelistArrayType

// openBolt opens a file, which must exist and not be empty unless create, flags of
// os.OpenFile, says otherwise: left to itself bbolt creates files and fills empty
// ones.
func openBolt(path string, o Options, create int) (*bolt.DB, error) {
	for {
		var file *os.File
		db, err := bolt.Open(path, 0o600, &bolt.Options{
			Timeout:         lockTimeout,
			FreelistType:    freelist,
			InitialMmapSize: o.initialMmapSize(),
			MaxSize:         int(o.MaxSize),
			OpenFile: func(path string, flag int, mode fs.FileMode) (f *os.File, err error) {
				f, err = os.OpenFile(path, flag&^os.O_CREATE|create, mode)
				file = f
				if err != nil || create != 0 {
					return f, err
				}
				if info, err := f.Stat(); err != nil || info.Size() == 0 {
					return nil, errors.Join(err, errNoStore, f.Close())
				}
				return f, nil
			},
		})
		if err != nil {
			return nil, err
		}
		// While this waited for the lock, a Shrink of who has the store may have
		// put another file in the place of the one that is locked now.
		locked, err := file.Stat()
		if err == nil {
			var there fs.FileInfo
			if there, err = os.Stat(path); err == nil && os.SameFile(locked, there) {
				return db, nil
			}
		}
		if err = errors.Join(err, db.Close()); err != nil {
			return nil, err
		}
	}
}

// examine refuses a file that this version does not understand.
func examine(tx *bolt.Tx) error {
	info, err := os.Stat(tx.DB().Path())
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return fmt.Errorf("the file has %d bytes and should have %d; %s: %w", info.Size(), tx.Size(), advice, records.ErrDamaged)
	}
	m := tx.Bucket([]byte(names[meta]))
	if m == nil {
		return fmt.Errorf("the file is another program's: %w", records.ErrDamaged)
	}
	v := m.Get(keySchema)
	if len(v) != 4 {
		return fmt.Errorf("the file does not say its version; %s: %w", advice, records.ErrDamaged)
	}
	n := binary.BigEndian.Uint32(v)
	if n > schema {
		return fmt.Errorf("layout %d, this version reads %d: %w", n, schema, records.ErrNewerStore)
	}
	for i, name := range names {
		if n < since[bucket(i)] {
			continue
		}
		if tx.Bucket([]byte(name)) == nil {
			return fmt.Errorf("the file has no %s; %s: %w", name, advice, records.ErrDamaged)
		}
	}
	if n < schema {
		return errOlder
	}
	return nil
}

// errOlder: the file has a layout from before this one.
var errOlder = errors.New("an older layout")

// migrate brings a file of an earlier layout to this one, in one transaction. The
// first had no runs, the first two an index of events with a row for 128 counters,
// the first three neither blocks nor runs in columns; what else is in the file stays
// as it is.
func migrate(tx *bolt.Tx) error {
	for _, name := range names {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	if binary.BigEndian.Uint32(tx.Bucket([]byte(names[meta])).Get(keySchema)) < 3 {
		if err := migrateEvents(tx); err != nil {
			return err
		}
	}
	return tx.Bucket([]byte(names[meta])).Put(keySchema, binary.BigEndian.AppendUint32(nil, schema))
}

// migrateEvents joins the rows of the index of events of the first two layouts.
func migrateEvents(tx *bolt.Tx) error {
	const former = 128
	rows := map[eventKey]struct{}{}
	err := tx.Bucket([]byte(names[events])).ForEach(func(k, _ []byte) error {
		if len(k) != len(eventKey{}) {
			return damagedKey(events, k)
		}
		key := eventKey(k)
		group := binary.BigEndian.Uint64(key[21:]) * former / groupCounters
		binary.BigEndian.PutUint64(key[21:], group)
		rows[key] = struct{}{}
		return nil
	})
	if err != nil {
		return err
	}
	if err := tx.DeleteBucket([]byte(names[events])); err != nil {
		return err
	}
	b, err := tx.CreateBucket([]byte(names[events]))
	if err != nil {
		return err
	}
	keys := slices.Collect(maps.Keys(rows))
	slices.SortFunc(keys, func(a, b eventKey) int { return bytes.Compare(a[:], b[:]) })
	for i := range keys {
		if err := b.Put(keys[i][:], []byte{}); err != nil {
			return err
		}
	}
	return nil
}
