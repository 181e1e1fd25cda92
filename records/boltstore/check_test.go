package boltstore_test

import (
	"bytes"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
)

// What an index says that the entries do not is found, though nobody asked for
// that entry.
func TestCheckFindsWrongIndexes(t *testing.T) {
	for _, test := range []struct {
		name   string
		packed bool // the registers are in blocks
		wrong  func(tx *bolt.Tx) error
		says   string
	}{
		{"nothing", false, func(*bolt.Tx) error { return nil }, ""},
		{"nothing, in blocks", true, func(*bolt.Tx) error { return nil }, ""},
		{"another content of a register", false, func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("registers"))
			k, v := b.Cursor().First()
			v = bytes.Clone(v)
			v[len(v)-1] ^= 1
			return b.Put(bytes.Clone(k), v)
		}, "index of registers"},
		{"a register is missing", false, func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("registers"))
			k, _ := b.Cursor().First()
			return b.Delete(bytes.Clone(k))
		}, "index of registers"},
		{"a block of registers is missing", true, func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("blocks"))
			k, _ := b.Cursor().Last()
			return b.Delete(bytes.Clone(k))
		}, "index of registers"},
		{"a register of a block is said to be deleted", true, func(tx *bolt.Tx) error {
			k, _ := tx.Bucket([]byte("blocks")).Cursor().First()
			return tx.Bucket([]byte("registers")).Put(bytes.Clone(k), []byte{0})
		}, "index of registers"},
		{"events are missing", false, func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("events"))
			k, _ := b.Cursor().Last()
			return b.Delete(bytes.Clone(k))
		}, "index of events"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := unzipped(t, "layout1.db.gz")
			s := open(t, path, boltstore.Options{})
			s.TidySoon()
			s.PackLate()
			if test.packed {
				s.PackSoon(400)
			}
			for more := true; more; { // packed, as an old store is
				var err error
				if more, err = s.Tidy(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			edit(t, path, test.wrong)
			s = open(t, path, boltstore.Options{})
			defer s.Close()
			var found []string
			_, err := records.Check(t.Context(), s, func(f records.Finding) { found = append(found, f.String()) })
			if all := strings.Join(found, "\n"); err != nil || (test.says == "") != (all == "") || !strings.Contains(all, test.says) {
				t.Errorf("%v, found: %s", err, all)
			}
		})
	}
}
