package packing

import (
	"bytes"
	"hash/maphash"
	"slices"
	"sync"

	"github.com/classmesh/classmesh/records"
)

// shelf keeps the runs that were opened last, opened. It knows them by their bytes and by
// nothing else, so whatever becomes of a log or a store, what it has is right. It is safe
// for concurrent use.
type shelf struct {
	seed maphash.Seed

	mu    sync.Mutex
	runs  []*shelved // the last used last
	bytes int        // that they take
}

// shelved is an opened run. Nothing of it changes, and it shares no memory with what
// it was opened from.
type shelved struct {
	hash    uint64 // of data, to find it
	run     records.Run
	entries []records.Entry
	bytes   int
}

// shelfBytes bounds what is kept: some thirty runs, which are those of a learner, or of
// a class whose devices have few. One that takes more than an eighth is not kept.
const shelfBytes = 4 << 20

// entryBytes is about what an opened entry takes, besides its own bytes.
const entryBytes = 64

func newShelf() *shelf { return &shelf{seed: maphash.MakeSeed()} }

// get returns the entries of a run that is on the shelf.
func (s *shelf) get(r records.Run) (entries []records.Entry, ok bool) {
	hash := maphash.Bytes(s.seed, r.Data)
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
func (s *shelf) put(r records.Run, entries []records.Entry) {
	n := len(r.Data) + r.Size() + entryBytes*len(entries)
	if r.Packed == 0 || n > shelfBytes/8 { // what is not compressed shares its memory
		return
	}
	k := &shelved{maphash.Bytes(s.seed, r.Data), r.Clone(), entries, n}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, k)
	s.bytes += n
	gone := 0
	for s.bytes > shelfBytes {
		s.bytes -= s.runs[gone].bytes
		gone++
	}
	s.runs = slices.Delete(s.runs, 0, gone)
}

// clear gives up all.
func (s *shelf) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.runs)
	s.runs, s.bytes = s.runs[:0], 0
}
