package exchange

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Routes is what the sessions of one replica know together: who of the peers is
// linked with whom, who brings the commits of which log, and which session is
// about to fetch one. So no commit is passed on to a peer that gets it anyway,
// and no log is fetched twice at a time. A machine asks it while it steps;
// nothing waits. It is safe for concurrent use.
type Routes struct {
	clock Clock

	mu      sync.Mutex
	ways    map[*way]bool
	version int // grows when a way comes or goes, or its peer's links change
	logs    map[prefix]*route
	orphans map[prefix]bool // logs whose parent has gone
}

// way is one session, as the others see it.
type way struct {
	wake   func()          // has the session look again, soon
	peer   uint64          // the first 8 bytes of the device's ID
	spread bool            // it tells its links, and keeps to this
	links  map[uint64]bool // of the peer, as it told
}

// route is what is known of a log.
type route struct {
	from    *way   // brought the last commit; nil: none, or it has gone
	counter uint64 // of that commit
	parent  bool   // from has pushed it, and will push the next

	holder  *way // works on the log: fetches it or stores a push
	touched time.Time
	waiting []*way // for the holder to be done
	expiry  func() // stops the timer that takes the log from a holder that is stuck
}

// claimPatience is how long a session may sit on a log without anything coming
// from its peer while another one waits for the log.
const claimPatience = 5 * time.Second

// NewRoutes returns a Routes for the sessions of one replica.
func NewRoutes(clock Clock) *Routes {
	return &Routes{clock: clock, ways: map[*way]bool{}, logs: map[prefix]*route{}, orphans: map[prefix]bool{}}
}

func (r *Routes) of(log prefix) *route {
	t := r.logs[log]
	if t == nil {
		t = &route{}
		r.logs[log] = t
	}
	return t
}

// join lets a session take part.
func (r *Routes) join(w *way) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ways[w] = true
	r.changedLocked()
}

// leave ends a session's part.
func (r *Routes) leave(w *way) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ways[w] {
		return
	}
	delete(r.ways, w)
	for log, t := range r.logs {
		if t.from == w {
			if t.parent && len(r.ways) > 0 {
				r.orphans[log] = true
			}
			t.from, t.parent = nil, false
		}
		t.waiting = slices.DeleteFunc(t.waiting, func(o *way) bool { return o == w })
		if t.holder == w {
			t.free()
		}
	}
	maps.DeleteFunc(r.logs, func(_ prefix, t *route) bool { return t.from == nil && t.holder == nil })
	r.changedLocked()
}

func (r *Routes) changedLocked() {
	r.version++
	for w := range r.ways {
		w.wake()
	}
}

// ticket grows when a session comes or goes, or its peer's links change.
func (r *Routes) ticket() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version
}

// among returns the peers with whom there are sessions that tell their links,
// ascending.
func (r *Routes) among() (peers []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.ways {
		if w.spread {
			peers = append(peers, w.peer)
		}
	}
	slices.Sort(peers)
	return slices.Compact(peers)
}

// crowded reports whether there are other sessions.
func (r *Routes) crowded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ways) > 1
}

// told takes the links of a session's peer.
func (r *Routes) told(w *way, links []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.links = make(map[uint64]bool, len(links))
	for _, p := range links {
		w.links[p] = true
	}
	r.changedLocked()
}

// came notes that a session's peer has brought a log up to a counter, by a push
// or by an answer.
func (r *Routes) came(w *way, log prefix, counter uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.of(log); counter > t.counter || t.from == nil {
		t.from, t.counter, t.parent = w, counter, w.spread
	}
}

// source returns the session by which a log came up to a counter, or nil.
func (r *Routes) source(log prefix, counter uint64) *way {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.logs[log]; t != nil && t.counter >= counter {
		return t.from
	}
	return nil
}

// sees reports whether the peer of one session, which is there, is linked with
// another peer, and so sees to it itself.
func (r *Routes) sees(w *way, peer uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ways[w] && w.links[peer]
}

// expects reports whether the next commit of a log will be pushed by the peer of
// another session.
func (r *Routes) expects(w *way, log prefix) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.logs[log]
	return t != nil && t.parent && t.from != w
}

// adopt has the peer of a session push logs, of those that nobody pushes any
// more, which accept says it may, and returns them, ascending.
func (r *Routes) adopt(w *way, most int, accept func(prefix) bool) (logs []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for log := range r.orphans {
		if t := r.of(log); t.parent {
			delete(r.orphans, log) // somebody does
		} else if len(logs) < most && accept(log) {
			delete(r.orphans, log)
			t.from, t.parent = w, true
			logs = append(logs, uint64(log))
		}
	}
	slices.Sort(logs)
	return logs
}

// wrong takes back what came said: nothing was stored.
func (r *Routes) wrong(w *way, log prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.logs[log]; t != nil && t.from == w {
		t.from, t.counter, t.parent = nil, 0, false
	}
}

// take has a session work on a log, unless another one does; then it is woken
// when that one is done, or stuck.
func (r *Routes) take(w *way, log prefix) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.of(log)
	if t.holder == nil || t.holder == w {
		t.holder, t.touched = w, r.clock.Now()
		return true
	}
	if !slices.Contains(t.waiting, w) {
		t.waiting = append(t.waiting, w)
	}
	if t.expiry == nil {
		r.watchLocked(t, claimPatience)
	}
	return false
}

// watchLocked takes the log from its holder when nothing came for a while.
func (r *Routes) watchLocked(t *route, after time.Duration) {
	stop := r.clock.AfterFunc(after, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if t.expiry == nil {
			return // stopped too late
		}
		t.expiry = nil
		if left := claimPatience - r.clock.Now().Sub(t.touched); left > 0 && left <= claimPatience {
			r.watchLocked(t, left)
			return
		}
		t.free()
	})
	t.expiry = stop
}

// free ends the work of the holder and wakes who waits.
func (t *route) free() {
	t.holder = nil
	if t.expiry != nil {
		t.expiry()
		t.expiry = nil
	}
	for _, w := range t.waiting {
		w.wake()
	}
	t.waiting = nil
}

// taken reports whether another session works on a log.
func (r *Routes) taken(w *way, log prefix) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.logs[log]
	return t != nil && t.holder != nil && t.holder != w
}

// touch notes that a session's work on a log gets on.
func (r *Routes) touch(w *way, log prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.logs[log]; t != nil && t.holder == w {
		t.touched = r.clock.Now()
	}
}

// done ends a session's work on a log.
func (r *Routes) done(w *way, log prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.logs[log]; t != nil && t.holder == w {
		t.free()
	}
}
