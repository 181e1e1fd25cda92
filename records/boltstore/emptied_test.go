package boltstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
)

// When a transaction has emptied every page of the blocks, looking for the last finds
// none; left to itself bbolt would look for ever.
func TestLookingBehindBlocksThatWent(t *testing.T) {
	c := newCellsWith(t, boltstore.Options{Now: func() time.Time { return time.Time{} }})
	defer c.Close()
	const n = 500
	c.PackSoon(500)
	c.fill(t, n)
	if blocks, rows := c.Rows(); len(blocks) < 9 || len(blocks) > 14 || rows > 0 { // two pages, one transaction
		t.Fatalf("%d blocks, %d rows", len(blocks), rows)
	}
	err := update(c, func(tx records.WriteTx) error {
		var errs []error
		for i := range n {
			errs = append(errs, c.remove(tx, cellKey(i), 0))
		}
		for i := range 700 { // more than belong to the last block in one piece
			errs = append(errs, c.put(tx, cellKey(n+i), make([]byte, 600), 0))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
	tidyUp(t, c.Store)
	if blocks, rows := c.Rows(); len(blocks) > 0 || rows != 700 {
		t.Errorf("%d blocks, %d rows", len(blocks), rows)
	}
	mustCheck(t, c.Store)
	if err := c.View(t.Context(), func(tx records.Tx) error { return c.compare(tx, 25) }); err != nil {
		t.Error(err)
	}
}
