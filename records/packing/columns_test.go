package packing_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/roster"
)

// class returns what a class leaves in a log: answers of few learners to few
// questions, and their progress.
func class(n int) []records.Entry {
	random := rand.New(rand.NewPCG(1, 2))
	list := make([]records.Entry, 0, n)
	clock, wall := records.Clock(1000), int64(1_790_000_000_000)
	for counter := uint64(1); len(list) < n; counter += 1 + random.Uint64N(3) {
		clock += records.Clock(random.IntN(3))
		wall += random.Int64N(20_000)
		who := identity.UserID{0x8a, byte(random.IntN(30))}
		env := records.Envelope{Kind: records.NewKind(identity.LaneDetail, roster.ClassAny, 15), Learner: who, Clock: clock, Wall: wall}
		exercise := []string{"fractions-1", "fractions-2", "reading-7", "sums"}[random.IntN(4)]
		var body []byte
		if random.IntN(4) == 0 {
			env.Kind, env.Register, env.Key = records.NewKind(identity.LaneProgress, roster.ClassAny, 11), true, []byte(exercise)
			body = protowire.AppendVarint(protowire.AppendTag(body, 1, protowire.VarintType), random.Uint64N(50))
			body = protowire.AppendVarint(protowire.AppendTag(body, 3, protowire.VarintType), random.Uint64N(1_000_000))
		} else {
			env.Actor = who
			body = protowire.AppendString(protowire.AppendTag(body, 2, protowire.BytesType), exercise)
			body = protowire.AppendString(protowire.AppendTag(body, 3, protowire.BytesType), exercise[:3])
			body = protowire.AppendVarint(protowire.AppendTag(body, 4, protowire.VarintType), random.Uint64N(1<<53))
			body = protowire.AppendString(protowire.AppendTag(body, 5, protowire.BytesType), string('0'+rune(random.IntN(10))))
			body = protowire.AppendVarint(protowire.AppendTag(body, 8, protowire.VarintType), random.Uint64N(60_000))
		}
		list = append(list, records.Entry{Counter: counter, Envelope: env.Append(nil), Body: body})
	}
	return list
}

// anyEntries draws entries of every shape, regular and not.
func anyEntries(t *rapid.T) []records.Entry {
	ids := rapid.SampledFrom([]identity.UserID{{}, {1}, {2}, {3, 4}})
	counter, clock := uint64(0), rapid.Uint64().Draw(t, "clock")
	list := make([]records.Entry, rapid.IntRange(1, 40).Draw(t, "entries"))
	for i := range list {
		counter += rapid.SampledFrom([]uint64{1, 1, 1, 2, 300, 1 << 50}).Draw(t, "step")
		clock += rapid.SampledFrom([]uint64{0, 1, 1 << 40, ^uint64(0), 1 << 63}).Draw(t, "clock step")
		env := records.Envelope{
			Kind: records.Kind(rapid.SampledFrom([]uint16{0, 1, 0xffff}).Draw(t, "kind")), Register: rapid.Bool().Draw(t, "register"),
			Learner: ids.Draw(t, "learner"), Actor: ids.Draw(t, "actor"), Clock: records.Clock(clock), Wall: rapid.Int64().Draw(t, "wall"),
			Quality: records.TimeQuality(rapid.IntRange(0, 2).Draw(t, "quality")),
		}
		if env.Register {
			env.Key = rapid.SampledFrom([][]byte{nil, []byte("a"), make([]byte, records.MaxKeyBytes)}).Draw(t, "key")
		}
		if rapid.IntRange(0, 9).Draw(t, "again") == 0 {
			env.Origin = &records.Origin{Counter: rapid.Uint64().Draw(t, "origin"), Leaf: identity.Hash{9}}
		}
		e := records.Entry{Counter: counter, Envelope: env.Append(nil)}
		switch rapid.IntRange(0, 9).Draw(t, "body") {
		case 0:
			e.Stub, e.Body = true, rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash")
		case 1:
			e.Body = rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")
		case 2:
			e.Envelope = rapid.SliceOfN(rapid.Byte(), 0, records.MaxEnvelopeBytes).Draw(t, "envelope")
		default:
			for range rapid.SampledFrom([]int{0, 1, 2, 3, 8, packing.MostFields + 1}).Draw(t, "fields") {
				num := protowire.Number(rapid.SampledFrom([]int32{1, 2, 15, 16, 1<<29 - 1}).Draw(t, "number"))
				switch rapid.IntRange(0, 4).Draw(t, "type") {
				case 0:
					e.Body = protowire.AppendVarint(protowire.AppendTag(e.Body, num, protowire.VarintType), rapid.Uint64().Draw(t, "varint"))
				case 1:
					e.Body = protowire.AppendFixed32(protowire.AppendTag(e.Body, num, protowire.Fixed32Type), rapid.Uint32().Draw(t, "fixed32"))
				case 2:
					e.Body = protowire.AppendFixed64(protowire.AppendTag(e.Body, num, protowire.Fixed64Type), rapid.Uint64().Draw(t, "fixed64"))
				case 3:
					e.Body = protowire.AppendGroup(protowire.AppendTag(e.Body, num, protowire.StartGroupType), num, nil)
				default:
					e.Body = protowire.AppendString(protowire.AppendTag(e.Body, num, protowire.BytesType), rapid.SampledFrom([]string{"", "x", "a longer text", string(make([]byte, 200))}).Draw(t, "string"))
				}
			}
		}
		list[i] = e
	}
	return list
}

// asText compares bytes, where none and nil are the same.
var asText = cmp.Transformer("text", func(b []byte) string { return string(b) })

func TestColumnsGiveBackEveryByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyEntries(t)
		b, fits := packing.AppendColumns(nil, want)
		if !fits {
			t.Fatalf("%d entries do not fit", len(want))
		}
		got, err := packing.DecodeColumns(nil, b, records.MaxSegmentBytes)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, asText); d != "" {
			t.Fatal(d)
		}
		drawn, err := decodeReference(b)
		if d := cmp.Diff(want, drawn, asText); err != nil || d != "" {
			t.Fatalf("as docs/formats.md draws them: %v, %s", err, d)
		}
		// Behind others, and with what AppendEntries makes of them.
		b = packing.AppendEntries([]byte("before"), want)
		if len(b)-len("before") > records.RunSize(want) {
			t.Errorf("%d bytes, %d in rows", len(b)-len("before"), records.RunSize(want))
		}
		again, err := packing.DecodeEntries(got[:1:1], b[len("before"):], records.MaxSegmentBytes)
		if err != nil || len(again) != 1+len(want) {
			t.Fatalf("%d entries behind one: %d, %v", len(want), len(again), err)
		}
	})
}

// What a class leaves takes a third less in columns, and less than half before it is
// compressed.
func TestColumnsAreShorter(t *testing.T) {
	c, list := codec(t), class(1000)
	length := func(runs []records.Run) (n int) {
		for _, r := range runs {
			n += len(r.Data)
		}
		return n
	}
	rows, columns := length(c.PackRows(list)), length(c.Pack(list))
	if plain := packing.AppendEntries(nil, list); 3*columns > 2*rows || 2*len(plain) > records.RunSize(list) {
		t.Errorf("%d bytes compressed, %d in rows; %d bytes plain, %d in rows", columns, rows, len(plain), records.RunSize(list))
	}
}

// TestRowsForWhoKnowsThemOnly: a run is given as one that DecodeRun reads, and costs
// as much credit as before.
func TestRowsForWhoKnowsThemOnly(t *testing.T) {
	c, list := codec(t), class(1000)
	for i, p := range c.PackRuns(list) {
		rows, err := c.InRows(p)
		if err != nil || !packing.InColumns(p.Run) || packing.InColumns(rows.Run) || rows.Size() != p.Size() || rows.Count != p.Count {
			t.Errorf("run %d of %d bytes and %d entries: %d and %d in rows, %v", i, p.Size(), p.Count, rows.Size(), rows.Count, err)
		}
		want, err := c.Unpack([]records.Run{p.Run})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Unpack([]records.Run{rows.Run})
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("run %d: %v, %s", i, err, d)
		}
		again, err := c.InRows(rows)
		if d := cmp.Diff(rows, again); err != nil || d != "" {
			t.Errorf("rows in rows: %v, %s", err, d)
		}
	}
	short := c.PackRuns(class(1))[0]
	if rows, err := c.InRows(short); err != nil || !cmp.Equal(rows, short) {
		t.Errorf("a run that is not compressed: %v", err)
	}
	if _, err := c.InRows(records.PackedRun{Run: records.Run{Packed: 500, Data: []byte("no frame")}, Count: 3}); !errors.Is(err, packing.ErrRun) {
		t.Errorf("what is no run: %v", err)
	}
}

// TestAnnouncedSizeIsThatOfRows: of columns as of rows, credit is taken for what
// they are when they are opened.
func TestAnnouncedSizeIsThatOfRows(t *testing.T) {
	c := codec(t)
	honest := c.Pack(class(500))[0]
	for _, size := range []uint32{honest.Packed - 1, honest.Packed + 1, records.MaxChunkBytes} {
		if _, err := c.Unpack([]records.Run{{Packed: size, Data: honest.Data}}); !errors.Is(err, packing.ErrRun) && !errors.Is(err, records.ErrRun) {
			t.Errorf("%d bytes announced as %d: %v", honest.Packed, size, err)
		}
	}
}

func TestWhatIsNotColumnsIsRefused(t *testing.T) {
	list := append(class(50), records.Entry{Counter: 1 << 20, Envelope: []byte("another format"), Body: []byte{0xff}})
	list = append(list, list[0].ToStub())
	list[len(list)-1].Counter = 1<<20 + 1
	plain, _ := packing.AppendColumns(nil, list)
	total := 0
	for i := range list {
		total += list[i].Size()
	}
	refused := func(what string, b []byte, limit int) {
		t.Helper()
		if _, err := packing.DecodeColumns(nil, b, limit); !errors.Is(err, records.ErrRun) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := packing.DecodeColumns(nil, plain, total); err != nil {
		t.Fatal(err)
	}
	refused("more than the limit", plain, total-1)
	refused("a byte too many", append(plain[:len(plain):len(plain)], 0), total)
	for n := range plain {
		refused("cut short", plain[:n], total)
	}
	env := records.Envelope{Kind: 1}
	short, _ := packing.AppendColumns(nil, []records.Entry{{Counter: 1, Envelope: env.Append(nil), Body: []byte{0x08, 0x01}}})
	if _, err := packing.DecodeColumns(nil, short, total); err != nil {
		t.Fatal(err)
	}
	short[len(short)-1] = 0x80
	refused("a value without end", short, total)
	header := func(numbers ...uint64) []byte {
		b := []byte{2}
		for _, n := range numbers {
			b = binary.AppendUvarint(b, n)
		}
		return append(b, make([]byte, 1<<16)...)
	}
	refused("no entries", header(0, 0, 0), total)
	refused("more entries than a segment has", header(records.SegmentCounters+1, 100, 1), total)
	refused("more bytes than a segment has", header(1, records.MaxSegmentBytes+1, 1), 1<<30)
	refused("more shapes than entries", header(1, 20, 2), total)
}

// TestShapesAreBounded: what differs more than any release's records do is left in
// rows, and whoever claims otherwise is refused.
func TestShapesAreBounded(t *testing.T) {
	kinds := func(n int) (list []records.Entry) {
		for i := range n {
			env := records.Envelope{Kind: records.Kind(i)}
			list = append(list, records.Entry{Counter: uint64(i + 1), Envelope: env.Append(nil), Body: protowire.AppendVarint([]byte{0x08}, uint64(i))})
		}
		return list
	}
	if b, fits := packing.AppendColumns(nil, kinds(packing.MostShapes)); !fits {
		t.Error("as many as there may be do not fit")
	} else if _, err := packing.DecodeColumns(nil, b, records.MaxSegmentBytes); err != nil {
		t.Error(err)
	}
	many := kinds(packing.MostShapes + 1)
	b, fits := packing.AppendColumns(nil, many)
	if _, err := packing.DecodeColumns(nil, b, records.MaxSegmentBytes); fits || !errors.Is(err, records.ErrRun) {
		t.Errorf("one more fits: %t, %v", fits, err)
	}
	if b := packing.AppendEntries(nil, many); b[0] != 1 {
		t.Errorf("one more is in format %d", b[0])
	}
	// Few shapes, but many columns.
	var wide []records.Entry
	for i := range packing.MostShapes / 2 {
		env := records.Envelope{Kind: records.Kind(i)}
		e := records.Entry{Counter: uint64(i + 1), Envelope: env.Append(nil)}
		for n := range packing.MostFields {
			e.Body = append(protowire.AppendTag(e.Body, protowire.Number(n+1), protowire.VarintType), 0)
		}
		wide = append(wide, e)
	}
	b, fits = packing.AppendColumns(nil, wide)
	if _, err := packing.DecodeColumns(nil, b, records.MaxSegmentBytes); fits || !errors.Is(err, records.ErrRun) {
		t.Errorf("many columns fit: %t, %v", fits, err)
	}
	// They are left where they begin to be too many: each would be a buffer.
	var rows []byte
	if n := testing.AllocsPerRun(5, func() { rows = packing.AppendEntries(rows[:0], wide) }); n > 2*packing.MostParts || rows[0] != 1 {
		t.Errorf("%.0f buffers to write format %d", n, rows[0])
	}
}

// TestColumnsAreFrozen: what is stored and sent today is opened by every later
// release.
func TestColumnsAreFrozen(t *testing.T) {
	who := identity.UserID{0xaa}
	list := []records.Entry{
		{Counter: 5, Envelope: (&records.Envelope{Kind: 0x400f, Learner: who, Actor: who, Clock: 7, Wall: 1000}).Append(nil), Body: []byte("\x12\x03abc\x18\x81\x01")},
		{Counter: 6, Envelope: (&records.Envelope{Kind: 0x400f, Learner: who, Actor: identity.UserID{0xbb}, Clock: 9, Wall: 990}).Append(nil), Body: []byte("\x12\x03abc\x18\x02")},
		{Counter: 9, Envelope: (&records.Envelope{Kind: 0x200b, Learner: who, Register: true, Key: []byte("k"), Clock: 10, Wall: 990}).Append(nil), Body: []byte("\x0d\x01\x02\x03\x04")},
		{Counter: 10, Envelope: []byte("wild"), Body: []byte{0xff}},
	}
	const want = "" +
		"0204a701" + // format, four entries of 167 bytes
		"03" + "00" + "0106400f" + "021218" + // shapes: an event with two fields,
		"00" + "0103200b" + "010d" + // a register with one,
		"06" + // neither envelope nor body as they should be
		"04" + "04" + "03" + "04" + "03" + "02" + "20" + "01" + "02" + "05" + // lengths of what all have,
		"02" + "04" + "03" + "04" + "01" + "02" + // and of the fields
		"04000200" + // counters
		"00000102" + // shapes
		"0e0402" + // clocks
		"d00f1300" + // walls
		"000101" + "0001" + // learners, actors
		"aa000000000000000000000000000000" + "bb000000000000000000000000000000" +
		"00" + "016b" + // keys
		"0477696c64" + // an envelope
		"0001" + "03616263" + "810102" + "01020304" + // the fields: strings, numbers, four bytes
		"00" + "01ff" // a body
	b, _ := packing.AppendColumns(nil, list)
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("written %s, want %s", got, want)
	}
	old, err := hex.DecodeString(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := packing.DecodeColumns(nil, old, records.MaxSegmentBytes)
	if d := cmp.Diff(list, got); err != nil || d != "" {
		t.Errorf("%v, %s", err, d)
	}
}

func FuzzColumns(f *testing.F) {
	for _, list := range [][]records.Entry{class(3), class(60), entries(5, 10)} {
		b, _ := packing.AppendColumns(nil, list)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := packing.DecodeColumns(nil, b, records.MaxSegmentBytes)
		drawn, wrong := decodeReference(b)
		if (err == nil) != (wrong == nil) {
			t.Fatalf("%v; as docs/formats.md draws them: %v", err, wrong)
		}
		if d := cmp.Diff(list, drawn, asText); err == nil && d != "" {
			t.Fatalf("as docs/formats.md draws them: %s", d)
		}
		if err != nil {
			if !errors.Is(err, records.ErrRun) {
				t.Fatal(err)
			}
			return
		}
		last := uint64(0)
		for i := range list {
			if list[i].Counter <= last || len(list[i].Envelope) > records.MaxEnvelopeBytes || len(list[i].Body) > records.MaxBodyBytes {
				t.Fatalf("entry %d after %d", list[i].Counter, last)
			}
			last = list[i].Counter
		}
		again, _ := packing.AppendColumns(nil, list)
		same, err := packing.DecodeColumns(nil, again, records.MaxSegmentBytes)
		if d := cmp.Diff(list, same, asText); err != nil || d != "" {
			t.Fatalf("%v, %s", err, d)
		}
	})
}

func BenchmarkAppendEntries(b *testing.B) {
	list := class(1000)
	b.ReportAllocs()
	var plain []byte
	for b.Loop() {
		plain = packing.AppendEntries(plain[:0], list)
	}
}

func BenchmarkDecodeEntries(b *testing.B) {
	plain := packing.AppendEntries(nil, class(1000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := packing.DecodeEntries(nil, plain, records.MaxSegmentBytes); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeRows(b *testing.B) {
	plain := records.AppendRun(nil, class(1000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := records.DecodeRun(nil, plain); err != nil {
			b.Fatal(err)
		}
	}
}
