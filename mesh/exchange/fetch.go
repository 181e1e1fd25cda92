package exchange

import (
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
)

// fetching is what this side asks the peer for.
type fetching struct {
	queues   [maxLanes][]*branch
	active   int       // branches that are not resting
	staged   []*branch // those of them that are taking segments
	requests map[uint32]*request
	last     uint32 // number of the last request
	full     bool   // there is no room: nothing is asked until TimerRetry
	refused  bool   // the peer gives us nothing: our lease has ended
}

// request is a Want or a WantSegments that is not answered.
type request struct {
	branch *branch
	base   uint64
	starts int
	news   int            // of the branch, when it was asked for
	needs  []records.Need // still due, in order; nil for a Want
}

// maxRequests is how many requests may be out: enough to keep a slow line
// busy with small answers. fairRequests is how many where other sessions may
// want to fetch as well.
const (
	maxRequests  = 32
	fairRequests = 8
)

func (m *Machine) mostRequests() int {
	if m.spreads() && m.cfg.Routes.crowded() {
		return fairRequests
	}
	return maxRequests
}

// maxRetries is how often in a row a branch is asked for in vain.
const maxRetries = 3

// consider queues a branch if the peer has something of it that is lacking.
func (m *Machine) consider(b *branch) {
	if b.stage == resting && m.lacks(b) {
		b.stage = queued
		m.fetch.active++
		lane := laneIndex(b.lane)
		m.fetch.queues[lane] = append(m.fetch.queues[lane], b)
	}
}

// rest ends what is being done about a branch, and begins anew if there is
// more to do.
func (m *Machine) rest(b *branch) {
	if b.stage != resting {
		if b.stage == taking {
			m.fetch.staged = slices.DeleteFunc(m.fetch.staged, func(o *branch) bool { return o == b })
		}
		b.stage = resting
		b.staging = staging{}
		m.fetch.active--
	}
	m.unclaim(b)
	m.consider(b)
}

// fetchMore asks for branches, in the order of lanes.
func (m *Machine) fetchMore() {
	m.fetchSegments()
	if m.fetch.full || m.fetch.refused {
		m.giveUpQueue()
		return
	}
	most := m.mostRequests()
	for lane := range m.fetch.queues {
		queue := m.fetch.queues[lane]
		var waiting []*branch
		for len(queue) > 0 && len(m.fetch.requests) < most {
			b := queue[0]
			queue = queue[1:]
			switch {
			case !m.lacks(b):
				m.rest(b)
			case m.working(b), m.waits(b):
				waiting = append(waiting, b)
			default:
				m.want(b)
			}
		}
		if len(waiting) > 0 {
			queue = append(waiting, queue...)
		}
		m.fetch.queues[lane] = queue
	}
}

// fetchAgain asks anew after there was no room.
func (m *Machine) fetchAgain() {
	m.fetch.full = false
	for _, b := range m.peer.all {
		if !b.forgotten {
			m.consider(b)
		}
	}
}

// giveUpQueue lets queued branches rest while nothing can be taken.
func (m *Machine) giveUpQueue() {
	for lane, queue := range m.fetch.queues {
		m.fetch.queues[lane] = nil
		for _, b := range queue {
			b.stage = resting
			m.fetch.active--
		}
	}
}

// want asks for what a branch has beyond what is held here.
func (m *Machine) want(b *branch) {
	base, starts := m.frontier(b)
	if b.suspect {
		base = min(base, b.counter)
	}
	if b.restart || b.suspect {
		starts = 0
	}
	b.stage = asked
	list := b.list || b.counter <= base && !b.suspect
	id := m.request(&request{branch: b, base: base, starts: starts, news: b.news})
	m.send(wire.NewWant(id, b.name, base, starts, list))
}

func (m *Machine) request(r *request) uint32 {
	m.fetch.last++
	m.fetch.requests[m.fetch.last] = r
	return m.fetch.last
}

// answered returns the request that an account answers, or nil after it has
// blamed the peer for answering something else.
func (m *Machine) answered(id uint32, a *wire.Account) *request {
	r := m.fetch.requests[id]
	if r == nil || r.needs != nil || !r.branch.name.IsLog(a.Head.Log) || int(a.StartsFrom) > r.starts {
		m.blame(wire.CodeProtocol, "an answer that does not belong to its request")
		return nil
	}
	delete(m.fetch.requests, id)
	b := r.branch
	b.lane = a.Lane
	if b.ref != (records.BranchRef{}) && b.ref.Log != a.Head.Log {
		// Two logs that begin alike: ask anew, by the full name.
		b.name, b.ref = wire.FullName(a.Ref()), records.BranchRef{}
		m.rest(b)
		return nil
	}
	b.stage = storing
	return r
}

// arrivedDifference hands an answer to the replica.
func (m *Machine) arrivedDifference(in *inbound, d *wire.Difference) {
	r := m.answered(d.Request, &d.Account)
	if r == nil {
		m.credit.giveBack(in.size)
		return
	}
	b := r.branch
	if d.Base != r.base {
		m.credit.giveBack(in.size)
		m.blame(wire.CodeProtocol, "a difference from another counter")
		return
	}
	head := &d.Account.Head
	b.answeredWith(head.Counter, r)
	m.brought(head.Log, head.Counter)
	m.came(head.Log, head.Counter)
	held, _ := m.cfg.Local.AuthorOf(d.Account.Head.Log)
	m.store(in, b.lane, func(id uint64) Effect {
		return AcceptDifference{id, d, held, in.runs}
	}, func(done Done) {
		m.report.received(b.lane, done.Records)
		m.wentWrong(d.Account.Head.Log, done.Err)
		m.storedDifference(b, &d.Account, done.Err)
	})
}

// storedDifference goes on after a difference was stored, or was not.
func (m *Machine) storedDifference(b *branch, a *wire.Account, err error) {
	suspect := b.suspect
	b.suspect = false
	switch judgeError(err) {
	case fine:
		b.retries, b.list, b.restart, b.wrong = 0, false, false, nil
		if b.ref == (records.BranchRef{}) {
			b.ref = a.Ref()
		}
	case again:
		m.retry(b)
	case fromStart:
		b.restart = true
		m.retry(b)
	case mismatch:
		// Before anybody is suspected, the segments are compared.
		if suspect {
			b.blocked = true
			break
		}
		if b.list {
			m.blame(wire.CodeMismatch, fmt.Sprintf("%v: %v", b.ref.Log.Short(), err))
			return
		}
		m.report.Mismatches++
		b.list = true
	default:
		m.failed(b, err, &a.Head)
	}
	m.rest(b)
}

// retry counts an attempt that brought nothing; after a few in a row the
// branch is left as it is until there is news of it.
func (m *Machine) retry(b *branch) {
	if b.retries++; b.retries > maxRetries {
		b.retries, b.parked = 0, true
	}
}

// failed deals with the outcomes of storing that have little to do with what
// was stored. It was of that head, if head is not nil.
func (m *Machine) failed(b *branch, err error, head *records.Head) {
	switch judgeError(err) {
	case forked:
		b.blocked = true
		m.report.LogsRefused++
		alarm := Alarm{Kind: AlarmForked, Log: b.ref.Log, Err: err}
		if head != nil {
			alarm.Log = head.Log
			if !m.ownLog(head.Log) && !m.copied() {
				alarm.Head = head
			}
		}
		m.raise(alarm)
	case unadmitted:
		b.blocked = true
		m.report.LogsRefused++
	case full:
		if !m.fetch.full {
			m.fetch.full = true
			m.raise(Alarm{Kind: AlarmFull, Err: err})
			m.setTimer(TimerRetry)
		}
	case invalid, mismatch, large:
		m.blame(wire.CodeMismatch, err.Error())
	default:
		m.fault(err)
	}
}

// hearNothing takes the answer that there is none.
func (m *Machine) hearNothing(msg *wire.Nothing) {
	r := m.fetch.requests[msg.Request]
	if r == nil {
		m.blame(wire.CodeProtocol, "an answer that does not belong to its request")
		return
	}
	delete(m.fetch.requests, msg.Request)
	b := r.branch
	b.suspect = false
	switch {
	case msg.Reason == wire.ReasonMoved:
		b.list = true
	case msg.Reason == wire.ReasonLease:
		m.fetch.refused = true
	case b.news != r.news: // there is something by now
		if !b.staging.stale { // once, however many requests were out
			m.retry(b)
		}
	case msg.Reason == wire.ReasonGone:
		b.counter, b.staged = 0, 0
	default:
		b.parked = true
	}
	if r.needs == nil {
		m.rest(b)
		return
	}
	b.staging.out -= len(r.needs)
	b.staging.stale = true
}
