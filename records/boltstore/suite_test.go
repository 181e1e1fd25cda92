package boltstore_test

import (
	"errors"
	"io/fs"

	"path/filepath"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB, dir string) records.Store {
		return open(t, filepath.Join(dir, "store"), boltstore.Options{})
	})
}

// open opens the store at path, or creates it.
func open(t testing.TB, path string, o boltstore.Options) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, o)
	if errors.Is(err, fs.ErrNotExist) {
		s, err = boltstore.Create(path, o)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var errStop = errors.New("stop")
