package main

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/discovery/gossip"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// longHead is how many starts make a head as long as heads get; each needs a counter.
const longHead = 9

// headOf is such a head, counter counted beyond its starts.
func headOf(t *testing.T, log byte, counter uint64) records.Head {
	t.Helper()
	key, err := identity.AuthorKeyFromSeed(bytes.Repeat([]byte{7}, identity.SeedBytes))
	if err != nil {
		t.Fatal(err)
	}
	h := records.Head{Log: identity.LogID{log}, Counter: counter + longHead}
	var starts records.StartList
	for n := range byte(longHead) {
		starts = append(starts, records.Start{First: 1 + uint64(n), ID: identity.StartID{n}})
	}
	h.SetStarts(starts)
	h.Sign(key)
	return h
}

// tellers is heads at work in virtual time, and what they have told.
type tellers struct {
	t *testing.T
	*heads
	mu     sync.Mutex
	others int
	told   []records.Head
	stop   func()
}

func newTellers(t *testing.T, others int) *tellers {
	l := &tellers{t: t, heads: newHeads(time.Now), others: others}
	ctx, stop := context.WithCancel(t.Context())
	go l.tell(ctx, l.there, func(topic, message []byte) error {
		if len(topic) == 0 || len(topic) > gossip.MaxTopicBytes || len(message) > gossip.MaxHintBytes {
			t.Errorf("a topic of %d bytes, a message of %d", len(topic), len(message))
		}
		if message[0] != headFormat {
			t.Errorf("format %d", message[0])
		}
		h, err := records.DecodeHead(message[1:])
		if err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.told = append(l.told, h)
		return nil
	})
	l.stop = func() { stop(); synctest.Wait() }
	return l
}

func (l *tellers) there() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.others
}

func (l *tellers) setOthers(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.others = n
}

// during returns which counters are told while time passes.
func (l *tellers) during(d time.Duration) (counters []uint64) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.told {
		counters = append(counters, h.Counter-longHead)
	}
	l.told = nil
	return counters
}

// TestHeadsAreTold: soon, some times more, and then no longer.
func TestHeadsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTellers(t, 3)
		defer l.stop()
		if got := l.during(time.Minute); got != nil {
			t.Errorf("%v was told before anything was written", got)
		}
		l.note(headOf(t, 1, 5))
		if got := l.during(2*headEvery - 1); !slices.Equal(got, []uint64{5}) {
			t.Errorf("%v was told at once", got)
		}
		if got := l.during(headAgain + headEvery); !slices.Equal(got, []uint64{5}) {
			t.Errorf("%v was told again", got)
		}
		if got := l.during(time.Hour); len(got) != headTimes-2 {
			t.Errorf("%v was told later", got)
		}
		l.note(headOf(t, 1, 6))
		if got := l.during(time.Hour); len(got) != headTimes || len(l.logs) > 0 {
			t.Errorf("of the next head %v was told", got)
		}
	})
}

// TestHeadsOfBusyDevices: who works on and on tells the newest head of each log,
// at a pace that depends on how many there are, and the last one in any case.
func TestHeadsOfBusyDevices(t *testing.T) {
	for others, pace := range map[int]time.Duration{1: headPace, 30: headPace, 200: 200 * headShare} {
		synctest.Test(t, func(t *testing.T) {
			l := newTellers(t, others)
			defer l.stop()
			var told []uint64
			for n := uint64(1); n <= 3600; n++ {
				l.note(headOf(t, byte(n%2), n))
				told = append(told, l.during(time.Second)...)
			}
			if most := int(time.Hour/pace) + 1; len(told) < most*3/4 || len(told) > most {
				t.Errorf("among %d others %d heads were told in an hour", others, len(told))
			}
			logs := map[uint64]int{}
			for i, n := range told {
				if logs[n%2]++; i > 0 && n <= told[i-1] {
					t.Errorf("%d was told after %d", n, told[i-1])
				}
			}
			if logs[0] < len(told)/3 || logs[1] < len(told)/3 {
				t.Errorf("of two logs: %v", logs)
			}
			if rest := l.during(time.Hour); !slices.Contains(rest, 3599) || !slices.Contains(rest, 3600) || len(rest) > 2*headTimes {
				t.Errorf("of the last heads %v was told", rest)
			}
		})
	}
}

// TestHeadsAlone: where nobody is, nothing is told; who comes within minutes is.
func TestHeadsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTellers(t, 0)
		defer l.stop()
		l.note(headOf(t, 1, 5))
		if got := l.during(headFor / 2); got != nil {
			t.Errorf("%v was told to nobody", got)
		}
		l.setOthers(1)
		if got := l.during(headEvery); !slices.Equal(got, []uint64{5}) {
			t.Errorf("%v was told to who came", got)
		}
		l.setOthers(0)
		l.note(headOf(t, 1, 6))
		l.during(headFor + 2*headEvery)
		l.setOthers(1)
		if got := l.during(time.Hour); got != nil || len(l.logs) > 0 {
			t.Errorf("%v was told much later", got)
		}
	})
}
