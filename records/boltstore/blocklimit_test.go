package boltstore_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/classmesh/classmesh/records"
)

// However well registers compress, and however many versions one has, what was packed
// can be opened.
func TestBlocksAreOpenedWhateverTheyHold(t *testing.T) {
	c := newCells(t)
	defer c.Close()
	c.PackSoon(50_000)
	const n, versions = 1000, 40_000
	many := cellKey(30)
	err := update(c, func(tx records.WriteTx) error {
		for i := range n {
			body := binary.BigEndian.AppendUint32(bytes.Repeat([]byte("a"), 400), uint32(i))
			for range 21 {
				if err := c.put(tx, cellKey(i), body, 20); err != nil {
					return err
				}
			}
		}
		// So many are spared that their numbers alone are more than a block may be.
		env := cellEnvelope(many)
		for i := range uint64(versions) {
			e := records.Entry{Counter: (i + 1) << 45, Envelope: env.Append(nil)}
			if err := tx.Put(1, e, &env); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tidyUp(t, c.Store)
	if blocks, rows := c.Rows(); len(blocks) == 0 || rows > 1 {
		t.Errorf("%d blocks, %d rows", len(blocks), rows)
	}
	mustCheck(t, c.Store)
	got := 0
	err = c.View(t.Context(), func(tx records.Tx) error {
		list, err := tx.Versions(1, many)
		if len(list) != versions+21 || err != nil {
			t.Errorf("%d versions, %v", len(list), err)
		}
		return tx.Registers(records.RegisterPrefix{Kind: progressKind}, func(records.Register) error { got++; return nil })
	})
	if got != n || err != nil {
		t.Errorf("%d registers, %v", got, err)
	}
}

// Behind a full block come more rows than one transaction looks at, of which those
// that can be packed fill no block: Tidy comes past them.
func TestTidyComesPastLargeRegisters(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for size := 80; size < 200; size += 8 {
		c := newCells(t)
		c.PackSoon(500)
		put := func(from, to int, body func(i int) []byte) {
			err := update(c, func(tx records.WriteTx) error {
				for i := from; i < to; i++ {
					if err := c.put(tx, cellKey(i), body(i), 0); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		put(0, 3, func(int) (b []byte) {
			for len(b) < size {
				b = binary.BigEndian.AppendUint64(b, random.Uint64())
			}
			return b
		})
		tidyUp(t, c.Store)
		put(50, 50+1500, func(i int) []byte {
			if i%500 == 0 {
				return []byte("small")
			}
			return make([]byte, 600)
		})
		before := c.Commits()
		for calls, more := 0, true; more; calls++ {
			if calls == 50 {
				t.Fatalf("%d bytes: no end after %d calls, %d of which wrote", size, calls, c.Commits()-before)
			}
			var err error
			if more, err = c.Tidy(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		mustCheck(t, c.Store)
		if err := c.View(t.Context(), func(tx records.Tx) error { return c.compare(tx, 31) }); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
