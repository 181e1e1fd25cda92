package exchange

import (
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// serving is what the peer has asked for and has not got. Each thing asked for
// is a slot; slots are read ahead of being sent, and sent in order within a
// lane, a lane before those after it.
type serving struct {
	slots   [maxLanes][]*slot
	pending int // slots
	reading int // slots that are being read
	bytes   int // read and not sent
}

type slot struct {
	request uint32
	series  *series // of a WantSegments
	start   func()  // begins to read
	started bool
	ready   bool
	answer  []wire.Message
	credit  int // that the answer takes
	records int
	log     identity.LogID
	lane    identity.Lane
	counter uint64 // that the peer has when it has stored the answer; 0: unknown
}

// series is the slots of one WantSegments: Nothing in one stands for the rest.
type series struct{ over bool }

// Limits of serving.
const (
	maxPending   = 4 * maxRequests // slots that a peer may ask for at a time
	maxReading   = 4
	maxReadBytes = 512 << 10 // read ahead of being sent
)

// hearWant puts a request in its lane.
func (m *Machine) hearWant(msg *wire.Want) {
	m.ask(msg.Name, func(ref records.BranchRef, lane identity.Lane) {
		m.wanted(ref.Log)
		s := &slot{request: msg.Request, log: ref.Log}
		starts := int(msg.Starts)
		read := func(id uint64) Effect { return ReadDifference{id, ref, msg.Base, starts, m.form()} }
		if msg.List {
			read = func(id uint64) Effect { return ReadList{id, ref, msg.Base, starts} }
		}
		m.enqueue(lane, s, read, func(d Done) { m.readWant(s, ref, msg.Base, starts, d) })
	}, msg.Request)
}

// readWant makes the answer of what was read.
func (m *Machine) readWant(s *slot, ref records.BranchRef, base uint64, starts int, d Done) {
	switch {
	case judgeError(d.Err) == large:
		// Not small: the list is the answer.
		m.serve.reading++
		m.begin(func(id uint64) Effect { return ReadList{id, ref, base, starts} }, func(d Done) {
			m.serve.reading--
			if m.phase == open {
				m.readWant(s, ref, base, starts, d)
			}
		})
		return
	case d.Err != nil:
		m.nothing(s, reasonOf(d.Err))
		return
	case d.List != nil && len(d.List.Starts) <= wire.MaxStarts && len(d.List.Rows) <= wire.MaxSegments:
		s.answer = wire.NewSegmentList(s.request, d.List)
	case d.Difference != nil && len(d.Difference.Starts) <= wire.MaxStarts && len(d.Difference.Firsts) <= wire.MaxFirsts:
		s.answer = wire.NewDifference(s.request, d.Difference, d.Runs)
		s.credit, s.records, s.counter = wire.Size(d.Runs), d.Records, d.Difference.Head.Counter
	default: // more than the protocol can carry
		m.nothing(s, wire.ReasonFailed)
		return
	}
	m.ready(s)
}

// hearWantSegments puts each segment asked for in its lane.
func (m *Machine) hearWantSegments(msg *wire.WantSegments) {
	all := &series{}
	m.ask(msg.Name, func(ref records.BranchRef, lane identity.Lane) {
		for _, need := range msg.Needs {
			s := &slot{request: msg.Request, series: all, log: ref.Log}
			read := func(id uint64) Effect { return ReadSegment{id, ref, msg.Head, need, m.form()} }
			m.enqueue(lane, s, read, func(d Done) {
				if d.Err != nil {
					m.nothing(s, reasonOf(d.Err))
					return
				}
				s.answer = wire.NewSegment(s.request, need, d.Runs)
				s.credit, s.records = wire.Size(d.Runs), d.Records
				m.ready(s)
			})
		}
	}, msg.Request)
}

// ask looks a branch up for somebody who may receive it.
func (m *Machine) ask(name wire.Name, found func(records.BranchRef, identity.Lane), request uint32) {
	if m.serve.pending >= maxPending {
		m.blame(wire.CodeProtocol, "too many requests")
		return
	}
	if m.judge() != Member {
		m.send(&wire.Nothing{Request: request, Reason: wire.ReasonLease})
		return
	}
	ref, ok := m.resolve(name)
	if !ok {
		m.send(&wire.Nothing{Request: request, Reason: wire.ReasonGone})
		return
	}
	lane := identity.LaneDetail
	for _, row := range namesakes(m.state, ref.Log) {
		if row.Log == ref.Log {
			lane = row.Lane
		}
	}
	if m.withheld(lane) {
		m.send(&wire.Nothing{Request: request, Reason: wire.ReasonLater})
		return
	}
	found(ref, lane)
}

// enqueue puts a slot in its lane; then is called with what was read.
func (m *Machine) enqueue(lane identity.Lane, s *slot, read func(id uint64) Effect, then func(Done)) {
	s.start = func() {
		s.started = true
		m.serve.reading++
		m.begin(read, func(d Done) {
			m.serve.reading--
			if m.phase == open {
				then(d)
			}
		})
	}
	s.lane = lane
	i := laneIndex(lane)
	m.serve.slots[i] = append(m.serve.slots[i], s)
	m.serve.pending++
}

func (m *Machine) nothing(s *slot, why wire.Reason) {
	s.answer = []wire.Message{&wire.Nothing{Request: s.request, Reason: why}}
	m.ready(s)
}

func (m *Machine) ready(s *slot) {
	s.ready = true
	m.serve.bytes += s.credit
}

func reasonOf(err error) wire.Reason {
	switch judgeError(err) {
	case gone:
		return wire.ReasonGone
	case moved:
		return wire.ReasonMoved
	}
	return wire.ReasonFailed
}

// serveMore sends what is ready and allowed, and reads ahead.
func (m *Machine) serveMore() {
	v := &m.serve
	for lane := range v.slots {
		for _, s := range v.slots[lane] {
			if !s.started && m.withheld(s.lane) {
				s.started = true
				m.nothing(s, wire.ReasonLater)
			}
		}
	}
	for lane := range v.slots {
		for len(v.slots[lane]) > 0 {
			s := v.slots[lane][0]
			dropped := s.series != nil && s.series.over
			if !dropped && (!s.ready || s.credit > m.credit.available) || dropped && s.started && !s.ready {
				break
			}
			v.slots[lane] = v.slots[lane][1:]
			v.pending--
			v.bytes -= s.credit
			if !dropped {
				m.answer(lane, s)
			}
		}
	}
	for lane := range v.slots {
		for _, s := range v.slots[lane] {
			if v.reading == maxReading || v.bytes >= maxReadBytes || m.tell.unwritten >= maxReadBytes {
				return
			}
			if !s.started && (s.series == nil || !s.series.over) {
				s.start()
			}
		}
	}
}

// answer sends what a slot holds.
func (m *Machine) answer(lane int, s *slot) {
	m.credit.available -= s.credit
	m.report.sent(lane, s.records)
	if s.counter > 0 {
		m.brought(s.log, s.counter)
	}
	switch s.answer[0].(type) {
	case *wire.Difference, *wire.SegmentList:
		m.owe(s.log, 0)
	}
	if _, none := s.answer[0].(*wire.Nothing); none && s.series != nil {
		s.series.over = true
	}
	m.spent(s.lane, bytesOf(s.answer...))
	m.send(s.answer...)
}
