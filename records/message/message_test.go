package message_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/records/message"
)

type colour uint8

// sample has a field of every sort. Its numbers leave room, so that a message
// of another release can have fields in between.
type sample struct {
	Count   uint64
	Small   uint32
	Colour  colour
	Signed  int64
	Flag    bool
	Raw     []byte
	Text    string
	ID      [16]byte
	Far     uint64
	Inner   inner
	Maybe   *inner
	Inners  []inner
	Packed  []uint64
	Raws    [][]byte
	Texts   []string
	IDs     [][16]byte
	Unknown []byte
}

func (m *sample) Fields(v *message.Visitor) {
	v.Uint64(1, &m.Count)
	v.Uint32(2, &m.Small)
	message.Uint(v, 3, &m.Colour)
	v.Int64(4, &m.Signed)
	v.Bool(5, &m.Flag)
	v.Bytes(6, &m.Raw, 300)
	v.String(7, &m.Text, 40)
	v.Fixed(8, m.ID[:])
	v.Fixed64(9, &m.Far)
	v.Message(20, &m.Inner)
	message.Optional(v, 21, &m.Maybe)
	message.List(v, 22, &m.Inners, 5)
	v.Packed(23, &m.Packed, 5)
	v.BytesList(24, &m.Raws, 5, 10)
	v.StringList(25, &m.Texts, 5, 10)
	message.FixedList(v, 26, &m.IDs, 5)
	v.Unknown(&m.Unknown)
}

// inner does not keep what it does not know.
type inner struct {
	Name  string
	Value uint64
}

func (m *inner) Fields(v *message.Visitor) {
	v.String(1, &m.Name, 400)
	v.Uint64(2, &m.Value)
}

// nest contains itself.
type nest struct{ Next *nest }

func (m *nest) Fields(v *message.Visitor) { message.Optional(v, 1, &m.Next) }

const limit = 4096

func full() sample {
	return sample{
		Count: 300, Small: math.MaxUint32, Colour: 255, Signed: -2, Flag: true,
		Raw: []byte{0, 1}, Text: "größer", ID: [16]byte{15: 1}, Far: 1 << 63,
		Inner: inner{Name: "in", Value: 1}, Maybe: &inner{},
		Inners: []inner{{}, {Name: strings.Repeat("x", 200)}},
		Packed: []uint64{0, 1, 1 << 40}, Raws: [][]byte{{}, {9}}, Texts: []string{"a", ""},
		IDs:     [][16]byte{{}, {1}},
		Unknown: protowire.AppendString(protowire.AppendTag(nil, 99, protowire.BytesType), "later"),
	}
}

// byHand writes full() with protowire alone.
func byHand() []byte {
	var b []byte
	tag := func(n protowire.Number, t protowire.Type) { b = protowire.AppendTag(b, n, t) }
	varint := func(n protowire.Number, x uint64) {
		tag(n, protowire.VarintType)
		b = protowire.AppendVarint(b, x)
	}
	str := func(n protowire.Number, s string) {
		tag(n, protowire.BytesType)
		b = protowire.AppendString(b, s)
	}
	varint(1, 300)
	varint(2, math.MaxUint32)
	varint(3, 255)
	varint(4, protowire.EncodeZigZag(-2))
	varint(5, 1)
	str(6, "\x00\x01")
	str(7, "größer")
	str(8, strings.Repeat("\x00", 15)+"\x01")
	tag(9, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, 1<<63)
	str(20, "\x0a\x02in\x10\x01")
	str(21, "")
	str(22, "")
	str(22, "\x0a\xc8\x01"+strings.Repeat("x", 200))
	str(23, "\x00\x01\x80\x80\x80\x80\x80\x20")
	str(24, "")
	str(24, "\x09")
	str(25, "a")
	str(25, "")
	str(26, strings.Repeat("\x00", 16)+"\x01"+strings.Repeat("\x00", 15))
	str(99, "later")
	return b
}

// The bytes of the sample without its long name. They never change.
const golden = "08ac0210ffffffff0f18ff01200328013202000" +
	"13a086772c3b6c39f6572421000000000000000000000000000000001490000000000000080" +
	"a201060a02696e1001aa0100b20100ba0108000180808080" + "8020c20100c2010109ca010161ca0100" +
	"d201200000000000000000000000000000000001000000000000000000000000000000" + "9a06056c61746572"

func TestGoldenBytes(t *testing.T) {
	m := full()
	got := message.Append([]byte("before"), &m)
	if want := append([]byte("before"), byHand()...); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	m.Inners = m.Inners[:1]
	if got := hex.EncodeToString(message.Append(nil, &m)); got != golden {
		t.Errorf("got  %s\nwant %s", got, golden)
	}
	if got := message.Append(nil, &sample{}); len(got) != 0 {
		t.Errorf("the zero message is %x, want nothing", got)
	}
}

func TestRoundTrip(t *testing.T) {
	b := byHand()
	for name, decode := range map[string]func([]byte, message.Message, int) error{
		"Decode": message.Decode, "DecodeShared": message.DecodeShared,
	} {
		var got sample
		if err := decode(b, &got, limit); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(full(), got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestWhoOwnsTheBytes(t *testing.T) {
	var kept, shared sample
	b := byHand()
	if err := message.Decode(b, &kept, limit); err != nil {
		t.Fatal(err)
	}
	if err := message.DecodeShared(b, &shared, limit); err != nil {
		t.Fatal(err)
	}
	_ = append(shared.Raw, 0xff) // must not reach the field behind it
	if !bytes.Equal(b, byHand()) {
		t.Error("appending to a shared field changed the input")
	}
	for i := range b {
		b[i] = 0xee
	}
	if d := cmp.Diff(full(), kept); d != "" {
		t.Errorf("Decode kept a part of its input: %s", d)
	}
	if shared.Raw[0] != 0xee || shared.Unknown[0] != 0xee || shared.Text != "größer" {
		t.Error("DecodeShared copied bytes or shared a string")
	}
}

func samples() *rapid.Generator[sample] {
	inners := rapid.Custom(func(t *rapid.T) inner {
		return inner{Name: rapid.StringN(-1, -1, 200).Draw(t, "name"), Value: rapid.Uint64().Draw(t, "value")}
	})
	return rapid.Custom(func(t *rapid.T) sample {
		m := sample{
			Count: rapid.Uint64().Draw(t, "count"), Small: rapid.Uint32().Draw(t, "small"),
			Colour: colour(rapid.Uint8().Draw(t, "colour")), Signed: rapid.Int64().Draw(t, "signed"),
			Flag: rapid.Bool().Draw(t, "flag"), Far: rapid.Uint64().Draw(t, "far"),
			Raw:   rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "raw"),
			Text:  rapid.StringN(-1, -1, 40).Draw(t, "text"),
			Inner: inners.Draw(t, "inner"), Maybe: rapid.Ptr(inners, true).Draw(t, "maybe"),
			Inners: rapid.SliceOfN(inners, 0, 5).Draw(t, "inners"),
			Packed: rapid.SliceOfN(rapid.Uint64(), 0, 5).Draw(t, "packed"),
			Raws:   rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 10), 0, 5).Draw(t, "raws"),
			Texts:  rapid.SliceOfN(rapid.StringN(-1, -1, 10), 0, 5).Draw(t, "texts"),
		}
		copy(m.ID[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "id"))
		m.IDs = make([][16]byte, rapid.IntRange(0, 5).Draw(t, "ids"))
		for i := range m.IDs {
			m.IDs[i][0] = rapid.Byte().Draw(t, "id")
		}
		// A field from before, one from between, one from after.
		for _, num := range []protowire.Number{12, 13, 13, 500} {
			if rapid.Bool().Draw(t, "unknown") {
				m.Unknown = protowire.AppendTag(m.Unknown, num, protowire.VarintType)
				m.Unknown = protowire.AppendVarint(m.Unknown, rapid.Uint64().Draw(t, "unknown value"))
			}
		}
		return m
	})
}

func TestEveryMessageRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := samples().Draw(t, "message")
		b, err := message.Encode(&m, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		var got sample
		if err := message.Decode(b, &got, len(b)); err != nil {
			t.Fatal(err)
		}
		empty := cmp.FilterPath(func(p cmp.Path) bool { return true }, cmp.Options{
			cmp.FilterValues(func(x, y []byte) bool { return len(x)+len(y) == 0 }, cmp.Ignore()),
			cmp.FilterValues(func(x, y []uint64) bool { return len(x)+len(y) == 0 }, cmp.Ignore()),
			cmp.FilterValues(func(x, y []string) bool { return len(x)+len(y) == 0 }, cmp.Ignore()),
			cmp.FilterValues(func(x, y [][]byte) bool { return len(x)+len(y) == 0 }, cmp.Ignore()),
			cmp.FilterValues(func(x, y []inner) bool { return len(x)+len(y) == 0 }, cmp.Ignore()),
			cmp.FilterValues(func(x, y [][16]byte) bool { return len(x)+len(y) == 0 }, cmp.Ignore()),
		})
		if d := cmp.Diff(m, got, empty); d != "" {
			t.Fatal(d)
		}
		if again := message.Append(nil, &got); !bytes.Equal(again, b) {
			t.Fatalf("encoded again: %x, was %x", again, b)
		}
		for i := range b {
			if err := message.Decode(b[:i], new(sample), limit); err != nil && !errors.Is(err, message.ErrMalformed) {
				t.Fatalf("cut to %d bytes: %v", i, err)
			}
		}
	})
}

func TestUnknownFieldsKeepTheirPlaces(t *testing.T) {
	field := func(b []byte, num protowire.Number, x uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), x)
	}
	b := field(nil, 1, 7)
	b = field(b, 10, 8)
	b = field(b, 10, 8)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 11, protowire.Fixed32Type), 5)
	b = protowire.AppendBytes(protowire.AppendTag(b, 20, protowire.BytesType), field(nil, 2, 3))
	b = field(b, 27, 0)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 28, protowire.Fixed64Type), 5)
	var m sample
	if err := message.Decode(b, &m, limit); err != nil {
		t.Fatal(err)
	}
	if got := message.Append(nil, &m); !bytes.Equal(got, b) {
		t.Errorf("got  %x\nwant %x", got, b)
	}
	var small inner
	if err := message.Decode(field(field(nil, 2, 1), 3, 1), &small, limit); err != nil || small.Value != 1 {
		t.Errorf("a message that keeps no unknown fields: %v, %v", small, err)
	}
}

func TestRefusals(t *testing.T) {
	long := strings.Repeat("01", 301)
	for _, c := range []struct {
		name, bytes string
		want        error
		text        string
	}{
		{"field twice", "0801" + "0801", message.ErrMalformed, "field 1: given twice"},
		{"message twice", "a2010210" + "01" + "a2010210" + "01", message.ErrMalformed, "field 20: given twice"},
		{"out of order", "1001" + "0801", message.ErrMalformed, "field 1: after field 2"},
		{"unknown out of order", "e80701" + "e00701", message.ErrMalformed, "after field 125"},
		{"zero present", "0800", message.ErrMalformed, "absence"},
		{"false present", "2800", message.ErrMalformed, "absence"},
		{"bool of two", "2802", message.ErrMalformed, "neither"},
		{"empty bytes", "3200", message.ErrMalformed, "absence"},
		{"empty message", "a20100", message.ErrMalformed, "absence"},
		{"zero identifier", "4210" + strings.Repeat("00", 16), message.ErrMalformed, "absence"},
		{"zero fixed64", "49" + strings.Repeat("00", 8), message.ErrMalformed, "absence"},
		{"empty packed", "ba0100", message.ErrMalformed, "absence"},
		{"long varint", "088100", message.ErrMalformed, "longer than"},
		{"long tag", "888000" + "01", message.ErrMalformed, "no field"},
		{"long length", "32810001", message.ErrMalformed, "cut short"},
		{"overflowing varint", "08ffffffffffffffffff02", message.ErrMalformed, "cut short"},
		{"uint32 too large", "108080808010", message.ErrMalformed, "too large"},
		{"enumeration too large", "188002", message.ErrMalformed, "too large"},
		{"wrong wire type", "0a0101", message.ErrMalformed, "wire type 2, want 0"},
		{"wrong wire type in a list", "b20100" + "b00101", message.ErrMalformed, "wire type 0, want 2"},
		{"packed not packed", "b80101", message.ErrMalformed, "wire type"},
		{"packed cut", "ba010180", message.ErrMalformed, "cut short"},
		{"group", "e307e407", message.ErrMalformed, "not used"},
		{"field number 0", "0001", message.ErrMalformed, "no field"},
		{"field number 2^29", "808080801001", message.ErrMalformed, "no field"},
		{"value cut", "08", message.ErrMalformed, "cut short"},
		{"bytes cut", "320201", message.ErrMalformed, "cut short"},
		{"bytes of 2^63", "32ffffffffffffffff7f", message.ErrMalformed, "cut short"},
		{"fixed64 cut", "4901", message.ErrMalformed, "cut short"},
		{"unknown cut", "e80780", message.ErrMalformed, "no value"},
		{"identifier short", "420101", message.ErrMalformed, "1 bytes, want 16"},
		{"identifiers uneven", "d2010101", message.ErrMalformed, "multiple of 16"},
		{"not UTF-8", "3a01ff", message.ErrMalformed, "UTF-8"},
		{"list element not UTF-8", "ca0101ff", message.ErrMalformed, "UTF-8"},
		{"inner not UTF-8", "a201030a01ff", message.ErrMalformed, "field 20: field 1: not UTF-8"},
		{"inner cut", "a2010110", message.ErrMalformed, "field 20: field 2"},
		{"bytes over limit", "32ad02" + long, message.ErrTooLarge, "301, at most 300"},
		{"list over limit", strings.Repeat("b20100", 6), message.ErrTooLarge, "6, at most 5"},
		{"bytes list over limit", strings.Repeat("c20100", 6), message.ErrTooLarge, "6, at most 5"},
		{"bytes element over limit", "c2010b" + strings.Repeat("00", 11), message.ErrTooLarge, "11, at most 10"},
		{"packed over limit", "ba0106000000000000", message.ErrTooLarge, "6, at most 5"},
		{"identifiers over limit", "d20160" + strings.Repeat("00", 96), message.ErrTooLarge, "6, at most 5"},
		{"whole over limit", strings.Repeat("00", limit+1), message.ErrTooLarge, "at most 4096"},
	} {
		b, err := hex.DecodeString(c.bytes)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if err := message.Decode(b, new(sample), limit); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.want, c.text)
		}
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	for name, c := range map[string]struct {
		m    sample
		want error
	}{
		"text of other encoding": {sample{Text: "gr\xf6\xdfer"}, message.ErrMalformed},
		"text too long":          {sample{Text: strings.Repeat("x", 41)}, message.ErrTooLarge},
		"bytes too long":         {sample{Raw: make([]byte, 301)}, message.ErrTooLarge},
		"inner text too long":    {sample{Inner: inner{Name: strings.Repeat("x", 401)}}, message.ErrTooLarge},
		"list too long":          {sample{Inners: make([]inner, 6)}, message.ErrTooLarge},
		"packed too long":        {sample{Packed: make([]uint64, 6)}, message.ErrTooLarge},
		"identifiers too many":   {sample{IDs: make([][16]byte, 6)}, message.ErrTooLarge},
		"element too long":       {sample{Texts: []string{"12345678901"}}, message.ErrTooLarge},
		"whole too long":         {sample{Unknown: make([]byte, limit+1)}, message.ErrTooLarge},
	} {
		if b, err := message.Encode(&c.m, limit); !errors.Is(err, c.want) || b != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := message.Decode(message.Append(nil, &c.m), new(sample), limit); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	chain := func(n int) *nest {
		m := &nest{}
		for range n {
			m = &nest{Next: m}
		}
		return m
	}
	b, err := message.Encode(chain(32), limit)
	if err != nil {
		t.Fatal(err)
	}
	if err := message.Decode(b, new(nest), limit); err != nil {
		t.Error(err)
	}
	if _, err := message.Encode(chain(33), limit); !errors.Is(err, message.ErrTooLarge) {
		t.Errorf("encoded 33 messages within each other: %v", err)
	}
	deeper := append([]byte{0x0a, byte(len(b))}, b...)
	if err := message.Decode(deeper, new(nest), limit); !errors.Is(err, message.ErrTooLarge) {
		t.Errorf("decoded 33 messages within each other: %v", err)
	}
}

type disorder struct{ a, b uint64 }

func (m *disorder) Fields(v *message.Visitor) { v.Uint64(2, &m.a); v.Uint64(1, &m.b) }

func TestFieldsMustAscend(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("fields visited out of order without a panic")
		}
	}()
	message.Append(nil, &disorder{})
}

func TestEncodingDoesNotAllocate(t *testing.T) {
	m := full()
	b := make([]byte, 0, limit)
	if n := testing.AllocsPerRun(100, func() { message.Append(b, &m) }); n > 0.5 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(byHand())
	m := full()
	m.Unknown = nil
	f.Add(message.Append(nil, &m))
	f.Add([]byte{0x08, 0x01, 0x50, 0x01, 0xa2, 0x01, 0x02, 0x10, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		var kept, shared, again sample
		err := message.Decode(b, &kept, limit)
		if errShared := message.DecodeShared(b, &shared, limit); (err == nil) != (errShared == nil) {
			t.Fatalf("Decode: %v, DecodeShared: %v", err, errShared)
		}
		if err != nil {
			if !errors.Is(err, message.ErrMalformed) && !errors.Is(err, message.ErrTooLarge) {
				t.Fatalf("error without a sentinel: %v", err)
			}
			return
		}
		if d := cmp.Diff(kept, shared); d != "" {
			t.Fatal(d)
		}
		encoded, err := message.Encode(&kept, limit)
		if err != nil {
			t.Fatalf("decoded %x, which cannot be encoded: %v", b, err)
		}
		if err := message.Decode(encoded, &again, limit); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(kept, again); d != "" {
			t.Fatal(d)
		}
		// Only messages that drop what they do not know may come out shorter.
		if len(encoded) > len(b) || len(encoded) == len(b) && !bytes.Equal(encoded, b) {
			t.Fatalf("two spellings: %x and %x", b, encoded)
		}
	})
}

// viewing is of the size of an ordinary record's body.
type viewing struct {
	Salt          [16]byte
	Video         string
	From, To, Sum uint64
	Fields_       []byte
}

func (m *viewing) Fields(v *message.Visitor) {
	v.Fixed(1, m.Salt[:])
	v.String(2, &m.Video, 64)
	v.Uint64(3, &m.From)
	v.Uint64(4, &m.To)
	v.Uint64(5, &m.Sum)
	v.Unknown(&m.Fields_)
}

func BenchmarkAppend(b *testing.B) {
	m := viewing{Salt: [16]byte{1}, Video: "mathematics/fractions-3", From: 3, To: 400, Sum: 70000}
	out := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		out = message.Append(out[:0], &m)
	}
}

func BenchmarkDecode(b *testing.B) {
	in := message.Append(nil, &viewing{Salt: [16]byte{1}, Video: "mathematics/fractions-3", From: 3, To: 400, Sum: 70000})
	var m viewing
	b.ReportAllocs()
	for b.Loop() {
		m = viewing{}
		if err := message.Decode(in, &m, 256); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeSharedList(b *testing.B) {
	m := sample{}
	for range 5 {
		m.Inners = append(m.Inners, inner{Value: 1})
	}
	in := message.Append(nil, &m)
	b.ReportAllocs()
	for b.Loop() {
		m = sample{Inners: m.Inners[:0]}
		if err := message.DecodeShared(in, &m, limit); err != nil {
			b.Fatal(err)
		}
	}
}
