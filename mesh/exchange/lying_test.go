package exchange_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/roster"
)

// liar is a device whose honest messages are changed, dropped or followed by
// others on their way to the honest side.
type liar struct {
	honest, self locked
	codec        *packing.Codec
	times        map[string]int
	sums         int // from how many rows on vectors begin with checksums; 0: as usual
}

// once reports whether this is the first time that it is asked about a thing.
func (l *liar) once(what string) bool {
	l.times[what]++
	return l.times[what] == 1
}

// edit changes the entries that a run holds.
func (l *liar) edit(run *wire.Run, f func([]records.Entry) []records.Entry) {
	entries, err := l.codec.Unpack([]wire.Run{*run})
	if err != nil {
		panic(err)
	}
	for i := range entries {
		entries[i] = entries[i].Clone()
	}
	*run = l.codec.Pack(f(entries))[0]
}

// run is the run of a message that carries one, or nil.
func run(m wire.Message) *wire.Run {
	switch m := m.(type) {
	case *wire.Difference:
		return &m.Run
	case *wire.Segment:
		return &m.Run
	case *wire.Push:
		return &m.Run
	}
	return nil
}

// account is the account of a message that carries one, or nil.
func account(m wire.Message) *wire.Account {
	switch m := m.(type) {
	case *wire.Difference:
		return &m.Account
	case *wire.SegmentList:
		return &m.Account
	case *wire.Push:
		return &m.Account
	}
	return nil
}

// alter keeps the size: more than the liar's own side knows of would be more
// credit than that expects back.
func alter(e []records.Entry) []records.Entry {
	if len(e) > 0 {
		e[0].Body[0] ^= 0x80
	}
	return e
}

func withhold(e []records.Entry) []records.Entry { return e[:max(0, len(e)-1)] }

// after answers every message of type T with itself and what follows it.
func after[T wire.Message](what ...wire.Message) func(*liar, wire.Message) []wire.Message {
	return func(l *liar, m wire.Message) []wire.Message {
		if _, ok := m.(T); ok && l.once("after") {
			return append([]wire.Message{m}, what...)
		}
		return []wire.Message{m}
	}
}

// inRuns changes the entries of every run.
func inRuns(f func([]records.Entry) []records.Entry) func(*liar, wire.Message) []wire.Message {
	return func(l *liar, m wire.Message) []wire.Message {
		if r := run(m); r != nil && r.Size() > 0 {
			l.edit(r, f)
		}
		return []wire.Message{m}
	}
}

// inAccounts changes every account.
func inAccounts(f func(*liar, *wire.Account)) func(*liar, wire.Message) []wire.Message {
	return func(l *liar, m wire.Message) []wire.Message {
		if a := account(m); a != nil {
			f(l, a)
		}
		return []wire.Message{m}
	}
}

// in changes the first message of type T.
func in[T wire.Message](f func(*liar, T)) func(*liar, wire.Message) []wire.Message {
	return func(l *liar, m wire.Message) []wire.Message {
		if msg, ok := m.(T); ok && l.once("in") {
			f(l, msg)
		}
		return []wire.Message{m}
	}
}

func moreRows(rows []records.Row, more bool) *wire.Rows {
	m := &wire.Rows{}
	m.Rows, m.More = rows, more
	return m
}

func repeated[T wire.Message](l *liar, m wire.Message) []wire.Message {
	if _, ok := m.(T); ok {
		return []wire.Message{m, m}
	}
	return []wire.Message{m}
}

// foreign is a zone of somebody else with the same devices.
func foreign(t testing.TB) (*roster.Roster, identity.Certificate) {
	w := newWorld(t, 2, 2)
	other, err := identity.GenerateDeviceKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := roster.New(w.zone, "impostor", other.Public(), 1)
	if err != nil {
		t.Fatal(err)
	}
	r, err = r.AddDevice(w.keys[1].Public(), "1", roster.RoleAdministrates, 1)
	if err != nil {
		t.Fatal(err)
	}
	r.Epoch = roster.Epoch{Life: 9, Number: 9}
	return r.Sign(other, 1), identity.IssueCertificate(w.keys[1], identity.ZoneID{8}, w.authors[1], 1)
}

// Whatever a member of the zone says instead of the truth: the process lives,
// nothing is stored that its author did not sign (the model sees to that after
// every commit), who lied is blamed and who did not is not, and an honest
// session afterwards brings both together.
func TestLies(t *testing.T) {
	impostor, elsewhere := foreign(t)
	world := newWorld(t, 2, 2)
	const anything = wire.Code(99)
	for _, test := range []struct {
		name   string
		lie    func(*liar, wire.Message) []wire.Message
		code   wire.Code // with which the honest side ends the session
		heals  bool      // within the session, without blame
		unfair bool      // whether blame is due cannot be told by one side
	}{
		// What is asked for and answered.
		{name: "difference for another request", code: wire.CodeProtocol,
			lie: in(func(_ *liar, d *wire.Difference) { d.Request += 7 })},
		{name: "difference twice", code: wire.CodeProtocol, lie: repeated[*wire.Difference]},
		{name: "difference from another counter", code: wire.CodeProtocol,
			lie: in(func(_ *liar, d *wire.Difference) { d.Base++; d.Firsts = nil })},
		{name: "difference of another log", code: wire.CodeProtocol,
			lie: in(func(l *liar, d *wire.Difference) { d.Account.Head.Log = identity.LogID{1} })},
		{name: "difference that leaves out unknown starts", code: wire.CodeProtocol,
			lie: in(func(l *liar, d *wire.Difference) {
				d.Account.StartsFrom, d.Account.Starts, d.Account.Certificate = 1, nil, nil
			})},
		{name: "list twice", code: wire.CodeProtocol, lie: repeated[*wire.SegmentList]},
		{name: "list for another request", code: wire.CodeProtocol,
			lie: in(func(_ *liar, m *wire.SegmentList) { m.Request = 1 << 30 })},
		{name: "list within a list", code: wire.CodeProtocol,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if list, ok := m.(*wire.SegmentList); ok {
					list.More = true
					return []wire.Message{m, m}
				}
				return []wire.Message{m}
			}},
		{name: "rows out of order", code: wire.CodeProtocol,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if list, ok := m.(*wire.SegmentList); ok {
					list.More = true
					return []wire.Message{m, moreRows(list.Rows, false)}
				}
				return []wire.Message{m}
			}},
		{name: "endless rows", code: wire.CodeProtocol,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				list, ok := m.(*wire.SegmentList)
				if !ok {
					return []wire.Message{m}
				}
				list.More = true
				all := []wire.Message{list}
				first := list.Rows[len(list.Rows)-1].First
				for range 70 {
					var rows []records.Row
					for range 1000 {
						first++
						rows = append(rows, records.Row{First: first, Live: 1})
					}
					all = append(all, moreRows(rows, true))
				}
				return all
			}},
		{name: "rows that the head does not sign", code: wire.CodeMismatch,
			lie: in(func(_ *liar, m *wire.SegmentList) { m.Rows[0].Live++ })},
		{name: "rows left out", code: wire.CodeMismatch,
			lie: in(func(_ *liar, m *wire.SegmentList) { m.Rows = m.Rows[1:] })},
		{name: "segment twice", code: wire.CodeProtocol,
			lie: func(l *liar, m wire.Message) []wire.Message {
				if s, ok := m.(*wire.Segment); ok && l.once("segment") {
					return []wire.Message{s, s}
				}
				return []wire.Message{m}
			}},
		{name: "segment for another request", code: wire.CodeProtocol,
			lie: in(func(_ *liar, s *wire.Segment) { s.Request += 9 })},
		{name: "another segment", code: wire.CodeProtocol,
			lie: in(func(_ *liar, s *wire.Segment) { s.First += modelSegment })},
		{name: "segment cut", code: wire.CodeProtocol,
			lie: in(func(_ *liar, s *wire.Segment) { s.From = s.First + 1 })},
		{name: "nothing for another request", code: wire.CodeProtocol,
			lie: after[*wire.Counters](&wire.Nothing{Request: 1 << 20, Reason: wire.ReasonGone})},
		{name: "nothing to all that is asked", heals: true,
			lie: func(l *liar, m wire.Message) []wire.Message {
				if s, ok := m.(*wire.Segment); ok && l.once("nothing") {
					return []wire.Message{&wire.Nothing{Request: s.Request, Reason: wire.ReasonMoved}}
				} else if ok && l.times["drop"] < 3 {
					l.times["drop"]++ // Nothing stands for the rest of them
					return nil
				}
				return []wire.Message{m}
			}},

		// What nobody asked for.
		{name: "difference unasked", code: wire.CodeProtocol,
			lie: func(l *liar, m wire.Message) []wire.Message {
				if d, ok := m.(*wire.Difference); ok {
					again := *d
					again.Request = 1 << 20
					return []wire.Message{&again}
				}
				return []wire.Message{m}
			}},
		{name: "segment unasked", code: wire.CodeProtocol, lie: after[*wire.Counters](&wire.Segment{Request: 1, First: 1})},
		{name: "rows unasked", code: wire.CodeProtocol, lie: after[*wire.Counters](moreRows([]records.Row{{First: 1, Live: 1}}, false))},
		{name: "entries after nothing", code: wire.CodeProtocol, lie: after[*wire.Counters](&wire.Entries{Run: wire.Run{Data: []byte{1}}})},
		{name: "empty entries within an answer", code: wire.CodeProtocol,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if s, ok := m.(*wire.Segment); ok {
					s.More = true
					return []wire.Message{s, &wire.Entries{More: true}}
				}
				return []wire.Message{m}
			}},
		{name: "answer within an answer", code: wire.CodeProtocol,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if s, ok := m.(*wire.Segment); ok {
					s.More = true
					return []wire.Message{s, s}
				}
				return []wire.Message{m}
			}},
		{name: "endless answer", code: wire.CodeProtocol,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if s, ok := m.(*wire.Segment); ok {
					s.More = true
					chunk := &wire.Entries{Run: wire.Run{Data: make([]byte, 200<<10)}, More: true}
					return []wire.Message{s, chunk, chunk, chunk, chunk, chunk, chunk}
				}
				return []wire.Message{m}
			}},
		{name: "checksum of counters in a session that ends by itself", code: wire.CodeProtocol, lie: after[*wire.Counters](&wire.CountersSum{Sum: 1})},
		{name: "an answer of runs of nothing", code: wire.CodeProtocol,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if s, ok := m.(*wire.Segment); ok {
					s.More = true
					nothing := &wire.Entries{Run: wire.Run{Data: []byte{1}}, More: true}
					many := append([]wire.Message{s}, slices.Repeat([]wire.Message{nothing}, records.SegmentCounters)...)
					return append(many, &wire.Entries{Run: nothing.Run})
				}
				return []wire.Message{m}
			}},
		{name: "credit for nothing", code: wire.CodeProtocol, lie: after[*wire.Counters](&wire.Credit{Bytes: 1})},
		{name: "credit of nothing", code: wire.CodeProtocol, lie: after[*wire.Counters](&wire.Credit{})},
		{name: "credit beyond all bounds", code: wire.CodeProtocol, lie: after[*wire.Counters](&wire.Credit{Bytes: 1<<32 - 1})},
		{name: "hello twice", code: wire.CodeProtocol, lie: repeated[*wire.Hello]},
		{name: "a roster wanted late", code: wire.CodeProtocol, lie: after[*wire.Counters](&wire.WantRoster{})},

		// What the author did not sign.
		{name: "entry altered", code: wire.CodeMismatch, lie: inRuns(alter)},
		{name: "entry withheld", code: wire.CodeMismatch, lie: inRuns(withhold)},
		{name: "entry moved", code: wire.CodeMismatch, lie: inRuns(func(e []records.Entry) []records.Entry {
			if len(e) > 0 {
				e[len(e)-1].Counter += 2 * modelSegment
			}
			return e
		})},
		{name: "entry invented", code: wire.CodeMismatch, lie: inRuns(func(e []records.Entry) []records.Entry {
			last := e[len(e)-1].Clone()
			last.Counter++
			return append(e, last)
		})},
		{name: "entries turned into stubs", code: wire.CodeMismatch, lie: inRuns(func(e []records.Entry) []records.Entry {
			for i := range e {
				e[i] = e[i].ToStub()
			}
			return e
		})},
		{name: "difference altered, segments not", heals: true,
			lie: func(l *liar, m wire.Message) []wire.Message {
				if d, ok := m.(*wire.Difference); ok {
					l.edit(&d.Run, alter)
				}
				return []wire.Message{m}
			}},
		{name: "one segment altered once", heals: true,
			lie: in(func(l *liar, s *wire.Segment) { l.edit(&s.Run, alter) })},
		{name: "head with a forged signature", code: wire.CodeMismatch,
			lie: inAccounts(func(_ *liar, a *wire.Account) { a.Head.Signature[5] ^= 1 })},
		{name: "head of a later counter", code: wire.CodeMismatch,
			lie: inAccounts(func(_ *liar, a *wire.Account) { a.Head.Counter++ })},
		{name: "head for another set", code: wire.CodeMismatch,
			lie: inAccounts(func(_ *liar, a *wire.Account) { a.Head.Fingerprint[0] ^= 1 })},
		{name: "certificate of another author", code: wire.CodeMismatch,
			lie: inAccounts(func(l *liar, a *wire.Account) { a.Certificate = l.self.certs[0].Encode() })},
		{name: "certificate that nobody signed", code: wire.CodeMismatch,
			lie: inAccounts(func(_ *liar, a *wire.Account) {
				a.Certificate = slices.Clone(a.Certificate)
				a.Certificate[len(a.Certificate)-1] ^= 1
			})},
		{name: "certificate of another zone", unfair: true, code: anything,
			lie: inAccounts(func(_ *liar, a *wire.Account) { a.Certificate = elsewhere.Encode() })},
		{name: "another lane", code: wire.CodeMismatch,
			lie: inAccounts(func(_ *liar, a *wire.Account) { a.Lane = (a.Lane + 1) % 3 })},
		{name: "random bytes for entries", code: wire.CodeMismatch,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if r := run(m); r != nil {
					*r = wire.Run{Data: bytes.Repeat([]byte{0xa7}, 100)}
				}
				return []wire.Message{m}
			}},
		{name: "decompression bomb", code: wire.CodeMismatch,
			lie: func(l *liar, m wire.Message) []wire.Message {
				if r := run(m); r != nil {
					bomb := l.codec.Pack([]records.Entry{{Counter: 1, Envelope: []byte{0}, Body: make([]byte, 200<<10)}})[0]
					*r = wire.Run{Packed: uint32(len(bomb.Data)) + 1, Data: bomb.Data}
				}
				return []wire.Message{m}
			}},
		{name: "receipt that the coordinator did not sign", code: wire.CodeMismatch,
			lie: func(l *liar, m wire.Message) []wire.Message {
				if _, ok := m.(*wire.Counters); ok && l.once("receipt") {
					r := records.IssueReceipt(l.self.keys[1], l.self.zone, 1, 1, []records.ReceiptItem{{Log: identity.LogID{1}, Counter: 1}})
					return []wire.Message{m, &wire.Receipt{Encoded: r.Encode()}}
				}
				return []wire.Message{m}
			}},
		{name: "receipt of random bytes", code: wire.CodeMismatch, lie: after[*wire.Counters](&wire.Receipt{Encoded: make([]byte, 300)})},
		{name: "zone key that the coordinator did not sign", code: wire.CodeMismatch, lie: after[*wire.Counters](keyOf(t, world.keys[1], world.zone, 9))},
		{name: "zone key of another zone", code: wire.CodeMismatch, lie: after[*wire.Counters](keyOf(t, world.coordinator, elsewhere.Zone, 9))},
		{name: "zone key of random bytes", code: wire.CodeMismatch, lie: after[*wire.Counters](&wire.Key{Encoded: make([]byte, roster.ZoneKeyBytes)})},
		{name: "zone key altered", code: wire.CodeMismatch, lie: after[*wire.Counters](alteredKey(keyOf(t, world.coordinator, world.zone, 9)))},
		{name: "zone key twice", code: wire.CodeProtocol,
			lie: after[*wire.Counters](slices.Repeat([]wire.Message{keyOf(t, world.coordinator, world.zone, 9)}, 2)...)},
		{name: "an older zone key after a newer", code: wire.CodeProtocol,
			lie: after[*wire.Counters](keyOf(t, world.coordinator, world.zone, 9), keyOf(t, world.coordinator, world.zone, 8))},
		{name: "a flood of forged zone keys", code: wire.CodeMismatch,
			lie: after[*wire.Counters](manyKeys(t, world.keys[1], world.zone, 5000)...)},
		{name: "zone key that nobody asked for", heals: true,
			lie: after[*wire.Counters](keyOf(t, world.coordinator, world.zone, 1))},
		{name: "a zone key promised and never given", heals: true, lie: in(func(_ *liar, h *wire.Hello) { h.KeyNumber = 1<<32 - 1 })},
		{name: "roster of another coordinator", code: wire.CodeMismatch, lie: after[*wire.Counters](wire.NewRoster(impostor.Encode())...)},
		{name: "roster of random bytes", code: wire.CodeMismatch, lie: after[*wire.Counters](&wire.Roster{Part: make([]byte, 500)})},
		{name: "roster in empty parts", code: wire.CodeProtocol, lie: after[*wire.Counters](&wire.Roster{More: true})},
		{name: "endless roster", code: wire.CodeProtocol,
			lie: after[*wire.Counters](slices.Repeat([]wire.Message{&wire.Roster{Part: make([]byte, 200<<10), More: true}}, 8)...)},

		// What is said of oneself.
		{name: "hello with another device's certificate", code: wire.CodeIdentity,
			lie: in(func(l *liar, h *wire.Hello) { h.Certificate = l.self.certs[0] })},
		{name: "hello of another zone", code: wire.CodeZone,
			lie: in(func(_ *liar, h *wire.Hello) { h.Certificate, h.Zone = elsewhere, elsewhere.Zone })},
		{name: "hello with a zone that its certificate does not have", code: wire.CodeIdentity,
			lie: in(func(_ *liar, h *wire.Hello) { h.Certificate = elsewhere })},
		{name: "hello with a tiny window", code: wire.CodeProtocol, lie: in(func(_ *liar, h *wire.Hello) { h.Window = 1 })},
		{name: "hello with an endless window", heals: true, lie: in(func(_ *liar, h *wire.Hello) { h.Window = 1<<32 - 1 })},
		{name: "hello of a later protocol alone", code: wire.CodeVersion, lie: in(func(_ *liar, h *wire.Hello) { h.Min, h.Max = 90, 99 })},
		{name: "heads of this device that it never signed", heals: true,
			lie: in(func(l *liar, h *wire.Hello) {
				for i := range 100 {
					head := records.Head{Log: l.self.certs[0].Log(identity.LaneZone), Counter: uint64(i + 9)}
					head.SetStarts(records.StartList{{First: 1, ID: identity.StartID{1}}})
					h.Held = append(h.Held, wire.Held{Head: head})
				}
			})},
		{name: "fingerprint that is not its own", unfair: true, code: anything,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if c, ok := m.(*wire.Counters); ok {
					c.Fingerprint[3] ^= 1
				}
				return []wire.Message{m}
			}},
		{name: "counters beyond what it holds", unfair: true, code: anything,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				switch m := m.(type) {
				case *wire.Vector:
					for i := range m.Rows {
						m.Rows[i].Counter += 1000
					}
				case *wire.VectorReply:
					for i := range m.Rows {
						m.Rows[i].Counter += 1000
					}
				}
				return []wire.Message{m}
			}},
		{name: "news of logs that do not exist", heals: true,
			lie: after[*wire.Counters](wire.NewHave(madeUp(5000))...)},
		{name: "vectors without end", code: wire.CodeProtocol,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if _, ok := m.(*wire.Counters); !ok {
					return []wire.Message{m}
				}
				all := []wire.Message{m}
				for range 40 {
					for _, part := range wire.NewVectorReply(madeUp(3000)) {
						part.(*wire.VectorReply).More = true
						all = append(all, part)
					}
				}
				return all
			}},
		{name: "a flood of requests", code: wire.CodeProtocol,
			lie: func(l *liar, m wire.Message) []wire.Message {
				if _, ok := m.(*wire.Counters); !ok || !l.once("flood") {
					return []wire.Message{m}
				}
				all := []wire.Message{m}
				ref := records.BranchRef{Log: l.self.certs[0].Log(identity.LaneDetail), Start: l.honest.StartID()}
				for i := range uint32(60) {
					all = append(all, wire.NewWantSegments(i+1, wire.FullName(ref), 1, slices.Repeat([]records.Need{{First: 1}}, wire.MaxNeeds)))
				}
				return all
			}},

		// What ends too soon.
		{name: "goodbye in the middle of an answer", code: wire.CodeDone, unfair: true,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if s, ok := m.(*wire.Segment); ok {
					s.More = true
					return []wire.Message{s, wire.NewBye(wire.CodeDone, "")}
				}
				return []wire.Message{m}
			}},
		{name: "answers never come", code: wire.CodeTimeout,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if run(m) != nil || account(m) != nil {
					return nil
				}
				return []wire.Message{m}
			}},
		{name: "counters never come", unfair: true, code: anything,
			lie: func(_ *liar, m wire.Message) []wire.Message {
				if _, ok := m.(*wire.Counters); ok {
					return nil
				}
				return []wire.Message{m}
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			codec, err := packing.NewCodec(1)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				a, b := liesBetween(t)
				l := &liar{honest: a, self: b, codec: codec, times: map[string]int{}}
				start := time.Now()
				r := l.tell(t, test.lie)
				if took := time.Since(start); took > 2*time.Minute {
					t.Errorf("the session took %v", took)
				}
				switch {
				case !r.Over:
					t.Error("the session is not over")
				case test.unfair:
					if test.code != anything && r.Code != test.code {
						t.Errorf("ended with %v: %s", r.Code, r.Words)
					}
				case test.heals:
					if r.Blame != "" || r.Code != wire.CodeDone || !r.Equal {
						t.Errorf("ended with %v: %s, equal %t, blame %q", r.Code, r.Words, r.Equal, r.Blame)
					}
				case r.Code != test.code || r.Remote || r.Code != wire.CodeZone && r.Code != wire.CodeVersion && r.Blame == "":
					t.Errorf("ended with %v (by the peer: %t): %s, blame %q; want %v", r.Code, r.Remote, r.Words, r.Blame, test.code)
				}
				honestly := func(_ *liar, m wire.Message) []wire.Message { return []wire.Message{m} }
				if r := l.tell(t, honestly); r.Blame != "" || !r.Equal || a.State().Fingerprint != b.State().Fingerprint {
					t.Errorf("an honest session afterwards: %+v", r)
				}
			})
		})
	}
}

func keyOf(t testing.TB, signer identity.DeviceKey, zone identity.ZoneID, number uint32) *wire.Key {
	k, err := roster.NewZoneKey(rand.Reader, signer, zone, number)
	if err != nil {
		t.Fatal(err)
	}
	return &wire.Key{Encoded: k.Encode()}
}

func alteredKey(k *wire.Key) *wire.Key {
	k.Encoded[30] ^= 1
	return k
}

// manyKeys is keys with the numbers from 1 on.
func manyKeys(t testing.TB, signer identity.DeviceKey, zone identity.ZoneID, n uint32) (list []wire.Message) {
	for i := range n {
		list = append(list, keyOf(t, signer, zone, i+1))
	}
	return list
}

// liesBetween returns an honest device and one that lies, which both have
// something that the other lacks, small and large.
func liesBetween(t testing.TB) (honest, liar locked) {
	w := newWorld(t, 2, 2)
	var mu sync.Mutex
	honest, liar = locked{&mu, newReplica(w, 0, w.rosters[0])}, locked{&mu, newReplica(w, 1, w.rosters[0])}
	honest.add(identity.LaneDetail, 7)
	liar.add(identity.LaneZone, 2)
	liar.add(identity.LaneDetail, 30)
	return honest, liar
}

// madeUp returns rows of logs that nobody has.
func madeUp(n int) []wire.VectorRow {
	rows := make([]wire.VectorRow, n)
	for i := range rows {
		rows[i] = wire.VectorRow{Name: wire.FullName(records.BranchRef{Log: identity.LogID{byte(i >> 8), byte(i), 1}, Start: identity.StartID{1}}), Counter: 5}
	}
	return rows
}

// tell runs a session between the two, over a relay that lies to the honest
// side, and returns that side's report when both have ended.
func (l *liar) tell(t *testing.T, lie func(*liar, wire.Message) []wire.Message) exchange.Report {
	near, nearEnd := net.Pipe()
	farEnd, far := net.Pipe()
	honest, other := session(t, l.honest, l.self.n, near, true), session(t, l.self, l.honest.n, far, true)
	for _, s := range []*exchange.Session{honest, other} {
		if l.sums > 0 {
			s.SumsFrom(l.sums)
		}
	}
	relay(t, honest, nearEnd, other, farEnd, func(m wire.Message) []wire.Message { return lie(l, m) })
	return honest.Report()
}

// relay runs two sessions whose messages it carries, those of the other to the
// honest one through a lie, until both have ended.
func relay(t *testing.T, honest *exchange.Session, nearEnd net.Conn, other *exchange.Session, farEnd net.Conn, lie func(wire.Message) []wire.Message) {
	var wg sync.WaitGroup
	wg.Go(func() { honest.Run(t.Context()) })
	wg.Go(func() { other.Run(t.Context()) })
	wg.Go(func() { io.Copy(farEnd, nearEnd); farEnd.Close() })
	wg.Go(func() {
		defer nearEnd.Close()
		defer io.Copy(io.Discard, farEnd)
		r := wire.NewReader(farEnd)
		for {
			m, _, err := r.Read()
			if err != nil {
				return
			}
			for _, m := range lie(m) {
				if _, err := nearEnd.Write(wire.AppendFrame(nil, m)); err != nil {
					return
				}
			}
		}
	})
	wg.Wait()
}

// samples is one valid message of every type.
func samples(t testing.TB) []wire.Message {
	w := newWorld(t, 2, 2)
	r := newReplica(w, 1, w.rosters[0])
	r.write(identity.LaneZone, records.Entry{Envelope: []byte{0}, Body: []byte("b")})
	log := w.certs[1].Log(identity.LaneZone)
	d, err := r.Difference(t.Context(), records.BranchRef{Log: log}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.SegmentList(t.Context(), records.BranchRef{Log: log}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := packing.NewCodec(1)
	if err != nil {
		t.Fatal(err)
	}
	runs := codec.Pack(d.Entries)
	ref := records.BranchRef{Log: log, Start: r.StartID()}
	rows := []wire.VectorRow{{Name: wire.FullName(ref), Counter: 1}}
	return slices.Concat(
		[]wire.Message{
			&wire.Hello{Offer: wire.OurOffer(), Zone: w.zone, Certificate: w.certs[1], Start: r.StartID(), Window: wire.MinWindow, Epoch: r.roster.Epoch, RosterHash: r.roster.Hash()},
			&wire.WantRoster{}, &wire.Counters{Epoch: r.roster.Epoch}, &wire.Credit{Bytes: 1},
			&wire.Nothing{Request: 1, Reason: wire.ReasonGone}, wire.NewWant(1, wire.FullName(ref), 0, 0, false),
			wire.NewWantSegments(1, wire.FullName(ref), 1, []records.Need{{First: 1}}),
			&wire.Entries{Run: runs[0]}, moreRows(list.Rows, false), &wire.Receipt{Encoded: make([]byte, 100)},
			&wire.Key{Encoded: w.key(1).Encode()}, &wire.Links{Among: []uint64{1, 2}}, &wire.Enough{Log: 1}, &wire.Limit{Lanes: 1}, &wire.More{Logs: []uint64{1}},
			wire.NewVectorSums(r.State(), wire.MinSums), &wire.CountersSum{Sum: 1},
			wire.NewBye(wire.CodeDone, ""),
		},
		wire.NewRoster(r.encoded), wire.NewVector(rows, true), wire.NewVectorReply(rows), wire.NewHave(rows),
		wire.NewDifference(1, d, runs), wire.NewSegmentList(1, list), wire.NewSegment(1, records.Need{First: 1}, runs),
		wire.NewPush(&records.Commit{Ref: ref, Head: d.Head, Difference: d}, runs),
	)
}

// What is said at the wrong time ends the session: before the Hello, and by a
// stranger after it.
func TestWrongTime(t *testing.T) {
	all := samples(t)
	types := map[wire.Type]bool{}
	codec, err := packing.NewCodec(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, msg := range all {
		types[msg.Type()] = true
		for _, listed := range []bool{true, false} {
			count := 1
			if listed {
				count = 2
			}
			w := newWorld(t, 2, count)
			a := newReplica(w, 0, w.rosters[0])
			a.write(identity.LaneZone, records.Entry{Envelope: []byte{0}})
			m := exchange.New(exchange.Config{
				Local: a, Peer: w.keys[1].Public(), Codec: codec,
				Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(a.roster, p, 1) },
			})
			effects := slices.Clone(m.Step(exchange.Started{}))
			if !listed {
				hello := *all[0].(*wire.Hello)
				hello.Epoch.Number++
				effects = append(effects, m.Step(exchange.Received{Message: &hello})...)
			}
			effects = append(effects, m.Step(exchange.Received{Message: msg})...)
			r := m.Report()
			var fine bool
			switch msg.Type() {
			case wire.TypeBye:
				fine = r.Over && r.Remote
			case wire.TypeHello:
				fine = listed && m.Open() || !listed && r.Code == wire.CodeProtocol
			case wire.TypeWantRoster:
				fine = listed && !r.Over || !listed && r.Code == wire.CodeProtocol
			case wire.TypeCounters, wire.TypeRoster:
				fine = !listed && !r.Over || listed && r.Code == wire.CodeProtocol
			default:
				fine = r.Over && r.Code == wire.CodeProtocol && r.Blame != ""
			}
			if !fine {
				t.Errorf("%T, listed %t: %+v", msg, listed, r)
			}
			for _, e := range effects {
				if s, ok := e.(exchange.Send); ok && !listed {
					switch s.Message.(type) {
					case *wire.WantRoster, *wire.Bye:
					default:
						t.Errorf("a stranger was told %T", s.Message)
					}
				}
			}
		}
	}
	if len(types) != 26 {
		t.Errorf("%d types of message were tried, want all 26", len(types))
	}
}

// A member that shows a log in another continuation is not blamed: the author
// is at fault. What is held stays.
func TestCounterUsedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		var mu sync.Mutex
		a, b := locked{&mu, newReplica(w, 0, w.rosters[0])}, locked{&mu, newReplica(w, 1, w.rosters[0])}
		for i, holder := range []locked{a, b} {
			author := newReplica(w, 2, w.rosters[0])
			author.starts += i
			author.restart()
			author.write(identity.LaneZone, records.Entry{Envelope: []byte{0}, Body: []byte{byte(i)}})
			d, err := author.Difference(t.Context(), records.BranchRef{Log: w.certs[2].Log(identity.LaneZone)}, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := holder.AcceptDifference(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		before := a.State().Fingerprint
		left, right := net.Pipe()
		one, two := session(t, a, 1, left, true), session(t, b, 0, right, true)
		var wg sync.WaitGroup
		for _, s := range []*exchange.Session{one, two} {
			wg.Go(func() { s.Run(t.Context()) })
		}
		wg.Wait()
		for _, r := range []exchange.Report{one.Report(), two.Report()} {
			if r.Blame != "" || r.Equal || r.LogsRefused == 0 || r.Code != wire.CodeDone {
				t.Errorf("%+v", r)
			}
		}
		if a.State().Fingerprint != before {
			t.Error("a fork has overwritten what was held")
		}
	})
}

// byHand runs a session whose peer is the function given, on the other end of
// the stream, and returns its report and how long it took.
func byHand(t *testing.T, a locked, peer func(net.Conn)) (exchange.Report, time.Duration) {
	left, right := net.Pipe()
	s := session(t, a, 1, left, false)
	var wg sync.WaitGroup
	wg.Go(func() { peer(right) })
	start := time.Now()
	var end *exchange.EndError
	if err := s.Run(t.Context()); err != nil && !errors.As(err, &end) {
		t.Error(err)
	}
	took := time.Since(start)
	right.Close()
	wg.Wait()
	return s.Report(), took
}

// greetingOf is what a device says first, in frames.
func greetingOf(t *testing.T, b locked) []byte {
	codec, err := packing.NewCodec(1)
	if err != nil {
		t.Fatal(err)
	}
	m := exchange.New(exchange.Config{
		Local: b, Peer: b.keys[0].Public(), Codec: codec,
		Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(b.Roster(), p, 1) },
	})
	var frames []byte
	for _, e := range m.Step(exchange.Started{}) {
		if s, ok := e.(exchange.Send); ok {
			frames = wire.AppendFrame(frames, s.Message)
		}
	}
	return frames
}

// Peers that are slow, or say nothing, or do not listen, are given up in time.
func TestSlowPeers(t *testing.T) {
	big := binaryFrame(wire.TypeRoster, 200<<10)
	for _, test := range []struct {
		name string
		peer func(net.Conn, []byte)
		most time.Duration
		code wire.Code
	}{
		{"says nothing", func(c net.Conn, _ []byte) { io.Copy(io.Discard, c) }, 11 * time.Second, wire.CodeTimeout},
		{"greets one byte a second", func(c net.Conn, greeting []byte) { go io.Copy(io.Discard, c); trickle(c, greeting) }, 11 * time.Second, wire.CodeTimeout},
		{"neither reads nor writes", func(net.Conn, []byte) {}, 20 * time.Second, wire.CodeTimeout},
		{"greets and does not read", func(c net.Conn, greeting []byte) { c.Write(greeting) }, 40 * time.Second, wire.CodeTimeout},
		{"greets, asks all the time, and does not read", func(c net.Conn, greeting []byte) {
			c.Write(greeting)
			want := wire.AppendFrame(nil, wire.NewWant(1, wire.FullName(records.BranchRef{Log: identity.LogID{1}}), 0, 0, false))
			for {
				if _, err := c.Write(want); err != nil {
					return
				}
			}
		}, 40 * time.Second, wire.CodeTimeout},
		{"greets, then stops within a message", func(c net.Conn, greeting []byte) {
			go io.Copy(io.Discard, c)
			c.Write(greeting)
			c.Write(big[:1000])
		}, time.Minute, wire.CodeTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := liesBetween(t)
				greeting := greetingOf(t, b)
				r, took := byHand(t, a, func(c net.Conn) { test.peer(c, greeting) })
				if !r.Over || r.Code != test.code || took > test.most {
					t.Errorf("ended after %v with %v: %s", took, r.Code, r.Words)
				}
			})
		})
	}
}

// A peer that sends a message byte by byte keeps its own session busy and
// nothing else: others go on, and the session ends when it is told to.
func TestSlowLorisHoldsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, 3)
		var mu sync.Mutex
		var all []locked
		for n := range 3 {
			all = append(all, locked{&mu, newReplica(w, n, w.rosters[0])})
			all[n].add(identity.LaneDetail, 10)
		}
		greeting := greetingOf(t, all[1])
		left, right := net.Pipe()
		slow := session(t, all[0], 1, left, false)
		ctx, stop := contextWithStop(t)
		var wg sync.WaitGroup
		wg.Go(func() { slow.Run(ctx) })
		wg.Go(func() { io.Copy(io.Discard, right) })
		wg.Go(func() {
			right.Write(greeting)
			trickle(right, binaryFrame(wire.TypeRoster, 1000))
		})
		time.Sleep(5 * time.Minute)
		near, far := net.Pipe()
		one, two := session(t, all[0], 2, near, true), session(t, all[2], 0, far, true)
		start := time.Now()
		var pair sync.WaitGroup
		for _, s := range []*exchange.Session{one, two} {
			pair.Go(func() { s.Run(t.Context()) })
		}
		pair.Wait()
		if r := one.Report(); !r.Equal || time.Since(start) > time.Second {
			t.Errorf("another session: %+v after %v", r, time.Since(start))
		}
		start = time.Now()
		stop()
		wg.Wait()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("stopping took %v", took)
		}
	})
}

// trickle writes a byte a second.
func trickle(c net.Conn, b []byte) {
	for i := range b {
		if _, err := c.Write(b[i : i+1]); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// binaryFrame is a frame of a type with so many bytes of nothing.
func binaryFrame(t wire.Type, n int) []byte {
	b := []byte{byte(t)}
	for v := n; ; v >>= 7 {
		if v < 0x80 {
			b = append(b, byte(v))
			break
		}
		b = append(b, byte(v)|0x80)
	}
	return append(b, make([]byte, n)...)
}

// Frames that no honest peer sends end the session.
func TestFramesOfAnEnemy(t *testing.T) {
	for name, frame := range map[string][]byte{
		"unknown type":     {99, 0},
		"too large":        binaryFrame(wire.TypeCounters, 1<<16),
		"endless length":   bytes.Repeat([]byte{0xff}, 20),
		"random payload":   append([]byte{byte(wire.TypeWant), 9}, bytes.Repeat([]byte{0xfe}, 9)...),
		"length of 16 MiB": {byte(wire.TypePush), 0xff, 0xff, 0xff, 0x07},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := liesBetween(t)
				greeting := greetingOf(t, b)
				r, took := byHand(t, a, func(c net.Conn) {
					go io.Copy(io.Discard, c)
					c.Write(append(greeting, frame...))
				})
				if r.Code != wire.CodeProtocol || r.Blame == "" || took > time.Second {
					t.Errorf("after %v: %v, blame %q", took, r.Code, r.Blame)
				}
			})
		})
	}
}
