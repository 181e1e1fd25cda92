package exchange_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records/identity"
)

// openPair is two open sessions, the leader's first, and what they say on the way.
type openPair struct {
	sides    [2]locked
	sessions [2]*exchange.Session

	mu    sync.Mutex
	said  []string // types of messages, each with the side that sent it
	bytes int
	edit  func(from int, m wire.Message) []wire.Message // what arrives of a message
}

// openSessions runs two sessions within the bubble of a synctest until stop is
// called. without is what each does not know.
func openSessions(t *testing.T, without [2]wire.Features) (p *openPair, stop func()) {
	a, b, _, _ := pair(t)
	peers := [2]int{1, 0}
	if b.keys[1].Public().ID().Compare(a.keys[0].Public().ID()) < 0 {
		a, b, peers = b, a, [2]int{0, 1}
	}
	p = &openPair{sides: [2]locked{a, b}}
	var near, far [2]net.Conn
	for i := range near {
		near[i], far[i] = net.Pipe()
		p.sessions[i] = session(t, p.sides[i], peers[i], near[i], false)
		p.sessions[i].Without(without[i])
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range near {
		wg.Go(func() { p.sessions[i].Run(ctx) })
		wg.Go(func() {
			defer far[1-i].Close()
			r := wire.NewReader(far[i])
			for {
				m, n, err := r.Read()
				if err != nil {
					return
				}
				for _, m := range p.pass(i, m, n) {
					if _, err := far[1-i].Write(wire.AppendFrame(nil, m)); err != nil {
						return
					}
				}
			}
		})
	}
	synctest.Wait()
	return p, func() { cancel(); wg.Wait() }
}

func (p *openPair) pass(from int, m wire.Message, n int) []wire.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes += n
	p.said = append(p.said, fmt.Sprintf("%d %T", from, m)[:2]+fmt.Sprintf("%T", m)[len("*wire."):])
	if p.edit != nil {
		return p.edit(from, m)
	}
	return []wire.Message{m}
}

// during returns what is said while time passes.
func (p *openPair) during(d time.Duration) (said []string, bytes int) {
	synctest.Wait()
	p.mu.Lock()
	p.said, p.bytes = nil, 0
	p.mu.Unlock()
	time.Sleep(d) // of the bubble
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.said), p.bytes
}

// edits changes what arrives from now on.
func (p *openPair) edits(f func(from int, m wire.Message) []wire.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edit = f
}

func (p *openPair) equal() bool {
	return p.sides[0].State().Fingerprint == p.sides[1].State().Fingerprint
}

// deaf lets nothing through that is pushed by one side.
func deaf(to int) func(int, wire.Message) []wire.Message {
	return func(from int, m wire.Message) []wire.Message {
		switch m.(type) {
		case *wire.Push, *wire.Have:
			if from != to {
				return nil
			}
		}
		return []wire.Message{m}
	}
}

// A comparison that finds nothing new is one message of 11 bytes, whichever side
// has written; every eighth is in full.
func TestQuietComparison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := openSessions(t, [2]wire.Features{})
		defer stop()
		for n := 1; n <= 3*(exchange.SumsBetween+1); n++ {
			p.sides[n%2].add(identity.LaneDetail, 1)
			said, bytes := p.during(50 * time.Second)
			want := []string{"0 CountersSum"}
			if n%(exchange.SumsBetween+1) == 0 {
				want = []string{"0 Counters", "1 Counters"}
			} else if bytes > 11 {
				t.Errorf("comparison %d took %d bytes", n, bytes)
			}
			if !slices.Equal(said, want) {
				t.Errorf("comparison %d: said was %v, want %v", n, said, want)
			}
		}
		if !p.equal() || !p.sessions[0].Report().Equal || !p.sessions[1].Report().Equal {
			t.Error("the two are not equal")
		}
		// While there is no news, the waits grow; in a day there are no more
		// comparisons than there may be, and those in full among them.
		said, _ := p.during(24 * time.Hour)
		sums, full := 0, 0
		for _, s := range said {
			switch s {
			case "0 CountersSum":
				sums++
			case "0 Counters":
				full++
			}
		}
		if sums+full < 90 || sums+full > 96 || full < 11 {
			t.Errorf("in a quiet day %d checksums and %d comparisons in full were made", sums, full)
		}
	})
}

// What a push should have brought and did not is noticed by the comparison,
// whichever side lacks it, and whichever release the two are of.
func TestQuietComparisonFindsDifference(t *testing.T) {
	for name, without := range map[string][2]wire.Features{
		"both know":           {},
		"the leader does not": {wire.FeatureQuiet, 0},
		"the other does not":  {0, wire.FeatureQuiet},
		"neither does":        {wire.FeatureQuiet, wire.FeatureQuiet},
	} {
		for writer := range 2 {
			t.Run(fmt.Sprintf("%s, side %d writes", name, writer), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, stop := openSessions(t, without)
					defer stop()
					p.edits(deaf(1 - writer))
					p.sides[writer].add(identity.LaneDetail, 3)
					said, _ := p.during(20 * time.Second)
					if len(said) > 0 || p.equal() {
						t.Fatalf("said was %v before the comparison; equal: %t", said, p.equal())
					}
					// The leader asks after 30 s; the other after 37.5, of which
					// the leader makes a comparison 30 s later.
					said, _ = p.during(50 * time.Second)
					if !p.equal() {
						t.Errorf("the difference was not found: %v", said)
					}
					sum := fmt.Sprint(writer, " CountersSum")
					if known := without == [2]wire.Features{}; slices.Contains(said, sum) != known || !slices.ContainsFunc(said, func(s string) bool { return s[2:] == "Vector" }) {
						t.Errorf("said was %v", said)
					}
					p.edits(nil)
					p.sides[1-writer].add(identity.LaneZone, 1)
					if p.during(2 * time.Minute); !p.equal() || !p.sessions[0].Report().Equal || !p.sessions[1].Report().Equal {
						t.Error("afterwards the two are not equal")
					}
				})
			})
		}
	}
}

// A receipt that one side lacks is found by a checksum as it is by Counters.
func TestQuietComparisonFindsReceipts(t *testing.T) {
	for holder := range 2 {
		synctest.Test(t, func(t *testing.T) {
			p, stop := openSessions(t, [2]wire.Features{})
			defer stop()
			p.sides[holder].add(identity.LaneDetail, 2)
			p.during(time.Minute)
			p.edits(func(_ int, m wire.Message) []wire.Message {
				if _, ok := m.(*wire.Receipt); ok {
					return nil
				}
				return []wire.Message{m}
			})
			under(p.sides[holder], func() int { p.sides[holder].issueReceipts(); return 0 })
			p.during(time.Second)
			p.edits(nil)
			log := p.sides[holder].Certificate().Log(identity.LaneDetail)
			if p.sides[1-holder].Receipted(log) != 0 {
				t.Fatal("the receipt was not lost")
			}
			said, _ := p.during(20 * time.Minute)
			if got := p.sides[1-holder].Receipted(log); got != 2 || !slices.Contains(said, "0 CountersSum") {
				t.Errorf("the receipt reaches to %d on side %d: %v", got, 1-holder, said)
			}
		})
	}
}

// A member that is silent though it differs keeps itself from what it lacks, and
// nobody else, until the next comparison in full.
func TestSilentLiar(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p, stop := openSessions(t, [2]wire.Features{})
			defer stop()
			asked := false // in full
			p.edits(func(from int, m wire.Message) []wire.Message {
				c, ok := m.(*wire.Counters)
				_, sum := m.(*wire.CountersSum)
				switch {
				case from == 0 && sum:
					return nil // it does not look
				case from == 0 && ok && c.Reply:
					asked = true
				case from == 1 && ok && !(answers && asked):
					return nil
				}
				return deaf(1)(from, m)
			})
			p.sides[0].add(identity.LaneDetail, 3)
			for range exchange.SumsBetween {
				said, _ := p.during(32 * time.Second)
				if p.equal() || p.sessions[0].Report().Over || !slices.Contains(said, "0 CountersSum") {
					t.Fatalf("equal: %t, %v, said was %v", p.equal(), p.sessions[0].Report(), said)
				}
				p.sides[0].add(identity.LaneDetail, 1)
			}
			p.during(2 * time.Minute)
			r := p.sessions[0].Report()
			switch {
			case answers && (!p.equal() || r.Over || r.Blame != "" || !r.Equal):
				t.Errorf("it answered at last, and: equal %t, %+v", p.equal(), r)
			case !answers && (r.Code != wire.CodeTimeout || r.Blame == "" || r.Remote):
				t.Errorf("it never answered, and: %+v", r)
			}
		})
	}
}

// A member whose checksums are wrong gets Counters for each, and no more; one
// that sends them though the session is not of that kind is left.
func TestWrongSums(t *testing.T) {
	for _, agreed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var without [2]wire.Features
			if !agreed {
				without[0] = wire.FeatureQuiet
			}
			p, stop := openSessions(t, without)
			defer stop()
			p.sides[1].add(identity.LaneDetail, 1)
			sent := 0
			p.edits(func(from int, m wire.Message) (all []wire.Message) {
				if _, ok := m.(*wire.Push); ok && from == 1 {
					for ; sent < 50; sent++ {
						all = append(all, &wire.CountersSum{Sum: uint64(sent)})
					}
				}
				return append([]wire.Message{m}, all...)
			})
			p.sides[1].add(identity.LaneDetail, 1)
			said, bytes := p.during(10 * time.Second)
			r := p.sessions[0].Report()
			switch {
			case sent == 0:
				t.Fatal("nothing was sent")
			case !agreed && (r.Code != wire.CodeProtocol || r.Blame == "" || r.Remote):
				t.Errorf("what was not agreed on: %+v", r)
			case agreed && (r.Over || !r.Equal || !p.equal() || bytes > 5000):
				t.Errorf("%d bytes, equal %t: %+v; said was %v", bytes, p.equal(), r, said)
			}
		})
	}
}
