package wire_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/roster"
)

var update = flag.Bool("update", false, "write the golden files anew; only for messages that no release has spoken yet")

// exported leaves the encoded twins of fields out of comparisons.
var exported = cmp.Options{cmpopts.EquateEmpty(), cmp.FilterPath(func(p cmp.Path) bool {
	f, ok := p.Last().(cmp.StructField)
	return ok && f.Name()[0] >= 'a' && f.Name()[0] <= 'z' && !embedded[f.Name()]
}, cmp.Ignore()), cmp.Exporter(func(reflect.Type) bool { return true })}

var embedded = map[string]bool{"content": true, "vectorRows": true, "branchName": true, "segmentRows": true}

func seed(b byte) []byte { return bytes.Repeat([]byte{b}, identity.SeedBytes) }

func certificate(t testing.TB) (identity.Certificate, identity.AuthorKey) {
	device, err := identity.DeviceKeyFromSeed(seed(1))
	if err != nil {
		t.Fatal(err)
	}
	author, err := identity.AuthorKeyFromSeed(seed(2))
	if err != nil {
		t.Fatal(err)
	}
	return identity.IssueCertificate(device, identity.ZoneID{9}, author, 1), author
}

func account(t testing.TB, known int) records.Account {
	cert, author := certificate(t)
	starts := records.StartList{{First: 1, ID: identity.StartID{1}}, {First: 40, ID: identity.StartID{2}}}
	h := records.Head{Log: cert.Log(identity.LaneDetail), Counter: 77, Fingerprint: identity.Hash{5}, Clock: records.NewClock(1, 99)}
	h.SetStarts(starts)
	h.Sign(author)
	return records.Account{Certificate: cert, Lane: identity.LaneDetail, Head: h, StartsFrom: known, Starts: starts[known:]}
}

func entries(n, body int) []records.Entry {
	list := make([]records.Entry, n)
	for i := range list {
		env := records.Envelope{Kind: records.NewKind(identity.LaneDetail, roster.ClassAny, 1), Learner: identity.UserID{1, byte(i)}, Clock: records.Clock(i)}
		list[i] = records.Entry{Counter: uint64(i + 1), Envelope: env.Append(nil), Body: bytes.Repeat([]byte{byte(i), byte(i >> 8), 3}, (body+2)/3)[:body]}
	}
	return list
}

func codec(t testing.TB) *packing.Codec {
	c, err := packing.NewCodec(1)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// samples is at least one message of every type.
func samples(t testing.TB) map[string][]wire.Message {
	cert, _ := certificate(t)
	log := cert.Log(identity.LaneDetail)
	ref := records.BranchRef{Log: log, Start: identity.StartID{2, 3, 4, 5, 6}}
	plain := []wire.Run{{Data: records.AppendRun(nil, entries(1, 8))}}
	d := &records.Difference{Account: account(t, 1), Base: 40, Firsts: []uint64{50, 61}}
	full := &records.Difference{Account: account(t, 0)}
	rows := []records.Row{{First: 1, Live: 3, Checksum: identity.Hash{1}}, {First: 4097, Live: 4096, Checksum: identity.Hash{2}}}
	vector := []wire.VectorRow{
		{Name: wire.ShortName(records.BranchRef{Log: identity.LogID{1, 30: 7}, Start: identity.StartID{1, 7: 7}}), Lane: 2, Counter: 300},
		{Name: wire.FullName(records.BranchRef{Log: identity.LogID{1, 31: 7}, Start: identity.StartID{1, 7: 7}}), Lane: 1, Staged: 5},
		{Name: wire.FullName(ref), Counter: 1 << 40, Fingerprint: identity.Hash{8}},
	}
	return map[string][]wire.Message{
		"hello": {&wire.Hello{
			Offer: wire.Offer{Min: 1, Max: 2, Features: 4}, Zone: identity.ZoneID{9}, Certificate: cert,
			Start: identity.StartID{3}, Software: "classmesh 1.0", Epoch: roster.Epoch{Life: 1, Number: 7}, RosterHash: identity.Hash{4},
			Wall: 1_700_000_000_000, Window: 1 << 20, Receipted: []uint64{0, 5, 300},
			Held: []wire.Held{{Head: account(t, 0).Head, Receipted: 70}}, KeyNumber: 3,
		}},
		"bye":           {wire.NewBye(wire.CodeMismatch, "log-abc does not match")},
		"roster":        wire.NewRoster([]byte("roster")),
		"want-roster":   {&wire.WantRoster{}},
		"counters":      {&wire.Counters{Epoch: roster.Epoch{Life: 1, Number: 7}, Fingerprint: identity.Hash{7}, Round: 2, Reply: true, Staged: true}},
		"share":         {&wire.Share{Among: []uint64{3, 1 << 60}, Also: []uint64{7}}},
		"links":         {&wire.Links{Among: []uint64{3, 1 << 60}}},
		"enough":        {&wire.Enough{Log: 1 << 60}},
		"more":          {&wire.More{Logs: []uint64{3, 1 << 60}}},
		"limit":         {&wire.Limit{Lanes: 6}},
		"safe":          wire.NewSafe(vector[:1]),
		"counters-safe": {&wire.Counters{Epoch: roster.Epoch{Life: 1, Number: 7}, Fingerprint: identity.Hash{7}, Safe: 1 << 60}},
		"counters-sum":  {wire.NewCountersSum(&wire.Counters{Epoch: roster.Epoch{Life: 1, Number: 7}, Fingerprint: identity.Hash{7}, Safe: 1 << 60, Round: 2}, 5, 1<<40)},
		"vector":        wire.NewVector(vector, true),
		"vector-sums":   {wire.NewVectorSums(&records.State{Rows: someRows(rand.New(rand.NewPCG(1, 1)), 20)}, 16)},
		"vector-of":     wire.NewVectorOf(vector[:1], wire.Buckets{1, 0}),
		"vector-reply":  wire.NewVectorReply(vector[:1]),
		"have":          wire.NewHave(vector[:2]),
		"want":          {wire.NewWant(3, wire.ShortName(ref), 500, 2, true)},
		"nothing":       {&wire.Nothing{Request: 3, Reason: wire.ReasonMoved}},
		"difference":    wire.NewDifference(3, d, plain),
		"first":         wire.NewDifference(4, full, nil),
		"segment-list":  wire.NewSegmentList(5, &records.SegmentList{Account: account(t, 0), Rows: rows, Held: []bool{false, true}}),
		"rows":          {wire.NewSegmentList(5, manyRows(t, 5000))[1]},
		"want-segments": {
			wire.NewWantSegments(6, wire.FullName(ref), 77, []records.Need{{First: 4097}, {First: 1, From: 20}}),
		},
		"segment": wire.NewSegment(6, records.Need{First: 1, From: 20}, plain),
		"entries": {&wire.Entries{Run: wire.Run{Packed: 70, Data: []byte{1, 2, 3}}, More: true}},
		"push":    wire.NewPush(&records.Commit{PreviousHash: identity.Hash{6}, Difference: d}, plain),
		"credit":  {&wire.Credit{Bytes: 1 << 18}},
		"receipt": {&wire.Receipt{Encoded: []byte("receipt")}},
		"key":     {&wire.Key{Encoded: bytes.Repeat([]byte{1, 2, 3}, roster.ZoneKeyBytes/3)}},
	}
}

func manyRows(t testing.TB, n int) *records.SegmentList {
	l := &records.SegmentList{Account: account(t, 0), Held: make([]bool, n)}
	for i := range n {
		l.Rows = append(l.Rows, records.Row{First: uint64(i*10 + 1), Live: 9})
		l.Held[i] = i%3 == 0
	}
	return l
}

func TestGoldenBytes(t *testing.T) {
	types := map[wire.Type]bool{}
	for name, messages := range samples(t) {
		var b []byte
		for _, m := range messages {
			types[m.Type()] = true
			b = wire.AppendFrame(b, m)
		}
		got := hex.EncodeToString(b)
		if len(b) > 2000 { // long ones are kept as a hash
			got = fmt.Sprintf("%d bytes, SHA-256 %x", len(b), sha256.Sum256(b))
		}
		file := filepath.Join("testdata", name+".hex")
		if *update {
			if err := os.WriteFile(file, []byte(got+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(string(want)) != got {
			t.Errorf("%s is\n%s, in %s stands\n%s", name, got, file, want)
		}
	}
	for typ := wire.TypeHello; typ <= wire.TypeCountersSum; typ++ {
		if !types[typ] {
			t.Errorf("no golden bytes of type %d", typ)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for name, messages := range samples(t) {
		var b []byte
		for _, m := range messages {
			b = wire.AppendFrame(b, m)
		}
		r := wire.NewReader(bytes.NewReader(b))
		left := len(b)
		for _, want := range messages {
			got, n, err := r.Read()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			left -= n
			if d := cmp.Diff(want, got, exported); d != "" {
				t.Errorf("%s: %s", name, d)
			}
			if n > wire.MaxFrameBytes {
				t.Errorf("%s: a frame of %d bytes", name, n)
			}
		}
		if _, _, err := r.Read(); err != io.EOF || left != 0 {
			t.Errorf("%s: %d bytes left, then %v", name, left, err)
		}
	}
}

func TestLongAnswersAreCutAndFit(t *testing.T) {
	list := wire.NewSegmentList(1, manyRows(t, 20_000))
	var rows []records.Row
	var held []bool
	for i, m := range list {
		b := wire.AppendFrame(nil, m)
		got, _, err := wire.NewReader(bytes.NewReader(b)).Read()
		if err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
		switch m := got.(type) {
		case *wire.SegmentList:
			rows, held = append(rows, m.Rows...), append(held, m.Held...)
		case *wire.Rows:
			rows, held = append(rows, m.Rows...), append(held, m.Held...)
			if m.More != (i+1 < len(list)) {
				t.Errorf("part %d says more %v", i, m.More)
			}
		}
	}
	want := manyRows(t, 20_000)
	if d := cmp.Diff(want.Rows, rows); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want.Held, held); d != "" {
		t.Error(d)
	}

	long := &records.Difference{Account: account(t, 0)}
	long.Starts = nil
	for i := range wire.MaxStarts {
		long.Starts = append(long.Starts, records.Start{First: uint64(i + 1)})
	}
	long.Head.SetStarts(long.Starts)
	for i := range wire.MaxFirsts {
		long.Firsts = append(long.Firsts, uint64(i)/60+1+uint64(i))
	}
	long.Head.Counter = 1 << 30
	messages := wire.NewDifference(1, long, codec(t).Pack(entries(records.SegmentCounters, 30)))
	for i, m := range messages {
		if _, _, err := wire.NewReader(bytes.NewReader(wire.AppendFrame(nil, m))).Read(); err != nil {
			t.Fatalf("part %d of the longest difference: %v", i, err)
		}
	}
	var roster []byte
	encoded := bytes.Repeat([]byte{1, 2}, wire.MaxRosterBytes/2)
	for _, m := range wire.NewRoster(encoded) {
		roster = append(roster, m.(*wire.Roster).Part...)
	}
	if !bytes.Equal(roster, encoded) {
		t.Error("a roster in parts is not the same")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestFramesAreRefusedBeforeTheyAreRead(t *testing.T) {
	for name, b := range map[string][]byte{
		"too long for any":      {byte(wire.TypeDifference), 0xff, 0xff, 0x7f},
		"too long for a Bye":    {byte(wire.TypeBye), 0x81, 0x08},
		"too long for a Key":    {byte(wire.TypeKey), 0x80, 0x01},
		"a Key of half a key":   append([]byte{byte(wire.TypeKey), 62, 10, 60}, make([]byte, 60)...),
		"a Key of nothing":      {byte(wire.TypeKey), 0},
		"checksums of 9 bytes":  append([]byte{byte(wire.TypeVectorSums), 11, 10, 9}, make([]byte, 9)...),
		"4 checksums":           append([]byte{byte(wire.TypeVectorSums), 34, 10, 32}, make([]byte, 32)...),
		"12 checksums":          append([]byte{byte(wire.TypeVectorSums), 98, 10, 96}, make([]byte, 96)...),
		"2048 checksums":        {byte(wire.TypeVectorSums), 0x83, 0x80, 1},
		"3 bytes of buckets":    {byte(wire.TypeVector), 5, 34, 3, 1, 2, 3},
		"buckets, and more":     {byte(wire.TypeVector), 5, 24, 1, 34, 1, 1},
		"buckets beyond all":    append([]byte{byte(wire.TypeVector), 0x83, 2, 34, 0x80, 2}, make([]byte, 256)...),
		"a long CountersSum":    {byte(wire.TypeCountersSum), 17},
		"length of four bytes":  {byte(wire.TypeDifference), 0x80, 0x80, 0x80, 1},
		"length spelled long":   {byte(wire.TypeBye), 0x82, 0x00, 8, 1},
		"unknown and necessary": {100, 0},
		"type 0":                {0, 0},
		"no protobuf":           {byte(wire.TypeBye), 1, 0xff},
	} {
		r := wire.NewReader(io.MultiReader(bytes.NewReader(b), zeros{}))
		if _, _, err := r.Read(); !errors.Is(err, wire.ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	after := wire.AppendFrame([]byte{200, 3, 1, 2, 3}, wire.NewBye(wire.CodeDone, "x"))
	m, _, err := wire.NewReader(bytes.NewReader(after)).Read()
	if err != nil || m.Type() != wire.TypeBye {
		t.Errorf("after an unknown optional message: %v %v", m, err)
	}
	frame := wire.AppendFrame(nil, wire.NewBye(wire.CodeDone, "goodbye"))
	for cut := 1; cut < len(frame); cut++ {
		if _, _, err := wire.NewReader(bytes.NewReader(frame[:cut])).Read(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

func TestNames(t *testing.T) {
	ref := records.BranchRef{Log: identity.LogID{1, 2, 31: 9}, Start: identity.StartID{4, 7: 1}}
	other := records.BranchRef{Log: identity.LogID{1, 2, 31: 8}, Start: identity.StartID{4, 7: 2}}
	short, full := wire.ShortName(ref), wire.FullName(ref)
	if !short.Is(ref) || !short.Is(other) || !full.Is(ref) || full.Is(other) || short.IsLog(identity.LogID{1}) {
		t.Error("names do not tell branches apart as they should")
	}
}

func TestVersions(t *testing.T) {
	a := wire.Offer{Min: 1, Max: 3, Features: 6}
	if v, f, err := a.Agree(wire.Offer{Min: 2, Max: 5, Features: 3}); v != 3 || f != 2 || err != nil {
		t.Errorf("version %d, features %d, %v", v, f, err)
	}
	for _, b := range []wire.Offer{{Min: 4, Max: 5}, {}, {Min: 1}} {
		if _, _, err := a.Agree(b); !errors.Is(err, wire.ErrVersion) {
			t.Errorf("%+v: %v", b, err)
		}
	}
}

func TestWordsAreCut(t *testing.T) {
	b := wire.NewBye(wire.CodeFault, strings.Repeat("ü", 150)+"\xff")
	if len(b.Words) > wire.MaxWordsBytes {
		t.Errorf("%d bytes", len(b.Words))
	}
	if _, err := wire.Decode(wire.TypeBye, wire.AppendFrame(nil, b)[3:]); err != nil {
		t.Error(err)
	}
}

func FuzzReader(f *testing.F) {
	var all []byte
	for _, messages := range samples(f) {
		var b []byte
		for _, m := range messages {
			b = wire.AppendFrame(b, m)
		}
		if len(b) < 2000 {
			f.Add(b)
			all = append(all, b...)
		}
	}
	f.Add(all)
	f.Add([]byte{200, 0})
	c := codec(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(bytes.NewReader(b))
		total := 0
		for {
			m, n, err := r.Read()
			if err != nil {
				if !errors.Is(err, wire.ErrMessage) && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("unexpected error: %v", err)
				}
				return
			}
			if total += n; total > len(b) {
				t.Fatal("more was read than there is")
			}
			var run wire.Run
			switch m := m.(type) {
			case *wire.Difference:
				run = m.Run
			case *wire.Push:
				run = m.Run
			case *wire.Entries:
				run = m.Run
			case *wire.Segment:
				run = m.Run
			}
			c.Unpack([]wire.Run{run})
		}
	})
}

// FuzzMessage holds that what decodes encodes to what decodes to the same.
func FuzzMessage(f *testing.F) {
	for _, messages := range samples(f) {
		if b := wire.AppendFrame(nil, messages[0]); len(b) < 2000 {
			_, n := uvarint(b[1:])
			f.Add(b[0], b[1+n:])
		}
	}
	f.Fuzz(func(t *testing.T, typ byte, b []byte) {
		m, err := wire.Decode(wire.Type(typ), b)
		if err != nil {
			if !errors.Is(err, wire.ErrMessage) {
				t.Fatalf("unexpected error: %v", err)
			}
			return
		}
		frame := wire.AppendFrame(nil, m)
		again, n, err := wire.NewReader(bytes.NewReader(frame)).Read()
		if err != nil || n != len(frame) {
			t.Fatalf("its own encoding is refused: %v", err)
		}
		if d := cmp.Diff(m, again, exported); d != "" {
			t.Fatal(d)
		}
	})
}

func uvarint(b []byte) (n uint64, size int) {
	for n, size = 0, 0; ; size++ {
		n |= uint64(b[size]&0x7f) << (7 * size)
		if b[size] < 0x80 {
			return n, size + 1
		}
	}
}

func TestBytesOfAnEqualComparison(t *testing.T) {
	c := &wire.Counters{Epoch: roster.Epoch{Life: 1, Number: 12}, Fingerprint: identity.Hash{1}, Round: 2}
	if n := len(wire.AppendFrame(nil, c)); n > 50 {
		t.Errorf("Counters takes %d bytes", n)
	}
	if n := len(wire.AppendFrame(nil, wire.NewCountersSum(c, 1, 2))); n > 11 {
		t.Errorf("CountersSum takes %d bytes", n)
	}
}

// Whatever is told by Counters, but for what they ask, changes their checksum,
// and so does the session.
func TestCountersSum(t *testing.T) {
	base := wire.Counters{Epoch: roster.Epoch{Life: 1, Number: 12}, Fingerprint: identity.Hash{1}, Round: 2, Safe: 3}
	sum := *wire.NewCountersSum(&base, 5, 6)
	for name, change := range map[string]func(*wire.Counters){
		"life":        func(c *wire.Counters) { c.Epoch.Life++ },
		"number":      func(c *wire.Counters) { c.Epoch.Number++ },
		"fingerprint": func(c *wire.Counters) { c.Fingerprint[31] ^= 1 },
		"round":       func(c *wire.Counters) { c.Round++ },
		"safe":        func(c *wire.Counters) { c.Safe++ },
		"staged":      func(c *wire.Counters) { c.Staged = true },
	} {
		c := base
		if change(&c); *wire.NewCountersSum(&c, 5, 6) == sum {
			t.Errorf("another %s has the same checksum", name)
		}
	}
	asking := base
	asking.Reply = true
	if *wire.NewCountersSum(&asking, 5, 6) != sum {
		t.Error("what is asked changes the checksum")
	}
	for _, clocks := range [][2]int64{{4, 6}, {5, 7}, {6, 5}} {
		if *wire.NewCountersSum(&base, clocks[0], clocks[1]) == sum {
			t.Errorf("with clocks %v the checksum is the same", clocks)
		}
	}
}
