package boltstore_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
)

// Left alone, a store packs what is old and gives unused space back.
func TestUpkeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, boltstore.Options{})
		defer s.Close()
		for i := range 20 {
			putEntries(t, s, 1+1000*i, 1000)
		}
		waste := func(value []byte) {
			err := update(s, func(tx records.WriteTx) error { return tx.SetValue("waste", value) })
			if err != nil {
				t.Fatal(err)
			}
		}
		waste(make([]byte, 60<<20))
		waste(nil)
		before, err := s.Stats()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.Upkeep(ctx); close(ended) }()
		time.Sleep(time.Hour) // of the bubble
		synctest.Wait()
		cancel()
		<-ended
		after, err := s.Stats()
		if err != nil || after.Bytes > 4<<20 || before.Bytes < 60<<20 {
			t.Errorf("%d bytes, before %d, %v", after.Bytes, before.Bytes, err)
		}
		if n, err := count(s); err != nil || n != 20_000 {
			t.Errorf("%d entries, %v", n, err)
		}
	})
}
