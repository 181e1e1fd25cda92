package packing

import (
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/classmesh/classmesh/records"
)

// shelfRun returns a run of its own for each n, with its entries.
func shelfRun(t *testing.T, c *Codec, n int) (records.Run, []records.Entry) {
	t.Helper()
	env := records.Envelope{Kind: 9, Clock: 7}
	var entries []records.Entry
	for i := range 100 {
		entries = append(entries, records.Entry{
			Counter: uint64(1 + i), Envelope: env.Append(nil), Body: fmt.Appendf(nil, "run %d entry %d of a hundred", n, i%7),
		})
	}
	runs := c.Pack(entries)
	if len(runs) != 1 || runs[0].Packed == 0 {
		t.Fatalf("%d runs", len(runs))
	}
	return runs[0], entries
}

// Look gives what Unpack gives, whatever was looked at before and becomes of the bytes
// afterwards; it keeps so much and no more, the last used longest, and nothing once it
// has forgotten.
func TestLook(t *testing.T) {
	c, err := NewCodec(2)
	if err != nil {
		t.Fatal(err)
	}
	look := func(r records.Run) []records.Entry {
		t.Helper()
		room := r.Clone() // as in a transaction, which ends
		entries, err := c.Look(room)
		if err != nil {
			t.Fatal(err)
		}
		clear(room.Data)
		return entries
	}
	first, want := shelfRun(t, c, 0)
	each := 0
	for n := range 2 * shelfBytes / (len(first.Data) + first.Size() + 100*entryBytes) {
		r, entries := shelfRun(t, c, n)
		for range 2 {
			if got := look(r); !reflect.DeepEqual(got, entries) {
				t.Fatalf("run %d: %v", n, got)
			}
		}
		if got := look(first); !reflect.DeepEqual(got, want) {
			t.Fatalf("the first, after %d others: %v", n, got)
		}
		if each = max(each, c.shelf.runs[0].bytes); c.shelf.bytes > shelfBytes {
			t.Fatalf("%d bytes are kept", c.shelf.bytes)
		}
	}
	if n := len(c.shelf.runs); n < shelfBytes/each || c.shelf.bytes < shelfBytes-each {
		t.Errorf("%d runs of up to %d bytes are kept, %d bytes", n, each, c.shelf.bytes)
	}
	if _, ok := c.shelf.get(first); !ok {
		t.Error("what was used again and again was given up")
	}

	// Neither what is like it nor what does not open is taken for it.
	other := first.Clone()
	other.Packed++
	if _, err := c.Look(other); err == nil {
		t.Error("another size was taken")
	}
	if _, ok := c.shelf.get(other); ok {
		t.Error("what does not open is kept")
	}
	plain := records.Run{Data: records.AppendRun(nil, want[:1])}
	if entries, err := c.Look(plain); err != nil || len(entries) != 1 {
		t.Errorf("a run that is not compressed: %v", err)
	}
	if _, ok := c.shelf.get(plain); ok {
		t.Error("a run whose memory is not its own is kept")
	}

	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				if entries, err := c.Look(first); err != nil || len(entries) != len(want) {
					t.Errorf("%d entries: %v", len(entries), err)
				}
				c.Forget()
			}
		})
	}
	group.Wait()
	if len(c.shelf.runs) != 0 || c.shelf.bytes != 0 {
		t.Errorf("%d runs are kept, %d bytes", len(c.shelf.runs), c.shelf.bytes)
	}
}
