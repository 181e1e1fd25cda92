package boltstore_test

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
)

// unzipped returns the path of a copy of a file in testdata.
func unzipped(t *testing.T, name string) string {
	t.Helper()
	in, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "store")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, z)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// layout1.db was written by the first layout: a device's store with 600 events
// and 20 registers, each rewritten thirty times; layout3.db by the third, which had
// packed the same records in runs.
func TestOlderLayouts(t *testing.T) {
	for _, name := range []string{"layout1.db.gz", "layout3.db.gz"} {
		path := unzipped(t, name)
		for round := range 3 { // the second time it is of this layout
			s := open(t, path, boltstore.Options{})
			mustCheck(t, s)
			checked, err := records.Check(t.Context(), s, func(f records.Finding) { t.Error(name, f) })
			if err != nil || checked.Logs != 2 || checked.Entries != 620 {
				t.Errorf("%s: %+v, %v", name, checked, err)
			}
			events := 0
			err = s.View(t.Context(), func(tx records.Tx) error {
				return tx.Events(identity.UserID{3}, identity.LaneDetail, func(records.Slot, records.Entry) error { events++; return nil })
			})
			if err != nil || events != 90 {
				t.Errorf("%s: %d events of a learner, %v", name, events, err)
			}
			if round == 1 { // the third time its registers are in blocks
				s.PackSoon(400)
				tidyUp(t, s)
				if blocks, rows := s.Rows(); len(blocks) == 0 || rows > 0 {
					t.Errorf("%s: %d blocks, %d rows", name, len(blocks), rows)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
