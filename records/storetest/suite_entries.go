package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// put stores an entry that must be new.
func (x *fixture) put(tx records.WriteTx, s records.Slot, e records.Entry, env records.Envelope) {
	x.Helper()
	if err := tx.Put(s, e, &env); err != nil {
		x.Fatalf("put entry %d: %v", e.Counter, err)
	}
}

func testEntries(x *fixture) {
	list := func(tx records.Tx, s records.Slot, from, to uint64) (found []uint64) {
		x.must(tx.Entries(s, from, to, func(e records.Entry) error {
			found = append(found, e.Counter)
			if want := fmt.Sprint(s, e.Counter); string(e.Body) != want {
				x.Errorf("body %q, want %q", e.Body, want)
			}
			return nil
		}))
		return found
	}
	put := func(tx records.WriteTx, s records.Slot, counters ...uint64) {
		for _, c := range counters {
			e, env := sampleEvent(c, identity.UserID{1}, fmt.Sprint(s, c))
			x.put(tx, s, e, env)
		}
	}
	x.update(func(tx records.WriteTx) { put(tx, 2, 7, 300, 5, 1<<40); put(tx, 1, 6); put(tx, 3, 6) })
	x.everywhere(func(tx records.WriteTx) { put(tx, 2, 6, 1, 256); x.must(tx.SetDrop(2, 6, 7)) }, func(tx records.Tx) {
		x.equal("all", list(tx, 2, 0, ^uint64(0)), []uint64{1, 5, 6, 7, 256, 300, 1 << 40})
		x.equal("bounds are included", list(tx, 2, 5, 256), []uint64{5, 6, 7, 256})
		x.equal("bounds between", list(tx, 2, 2, 255), []uint64{5, 6, 7})
		x.equal("nothing there", list(tx, 2, 8, 255), []uint64{})
		x.equal("from above to", list(tx, 2, 9, 1), []uint64{})
		x.equal("other branch", list(tx, 1, 0, 9), []uint64{6})
		x.equal("empty branch", list(tx, 4, 0, 9), []uint64{})
		calls := 0
		x.is("early stop", tx.Entries(2, 0, 300, func(e records.Entry) error {
			if calls++; calls == 2 {
				return errStop
			}
			return nil
		}), errStop)
		x.equal("calls", calls, 2)
		_, err := tx.Entry(2, 8)
		x.is("no such entry", err, records.ErrNotFound)
	})
}

// A segment can be as long and as large as the limits of the log allow.
func testLargeSegment(x *fixture) {
	body := func(c uint64) string {
		if c%997 == 0 {
			return strings.Repeat(fmt.Sprint(c), records.MaxBodyBytes)[:records.MaxBodyBytes]
		}
		return fmt.Sprint("body ", c)
	}
	key := strings.Repeat("k", records.MaxKeyBytes)
	x.everywhere(func(tx records.WriteTx) {
		for c := uint64(1); c <= records.SegmentCounters; c++ {
			e, env := sampleEvent(c, identity.UserID{1}, body(c))
			if c%2 == 0 {
				e, env = sampleRegister(c, identity.UserID{byte(c / 2)}, key[:c%(records.MaxKeyBytes+1)], body(c))
			}
			x.put(tx, 1, e, env)
		}
		env := records.Envelope{
			Kind: sampleKinds[0], Register: true, Key: []byte(key), Learner: identity.UserID{1}, Actor: identity.UserID{2},
			Origin: &records.Origin{Counter: 3},
		}
		x.put(tx, 2, records.Entry{Counter: 1, Envelope: env.Append(nil), Body: []byte(body(997))}, env)
	}, func(tx records.Tx) {
		last := uint64(0)
		check := func(e records.Entry) error {
			if e.Counter != last+1 || string(e.Body) != body(e.Counter) {
				x.Errorf("entry %d after %d: %d bytes", e.Counter, last, len(e.Body))
			}
			last = e.Counter
			return nil
		}
		x.must(tx.Entries(1, 0, records.SegmentCounters, check))
		x.equal("last", last, records.SegmentCounters)
		longest, err := tx.Entry(2, 1)
		x.must(err)
		x.equal("largest entry", longest.Size(), records.MaxEnvelopeBytes+records.MaxBodyBytes)
		learner := identity.UserID{1}
		found := 0
		x.must(tx.Registers(records.RegisterPrefix{Kind: sampleKinds[0], Learner: &learner, Key: &key}, func(r records.Register) error {
			found++
			if r.Slot != 2 || !bytes.Equal(r.Entry.Body, longest.Body) || !bytes.Equal(r.Entry.Envelope, longest.Envelope) {
				x.Errorf("register in branch %d with a body of %d bytes", r.Slot, len(r.Entry.Body))
			}
			return nil
		}))
		x.equal("found", found, 1)
	})
}

func testPutReplaceDelete(x *fixture) {
	event, eenv := sampleEvent(1, identity.UserID{1}, "event")
	reg, renv := sampleRegister(2, identity.UserID{1}, "k", "register")
	other, oenv := sampleRegister(2, identity.UserID{1}, "l", "other")
	x.update(func(tx records.WriteTx) { x.put(tx, 1, event, eenv); x.put(tx, 1, reg, renv) })
	check := func(tx records.Tx, what string, want ...records.Entry) {
		var got []records.Entry
		x.must(tx.Entries(1, 0, 9, func(e records.Entry) error { got = append(got, e.Clone()); return nil }))
		x.equal(what, got, want)
		// The indexes give the same as the entries themselves.
		x.must(tx.Registers(records.RegisterPrefix{Kind: renv.Kind}, func(r records.Register) error {
			i := slices.IndexFunc(want, func(e records.Entry) bool { return e.Counter == r.Version })
			if i < 0 {
				x.Errorf("%s: register %d is not stored", what, r.Version)
			} else {
				x.equal(what+": register", r.Entry, want[i])
			}
			return nil
		}))
		x.must(tx.Events(identity.UserID{1}, eenv.Kind.Lane(), func(_ records.Slot, e records.Entry) error {
			x.equal(what+": event", e, want[0])
			return nil
		}))
	}
	refuse := func(tx records.WriteTx) {
		x.is("put again", tx.Put(1, event, &eenv), records.ErrExists)
		x.is("put other content", tx.Put(1, other, &oenv), records.ErrExists)
		x.is("replace by another envelope", tx.Replace(1, other, &oenv), records.ErrExists)
		x.is("replace nothing", tx.Replace(2, reg, &renv), records.ErrNotFound)
		x.is("delete nothing", tx.Delete(1, 3, &eenv), records.ErrNotFound)
	}
	x.update(func(tx records.WriteTx) { refuse(tx); check(tx, "refused", event, reg) })
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.Replace(1, event.ToStub(), &eenv), tx.Replace(1, reg.ToStub(), &renv))
		refuse(tx)
	}, func(tx records.Tx) { check(tx, "stubs", event.ToStub(), reg.ToStub()) })
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.Replace(1, event, &eenv), tx.Replace(1, reg, &renv))
	}, func(tx records.Tx) { check(tx, "back again", event, reg) })
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.Delete(1, 2, &renv))
		x.is("delete again", tx.Delete(1, 2, &renv), records.ErrNotFound)
	}, func(tx records.Tx) { check(tx, "deleted", event) })
	x.everywhere(func(tx records.WriteTx) {
		x.put(tx, 1, other, oenv)
	}, func(tx records.Tx) { check(tx, "another in its place", event, other) })
}

func testVersions(x *fixture) {
	learner := identity.UserID{1}
	versions := func(tx records.Tx, s records.Slot, key string) []uint64 {
		list, err := tx.Versions(s, records.RegisterKey{Kind: sampleKinds[0], Learner: learner, Key: key})
		x.must(err)
		return list
	}
	newest := func(tx records.Tx, key string) (found []string) {
		x.must(tx.Registers(records.RegisterPrefix{Kind: sampleKinds[0], Learner: &learner, Key: &key}, func(r records.Register) error {
			found = append(found, fmt.Sprint(r.Slot, " ", r.Version, " ", string(r.Entry.Body)))
			return nil
		}))
		return found
	}
	put := func(tx records.WriteTx, s records.Slot, key string, counters ...uint64) {
		for _, c := range counters {
			e, env := sampleRegister(c, learner, key, fmt.Sprint("v", c))
			x.put(tx, s, e, env)
		}
	}
	del := func(tx records.WriteTx, s records.Slot, key string, counter uint64) {
		_, env := sampleRegister(counter, learner, key, "")
		x.must(tx.Delete(s, counter, &env))
	}
	x.everywhere(func(tx records.WriteTx) {
		put(tx, 1, "a", 5, 9, 2)
		put(tx, 2, "a", 7)
		put(tx, 1, "b", 3)
	}, func(tx records.Tx) {
		x.equal("newest first", versions(tx, 1, "a"), []uint64{9, 5, 2})
		x.equal("other branch", versions(tx, 2, "a"), []uint64{7})
		x.equal("not stored", versions(tx, 2, "b"), []uint64{})
		x.equal("newest", newest(tx, "a"), []string{"1 9 v9", "2 7 v7"})
	})
	x.everywhere(func(tx records.WriteTx) {
		del(tx, 1, "a", 9)
		del(tx, 2, "a", 7)
		put(tx, 1, "a", 4)
	}, func(tx records.Tx) {
		x.equal("newest deleted", versions(tx, 1, "a"), []uint64{5, 4, 2})
		x.equal("all deleted", versions(tx, 2, "a"), []uint64{})
		x.equal("next is newest", newest(tx, "a"), []string{"1 5 v5"})
	})
	x.everywhere(func(tx records.WriteTx) {
		put(tx, 1, "a", 100)
		del(tx, 1, "a", 4)
		del(tx, 1, "a", 100)
		del(tx, 1, "a", 5)
		put(tx, 2, "a", 1)
	}, func(tx records.Tx) {
		x.equal("put and deleted in one transaction", versions(tx, 1, "a"), []uint64{2})
		x.equal("oldest is newest", newest(tx, "a"), []string{"1 2 v2", "2 1 v1"})
	})
}

func testRegisters(x *fixture) {
	learners := []identity.UserID{{}, {1}, {1, 1}, {0xff}}
	keys := []string{"", "a", "z", "aa", "ab", "\xff\xff", "aaa", strings.Repeat("k", records.MaxKeyBytes)}
	type found struct {
		key  records.RegisterKey
		slot records.Slot
	}
	var all []found
	for _, kind := range sampleKinds {
		for _, l := range learners {
			for _, k := range keys {
				for s := range records.Slot(3) {
					all = append(all, found{records.RegisterKey{Kind: kind, Learner: l, Key: k}, s + 1})
				}
			}
		}
	}
	if !slices.IsSortedFunc(all, func(a, b found) int {
		if c := a.key.Compare(b.key); c != 0 {
			return c
		}
		return int(a.slot) - int(b.slot)
	}) {
		x.Fatal("the test's own list is not in order")
	}
	x.everywhere(func(tx records.WriteTx) {
		for i := range all { // not in order
			i = i * 101 % len(all)
			f := all[i]
			env := records.Envelope{Kind: f.key.Kind, Register: true, Learner: f.key.Learner, Key: []byte(f.key.Key)}
			x.put(tx, f.slot, records.Entry{Counter: uint64(i + 1), Envelope: env.Append(nil), Body: []byte(fmt.Sprint(i))}, env)
		}
	}, func(tx records.Tx) {
		scan := func(p records.RegisterPrefix) {
			var got, want []found
			x.must(tx.Registers(p, func(r records.Register) error {
				got = append(got, found{r.Key, r.Slot})
				if i := int(r.Version) - 1; all[i] != got[len(got)-1] || string(r.Entry.Body) != fmt.Sprint(i) || r.Entry.Counter != r.Version {
					x.Errorf("register %v in branch %d: version %d, body %q", r.Key, r.Slot, r.Version, r.Entry.Body)
				}
				return nil
			}))
			for _, f := range all {
				if f.key.Kind == p.Kind && (p.Learner == nil || f.key.Learner == *p.Learner) && (p.Key == nil || f.key.Key == *p.Key) {
					want = append(want, f)
				}
			}
			if !slices.Equal(got, want) {
				x.Errorf("%+v: got %v, want %v", p, got, want)
			}
		}
		none, stranger := "b", identity.UserID{2}
		for _, kind := range append(slices.Clone(sampleKinds), sampleKinds[0]+5) {
			scan(records.RegisterPrefix{Kind: kind})
			scan(records.RegisterPrefix{Kind: kind, Learner: &stranger})
			for _, l := range learners {
				scan(records.RegisterPrefix{Kind: kind, Learner: &l})
				scan(records.RegisterPrefix{Kind: kind, Learner: &l, Key: &none})
				for _, k := range keys {
					scan(records.RegisterPrefix{Kind: kind, Learner: &l, Key: &k})
				}
			}
		}
		if err := tx.Registers(records.RegisterPrefix{Kind: sampleKinds[0], Key: &none}, func(records.Register) error { return nil }); err == nil {
			x.Error("a key without a learner is taken")
		}
		x.is("early stop", tx.Registers(records.RegisterPrefix{Kind: sampleKinds[0]}, func(records.Register) error { return errStop }), errStop)
	})
}

func testEvents(x *fixture) {
	learners := []identity.UserID{{}, {1}, {1, 1}}
	list := func(tx records.Tx, l identity.UserID, lane identity.Lane) (found []string) {
		x.must(tx.Events(l, lane, func(s records.Slot, e records.Entry) error {
			found = append(found, fmt.Sprint(s, "/", e.Counter, "=", string(e.Body)))
			return nil
		}))
		return found
	}
	event := func(c uint64, i int, lane identity.Lane) (records.Entry, records.Envelope) {
		env := records.Envelope{Kind: records.Kind(uint16(lane)<<14 | 77), Learner: learners[i]}
		return records.Entry{Counter: c, Envelope: env.Append(nil), Body: []byte{'a' + byte(i)}}, env
	}
	want := map[int][]string{}
	x.everywhere(func(tx records.WriteTx) {
		for s := records.Slot(1); s <= 2; s++ {
			for c := uint64(1); c <= 400; c += 7 {
				i := int(c) % 3
				e, env := event(c, i, identity.LaneDetail)
				x.put(tx, s, e, env)
				want[i] = append(want[i], fmt.Sprint(s, "/", c, "=", string(e.Body)))
				e, env = sampleRegister(c+1, learners[i], fmt.Sprint(c), "register")
				x.put(tx, s, e, env)
			}
		}
		e, env := event(5, 1, identity.LaneProgress)
		x.put(tx, 3, e, env)
	}, func(tx records.Tx) {
		for i, l := range learners {
			x.equal("events", list(tx, l, identity.LaneDetail), want[i])
		}
		x.equal("other lane", list(tx, learners[1], identity.LaneProgress), []string{"3/5=b"})
		x.equal("empty lane", list(tx, learners[1], identity.LaneZone), []string{})
		x.equal("stranger", list(tx, identity.UserID{9}, identity.LaneDetail), []string{})
		x.is("early stop", tx.Events(learners[1], identity.LaneDetail, func(records.Slot, records.Entry) error { return errStop }), errStop)
	})
	x.everywhere(func(tx records.WriteTx) {
		for c := uint64(1); c <= 400; c += 7 {
			_, env := event(c, int(c)%3, identity.LaneDetail)
			x.must(tx.Delete(1, c, &env))
		}
		e, env := event(1, 2, identity.LaneDetail) // another in the place of one that was deleted
		x.put(tx, 1, e, env)
	}, func(tx records.Tx) {
		for i, l := range learners {
			left := slices.DeleteFunc(slices.Clone(want[i]), func(s string) bool { return strings.HasPrefix(s, "1/") })
			if i == 2 {
				left = append([]string{"1/1=c"}, left...)
			}
			x.equal("events left", list(tx, l, identity.LaneDetail), left)
		}
	})
}
