package mesh

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// What an author has written comes by pushes. That it has, is also told by hints:
// heads that it signed, which go ways of their own and so arrive where a push got
// lost, where a peer says nothing any more though its connection lives, or where
// there is no link at all. A head stands for nothing but a reason to compare
// earlier than would be due, and not even that unless its author has signed it and
// what it covers is still not here after a while.

// Waits for what a hint told of.
const (
	// grace is how long, and up to half as long again, it may take to come by
	// itself.
	grace = 3 * time.Second
	// askAgain is when peers are asked for the same a second time if it has not
	// come, and longestAsk the longest wait between two times, which doubles.
	askAgain   = 30 * time.Second
	longestAsk = 16 * time.Minute
	// askEvery is the shortest time from one asking to the next, whatever for.
	askEvery = 5 * time.Second
)

// Bounds of what hints cost, whoever tells them.
const (
	maxAwaited   = 1024 // logs
	maxOfOne     = 32   // of one author's device, so that it leaves room for others
	checksAtOnce = 64   // of signatures
	checksPerSec = 8    // and then
)

// awaiting is what authors have told of that is not here. It does no I/O and has
// no clock.
type awaiting struct {
	draw    func(n int) int // a number from 0 up to n
	logs    map[identity.LogID]*awaited
	of      map[identity.DeviceID]int // how many of them
	allowed float64                   // checks of signatures
	since   time.Time                 // when allowed was right
	asked   time.Time                 // when peers were last asked
}

// awaited is a log of which there is more than what is here.
type awaited struct {
	author identity.DeviceID
	next   uint64        // the counter that is expected first
	newest uint64        // the highest that was told
	due    time.Time     // when peers are to be asked, if next is not here by then
	wait   time.Duration // since they were; 0: they were not
}

func newAwaiting(draw func(n int) int) *awaiting {
	return &awaiting{draw: draw, logs: map[identity.LogID]*awaited{}, of: map[identity.DeviceID]int{}, allowed: checksAtOnce}
}

// news reports whether a head at a counter is worth looking at its signature:
// held is the counter up to which the log is here.
func (a *awaiting) news(now time.Time, log identity.LogID, author identity.DeviceID, counter, held uint64) bool {
	l := a.logs[log]
	if counter <= held || l != nil && counter <= l.newest || l == nil && a.full(author) {
		return false
	}
	if passed := now.Sub(a.since).Seconds(); passed > 0 {
		a.allowed = min(a.allowed+passed*checksPerSec, checksAtOnce)
	}
	a.since = now
	if a.allowed < 1 {
		return false
	}
	a.allowed--
	return true
}

// full reports whether no more logs of an author are awaited.
func (a *awaiting) full(author identity.DeviceID) bool {
	return len(a.logs) >= maxAwaited || a.of[author] >= maxOfOne
}

// add notes a head that its author has signed. What it says does not begin the
// waits anew: who signs heads of what nobody has would be asked for at every one.
func (a *awaiting) add(now time.Time, log identity.LogID, author identity.DeviceID, counter uint64) {
	switch l := a.logs[log]; {
	case l != nil:
		l.newest = max(l.newest, counter)
	case !a.full(author):
		a.of[author]++
		a.logs[log] = &awaited{author: author, next: counter, newest: counter, due: now.Add(a.about(grace))}
	}
}

// about returns up to half as much again, so that devices do not act as one.
func (a *awaiting) about(d time.Duration) time.Duration {
	return d + time.Duration(a.draw(1000))*d/2000
}

// step reports whether peers are to be asked now, which are the authors of what
// they were asked for before in vain, and when to look again (zero: when
// something is added). held returns up to where a log is here; false: nothing
// more of it will be taken.
func (a *awaiting) step(now time.Time, held func(identity.LogID) (uint64, bool)) (ask bool, vain []identity.DeviceID, again time.Time) {
	may := a.asked.IsZero() || now.Sub(a.asked) >= askEvery
	for log, l := range a.logs {
		counter, ok := held(log)
		switch {
		case !ok || counter >= l.newest:
			delete(a.logs, log)
			if a.of[l.author]--; a.of[l.author] == 0 {
				delete(a.of, l.author)
			}
			continue
		case counter >= l.next: // it does come; the rest may be on its way
			l.next, l.due, l.wait = l.newest, now.Add(a.about(grace)), 0
		case may && !l.due.After(now):
			if ask = true; l.wait > 0 {
				vain = append(vain, l.author)
			}
			l.wait = min(max(2*l.wait, askAgain), longestAsk)
			l.due = now.Add(a.about(l.wait))
		}
		again = sooner(again, l.due)
	}
	if ask {
		a.asked = now
	}
	if next := a.asked.Add(askEvery); !again.IsZero() && !a.asked.IsZero() && again.Before(next) {
		again = next
	}
	return ask, vain, again
}

// late returns the authors of what peers were asked for and is still not here.
func (a *awaiting) late(held func(identity.LogID) (uint64, bool)) map[identity.DeviceID]bool {
	authors := map[identity.DeviceID]bool{}
	for log, l := range a.logs {
		if counter, ok := held(log); ok && counter < l.newest && l.wait > 0 {
			authors[l.author] = true
		}
	}
	return authors
}

// hints hears what authors tell, and has peers asked for what does not come.
type hints struct {
	n    *Node
	wake chan struct{} // has a token when there is reason to look again

	mu       sync.Mutex
	awaiting *awaiting

	listed atomic.Pointer[listed] // by the roster that there was last; nil: none yet
}

// listed are the authors that a roster lists, by their logs.
type listed struct {
	roster  *roster.Roster
	authors map[identity.LogID]author
}

// author is who may write a log.
type author struct {
	device identity.DeviceID
	key    identity.AuthorPublic
}

func newHints(n *Node) *hints {
	return &hints{
		n: n, wake: make(chan struct{}, 1),
		awaiting: newAwaiting(func(most int) int { return draw(n.cfg.Random, most) }),
	}
}

// HearHead takes a hint: the encoded head of a log, which somebody says its author
// has signed. If that is so, the author belongs to the zone, and the log is not here
// up to the head some seconds later, the peers of the LAN are compared with in full,
// and at growing intervals as long as that stays so. Anything else is dropped, at
// no cost beyond the checking of a few signatures a second. b is not kept. It may
// be called from any goroutine, at any time, and does not wait.
func (n *Node) HearHead(b []byte) {
	if n.hints == nil {
		return
	}
	h, err := records.DecodeHead(b)
	if err != nil {
		return
	}
	held, _ := n.cfg.Replica.Frontier(records.BranchRef{Log: h.Log})
	if h.Counter <= held {
		return // as nearly always
	}
	s, now := n.hints, n.cfg.Clock.Now()
	a, _ := s.author(h.Log)
	if _, more := s.held(h.Log); !more || a.device == n.self() {
		return
	}
	s.mu.Lock()
	news := s.awaiting.news(now, h.Log, a.device, h.Counter, held)
	s.mu.Unlock()
	if !news || !s.admits(h.Log) || h.Verify(a.key) != nil {
		return
	}
	s.mu.Lock()
	s.awaiting.add(now, h.Log, a.device, h.Counter)
	s.mu.Unlock()
	s.look()
}

// author returns who writes a log of which something is held, or else one that the
// roster lists. Of others the author is not known.
func (s *hints) author(log identity.LogID) (author, bool) {
	if c, ok := s.n.cfg.Replica.AuthorOf(log); ok {
		return author{c.Device.ID(), c.Author}, true
	}
	now, known := s.n.cfg.Replica.Roster(), s.listed.Load()
	if known == nil || known.roster != now {
		known = &listed{now, map[identity.LogID]author{}}
		for i := range now.Devices {
			d := &now.Devices[i]
			for _, in := range d.Incarnations {
				for _, lane := range identity.Lanes {
					known.authors[identity.NewLogID(now.Zone, in.Author, lane)] = author{d.ID(), in.Author}
				}
			}
		}
		s.listed.Store(known)
	}
	a, ok := known.authors[log]
	return a, ok
}

// admits reports whether the roster admits the author of a log that has one. What
// it lists it admits; another certificate may have to be verified.
func (s *hints) admits(log identity.LogID) bool {
	c, ok := s.n.cfg.Replica.AuthorOf(log)
	return !ok || s.n.cfg.Replica.Roster().Admits(c) == nil
}

// held returns up to where a log is here, if more of it may come.
func (s *hints) held(log identity.LogID) (uint64, bool) {
	roster := s.n.cfg.Replica.Roster()
	a, ok := s.author(log)
	if _, closed := roster.Closure(log); !ok || closed || roster.MayConnect(a.device) != nil {
		return 0, false
	}
	counter, _ := s.n.cfg.Replica.Frontier(records.BranchRef{Log: log})
	return counter, true
}

// late returns the devices of whose work something should be here and is not.
func (s *hints) late() map[identity.DeviceID]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.awaiting.late(s.held)
}

// look asks for a look at what is to be done.
func (s *hints) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run has peers asked until ctx is done.
func (s *hints) run(ctx context.Context) {
	for {
		now := s.n.cfg.Clock.Now()
		s.mu.Lock()
		ask, vain, again := s.awaiting.step(now, s.held)
		s.mu.Unlock()
		if ask {
			s.ask(vain)
		}
		stop := func() {}
		if !again.IsZero() {
			stop = s.n.cfg.Clock.AfterFunc(again.Sub(now), s.look)
		}
		select {
		case <-ctx.Done():
			stop()
			return
		case <-s.wake:
			stop()
		}
	}
}

// ask has the peers of the LAN compared with, and looks for more of them: for
// authors, too, of whom those that are linked had nothing new.
func (s *hints) ask(vain []identity.DeviceID) {
	n := s.n
	for _, l := range n.links.all() {
		if !n.isCoordinator(l.peer) && l.accepted() {
			l.session.Compare()
		}
	}
	n.lan.seek(vain)
}
