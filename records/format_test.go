package records_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

var users = rapid.Custom(func(t *rapid.T) (u identity.UserID) {
	copy(u[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "user"))
	return u
})

var envelopes = rapid.Custom(func(t *rapid.T) records.Envelope {
	e := records.Envelope{
		Kind:    records.Kind(rapid.Uint16().Draw(t, "kind")),
		Clock:   records.Clock(rapid.Uint64().Draw(t, "clock")),
		Wall:    rapid.Int64().Draw(t, "wall"),
		Quality: records.TimeQuality(rapid.IntRange(0, 2).Draw(t, "quality")),
		Learner: users.Draw(t, "learner"),
		Actor:   users.Draw(t, "actor"),
	}
	if e.Register = rapid.Bool().Draw(t, "register"); e.Register {
		e.Key = rapid.SliceOfN(rapid.Byte(), 0, records.MaxKeyBytes).Draw(t, "key")
	}
	if rapid.Bool().Draw(t, "again") {
		e.Origin = &records.Origin{Counter: rapid.Uint64().Draw(t, "counter")}
	}
	return e
})

var entryLists = rapid.Custom(func(t *rapid.T) []records.Entry {
	n := rapid.IntRange(0, 20).Draw(t, "n")
	list := make([]records.Entry, 0, n)
	last := uint64(0)
	for range n {
		last += rapid.Uint64Range(1, 1<<40).Draw(t, "delta")
		env := envelopes.Draw(t, "envelope")
		e := records.Entry{Counter: last, Envelope: env.Append(nil), Body: rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "body")}
		if rapid.Bool().Draw(t, "stub") {
			e = e.ToStub()
		}
		list = append(list, e)
	}
	return list
})

func TestEnvelopeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := envelopes.Draw(t, "e")
		b := e.Append(nil)
		if len(b) > records.MaxEnvelopeBytes {
			t.Fatalf("%d bytes", len(b))
		}
		got, err := records.DecodeEnvelope(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e, got); d != "" {
			t.Fatal(d)
		}
		if _, err := records.DecodeEnvelope(b[:len(b)-1]); !errors.Is(err, records.ErrEnvelope) {
			t.Fatalf("cut short: %v", err)
		}
		if _, err := records.DecodeEnvelope(append(b, 0)); !errors.Is(err, records.ErrEnvelope) {
			t.Fatalf("a byte more: %v", err)
		}
	})
}

// The envelope is frozen: these bytes may never change.
func TestEnvelopeGolden(t *testing.T) {
	e := records.Envelope{
		Kind: records.NewKind(identity.LaneProgress, roster.ClassAny, 5), Register: true, Key: []byte("ex"),
		Learner: identity.UserID{1}, Actor: identity.UserID{2}, Clock: records.NewClock(3, 4), Wall: -1,
		Quality: records.TimeSynced, Origin: &records.Origin{Log: identity.LogID{5}, Counter: 6, Leaf: identity.Hash{7}},
	}
	const want = "012f4005" + "0003000000000004" + "ffffffffffffffff" +
		"01000000000000000000000000000000" + "02000000000000000000000000000000" + "026578" +
		"0500000000000000000000000000000000000000000000000000000000000000" + "0000000000000006" +
		"0700000000000000000000000000000000000000000000000000000000000000"
	if got := hex.EncodeToString(e.Append(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestKindSaysLaneAndClass(t *testing.T) {
	for _, l := range identity.Lanes {
		for c := roster.Class(0); c < 4; c++ {
			k := records.NewKind(l, c, 77)
			if k.Lane() != l || k.Class() != c || k.Number() != 77 {
				t.Errorf("%v: lane %v, class %v, number %d", k, k.Lane(), k.Class(), k.Number())
			}
		}
	}
}

// The sum of a set is that of its members in any order; taking a member out
// undoes putting it in; disjoint sets merge.
func TestSumIsHomomorphic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.NewChaCha8([32]byte{byte(rapid.Uint8().Draw(t, "seed"))})
		leaves := make([]identity.Hash, rapid.IntRange(1, 12).Draw(t, "n"))
		for i := range leaves {
			r.Read(leaves[i][:])
		}
		var all records.Sum
		for _, l := range leaves {
			all.Add(l)
		}
		order := rapid.Permutation(leaves).Draw(t, "order")
		var other, left, right, empty records.Sum
		cut := rapid.IntRange(0, len(order)).Draw(t, "cut")
		for i, l := range order {
			other.Add(l)
			if i < cut {
				left.Add(l)
			} else {
				right.Add(l)
			}
		}
		if all != other || all.Checksum() != other.Checksum() {
			t.Fatal("the order of additions shows")
		}
		merged := left
		merged.Merge(&right)
		if merged != all {
			t.Fatal("merging two parts is not the whole")
		}
		all.Subtract(&right)
		if all != left {
			t.Fatal("subtracting a part does not leave the rest")
		}
		for _, l := range order[:cut] {
			all.Remove(l)
		}
		if all != empty {
			t.Fatal("removing every member does not leave the empty sum")
		}
		if cut > 0 && left == empty {
			t.Fatal("members leave no trace")
		}
	})
}

// Sums are word by word modulo 2¹⁶: compared with the obvious way.
func TestSumAgainstWords(t *testing.T) {
	r := rand.NewChaCha8([32]byte{9})
	for range 50 {
		var a, b records.Sum
		r.Read(a[:])
		r.Read(b[:])
		plus, minus := a, a
		plus.Merge(&b)
		minus.Subtract(&b)
		for i := 0; i < records.SumBytes; i += 2 {
			x := uint16(a[i]) | uint16(a[i+1])<<8
			y := uint16(b[i]) | uint16(b[i+1])<<8
			if p := uint16(plus[i]) | uint16(plus[i+1])<<8; p != x+y {
				t.Fatalf("word %d: %d + %d = %d", i/2, x, y, p)
			}
			if m := uint16(minus[i]) | uint16(minus[i+1])<<8; m != x-y {
				t.Fatalf("word %d: %d - %d = %d", i/2, x, y, m)
			}
		}
	}
}

// A leaf depends on the log, the counter, the envelope and the body, and is
// the same for an entry and its stub.
func TestLeaf(t *testing.T) {
	env := (&records.Envelope{Kind: 1}).Append(nil)
	e := records.Entry{Counter: 1, Envelope: env, Body: []byte("body")}
	log := identity.LogID{1}
	stub := e.ToStub()
	if stub.Leaf(log) != e.Leaf(log) {
		t.Error("a stub has another leaf")
	}
	seen := map[identity.Hash]bool{e.Leaf(log): true, e.Leaf(identity.LogID{2}): true}
	for _, o := range []records.Entry{
		{Counter: 2, Envelope: env, Body: e.Body},
		{Counter: 1, Envelope: (&records.Envelope{Kind: 2}).Append(nil), Body: e.Body},
		{Counter: 1, Envelope: env, Body: []byte("bodz")},
		{Counter: 1, Envelope: append(slices.Clone(env), 'b'), Body: []byte("ody")},
	} {
		seen[o.Leaf(log)] = true
	}
	if len(seen) != 6 {
		t.Errorf("%d different leaves, want 6", len(seen))
	}
}

func TestRunRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := entryLists.Draw(t, "entries")
		b := records.AppendRun(nil, list)
		got, err := records.DecodeRun(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(list) {
			t.Fatalf("%d entries of %d", len(got), len(list))
		}
		for i := range got {
			g, w := got[i], list[i]
			if g.Counter != w.Counter || g.Stub != w.Stub || !bytes.Equal(g.Envelope, w.Envelope) || !bytes.Equal(g.Body, w.Body) {
				t.Fatalf("entry %d differs", i)
			}
		}
	})
}

func TestRunRefuses(t *testing.T) {
	env := (&records.Envelope{Kind: 1}).Append(nil)
	tooMany := make([]records.Entry, records.SegmentCounters+1)
	for i := range tooMany {
		tooMany[i] = records.Entry{Counter: uint64(i + 1), Envelope: env}
	}
	tooLarge := make([]records.Entry, 20)
	for i := range tooLarge {
		tooLarge[i] = records.Entry{Counter: uint64(i + 1), Envelope: env, Body: make([]byte, records.MaxBodyBytes)}
	}
	two := records.AppendRun(nil, []records.Entry{{Counter: 1, Envelope: env}, {Counter: 2, Envelope: env}})
	same := slices.Clone(two)
	same[1+2+len(env)+1] = 0 // the second counter's delta
	for name, b := range map[string][]byte{
		"nothing":               nil,
		"another format":        {2},
		"too many entries":      records.AppendRun(nil, tooMany),
		"too many bytes":        records.AppendRun(nil, tooLarge),
		"a counter twice":       same,
		"a counter of zero":     records.AppendRun(nil, []records.Entry{{Counter: 0, Envelope: env}}),
		"a body too long":       records.AppendRun(nil, []records.Entry{{Counter: 1, Envelope: env, Body: make([]byte, records.MaxBodyBytes+1)}}),
		"an envelope too long":  records.AppendRun(nil, []records.Entry{{Counter: 1, Envelope: make([]byte, records.MaxEnvelopeBytes+1)}}),
		"cut short":             two[:len(two)-1],
		"a varint spelled long": {1, 0x81, 0x00},
		"counters that wrap":    append(records.AppendRun(nil, []records.Entry{{Counter: ^uint64(0), Envelope: env}}), 1, 0, 0),
	} {
		if _, err := records.DecodeRun(nil, b); !errors.Is(err, records.ErrRun) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRowsAndFingerprint(t *testing.T) {
	rows := make([]records.Row, 200)
	for i := range rows {
		rows[i] = records.Row{First: uint64(i)*4096 + 1, Live: uint32(i + 1), Checksum: identity.Hash{byte(i)}}
	}
	got, err := records.DecodeRows(records.AppendRows(nil, rows))
	if err != nil || cmp.Diff(rows, got) != "" {
		t.Fatalf("round trip: %v", err)
	}
	base := records.Fingerprint(rows)
	for i := range rows {
		changed := slices.Clone(rows)
		changed[i].Live++
		if records.Fingerprint(changed) == base || records.Fingerprint(rows[:i]) == base {
			t.Fatalf("row %d leaves no trace in the fingerprint", i)
		}
	}
	for name, bad := range map[string][]records.Row{
		"falling":  {{First: 5, Live: 1}, {First: 4, Live: 1}},
		"equal":    {{First: 5, Live: 1}, {First: 5, Live: 1}},
		"from 0":   {{First: 0, Live: 1}},
		"empty":    {{First: 1}},
		"too full": {{First: 1, Live: records.SegmentCounters + 1}},
	} {
		if _, err := records.DecodeRows(records.AppendRows(nil, bad)); !errors.Is(err, records.ErrRows) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := records.DecodeRows(make([]byte, records.RowBytes-1)); !errors.Is(err, records.ErrRows) {
		t.Errorf("cut short: %v", err)
	}
}

func author(t testing.TB, seed byte) identity.AuthorKey {
	k, err := identity.GenerateAuthorKey(rand.NewChaCha8([32]byte{seed}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signedHead(t testing.TB, counter uint64, fp byte, starts records.StartList) records.Head {
	h := records.Head{Log: identity.LogID{1}, Counter: counter, Fingerprint: identity.Hash{fp}, Clock: 9}
	h.SetStarts(starts)
	h.Sign(author(t, 1))
	return h
}

func startList(n int) records.StartList {
	var l records.StartList
	for i := range n {
		l = append(l, records.Start{First: uint64(10*i + 1), ID: identity.StartID{byte(i + 1)}})
	}
	return l
}

func TestHeadIsSignedWhole(t *testing.T) {
	h := signedHead(t, 100, 1, startList(6))
	b := h.Encode()
	if len(b) != records.MaxHeadBytes || len(h.Starts) != 4 || h.Start() != (identity.StartID{6}) {
		t.Fatalf("%d bytes, %d starts", len(b), len(h.Starts))
	}
	got, err := records.DecodeHead(b)
	if err != nil || cmp.Diff(h, got) != "" {
		t.Fatalf("round trip: %v", err)
	}
	if err := got.Verify(author(t, 1).Public()); err != nil {
		t.Fatal(err)
	}
	if err := got.Verify(author(t, 2).Public()); !errors.Is(err, records.ErrHead) {
		t.Errorf("another author's head: %v", err)
	}
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 1
		g, err := records.DecodeHead(bad)
		if err == nil {
			err = g.Verify(author(t, 1).Public())
		}
		if !errors.Is(err, records.ErrHead) {
			t.Fatalf("altered byte %d accepted: %v", i, err)
		}
		if _, err := records.DecodeHead(b[:i]); !errors.Is(err, records.ErrHead) && err == nil {
			if g, _ := records.DecodeHead(b[:i]); g.Verify(author(t, 1).Public()) == nil {
				t.Fatalf("%d bytes accepted", i)
			}
		}
	}
}

func TestRelate(t *testing.T) {
	three, four, nine := startList(3), startList(4), startList(9)
	other := slices.Clone(four)
	other[3].ID = identity.StartID{99}
	old := signedHead(t, 25, 1, three)
	for _, c := range []struct {
		name string
		h    records.Head
		list records.StartList
		want records.Relation
	}{
		{"the same", signedHead(t, 25, 1, three), three, records.Same},
		{"later in the same start", signedHead(t, 28, 2, three), three, records.Continues},
		{"earlier in the same start", signedHead(t, 23, 2, three), three, records.Behind},
		{"other content at the same counter", signedHead(t, 25, 2, three), three, records.Forked},
		{"after a new start", signedHead(t, 35, 2, four), nil, records.Continues},
		{"after many starts, shown in part", signedHead(t, 95, 2, nine), nil, records.Unrelated},
		{"after many starts, fetched", signedHead(t, 95, 2, nine), nine, records.Continues},
		{"before the newest start", signedHead(t, 15, 2, startList(2)), nil, records.Behind},
	} {
		if got := records.Relate(&c.h, c.list, &old, three); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		back := map[records.Relation]records.Relation{records.Continues: records.Behind, records.Behind: records.Continues}
		want, turned := back[c.want]
		if !turned {
			want = c.want
		}
		if got := records.Relate(&old, three, &c.h, c.list); got != want {
			t.Errorf("%s, the other way: %v, want %v", c.name, got, want)
		}
	}
	// Two cards went on from the same three starts.
	a, b := signedHead(t, 35, 2, four), signedHead(t, 36, 3, other)
	if got := records.Relate(&a, four, &b, other); got != records.Forked {
		t.Errorf("two continuations: %v", got)
	}
	// A start that begins at or below what the other had already written.
	late := signedHead(t, 34, 2, three)
	if got := records.Relate(&a, four, &late, three); got != records.Forked {
		t.Errorf("restored backup: %v", got)
	}
}

func TestReceipt(t *testing.T) {
	k, _ := identity.GenerateDeviceKey(rand.NewChaCha8([32]byte{3}))
	stranger, _ := identity.GenerateDeviceKey(rand.NewChaCha8([32]byte{4}))
	items := []records.ReceiptItem{{Log: identity.LogID{2}, Counter: 5}, {Log: identity.LogID{1}, Counter: 7, Fingerprint: identity.Hash{8}}}
	r := records.IssueReceipt(k, identity.ZoneID{1}, 2, 3, items)
	b := r.Encode()
	got, err := records.DecodeReceipt(b)
	if err != nil || cmp.Diff(r, got) != "" {
		t.Fatalf("round trip: %v", err)
	}
	if err := got.Verify(stranger.Public()); !errors.Is(err, records.ErrReceipt) {
		t.Errorf("stranger's receipt: %v", err)
	}
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 1
		g, err := records.DecodeReceipt(bad)
		if err == nil {
			err = g.Verify(k.Public())
		}
		if !errors.Is(err, records.ErrReceipt) {
			t.Fatalf("altered byte %d accepted: %v", i, err)
		}
		if _, err := records.DecodeReceipt(b[:i]); !errors.Is(err, records.ErrReceipt) {
			t.Fatalf("%d bytes accepted", i)
		}
	}
}

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add((&records.Envelope{Kind: 1}).Append(nil))
	f.Add((&records.Envelope{Register: true, Key: []byte("k"), Learner: identity.UserID{1}, Origin: &records.Origin{}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := records.DecodeEnvelope(b); err == nil && !bytes.Equal(e.Append(nil), b) {
			t.Error("two spellings of one envelope")
		}
	})
}

func FuzzDecodeRun(f *testing.F) {
	env := (&records.Envelope{Kind: 1}).Append(nil)
	f.Add(records.AppendRun(nil, []records.Entry{{Counter: 3, Envelope: env, Body: []byte("b")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := records.DecodeRun(nil, b); err == nil && !bytes.Equal(records.AppendRun(nil, list), b) {
			t.Error("two spellings of one run")
		}
	})
}

func FuzzDecodeHead(f *testing.F) {
	h := signedHead(f, 100, 1, startList(5))
	f.Add(h.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := records.DecodeHead(b); err == nil && !bytes.Equal(h.Encode(), b) {
			t.Error("two spellings of one head")
		}
	})
}

func FuzzDecodeReceipt(f *testing.F) {
	k, _ := identity.GenerateDeviceKey(rand.NewChaCha8([32]byte{3}))
	r := records.IssueReceipt(k, identity.ZoneID{1}, 2, 3, []records.ReceiptItem{{Counter: 5}})
	f.Add(r.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := records.DecodeReceipt(b); err == nil && !bytes.Equal(r.Encode(), b) {
			t.Error("two spellings of one receipt")
		}
	})
}

func BenchmarkAddEntry(b *testing.B) {
	e := records.Entry{Counter: 1, Envelope: (&records.Envelope{Kind: 1, Learner: identity.UserID{1}}).Append(nil), Body: make([]byte, 70)}
	var s records.Sum
	log := identity.LogID{1}
	b.ReportAllocs()
	for b.Loop() {
		s.Add(e.Leaf(log))
	}
}
