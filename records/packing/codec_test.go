package packing_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/roster"
)

func codec(t testing.TB) *packing.Codec {
	t.Helper()
	c, err := packing.NewCodec(2)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func size(runs []records.Run) (n int) {
	for _, r := range runs {
		n += r.Size()
	}
	return n
}

func entries(n, body int) []records.Entry {
	list := make([]records.Entry, n)
	for i := range list {
		env := records.Envelope{Kind: records.NewKind(identity.LaneDetail, roster.ClassAny, 1), Learner: identity.UserID{1, byte(i)}, Clock: records.Clock(i)}
		list[i] = records.Entry{Counter: uint64(i + 1), Envelope: env.Append(nil), Body: bytes.Repeat([]byte{byte(i), byte(i >> 8), 3}, (body+2)/3)[:body]}
	}
	return list
}

// sameEntry is what cmp.Diff takes seconds for where entries are many.
func sameEntry(a, b records.Entry) bool {
	return a.Counter == b.Counter && a.Stub == b.Stub && bytes.Equal(a.Envelope, b.Envelope) && bytes.Equal(a.Body, b.Body)
}

func TestPackAndUnpack(t *testing.T) {
	c := codec(t)
	// A full segment of the largest entries takes the most runs.
	full := entries(16, records.MaxBodyBytes)
	full = append(full, records.Entry{Counter: 17, Envelope: full[0].Envelope, Body: full[0].Body[:records.MaxBodyBytes]})[:17]
	full[16].Body = full[16].Body[:records.MaxBodyBytes-17*len(full[0].Envelope)]
	for name, list := range map[string][]records.Entry{
		"none": nil, "one": entries(1, 10), "many": entries(records.SegmentCounters, 30), "large": full,
	} {
		runs := c.Pack(list)
		if len(runs) > 6 {
			t.Errorf("%s: %d runs", name, len(runs))
		}
		count := 0
		for _, r := range c.PackRuns(list) {
			alone, packed, err := c.Open([]records.Run{r.Run})
			if err != nil || len(alone) != r.Count || len(packed) != 1 || packed[0].Count != r.Count {
				t.Errorf("%s: a run says that it holds %d entries and holds %d, %v", name, r.Count, len(alone), err)
			}
			count += r.Count
		}
		if count != len(list) {
			t.Errorf("%s: the runs hold %d entries of %d", name, count, len(list))
		}
		got, err := c.Unpack(runs)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.EqualFunc(list, got, sameEntry) {
			t.Errorf("%s: %s", name, cmp.Diff(list, got, cmpopts.EquateEmpty()))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		list := entries(rapid.IntRange(1, 120).Draw(t, "entries"), rapid.IntRange(0, 800).Draw(t, "body"))
		runs := c.Pack(list)
		for _, r := range runs {
			if r.Size() > records.MaxChunkBytes || len(r.Data) > records.MaxChunkBytes {
				t.Fatalf("chunk of %d bytes packed into %d", r.Size(), len(r.Data))
			}
		}
		if size(runs) > records.MaxRunBytes {
			return // more than one answer may carry
		}
		got, err := c.Unpack(runs)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(list, got); d != "" {
			t.Error(d)
		}
	})
}

// empty returns a frame with blocks before its first one that repeat a byte no times.
func empty(frame []byte, blocks int) []byte {
	var h zstd.Header
	if err := h.Decode(frame); err != nil {
		panic(err)
	}
	b := bytes.Clone(frame[:h.HeaderSize])
	for i := range blocks {
		b = append(b, 1<<1, 0, 0, byte(i))
	}
	return append(b, frame[h.HeaderSize:]...)
}

// TestBlocksAreBounded: empty ones take time to open and can hold whatever somebody
// wants others to store, and blocks of a few bytes each bring tables of their own.
func TestBlocksAreBounded(t *testing.T) {
	c := codec(t)
	for name, p := range map[string][]records.Run{"rows": c.PackRows(entries(500, 30)), "columns": c.Pack(entries(500, 30))} {
		r := p[0]
		if packing.InColumns(r) != (name == "columns") {
			t.Fatalf("%s are not", name)
		}
		r.Data = empty(p[0].Data, packing.MostBlocks-1)
		if _, err := c.Unpack([]records.Run{r}); err != nil {
			t.Errorf("%s, as many blocks as there may be: %v", name, err)
		}
		r.Data = empty(p[0].Data, packing.MostBlocks)
		if _, err := c.Unpack([]records.Run{r}); !errors.Is(err, packing.ErrRun) {
			t.Errorf("%s, a block too many: %v", name, err)
		}
	}
}

// bomb is a zstd frame of n zeros that states what it likes.
func bomb(t testing.TB, n int) []byte {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderCRC(false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeros{}, int64(n)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBombsAreRefusedBeforeTheyUnfold(t *testing.T) {
	c := codec(t)
	enc, _ := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	empty, _ := zstd.NewWriter(nil, zstd.WithSingleSegment(true), zstd.WithZeroFrames(true))
	honest := enc.EncodeAll(make([]byte, 1000), nil)
	large := enc.EncodeAll(make([]byte, 64<<20), nil)
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, honest...)
	for name, r := range map[string]records.Run{
		"streamed without a size":         {Packed: 1000, Data: bomb(t, 64<<20)},
		"states 64 MiB, announces 1000":   {Packed: 1000, Data: large},
		"announces more than a chunk":     {Packed: records.MaxChunkBytes + 1, Data: large},
		"states less than it holds":       {Packed: 900, Data: honest},
		"two frames":                      {Packed: 1000, Data: append(bytes.Clone(honest), large...)},
		"skippable frame first":           {Packed: 1000, Data: skippable},
		"a skippable frame last":          {Packed: 1000, Data: append(bytes.Clone(honest), 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4)},
		"an empty frame last":             {Packed: 1000, Data: append(bytes.Clone(honest), empty.EncodeAll(nil, nil)...)},
		"cut short":                       {Packed: 1000, Data: honest[:len(honest)-1]},
		"not zstd":                        {Packed: 1000, Data: []byte("no")},
		"compressed, but not any shorter": {Packed: 2, Data: honest},
	} {
		if _, err := c.Unpack([]records.Run{r}); !errors.Is(err, packing.ErrRun) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Honest frames, but not honest runs: too many entries in two chunks, and
	// chunks that do not rise.
	a := c.Pack(entries(3000, 1))
	if _, err := c.Unpack(append(a, a...)); !errors.Is(err, records.ErrRun) {
		t.Errorf("the same chunk twice: %v", err)
	}
	more := entries(6000, 1)
	if _, err := c.Unpack(append(c.Pack(more[:3000]), c.Pack(more[3000:])...)); !errors.Is(err, records.ErrRun) {
		t.Errorf("6000 entries in two chunks: %v", err)
	}
	if _, err := c.Unpack(make([]records.Run, 2)); err != nil {
		t.Errorf("nothing at all: %v", err)
	}
	if _, err := c.Unpack([]records.Run{{Data: make([]byte, records.MaxChunkBytes)}, {Data: make([]byte, records.MaxChunkBytes)}}); !errors.Is(err, packing.ErrRun) {
		t.Errorf("more than an answer may hold: %v", err)
	}
}

// TestEntriesKeepNoRoom: room that is used again for the next run is not what the
// entries of the last one stand in.
func TestEntriesKeepNoRoom(t *testing.T) {
	c := codec(t)
	r, other := c.Pack(class(300))[0], c.Pack(entries(300, 60))[0]
	got, err := c.Unpack([]records.Run{r})
	if err != nil || !packing.InColumns(r) || !packing.InColumns(other) {
		t.Fatal(err)
	}
	clear(r.Data)
	for range 3 {
		if _, err := c.Unpack([]records.Run{other}); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(class(300)[:len(got)], got); d != "" {
		t.Error(d)
	}
}

// FuzzOpen: whatever a run says, its entries are no more than it costs in credit, and
// are the same for whoever knows rows only.
func FuzzOpen(f *testing.F) {
	c := codec(f)
	for _, list := range [][]records.Entry{class(2), class(60), entries(5, 10)} {
		for _, runs := range [][]records.Run{c.Pack(list), c.PackRows(list)} {
			f.Add(runs[0].Packed, runs[0].Data)
		}
	}
	f.Fuzz(func(t *testing.T, size uint32, data []byte) {
		r := records.Run{Packed: size, Data: data}
		list, packed, err := c.Open([]records.Run{r})
		if err != nil {
			if !errors.Is(err, packing.ErrRun) && !errors.Is(err, records.ErrRun) {
				t.Fatal(err)
			}
			return
		}
		// A run without entries is left out.
		if len(list) > 0 && (records.RunSize(list) != r.Size() || len(packed) != 1 || packed[0].Count != len(list)) {
			t.Fatalf("%d bytes announced for entries of %d, %+v", r.Size(), records.RunSize(list), packed)
		}
		rows, err := c.InRows(records.PackedRun{Run: r, Count: len(list)})
		if err != nil || packing.InColumns(rows.Run) || rows.Size() != r.Size() {
			t.Fatalf("%d bytes, %d in rows: %v", r.Size(), rows.Size(), err)
		}
		same, err := c.Unpack([]records.Run{rows.Run})
		if d := cmp.Diff(list, same, asText); err != nil || d != "" {
			t.Fatalf("in rows: %v, %s", err, d)
		}
	})
}

func BenchmarkPack(b *testing.B) {
	c, list := codec(b), entries(records.SegmentCounters, 30)
	b.SetBytes(int64(size(c.Pack(list))))
	for b.Loop() {
		c.Pack(list)
	}
}

func BenchmarkUnpack(b *testing.B) {
	c := codec(b)
	runs := c.Pack(entries(records.SegmentCounters, 30))
	b.SetBytes(int64(size(runs)))
	for b.Loop() {
		if _, err := c.Unpack(runs); err != nil {
			b.Fatal(err)
		}
	}
}
