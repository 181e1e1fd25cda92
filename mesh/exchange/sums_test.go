package exchange_test

import (
	"fmt"
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
)

// zoneOf returns two devices of a zone of n, and both hold a log of each of these
// two and three of each of the others. The first of the two leads.
func zoneOf(t testing.TB, n int) (leader, other locked) {
	w := newWorld(t, n, min(n, 128)) // to list more takes long
	a, b := newReplica(w, 0, w.rosters[0]), newReplica(w, 1, w.rosters[0])
	for i, r := range []*replica{a, b} {
		r.write(identity.LaneDetail, records.Entry{Envelope: []byte{0}})
		id := w.certs[i].Log(identity.LaneDetail)
		held := *r.logs[id]
		[]*replica{b, a}[i].logs[id] = &held
	}
	w.absent(2, n, a, b)
	if w.keys[1].Public().ID().Compare(w.keys[0].Public().ID()) < 0 {
		a, b = b, a
	}
	var mu sync.Mutex
	return locked{&mu, a}, locked{&mu, b}
}

// conversation is what two machines say to each other until both have ended, the
// messages of each in turn.
type conversation struct {
	messages []wire.Message
	bytes    int
	reports  [2]exchange.Report
}

// talk runs two one-shot sessions by hand. edit may change what is sent.
func talk(t testing.TB, a, b locked, sumsFrom int, edit func(from int, m wire.Message)) (c conversation) {
	codec, limits := newCodec(t), exchange.NewLimits(0)
	type step struct {
		to int
		e  exchange.Event
	}
	var machines [2]*exchange.Machine
	sides := [2]locked{a, b}
	var queue []step
	for i, side := range sides {
		machines[i] = exchange.New(exchange.Config{
			Local: side, Peer: sides[1-i].Certificate().Device, Codec: codec, OneShot: true,
			Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(side.Roster(), p, 1) },
		})
		machines[i].SumsFrom(sumsFrom)
		defer side.Watch(func(c exchange.Change) { queue = append(queue, step{i, exchange.Changed{Change: c}}) })()
		queue = append(queue, step{i, exchange.Started{Wall: 1}})
	}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		for _, effect := range slices.Clone(machines[next.to].Step(next.e)) {
			switch effect := effect.(type) {
			case exchange.Send:
				if edit != nil {
					edit(next.to, effect.Message)
				}
				c.messages = append(c.messages, effect.Message)
				frame := wire.AppendFrame(nil, effect.Message)
				c.bytes += len(frame)
				typ, payload := frame[0], frame[len(frame)-payloadOf(frame):]
				m, err := wire.Decode(wire.Type(typ), payload)
				if err != nil {
					t.Fatal(err)
				}
				queue = append(queue, step{1 - next.to, exchange.Received{Message: m}})
			case exchange.SetTimer, exchange.StopTimer, exchange.Raise, exchange.Close:
			default:
				done, ok := exchange.NewWorker(sides[next.to], codec, limits).Do(t.Context(), effect)
				if !ok {
					t.Fatalf("unknown effect %T", effect)
				}
				queue = append(queue, step{next.to, done})
			}
		}
	}
	for i, m := range machines {
		c.reports[i] = m.Report()
	}
	return c
}

// payloadOf is the length that a frame states.
func payloadOf(frame []byte) (n int) {
	for i, b := range frame[1:] {
		n |= int(b&0x7f) << (7 * i)
		if b < 0x80 {
			break
		}
	}
	return n
}

// vectors lists the messages about vectors by their types, and their bytes.
func (c *conversation) vectors() (list []string, bytes int) {
	for _, m := range c.messages {
		switch m.(type) {
		case *wire.VectorSums, *wire.Vector, *wire.VectorReply:
			list = append(list, fmt.Sprintf("%T", m)[len("*wire."):])
			bytes += len(wire.AppendFrame(nil, m))
		}
	}
	return list, bytes
}

func (c *conversation) well(t *testing.T, a, b locked) {
	t.Helper()
	for _, r := range c.reports {
		if !r.Over || r.Code != wire.CodeDone || !r.Equal || r.Blame != "" {
			t.Errorf("ended with %v: %s, equal %t, blame %q", r.Code, r.Words, r.Equal, r.Blame)
		}
	}
	if a.State().Fingerprint != b.State().Fingerprint {
		t.Error("the two sides are not equal")
	}
}

// Of a zone of 1,500 logs of which two have changed, one on each side, no more
// than 3 KB are said in all, the records included; and what is said grows slowly
// with the number of logs.
func TestBytesOfAComparison(t *testing.T) {
	for _, test := range []struct{ devices, most int }{{502, 3000}, {3335, 6000}} {
		if raceDetector && test.devices > 1000 {
			continue // to sign for so many takes long with it
		}
		leader, other := zoneOf(t, test.devices)
		leader.add(identity.LaneDetail, 1)
		other.add(identity.LaneDetail, 1)
		c := talk(t, leader, other, exchange.SumsFrom, nil)
		c.well(t, leader, other)
		said, bytes := c.vectors()
		t.Logf("%d logs: %d bytes, %d of them in %v", len(leader.logs), c.bytes, bytes, said)
		if c.bytes > test.most {
			t.Errorf("of %d logs 2 have changed, and %d bytes were sent, want at most %d", len(leader.logs), c.bytes, test.most)
		}
		if want := []string{"VectorSums", "Vector", "VectorReply"}; !slices.Equal(said, want) {
			t.Errorf("of vectors was said %v, want %v", said, want)
		}
	}
}

// A short vector, and one for a peer of the former release, is told in whole, by
// whichever side leads.
func TestWholeVectors(t *testing.T) {
	former := func(_ int, m wire.Message) { // neither side believes that the other knows more
		if h, ok := m.(*wire.Hello); ok {
			h.Features &^= wire.FeatureSums
		}
	}
	for name, test := range map[string]struct {
		devices int
		edit    func(int, wire.Message)
	}{
		"short":                     {21, nil},
		"long, to a former release": {30, former},
	} {
		t.Run(name, func(t *testing.T) {
			leader, other := zoneOf(t, test.devices)
			leader.add(identity.LaneDetail, 3)
			other.add(identity.LaneProgress, 3)
			c := talk(t, leader, other, exchange.SumsFrom, test.edit)
			c.well(t, leader, other)
			said, _ := c.vectors()
			if want := []string{"Vector", "VectorReply"}; !slices.Equal(said, want) {
				t.Errorf("of vectors was said %v, want %v", said, want)
			}
		})
	}
}

// What is known of the peer after a comparison by checksums is what would be
// known after one of whole vectors: how much each side lacks of the other.
func TestSumsTellAll(t *testing.T) {
	for _, sumsFrom := range []int{exchange.SumsFrom, 1 << 20} {
		leader, other := zoneOf(t, 40)
		w := leader.world
		w.absent(5, 6, leader.replica) // as it is already
		leader.add(identity.LaneDetail, 4)
		other.add(identity.LaneProgress, 5)
		delete(other.logs, w.certs[7].Log(identity.LaneZone))
		delete(leader.logs, w.certs[8].Log(identity.LaneZone))
		codec := newCodec(t)
		var machines [2]*exchange.Machine
		sides := [2]locked{leader, other}
		type delivery struct {
			to int
			m  wire.Message
		}
		var queue []delivery
		take := func(side int, effects []exchange.Effect) {
			for _, e := range effects { // what is asked for is never given
				if s, ok := e.(exchange.Send); ok {
					switch s.Message.(type) {
					case *wire.Want:
					default:
						queue = append(queue, delivery{1 - side, s.Message})
					}
				}
			}
		}
		for i, side := range sides {
			machines[i] = exchange.New(exchange.Config{
				Local: side, Peer: sides[1-i].Certificate().Device, Codec: codec,
				Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(side.Roster(), p, 1) },
			})
			machines[i].SumsFrom(sumsFrom)
		}
		for i, m := range machines {
			take(i, m.Step(exchange.Started{Wall: 1}))
		}
		for len(queue) > 0 {
			d := queue[0]
			queue = queue[1:]
			take(d.to, machines[d.to].Step(exchange.Received{Message: d.m}))
		}
		for i, m := range machines {
			there, here, known := m.Lacks()
			want := [2]uint64{5, 6} // and a log of one record each
			if i == 1 {
				want = [2]uint64{6, 5}
			}
			if got := [2]uint64{there, here}; got != want || !known {
				t.Errorf("sums from %d, side %d: the peer lacks %d and this side %d, known %t; want %v", sumsFrom, i, there, here, known, want)
			}
		}
	}
}

// Lies about checksums, and what is said at the wrong time of them, by a member
// that leads or does not: as TestLies has it.
func TestLiesAboutSums(t *testing.T) {
	honestSums := func(l *liar, n int) []uint64 {
		return wire.NewVectorSums(l.honest.State(), n).Sums
	}
	instead := func(f func(*wire.Vector) []wire.Message) func(*liar, wire.Message) []wire.Message {
		return func(l *liar, m wire.Message) []wire.Message {
			if v, ok := m.(*wire.Vector); ok && l.once("instead") {
				return f(v)
			}
			return []wire.Message{m}
		}
	}
	for _, test := range []struct {
		name  string
		leads bool // the liar
		lie   func(*liar, wire.Message) []wire.Message
		code  wire.Code
		heals bool
	}{
		{name: "one checksum is wrong", leads: true, heals: true, lie: in(func(_ *liar, m *wire.VectorSums) { m.Sums[3] ^= 1 })},
		{name: "all checksums are wrong", leads: true, heals: true, lie: in(func(_ *liar, m *wire.VectorSums) {
			for i := range m.Sums {
				m.Sums[i]++
			}
		})},
		{name: "checksums that hide all that differs", leads: true, heals: true,
			lie: in(func(l *liar, m *wire.VectorSums) { m.Sums = honestSums(l, len(m.Sums)) })},
		{name: "as many checksums as can be", leads: true, code: wire.CodeProtocol, // then the answer is not what its own side expects
			lie: func(l *liar, m wire.Message) []wire.Message {
				if s, ok := m.(*wire.VectorSums); ok {
					s.Sums = make([]uint64, wire.MaxSums)
					return []wire.Message{s, s}
				}
				return []wire.Message{m}
			}},
		{name: "checksums twice", leads: true, code: wire.CodeProtocol, lie: repeated[*wire.VectorSums]},
		{name: "checksums within a vector", leads: true, code: wire.CodeProtocol,
			lie: func(l *liar, m wire.Message) []wire.Message {
				if _, ok := m.(*wire.VectorSums); !ok {
					return []wire.Message{m}
				}
				part := wire.NewVector(madeUp(3), false)[0].(*wire.Vector)
				part.More = true
				return []wire.Message{part, m}
			}},
		{name: "checksums and then a vector", leads: true, code: wire.CodeProtocol,
			lie: func(l *liar, m wire.Message) []wire.Message {
				if _, ok := m.(*wire.VectorSums); ok {
					return append([]wire.Message{m}, wire.NewVector(madeUp(3), false)...)
				}
				return []wire.Message{m}
			}},
		{name: "a vector of buckets that nobody asked for", leads: true, code: wire.CodeProtocol,
			lie: func(l *liar, m wire.Message) []wire.Message {
				if _, ok := m.(*wire.VectorSums); ok {
					return wire.NewVectorOf(nil, wire.NewBuckets(wire.MinSums))
				}
				return []wire.Message{m}
			}},
		{name: "checksums without an answer to the vector", leads: true, code: wire.CodeTimeout,
			lie: func(l *liar, m wire.Message) []wire.Message {
				if _, ok := m.(*wire.VectorReply); ok {
					return nil
				}
				return []wire.Message{m}
			}},
		{name: "checksums from the side that does not lead", code: wire.CodeProtocol,
			lie: after[*wire.Counters](&wire.VectorSums{Sums: make([]uint64, wire.MinSums)})},
		{name: "no bucket differs", heals: true, lie: in(func(_ *liar, m *wire.Vector) { m.Rows = nil; clear(m.Buckets) })},
		{name: "all buckets differ", heals: true, lie: in(func(_ *liar, m *wire.Vector) {
			for i := range m.Buckets {
				m.Buckets[i] = 0xff
			}
		})},
		{name: "rows of buckets that are not named", code: wire.CodeProtocol, lie: in(func(_ *liar, m *wire.Vector) { clear(m.Buckets) })},
		{name: "too many buckets", code: wire.CodeProtocol, lie: in(func(_ *liar, m *wire.Vector) { m.Buckets = wire.NewBuckets(wire.MaxSums) })},
		{name: "a whole vector for an answer", code: wire.CodeProtocol, lie: in(func(_ *liar, m *wire.Vector) { m.Buckets = nil })},
		{name: "a reply to a vector for an answer", code: wire.CodeProtocol, lie: instead(func(v *wire.Vector) []wire.Message { return wire.NewVectorReply(v.Rows) })},
		{name: "the vector never comes", code: wire.CodeTimeout, lie: instead(func(v *wire.Vector) []wire.Message { return nil })},
		{name: "the vector comes twice", code: wire.CodeProtocol, lie: instead(func(v *wire.Vector) []wire.Message { return []wire.Message{v, v} })},
		{name: "the vector never ends", code: wire.CodeProtocol, lie: instead(func(v *wire.Vector) []wire.Message {
			var all []wire.Message
			for range 40 {
				for _, part := range wire.NewVector(madeUp(3000), false) {
					part.(*wire.Vector).More = true
					all = append(all, part)
				}
			}
			return all
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			codec := newCodec(t)
			synctest.Test(t, func(t *testing.T) {
				a, b := zoneOf(t, 4)
				if test.leads {
					a, b = b, a // b lies
				}
				a.add(identity.LaneDetail, 7)
				b.add(identity.LaneZone, 2)
				b.add(identity.LaneDetail, 30)
				l := &liar{honest: a, self: b, codec: codec, times: map[string]int{}, sums: 1}
				start := time.Now()
				r := l.tell(t, test.lie)
				if took := time.Since(start); took > 2*time.Minute {
					t.Errorf("the session took %v", took)
				}
				switch {
				case test.heals:
					if r.Blame != "" || r.Code != wire.CodeDone || !r.Equal {
						t.Errorf("ended with %v: %s, equal %t, blame %q", r.Code, r.Words, r.Equal, r.Blame)
					}
				case r.Code == test.code && r.Code == wire.CodeTimeout:
					// Each side waits for the other, and either may be the first to tire.
				case r.Code != test.code || r.Remote || r.Blame == "":
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

// Two sessions of replicas as programs use them come together by checksums.
func TestRealReplicasCompareBySums(t *testing.T) {
	w := newReal(t, 3)
	for n := range 3 {
		w.write(t, n, 3, 2, 40)
	}
	for _, pair := range [][2]int{{0, 1}, {1, 2}, {0, 2}, {0, 1}} {
		left, right := net.Pipe()
		var wg sync.WaitGroup
		var reports [2]exchange.Report
		for i, stream := range []net.Conn{left, right} {
			rep, peer := w.reps[pair[i]], w.keys[pair[1-i]].Public()
			s, err := exchange.NewSession(exchange.SessionConfig{
				Config: exchange.Config{
					Peer: peer, Codec: newCodec(t), OneShot: true,
					Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(rep.Roster(), p, 1) },
				},
				Replica: rep, Stream: stream, Limits: exchange.NewLimits(0),
			})
			if err != nil {
				t.Fatal(err)
			}
			s.SumsFrom(1)
			wg.Go(func() {
				if err := s.Run(t.Context()); err != nil {
					t.Error(err)
				}
				reports[i] = s.Report()
			})
		}
		wg.Wait()
		if !reports[0].Equal || !reports[1].Equal {
			t.Errorf("%v: %+v", pair, reports)
		}
		w.equal(t, pair[0], pair[1])
	}
	w.equal(t, 1, 2)
}

// BenchmarkCompare measures what a session says of vectors when so many logs of
// a zone have changed: bytes of frames, by checksums and in whole.
func BenchmarkCompare(b *testing.B) {
	for _, logs := range []int{15, 30, 60, 120, 240, 480, 1500, 9999} {
		for _, changed := range []int{1, 3, 10, 100} {
			for name, from := range map[string]int{"sums": 1, "whole": 1 << 20} {
				devices := logs / 3
				if changed > 3*(devices-2) {
					continue
				}
				b.Run(fmt.Sprintf("logs=%d/changed=%d/%s", logs, changed, name), func(b *testing.B) {
					leader, other := zoneOf(b, devices)
					for i := range changed { // are lacking
						among := min(devices, 128) - 2
						delete(other.logs, other.certs[2+i%among].Log(identity.Lanes[i/among]))
					}
					held := other.logs
					bytes := 0
					for b.Loop() {
						other.logs = make(map[identity.LogID]*log, len(held))
						for id, l := range held {
							other.logs[id] = l
						}
						c := talk(b, leader, other, from, nil)
						_, bytes = c.vectors()
					}
					b.ReportMetric(float64(bytes), "B/comparison")
				})
			}
		}
	}
}
