package packing

import (
	"bytes"
	"hash/maphash"
	"slices"
	"sync"

	"github.com/classmesh/classmesh/records"
)

// Shelf keeps the runs that were opened last, opened. It knows them by their bytes and by
// nothing else, so whatever becomes of a log or a store, what it has is right. It is safe
// for concurrent use.
type Shelf struct {
	codec *Codec
	seed  maphash.Seed

	mu    sync.Mutex
	runs  []*shelved // the last used last
	bytes int        // that they take
}

// shelved is an opened run. Nothing of it changes, and it shares no memory with what
// it was opened from.
type shelved struct {
	hash    uint64 // of the run's bytes, to find it
	run     records.Run
	entries []records.Entry
	bytes   int
}

// Bounds of what is kept: the runs of a learner, or of a class whose devices have few.
// What takes more than an eighth is not kept.
const (
	shelfRuns  = 64
	shelfBytes = 4 << 20
)

// entryBytes is about what an opened entry takes, besides its own bytes.
const entryBytes = 64

func newShelf(c *Codec) *Shelf { return &Shelf{codec: c, seed: maphash.MakeSeed()} }

// Look returns the entries of one run, from the shelf if it is there. They are not to
// be changed, and share memory with a run that was not compressed. Errors are those of
// [Codec.Unpack].
func (s *Shelf) Look(r records.Run) ([]records.Entry, error) {
	if r.Packed == 0 {
		return s.codec.Unpack([]records.Run{r})
	}
	hash := maphash.Bytes(s.seed, r.Data)
	if entries, ok := s.get(hash, r); ok {
		return entries, nil
	}
	entries, err := s.codec.Unpack([]records.Run{r})
	if n := len(r.Data) + r.Size() + entryBytes*cap(entries); err == nil && n <= shelfBytes/8 {
		s.put(&shelved{hash, r.Clone(), entries, n})
	}
	return entries, err
}

func (s *Shelf) get(hash uint64, r records.Run) (entries []records.Entry, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range slices.Backward(s.runs) {
		if k.hash == hash && k.run.Packed == r.Packed && bytes.Equal(k.run.Data, r.Data) {
			s.runs = append(slices.Delete(s.runs, i, i+1), k)
			return k.entries, true
		}
	}
	return nil, false
}

// put keeps a run, and gives up those that were not used for longest.
func (s *Shelf) put(k *shelved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, k)
	s.bytes += k.bytes
	gone := 0
	for len(s.runs)-gone > shelfRuns || s.bytes > shelfBytes {
		s.bytes -= s.runs[gone].bytes
		gone++
	}
	s.runs = slices.Delete(s.runs, 0, gone)
}
