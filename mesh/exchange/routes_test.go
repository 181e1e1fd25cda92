package exchange

import (
	"testing"
	"testing/synctest"
	"time"
)

func newWay(r *Routes, peer uint64, woken *int, links ...uint64) *way {
	w := &way{wake: func() { *woken++ }, peer: peer, spread: true, links: map[uint64]bool{}}
	r.join(w)
	r.told(w, links)
	return w
}

// A log is worked on by one session at a time; the others are woken when it is
// done, has gone, or sits on the log while nothing comes.
func TestRoutesClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRoutes(SystemClock{})
		var ignored, woken int
		a, b, c := newWay(r, 1, &ignored), newWay(r, 2, &woken), newWay(r, 3, &ignored)
		woken = 0
		for range 2 { // the second time it has it already
			if !r.take(a, 7) || r.take(b, 7) || !r.take(b, 8) {
				t.Fatal("claims")
			}
		}
		if !r.taken(b, 7) || r.taken(a, 7) {
			t.Error("who works on 7?")
		}
		r.done(b, 7) // is not its to end
		if r.done(a, 7); woken != 1 || !r.take(b, 7) {
			t.Errorf("woken %d times, the log is free", woken)
		}
		r.leave(b)
		if !r.take(a, 7) || !r.take(a, 8) {
			t.Error("who has gone holds logs")
		}
		r.take(c, 7)
		for range 4 {
			time.Sleep(4 * time.Second)
			r.touch(a, 7)
		}
		if r.take(c, 7) {
			t.Error("a log is taken from who gets on with it")
		}
		time.Sleep(claimPatience + time.Second)
		if !r.take(c, 7) || r.take(a, 7) {
			t.Error("a log is left to who is stuck")
		}
		if r.done(a, 7); !r.taken(a, 7) {
			t.Error("who was stuck ends the work of another")
		}
		r.leave(a)
		r.leave(c)
		if len(r.logs) != 0 || len(r.ways) != 0 {
			t.Errorf("%d logs, %d sessions are left", len(r.logs), len(r.ways))
		}
		time.Sleep(time.Minute) // no timer may be left
	})
}

// Who has brought a commit sees to its peers, as long as it is there and linked
// to them.
func TestRoutesSources(t *testing.T) {
	r := NewRoutes(SystemClock{})
	var woken int
	a, b := newWay(r, 1, &woken, 2, 3), newWay(r, 2, &woken, 1)
	all := func(prefix) bool { return true }
	if r.source(7, 1) != nil {
		t.Error("nobody has brought anything")
	}
	r.came(a, 7, 5)
	r.came(b, 7, 5) // second
	if r.source(7, 5) != a || r.source(7, 6) != nil {
		t.Error("a has brought 5, nobody 6")
	}
	if !r.sees(a, 2) || r.sees(a, 4) || r.sees(b, 3) {
		t.Error("a is linked to 2 and 3, b to 1")
	}
	if !r.expects(b, 7) || r.expects(a, 7) || r.expects(b, 8) {
		t.Error("a will push 7")
	}
	before := r.ticket()
	if r.told(a, []uint64{3}); r.ticket() == before || r.sees(a, 2) {
		t.Error("a has lost its link to 2")
	}
	r.came(b, 7, 1<<60) // a lie
	r.wrong(b, 7)
	if r.source(7, 5) != nil || r.expects(a, 7) {
		t.Error("a lie is believed that was seen through")
	}
	r.came(a, 7, 6)
	if r.leave(a); r.source(7, 6) != nil || r.sees(a, 3) || r.expects(b, 7) {
		t.Error("a has gone")
	}
	if logs := r.adopt(b, 10, func(log prefix) bool { return log != 7 }); len(logs) != 0 {
		t.Errorf("%v are adopted though they may not be", logs)
	}
	if logs := r.adopt(b, 10, all); len(logs) != 1 || logs[0] != 7 || len(r.adopt(b, 10, all)) != 0 || !r.expects(nil, 7) {
		t.Errorf("%v are adopted, want 7, once", logs)
	}
	if peers := r.among(); len(peers) != 1 || peers[0] != 2 {
		t.Errorf("sessions with %v", peers)
	}
}
