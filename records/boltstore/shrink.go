package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
)

// Errors of [Store.Shrink], after which everything is as it was.
var (
	// ErrNoRoom: the disk has not got the room for a second file beside this
	// one and what is written meanwhile.
	ErrNoRoom = errors.New("not enough room on the disk to write the records anew")
	// ErrTooBusy: more was written meanwhile than is worth remembering.
	ErrTooBusy = errors.New("too much was written meanwhile")
	// ErrCannotShrink: this system cannot put a file in the place of one that
	// is open.
	ErrCannotShrink = errors.New("a file in use cannot be replaced on this system")
)

// What a Shrink remembers of what is written meanwhile, in bytes, how much of it
// may be left when writers are made to wait, and the room that must be left on
// the disk.
const (
	maxJournalBytes  = 32 << 20
	lastJournalBytes = 256 << 10
	reserveBytes     = 64 << 20
)

// catchUps is how often a Shrink does what was written meanwhile before it makes
// writers wait whatever is left: they may be as fast as it is, and never pause.
const catchUps = 16

// shrinkingStep is by how much the new file grows while it is written: at its end
// there is no more unused room than this.
const shrinkingStep = 1 << 20

// shrinkingSuffix is added to the name of the file that is to take the place of
// the store's. What a crash leaves of it is removed when the store is opened.
const shrinkingSuffix = ".shrinking"

// change is a change of a bucket: a value, none if the key went, or the bucket's
// sequence.
type change struct {
	bucket   bucket
	key      []byte // nil: the sequence
	value    []byte // nil: deleted
	sequence uint64
}

func (c *change) size() int { return len(c.key) + len(c.value) + 64 }

// journal is what was committed since a Shrink began and is not in its file yet.
// Doing it a second time changes nothing.
type journal struct {
	changes []change
	bytes   int
	over    bool // there was more than is remembered
}

func (j *journal) add(list []change) {
	for i := range list {
		j.bytes += list[i].size()
	}
	if j.over = j.over || j.bytes > maxJournalBytes; j.over {
		j.changes = nil
		return
	}
	j.changes = append(j.changes, list...)
}

// take returns what there is, and begins anew.
func (j *journal) take() ([]change, error) {
	if j.over {
		return nil, ErrTooBusy
	}
	list := j.changes
	j.changes, j.bytes = nil, 0
	return list, nil
}

// apply does changes to another file.
func apply(db *bolt.DB, list []change) error {
	if len(list) == 0 {
		return nil
	}
	return db.Update(func(tx *bolt.Tx) error {
		for i := range list {
			c := &list[i]
			b := tx.Bucket([]byte(names[c.bucket]))
			b.FillPercent = ascending // what is copied comes in order
			var err error
			switch {
			case c.key == nil:
				err = b.SetSequence(c.sequence)
			case c.value == nil:
				err = b.Delete(c.key)
			default:
				err = b.Put(c.key, c.value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Shrink writes the store anew, without unused space, and goes on in the new file
// under the same name. Views and Updates go on meanwhile; at the end, Updates wait
// for a moment. When it returns nil the new file is on disk in the place of the
// old one; after an error, [ErrNoRoom], [ErrTooBusy], [ErrCannotShrink] or another,
// or a power cut, either file is there, whole, with everything that was committed.
// One Shrink runs at a time.
func (s *Store) Shrink(ctx context.Context) error {
	if runtime.GOOS == "windows" {
		return fmt.Errorf("shrink store: %w", ErrCannotShrink)
	}
	s.tidying.Lock() // packing would be written twice
	defer s.tidying.Unlock()
	path := s.path + shrinkingSuffix
	err := guard(new(true), func() error { return s.shrink(ctx, path) })
	if err != nil {
		if left := os.Remove(path); left != nil && !errors.Is(left, fs.ErrNotExist) {
			err = errors.Join(err, left)
		}
		return fmt.Errorf("shrink store %s: %w", s.path, err)
	}
	return nil
}

func (s *Store) shrink(ctx context.Context, path string) error {
	st, err := s.Stats()
	if err != nil {
		return err
	}
	if free, known := freeBytes(filepath.Dir(path)); known && free < uint64(st.Bytes-st.FreeBytes)+reserveBytes {
		return ErrNoRoom
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.remember(ctx, &journal{}); err != nil {
		return err
	}
	defer s.forgetJournal()
	next, err := openBolt(path, s.options, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	next.AllocSize = shrinkingStep
	defer func() {
		if next != nil {
			next.Close()
		}
	}()
	if err := s.copyInto(ctx, next); err != nil {
		return err
	}
	for range catchUps {
		list, bytes, err := s.journalled(ctx)
		if err != nil {
			return err
		}
		if err := mapError(apply(next, list)); err != nil {
			return err
		}
		if bytes <= lastJournalBytes {
			break
		}
	}
	old, err := s.replace(ctx, next, path)
	if err != nil {
		return err
	}
	next = nil
	// Whoever still reads in the old file is waited for.
	return mapError(old.Close())
}

// copyInto copies all buckets into an empty file, a stretch of keys at a time: no
// View lasts long, and what changes meanwhile in what was copied is in the
// journal.
func (s *Store) copyInto(ctx context.Context, next *bolt.DB) error {
	if err := next.Update(initialise); err != nil {
		return mapError(err)
	}
	var pending []change
	size := 0
	for n := range bucketCount {
		var from []byte
		for last := false; !last; {
			list, err := s.stretchOf(n, from)
			switch {
			case err != nil:
				return err
			case ctx.Err() != nil:
				return ctx.Err()
			case s.closing.Load():
				return os.ErrClosed
			}
			for i := range list {
				size += list[i].size()
			}
			key := list[len(list)-1].key
			if last = key == nil; !last {
				from = append(bytes.Clone(key), 0)
			}
			if pending = append(pending, list...); size >= stretchBytes {
				if err := apply(next, pending); err != nil {
					return mapError(err)
				}
				pending, size = nil, 0
			}
		}
	}
	return mapError(apply(next, pending))
}

// stretchBytes is how much is copied at once by a Shrink.
const stretchBytes = 1 << 20

// stretchOf reads some of a bucket from a key on; at its end, the last of them is
// its sequence.
func (s *Store) stretchOf(n bucket, from []byte) (list []change, err error) {
	err = s.View(context.Background(), func(tx records.Tx) error {
		t := tx.(*readTx)
		size := 0
		err := t.scan(n, nil, from, func(k, v []byte) (bool, error) {
			c := change{bucket: n, key: bytes.Clone(k), value: append([]byte{}, v...)}
			size += c.size()
			list = append(list, c)
			return size >= stretchBytes, nil
		})
		if size < stretchBytes {
			list = append(list, change{bucket: n, sequence: t.bucket(n).Sequence()})
		}
		return err
	})
	return list, err
}

// remember has commits noted from now on.
func (s *Store) remember(ctx context.Context, j *journal) error {
	release, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	s.journal = j
	return nil
}

func (s *Store) forgetJournal() {
	s.writer <- struct{}{}
	s.journal = nil
	<-s.writer
}

// journalled takes what was committed since it was last asked.
func (s *Store) journalled(ctx context.Context) (list []change, bytes int, err error) {
	release, err := s.lock(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer release()
	bytes = s.journal.bytes
	list, err = s.journal.take()
	return list, bytes, err
}

// replace puts the new file, complete, in the place of the old one, which it
// returns.
func (s *Store) replace(ctx context.Context, next *bolt.DB, path string) (old *bolt.DB, err error) {
	release, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	list, err := s.journal.take()
	if err == nil {
		err = mapError(apply(next, list))
	}
	if err == nil {
		err = mapError(next.Sync())
	}
	if err != nil {
		return nil, err
	}
	if err := os.Rename(path, s.path); err != nil {
		return nil, err
	}
	// From here on the new file is the store, whether or not the disk knows its
	// name yet: what is committed to it must not be lost with the name.
	if err := syncPath(filepath.Dir(s.path)); err != nil {
		s.broken.Store(true)
		return nil, fmt.Errorf("%w: %w", records.ErrUncertain, err)
	}
	s.journal = nil
	next.AllocSize = s.db.Load().AllocSize
	return s.db.Swap(next), nil
}
