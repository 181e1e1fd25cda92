package storetest

import (
	"bytes"
	"slices"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

func testValues(x *fixture) {
	x.update(func(tx records.WriteTx) {
		x.must(tx.SetValue("gone", []byte("x")), tx.SetValue("kept", []byte("old")))
	})
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.SetValue("gone", nil), tx.SetValue("kept", []byte("new")), tx.SetValue("empty", []byte{}), tx.SetValue("never", nil))
	}, func(tx records.Tx) {
		v, err := tx.Value("kept")
		x.must(err)
		x.equal("kept", string(v), "new")
		v, err = tx.Value("empty")
		x.must(err)
		x.equal("empty", len(v), 0)
		for _, name := range []string{"gone", "never", "kep", "kept2"} {
			_, err = tx.Value(name)
			x.is(name, err, records.ErrNotFound)
		}
	})
}

func testReceipts(x *fixture) {
	one, two := identity.Hash{1}, identity.Hash{1, 1}
	large := bytes.Repeat([]byte("receipt "), records.MaxReceiptBytes/8)
	x.update(func(tx records.WriteTx) { x.must(tx.SetReceipt(two, []byte("x"))) })
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.SetReceipt(one, large), tx.SetReceipt(two, nil))
	}, func(tx records.Tx) {
		r, err := tx.Receipt(one)
		x.must(err)
		if !bytes.Equal(r, large) {
			x.Errorf("receipt of %d bytes, want %d", len(r), len(large))
		}
		_, err = tx.Receipt(two)
		x.is("deleted receipt", err, records.ErrNotFound)
	})
}

func testItems(x *fixture) {
	list := func(tx records.Tx, table, prefix string) (found []string) {
		x.must(tx.Items(table, []byte(prefix), func(k, v []byte) error {
			found = append(found, string(k)+"="+string(v))
			return nil
		}))
		return found
	}
	x.update(func(tx records.WriteTx) { x.must(tx.SetItem("t", []byte("gone"), []byte("x"))) })
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.SetItem("t", []byte("gone"), nil), tx.SetItem("t", []byte("b"), []byte("2")), tx.SetItem("t", []byte("ab"), []byte("3")),
			tx.SetItem("t", []byte("a"), []byte("1")), tx.SetItem("t", []byte("a\xff"), []byte("4")), tx.SetItem("t", []byte("e"), []byte{}),
			tx.SetItem("ta", []byte("b"), []byte("other")), tx.SetItem("s", []byte("b"), []byte("other")))
	}, func(tx records.Tx) {
		x.equal("all", list(tx, "t", ""), []string{"a=1", "ab=3", "a\xff=4", "b=2", "e="})
		x.equal("prefix", list(tx, "t", "a"), []string{"a=1", "ab=3", "a\xff=4"})
		x.equal("prefix ff", list(tx, "t", "a\xff"), []string{"a\xff=4"})
		x.equal("longer name", list(tx, "ta", ""), []string{"b=other"})
		x.equal("no such prefix", list(tx, "t", "c"), []string{})
		x.equal("no such table", list(tx, "none", ""), []string{})
		calls := 0
		x.is("early stop", tx.Items("t", nil, func(_, _ []byte) error { calls++; return errStop }), errStop)
		x.equal("calls", calls, 1)
	})
}

func testBranches(x *fixture) {
	full, bare := sampleBranch(1), records.Branch{Certificate: sampleBranch(2).Certificate, Lane: identity.LaneProgress}
	full.Target = sampleBranch(3).Head
	full.Receipted, full.Receipt, full.Trouble = 17, identity.Hash{5}, "forked: two continuations of one log"
	var changed records.Branch
	x.everywhere(func(tx records.WriteTx) {
		for i, b := range []*records.Branch{&full, &bare} {
			b.Slot = 99 // ignored
			s, err := tx.CreateBranch(*b)
			x.must(err)
			x.equal("slot", s, i+1)
			b.Slot = s
		}
		changed = bare
		changed.Head, changed.Trouble = sampleBranch(4).Head, "trouble"
		x.must(tx.SetBranch(changed))
		_, err := tx.Branch(3)
		x.is("branch 3", err, records.ErrNotFound)
		x.is("set branch 3", tx.SetBranch(records.Branch{Slot: 3, Certificate: full.Certificate}), records.ErrNotFound)
	}, func(tx records.Tx) {
		x.equal("branches", mustList(x, tx), []records.Branch{full, changed})
		for _, want := range []records.Branch{full, changed} {
			b, err := tx.Branch(want.Slot)
			x.must(err)
			x.equal("branch", b, want)
		}
		x.is("early stop", tx.Branches(func(records.Branch) error { return errStop }), errStop)
	})
}

func mustList(x *fixture, tx records.Tx) (list []records.Branch) {
	x.must(tx.Branches(func(b records.Branch) error { list = append(list, b); return nil }))
	return list
}

func testStarts(x *fixture) {
	starts := make([]records.Start, 300)
	for i := range starts {
		starts[i] = records.Start{First: uint64(1 + i*i), ID: identity.StartID{byte(i), byte(i >> 8)}}
	}
	x.update(func(tx records.WriteTx) {
		x.must(tx.AppendStarts(2, starts[:1]), tx.AppendStarts(1, starts[:2]), tx.AppendStarts(3, starts[:5]))
	})
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.AppendStarts(1, starts[2:280]), tx.AppendStarts(1, nil), tx.AppendStarts(1, starts[280:]), tx.AppendStarts(4, starts[:3]))
	}, func(tx records.Tx) {
		for slot, want := range [][]records.Start{{}, starts, starts[:1], starts[:5], starts[:3], {}} {
			got, err := tx.Starts(records.Slot(slot))
			x.must(err)
			if !slices.Equal(got, want) {
				x.Errorf("branch %d: %d starts, want %d", slot, len(got), len(want))
			}
		}
	})
}

func testSegments(x *fixture) {
	seg := func(first uint64) records.Segment {
		s := records.Segment{First: first, Live: uint32(first), Bytes: uint32(first * 3)}
		s.Sum.Add(identity.Hash{byte(first)})
		s.Checksum = s.Sum.Checksum()
		return s
	}
	firsts := func(tx records.Tx, s records.Slot, from uint64) (list []uint64) {
		x.must(tx.Segments(s, from, func(got records.Segment) error {
			list = append(list, got.First)
			want := seg(got.First)
			want.Sum = records.Sum{}
			if got != want {
				x.Errorf("segment %d in a list: %+v", got.First, got)
			}
			return nil
		}))
		return list
	}
	x.update(func(tx records.WriteTx) {
		for _, first := range []uint64{9, 1, 50, 1 << 40} {
			x.must(tx.SetSegment(2, seg(first)))
		}
		x.must(tx.SetSegment(1, seg(7)), tx.SetSegment(3, seg(5)), tx.SetSegment(2, records.Segment{First: 20, Live: 1}))
	})
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.SetSegment(2, seg(20)), tx.DeleteSegment(2, 50), tx.DeleteSegment(2, 51), tx.SetSegment(4, seg(1)), tx.DeleteSegment(4, 1))
	}, func(tx records.Tx) {
		x.equal("all", firsts(tx, 2, 0), []uint64{1, 9, 20, 1 << 40})
		x.equal("from 9", firsts(tx, 2, 9), []uint64{9, 20, 1 << 40})
		x.equal("from 10", firsts(tx, 2, 10), []uint64{20, 1 << 40})
		x.equal("beyond", firsts(tx, 2, 1<<41), []uint64{})
		x.equal("none", firsts(tx, 4, 0), []uint64{})
		for counter, want := range map[uint64]uint64{1: 1, 8: 1, 9: 9, 19: 9, 20: 20, 51: 20, ^uint64(0): 1 << 40} {
			got, err := tx.SegmentAt(2, counter)
			x.must(err)
			if got != seg(want) {
				x.Errorf("segment at %d begins at %d, want %d", counter, got.First, want)
			}
		}
		got, err := tx.Segment(2, 9)
		x.must(err)
		if got != seg(9) {
			x.Errorf("segment 9: %d, sum %s", got.First, got.Sum.Checksum())
		}
		_, err = tx.Segment(2, 50)
		x.is("deleted segment", err, records.ErrNotFound)
		_, err = tx.SegmentAt(3, 4)
		x.is("segment before the first", err, records.ErrNotFound)
		_, err = tx.SegmentAt(4, 4)
		x.is("segment of an empty branch", err, records.ErrNotFound)
		x.is("early stop", tx.Segments(2, 0, func(records.Segment) error { return errStop }), errStop)
	})
}

func testTargetRows(x *fixture) {
	rows := make([]records.Row, 700)
	for i := range rows {
		rows[i] = records.Row{First: uint64(1 + i*4096), Live: uint32(1 + i), Checksum: identity.Hash{byte(i)}}
	}
	x.update(func(tx records.WriteTx) {
		x.must(tx.SetTargetRows(2, rows[:9]), tx.SetTargetRows(3, rows[:3]))
		_, err := tx.TargetRows(1)
		x.is("no rows", err, records.ErrNotFound)
	})
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.SetTargetRows(1, rows), tx.SetTargetRows(2, nil), tx.SetTargetRows(4, nil), tx.SetTargetRows(5, []records.Row{}))
	}, func(tx records.Tx) {
		for slot, want := range map[records.Slot][]records.Row{1: rows, 3: rows[:3], 5: {}} {
			got, err := tx.TargetRows(slot)
			x.must(err)
			if !slices.Equal(got, want) {
				x.Errorf("branch %d: %d rows, want %d", slot, len(got), len(want))
			}
		}
		for _, slot := range []records.Slot{2, 4} {
			_, err := tx.TargetRows(slot)
			x.is("deleted rows", err, records.ErrNotFound)
		}
	})
}

func testDrops(x *fixture) {
	list := func(tx records.Tx, s records.Slot, from, to uint64) (found []uint64) {
		x.must(tx.Drops(s, from, to, func(old, by uint64) error { found = append(found, old, by); return nil }))
		return found
	}
	x.update(func(tx records.WriteTx) {
		x.must(tx.SetDrop(1, 300, 301), tx.SetDrop(1, 2, 9), tx.SetDrop(1, 5, 6), tx.SetDrop(2, 1, 2), tx.SetDrop(1, 1<<40, 1<<40+1))
	})
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.SetDrop(1, 5, 0), tx.SetDrop(1, 2, 300), tx.SetDrop(1, 7, 0))
	}, func(tx records.Tx) {
		x.equal("all", list(tx, 1, 0, ^uint64(0)), []uint64{2, 300, 300, 301, 1 << 40, 1<<40 + 1})
		x.equal("part", list(tx, 1, 3, 300), []uint64{300, 301})
		x.equal("none", list(tx, 1, 3, 299), []uint64{})
		x.equal("other branch", list(tx, 2, 0, 9), []uint64{1, 2})
		x.is("early stop", tx.Drops(1, 0, 9, func(_, _ uint64) error { return errStop }), errStop)
	})
}
