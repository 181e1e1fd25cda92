package exchange

import (
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
)

// staging is a transfer by segments: the replica has stored a target, the
// newest segments are asked for first, and when nothing is lacking any more
// the target is promoted.
type staging struct {
	ref     records.BranchRef // of the target
	head    uint64            // its counter
	most    int               // how many may be out
	needs   []records.Need    // not asked for yet, newest first
	out     int               // asked for
	storing int               // with the replica
	absent  map[uint64]bool   // segments that the peer has not got, by First
	gained  int               // segments stored since the last plan
	stale   bool              // the target is not what the peer serves any more
	closing bool              // the promotion is with the replica
}

// How many segments may be out: a few, so that the replica stores several at once,
// and the peer reads ahead; and more of those of which superseding has left little,
// or each round would bring next to nothing.
const (
	segmentsOut     = 12
	thinSegmentsOut = 48
)

// mostOut is how many segments of a list may be out.
func mostOut(rows []records.Row) int {
	live := 0
	for i := range rows {
		live += int(rows[i].Live)
	}
	if live == 0 {
		return segmentsOut
	}
	return min(max(segmentsOut, segmentsOut*records.SegmentCounters*len(rows)/live), thinSegmentsOut)
}

// segmentsPerRequest is how many are asked for at once.
const segmentsPerRequest = 4

// maxWrong is how often a segment may not match before the peer is at fault:
// the target may have moved meanwhile, or what is stored here be damaged.
const maxWrong = 2

// pendingList is a segment list of which parts are to come.
type pendingList struct {
	first *wire.SegmentList
	rows  []records.Row
	held  []bool // nil: all
}

func (m *Machine) hearList(msg *wire.SegmentList) {
	if m.accept.list != nil {
		m.blame(wire.CodeProtocol, "a list within a list")
		return
	}
	l := &pendingList{first: msg}
	m.accept.list = l
	m.addRows(l, msg.Rows, msg.Held, msg.More)
}

func (m *Machine) hearRows(msg *wire.Rows) {
	if m.accept.list == nil || len(msg.Rows) == 0 {
		m.blame(wire.CodeProtocol, "rows without a list")
		return
	}
	m.addRows(m.accept.list, msg.Rows, msg.Held, msg.More)
}

func (m *Machine) addRows(l *pendingList, rows []records.Row, held []bool, more bool) {
	n := len(l.rows)
	if n+len(rows)+m.accept.rows > wire.MaxSegments || n > 0 && len(rows) > 0 && l.rows[n-1].First >= rows[0].First {
		m.blame(wire.CodeProtocol, "segments out of order or too many")
		return
	}
	if held != nil && l.held == nil {
		l.held = slices.Repeat([]bool{true}, n)
	}
	if held == nil && l.held != nil {
		held = slices.Repeat([]bool{true}, len(rows))
	}
	l.rows, l.held = append(l.rows, rows...), append(l.held, held...)
	if !more {
		m.accept.list = nil
		m.arrivedList(l)
	}
}

// arrivedList hands a list to the replica, which makes its head the target.
func (m *Machine) arrivedList(l *pendingList) {
	a := &l.first.Account
	r := m.answered(l.first.Request, a)
	if r == nil {
		return
	}
	b := r.branch
	held, _ := m.cfg.Local.AuthorOf(a.Head.Log)
	m.accept.rows += len(l.rows)
	m.hand(&handover{lane: b.lane, cost: len(l.rows) * records.RowBytes, begin: func(id uint64) Effect {
		return AcceptList{id, *a, held, l.rows, l.held}
	}, then: func(done Done) {
		m.accept.rows -= len(l.rows)
		m.storedList(r, l, done)
	}})
}

func (m *Machine) storedList(r *request, l *pendingList, done Done) {
	b, a := r.branch, &l.first.Account
	switch judgeError(done.Err) {
	case fine:
	case again:
		m.retry(b)
		m.rest(b)
		return
	case fromStart:
		b.restart = true
		m.retry(b)
		m.rest(b)
		return
	default:
		m.failed(b, done.Err, &a.Head)
		m.rest(b)
		return
	}
	b.list, b.restart, b.suspect = false, false, false
	if l.held == nil {
		b.answeredWith(a.Head.Counter, r)
		m.brought(a.Head.Log, a.Head.Counter)
	} else {
		b.staged = a.Head.Counter
	}
	if b.ref == (records.BranchRef{}) {
		b.ref = a.Ref()
	}
	if done.Err != nil || done.Plan.Done {
		m.finished(b)
		return
	}
	if t := done.Plan.Target; t != 0 && t != a.Head.Counter {
		// The target came from elsewhere and is not what the peer serves.
		b.parked = true
		m.rest(b)
		return
	}
	s := &b.staging
	*s = staging{ref: a.Ref(), head: a.Head.Counter, most: mostOut(l.rows), absent: map[uint64]bool{}}
	for i, held := range l.held {
		if !held {
			s.absent[l.rows[i].First] = true
		}
	}
	if len(s.absent) > 0 {
		m.report.PartialLists++
	}
	b.stage = taking
	m.fetch.staged = append(m.fetch.staged, b)
	m.plan(b, done.Plan)
}

// finished ends a transfer whose target is held here.
func (m *Machine) finished(b *branch) {
	b.retries, b.wrong, b.spent = 0, nil, b.staged
	m.rest(b)
}

// plan takes over what the replica needs, as far as the peer has it.
func (m *Machine) plan(b *branch, p Plan) {
	s := &b.staging
	s.gained = 0
	s.needs = s.needs[:0]
	for _, n := range p.Needs {
		if !s.absent[n.First] {
			s.needs = append(s.needs, n)
		}
	}
	switch {
	case p.Done:
		m.finished(b)
	case len(s.needs) > 0:
	case len(p.Needs) > 0:
		// The rest must come from somebody else; what is stored stays.
		b.spent = b.staged
		m.retry(b)
		m.rest(b)
	default:
		m.promote(b)
	}
}

// fetchSegments asks for segments of the most important branch that is being
// fetched, and promotes what is complete.
func (m *Machine) fetchSegments() {
	for lane := range maxLanes {
		for _, b := range slices.Clone(m.fetch.staged) {
			if laneIndex(b.lane) == lane && m.fetchSegmentsOf(b) {
				return // the others wait for their turn
			}
		}
	}
}

// fetchSegmentsOf reports whether there is more to ask for than may be.
func (m *Machine) fetchSegmentsOf(b *branch) (more bool) {
	s := &b.staging
	if m.fetch.full || m.fetch.refused || m.withheld(b.lane) {
		s.stale = true
	}
	for !s.stale && len(s.needs) > 0 && s.out+s.storing < s.most && len(m.fetch.requests) < maxRequests {
		n := min(segmentsPerRequest, len(s.needs), s.most-s.out-s.storing)
		needs := slices.Clone(s.needs[:n])
		s.needs = s.needs[n:]
		s.out += n
		id := m.request(&request{branch: b, news: b.news, needs: needs})
		m.send(wire.NewWantSegments(id, wire.FullName(s.ref), s.head, needs))
	}
	switch {
	case s.out > 0 || s.storing > 0 || s.closing:
	case s.stale:
		m.rest(b)
	case len(s.needs) == 0:
		m.promote(b)
	}
	return !s.stale && len(s.needs) > 0
}

// arrivedSegment hands a segment to the replica.
func (m *Machine) arrivedSegment(in *inbound, msg *wire.Segment) {
	need := records.Need{First: msg.First, From: msg.From}
	r := m.fetch.requests[msg.Request]
	if r == nil || len(r.needs) == 0 || r.needs[0] != need {
		m.credit.giveBack(in.size)
		m.blame(wire.CodeProtocol, "a segment that nobody asked for")
		return
	}
	if r.needs = r.needs[1:]; len(r.needs) == 0 {
		delete(m.fetch.requests, msg.Request)
	}
	b := r.branch
	s := &b.staging
	s.out--
	s.storing++
	if b.claimed {
		m.cfg.Routes.touch(m.spread.way, prefixOf(b.name.Log))
	}
	ref, head := s.ref, s.head
	m.store(in, b.lane, func(id uint64) Effect {
		return AcceptSegment{id, ref, head, need, in.runs}
	}, func(done Done) {
		s.storing--
		m.report.received(b.lane, done.Records)
		m.storedSegment(b, need, done.Err)
	})
}

func (m *Machine) storedSegment(b *branch, need records.Need, err error) {
	s := &b.staging
	switch judgeError(err) {
	case fine:
		s.gained++
		b.retries = 0
		m.report.SegmentsTaken++
		m.tell.news = true
	case mismatch:
		m.mismatched(b, need.First, err)
	case again:
		b.list, s.stale = true, true
		m.retry(b)
	default:
		s.stale = true
		m.failed(b, err, nil)
	}
}

// promote completes the target, or learns what is still lacking.
func (m *Machine) promote(b *branch) {
	s := &b.staging
	s.closing = true
	m.hand(&handover{lane: b.lane, begin: func(id uint64) Effect {
		return Promote{id, s.ref, s.head}
	}, then: func(done Done) {
		s.closing = false
		switch judgeError(done.Err) {
		case fine:
			if done.Err != nil {
				done.Plan.Done = true
			}
			if !done.Plan.Done && s.gained == 0 {
				m.retry(b) // a plan that nothing comes of
			}
			if b.parked {
				m.rest(b)
				return
			}
			m.plan(b, done.Plan)
		case mismatch:
			m.mismatched(b, 0, done.Err)
		case again:
			b.list, s.stale = true, true
			m.retry(b)
		default:
			m.failed(b, done.Err, nil)
			m.rest(b)
		}
	}})
}

// mismatched compares lists again, because target or stored segments may have
// changed meanwhile, before the peer is blamed.
func (m *Machine) mismatched(b *branch, first uint64, err error) {
	m.report.Mismatches++
	if b.wrong == nil {
		b.wrong = map[uint64]int{}
	}
	if b.wrong[first]++; b.wrong[first] > maxWrong {
		m.blame(wire.CodeMismatch, fmt.Sprintf("segment %d of %s: %v", first, b.staging.ref.Log.Short(), err))
		return
	}
	b.list, b.staging.stale = true, true
}
