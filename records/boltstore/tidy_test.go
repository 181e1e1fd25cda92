package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/storetest"
)

// Packing what stands one by one changes nothing of what is read.
func TestTidyConforms(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB, dir string) records.Store {
		s := open(t, filepath.Join(dir, "store"), boltstore.Options{})
		s.TidySoon()
		s.PackSoon(400)
		return tidy{s}
	})
}

// tidy is a store that is tidied after every change.
type tidy struct{ *boltstore.Store }

func (s tidy) Update(ctx context.Context, f func(records.WriteTx) error) error {
	if err := s.Store.Update(ctx, f); err != nil {
		return err
	}
	for {
		if more, err := s.Tidy(context.Background()); err != nil || !more {
			return err
		}
	}
}

func TestTidyPacksWhatIsOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path, boltstore.Options{Now: func() time.Time { return time.Time{} }})
	defer s.Close()
	const n = 20_000
	for i := range n / 1000 {
		putEntries(t, s, 1+1000*i, 1000)
	}
	calls := 0
	for more := true; more; calls++ {
		var err error
		if more, err = s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if calls < 2 || calls > 20 {
		t.Errorf("%d transactions", calls)
	}
	if got, err := count(s); err != nil || got != n {
		t.Errorf("%d entries, %v", got, err)
	}
	st, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shrink(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := s.Stats()
	if err != nil || after.Bytes*4 > st.Bytes {
		t.Errorf("%d bytes after packing, %d before, %v", after.Bytes, st.Bytes, err)
	}
	// Nothing to do is nothing written.
	before := s.Commits()
	if more, err := s.Tidy(t.Context()); more || err != nil {
		t.Errorf("tidied again: %t, %v", more, err)
	}
	if now := s.Commits(); now != before {
		t.Errorf("a transaction was written for nothing: %d, before %d", now, before)
	}
	mustCheck(t, s)
}

// Where packing is slow a transaction packs less, but something.
func TestTidyKeepsAnEyeOnTheClock(t *testing.T) {
	for _, test := range []struct {
		step        time.Duration
		most, least int // rows that a transaction may take
	}{
		{time.Hour, 1024, 1},
		{3 * time.Millisecond, 4 * 1024, 600},
	} {
		now := time.Time{}
		c := newCellsWith(t, boltstore.Options{Now: func() time.Time { now = now.Add(test.step); return now }})
		const n = 4000
		err := update(c, func(tx records.WriteTx) error {
			for i := range n {
				if err := c.put(tx, cellKey(i), fmt.Appendf(nil, "body %d", i), 0); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		wrote := 0
		_, before := c.Rows()
		loose := c.Entries()
		for more := true; more; {
			commits := c.Commits()
			if more, err = c.Tidy(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, rows := c.Rows()
			entries := c.Entries()
			taken := before - rows + loose - entries
			if c.Commits() == commits {
				continue
			}
			if wrote++; taken > test.most || taken < test.least && entries+rows > 0 {
				t.Errorf("steps of %v: a transaction took %d rows", test.step, taken)
			}
			before, loose = rows, entries
		}
		if before > 0 || loose > 0 {
			t.Errorf("steps of %v: %d registers and %d entries are left", test.step, before, loose)
		}
		if err := c.View(t.Context(), func(tx records.Tx) error { return c.compare(tx, n/50) }); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// However large the entries are, one transaction packs a bounded part of them.
func TestTidyTakesLargeEntriesInParts(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"), boltstore.Options{})
	defer s.Close()
	const n = 600
	err := update(s, func(tx records.WriteTx) error {
		_, err := tx.CreateBranch(records.Branch{})
		for c := uint64(1); c <= n && err == nil; c++ {
			env := records.Envelope{Kind: eventKind}
			err = tx.Put(1, records.Entry{Counter: c, Envelope: env.Append(nil), Body: make([]byte, 10_000)}, &env)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	calls := 1
	for ; ; calls++ {
		if more, err := s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		} else if !more {
			break
		}
	}
	if calls < 5 {
		t.Errorf("%d transactions for 6 MB", calls)
	}
	if got, err := count(s); err != nil || got != n {
		t.Errorf("%d entries, %v", got, err)
	}
}

// Runs that somebody made of one entry each are not kept as they are.
func TestShortRunsAreNotKept(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"), boltstore.Options{})
	defer s.Close()
	s.TidySoon()
	codec, err := packing.Shared()
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	var list []records.Entry
	var puts []records.Put
	var runs []records.PackedRun
	for c := uint64(1); c <= n; c++ {
		env := records.Envelope{Kind: eventKind}
		e := records.Entry{Counter: c, Envelope: env.Append(nil), Body: []byte("body")}
		list, puts = append(list, e), append(puts, records.Put{Entry: e, Envelope: &env})
		runs = append(runs, codec.PackRuns(list[c-1:])...)
	}
	err = update(s, func(tx records.WriteTx) error {
		_, err := tx.CreateBranch(records.Branch{})
		return errors.Join(err, tx.PutRuns(1, runs, puts))
	})
	for more := true; more && err == nil; {
		more, err = s.Tidy(t.Context())
	}
	kept := 0
	if err == nil {
		err = s.View(t.Context(), func(tx records.Tx) error {
			_, err := tx.Packed(1, 1, n, func(records.PackedRun) error { kept++; return nil })
			return err
		})
	}
	if kept == 0 || kept > n/20 || err != nil {
		t.Errorf("%d runs for %d entries, %v", kept, n, err)
	}
	if got, err := count(s); err != nil || got != n {
		t.Errorf("%d entries, %v", got, err)
	}
}

// What a device has written itself is packed segment by segment, so that it is
// sent as it is stored.
func TestTidyKeepsToSegments(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"), boltstore.Options{})
	defer s.Close()
	const segments, each = 5, 1700
	err := s.Update(t.Context(), func(tx records.WriteTx) error {
		for i := range segments {
			if err := tx.SetSegment(1, records.Segment{First: uint64(1 + i*each), Live: each}); err != nil {
				return err
			}
		}
		return put(tx, 1, segments*each, 30)
	})
	for more := true; err == nil && more; {
		more, err = s.Tidy(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(t.Context(), func(tx records.Tx) error {
		for i := range segments {
			count := 0
			ok, err := tx.Packed(1, uint64(1+i*each), uint64((i+1)*each), func(p records.PackedRun) error { count += p.Count; return nil })
			if err != nil {
				return err
			}
			if !ok || count != each {
				t.Errorf("segment %d: %d entries are packed within it, all: %t", i, count, ok)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
