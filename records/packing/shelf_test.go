package packing

import (
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/classmesh/classmesh/records"
)

// shelfRun returns a run of its own for each n, with its entries.
func shelfRun(t *testing.T, c *Codec, n, count int) (records.Run, []records.Entry) {
	t.Helper()
	env := records.Envelope{Kind: 9, Clock: 7}
	var entries []records.Entry
	for i := range count {
		entries = append(entries, records.Entry{
			Counter: uint64(1 + i), Envelope: env.Append(nil), Body: fmt.Appendf(nil, "run %d entry %d of many", n, i%7),
		})
	}
	runs := c.Pack(entries)
	if len(runs) != 1 || runs[0].Packed == 0 {
		t.Fatalf("%d runs of %d entries", len(runs), count)
	}
	return runs[0], entries
}

// Look gives what Unpack gives, whatever was looked at before and becomes of the bytes
// afterwards. It keeps so many runs, so many bytes and no more: the last used longest.
func TestLook(t *testing.T) {
	c, err := NewCodec(2)
	if err != nil {
		t.Fatal(err)
	}
	look := func(r records.Run) []records.Entry {
		t.Helper()
		room := r.Clone() // as in a transaction, which ends
		entries, err := c.Shelf().Look(room)
		if err != nil {
			t.Fatal(err)
		}
		clear(room.Data)
		return entries
	}
	has := func(r records.Run) bool {
		for _, k := range c.Shelf().runs {
			if reflect.DeepEqual(k.run, r) {
				return true
			}
		}
		return false
	}
	for _, count := range []int{10, 700} {
		c.Forget()
		s := c.Shelf()
		first, want := shelfRun(t, c, 0, count)
		second, _ := shelfRun(t, c, 1, count)
		look(first)
		look(second)
		most := 0
		for n := 2; n < 3*shelfRuns; n++ {
			if !has(first) {
				t.Fatalf("%d entries: what was used again and again was given up after %d others", count, n)
			}
			if got := look(first); !reflect.DeepEqual(got, want) {
				t.Fatalf("the first, after %d others: %v", n, got)
			}
			r, entries := shelfRun(t, c, n, count)
			for range 2 {
				if got := look(r); !reflect.DeepEqual(got, entries) {
					t.Fatalf("run %d: %v", n, got)
				}
			}
			sum := 0
			for _, k := range s.runs {
				sum += k.bytes
				most = max(most, k.bytes)
			}
			if sum != s.bytes || sum > shelfBytes || len(s.runs) > shelfRuns {
				t.Fatalf("%d runs are kept, %d bytes, %d counted", len(s.runs), sum, s.bytes)
			}
		}
		if has(second) || len(s.runs) < shelfRuns && s.bytes < shelfBytes-most {
			t.Errorf("%d entries: %d runs are kept, %d bytes, the least used %t", count, len(s.runs), s.bytes, has(second))
		}
	}

	// Neither what is like a run nor what does not open is taken for it.
	c.Forget()
	first, want := shelfRun(t, c, 0, 100)
	look(first)
	other := first.Clone()
	other.Packed++
	if _, err := c.Shelf().Look(other); err == nil {
		t.Error("another size was taken")
	}
	plain := records.Run{Data: records.AppendRun(nil, want[:1])}
	if entries, err := c.Shelf().Look(plain); err != nil || len(entries) != 1 {
		t.Errorf("a run that is not compressed: %v", err)
	}
	if n := len(c.Shelf().runs); n != 1 {
		t.Errorf("%d runs are kept, want 1: not what does not open, nor a run whose memory is not its own", n)
	}

	// Who began to read before all was forgotten puts nothing where others look.
	before := c.Shelf()
	c.Forget()
	if _, err := before.Look(first); err != nil || has(first) {
		t.Errorf("after Forget: %v, and it is kept: %t", err, has(first))
	}

	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				if entries, err := c.Shelf().Look(first); err != nil || len(entries) != len(want) {
					t.Errorf("%d entries: %v", len(entries), err)
				}
				c.Forget()
			}
		})
	}
	group.Wait()
}
