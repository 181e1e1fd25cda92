package exchange_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records/identity"
)

// What was pushed over an open session is compared now and then. As long as the
// two sides hold the same, that takes an announcement each way and nothing else,
// whichever side begins.
func TestComparisonOfAnOpenSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, left, right := pair(t)
		ctx, stop := context.WithCancel(t.Context())
		one, two := session(t, a, 1, left, false), session(t, b, 0, right, false)
		var wg sync.WaitGroup
		for _, s := range []*exchange.Session{one, two} {
			wg.Go(func() {
				if err := s.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		sent := func() uint64 {
			synctest.Wait()
			return one.Report().BytesSent + two.Report().BytesSent
		}
		if sent() == 0 {
			t.Error("nothing was said")
		}
		for n := range 20 {
			author := a
			if n%3 == 0 {
				author = b
			}
			author.add(identity.LaneDetail, 1)
			before := sent()
			time.Sleep(40 * time.Second) // of the bubble: the comparison is due after 30
			if bytes := sent() - before; bytes == 0 || bytes > 90 {
				t.Errorf("comparison %d took %d bytes", n, bytes)
			}
			if !one.Report().Equal || !two.Report().Equal {
				t.Errorf("comparison %d found a difference", n)
			}
		}
		stop()
		wg.Wait()
	})
}

// Who has reason to think that something is lacking does not wait for the
// comparison that is due: the difference is found at once, whichever side asks.
// Where there is none, that takes Counters both ways.
func TestCompareAtOnce(t *testing.T) {
	for lacking := range 2 {
		for _, without := range [][2]wire.Features{{}, {wire.FeatureQuiet, 0}} {
			t.Run(fmt.Sprintf("side %d lacks it, without %v", lacking, without), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, stop := openSessions(t, without)
					defer stop()
					p.during(3 * time.Hour) // by now comparisons are seldom
					said, bytes := during(p, func() { p.sessions[lacking].Compare() })
					if len(said) != 2 || bytes > 90 {
						t.Errorf("where nothing is lacking, %v was said: %d bytes", said, bytes)
					}
					p.edits(deaf(lacking))
					p.sides[1-lacking].add(identity.LaneDetail, 3)
					if said, _ := p.during(10 * time.Second); len(said) > 0 || p.equal() {
						t.Fatalf("without being asked: %v; equal: %t", said, p.equal())
					}
					if said, _ := during(p, func() { p.sessions[lacking].Compare() }); !p.equal() {
						t.Errorf("the difference was not found: %v", said)
					}
				})
			})
		}
	}
}

// during returns what is said in the second after f.
func during(p *openPair, f func()) (said []string, bytes int) {
	p.during(0)
	f()
	synctest.Wait()
	p.mu.Lock()
	before, n := slices.Clone(p.said), p.bytes
	p.mu.Unlock()
	said, bytes = p.during(time.Second)
	return append(before, said...), n + bytes
}

// A peer that asks again and again, each time with something else to hold, has
// a vector now and then, and no more for all its asking.
func TestAskedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := openSessions(t, [2]wire.Features{})
		defer stop()
		var lies atomic.Uint64
		p.edits(func(from int, m wire.Message) []wire.Message {
			if c, ok := m.(*wire.Counters); ok && from == 1 {
				lie := *c
				lie.Fingerprint[0] = byte(lies.Add(1))
				lie.Reply = true
				return []wire.Message{&lie}
			}
			return []wire.Message{m}
		})
		vectors, asked := 0, 0
		for range 100 {
			said, _ := during(p, func() { p.sessions[1].Compare() })
			for _, s := range said {
				switch s {
				case "0 Vector":
					vectors++
				case "1 Counters":
					asked++
				}
			}
		}
		if asked < 100 || vectors == 0 || vectors > 25 {
			t.Errorf("asked %d times in 100 s, the peer had %d vectors", asked, vectors)
		}
		if r := p.sessions[0].Report(); r.Over {
			t.Errorf("the session is over: %+v", r)
		}
	})
}

// openUnheard opens two sessions, of which one side has then written n entries that the
// other has not heard of.
func openUnheard(t *testing.T, writer, n int) (p *openPair, stop func()) {
	p, stop = openSessions(t, [2]wire.Features{})
	p.edits(deaf(1 - writer))
	p.sides[writer].add(identity.LaneDetail, n)
	p.during(time.Second)
	return p, stop
}

// What a peer commits while it reads an answer, and tells of before the answer is
// there, is asked for when that is stored, and not only when the sides compare again.
func TestWordBeforeTheAnswer(t *testing.T) {
	for writer := range 2 {
		synctest.Test(t, func(t *testing.T) {
			p, stop := openUnheard(t, writer, 3)
			defer stop()
			told := false
			var name wire.Name // by which the answer was asked for
			p.edits(func(from int, m wire.Message) []wire.Message {
				switch m := m.(type) {
				case *wire.Want:
					name = m.Name
				case *wire.Push:
					return nil // it was word, which is on the way already
				case *wire.Difference:
					if !told {
						told = true
						p.sides[writer].add(identity.LaneDetail, 1)
						return append(wire.NewHave([]wire.VectorRow{{Name: name, Lane: identity.LaneDetail, Counter: 4}}), m)
					}
				}
				return []wire.Message{m}
			})
			if said, _ := during(p, func() { p.sessions[1-writer].Compare() }); !told || !p.equal() {
				t.Errorf("side %d writes, and tells of it %t: the two differ, said was %v", writer, told, said)
			}
		})
	}
}

// A peer that cannot give the segments that it lists is asked for them once, and again
// only when it tells of something.
func TestSegmentsThatFail(t *testing.T) {
	for writer := range 2 {
		synctest.Test(t, func(t *testing.T) {
			p, stop := openUnheard(t, writer, 400)
			defer stop()
			answered := map[uint32]bool{}
			p.edits(func(from int, m wire.Message) []wire.Message {
				switch m := m.(type) {
				case *wire.Push, *wire.Entries:
					return nil
				case *wire.Segment:
					if answered[m.Request] {
						return nil // Nothing stands for the rest
					}
					answered[m.Request] = true
					return []wire.Message{&wire.Nothing{Request: m.Request, Reason: wire.ReasonFailed}}
				}
				return []wire.Message{m}
			})
			said, _ := during(p, func() { p.sessions[1-writer].Compare() })
			wants := 0
			for _, s := range said {
				if s[2:] == "Want" {
					wants++
				}
			}
			if wants != 1 || len(answered) == 0 {
				t.Errorf("side %d writes: asked %d times, said was %v", writer, wants, said)
			}
			p.edits(nil)
			p.sides[writer].add(identity.LaneDetail, 1)
			if p.during(time.Minute); !p.equal() {
				t.Error("when it can, and tells of something, the two differ still")
			}
		})
	}
}
