package exchange

import (
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// acceptance is what has come from the peer and is not on disk yet.
type acceptance struct {
	open *inbound     // an answer of which Entries are to come
	list *pendingList // a segment list of which Rows are to come

	queues  [maxLanes][]*handover
	waiting int // in queues
	count   int // with the replica
	bytes   int // of these, unpacked
	rows    int // of segment lists, in queues or with the replica
}

func (a *acceptance) idle() bool {
	return a.open == nil && a.list == nil && a.waiting == 0 && a.count == 0
}

// Limits of what is handed to the replica at a time. Many small differences
// share a transaction; of the largest, there is one.
const (
	maxHandovers     = 64
	maxHandoverBytes = 1 << 20
)

// inbound is a message with entries, and the Entries that follow it.
type inbound struct {
	first wire.Message
	runs  []wire.Run
	size  int // unpacked
}

// handover is an operation that stores something.
type handover struct {
	lane  identity.Lane
	cost  int // bytes unpacked
	begin func(id uint64) Effect
	then  func(Done)
}

// hearRun takes the first chunk of an answer or a push.
func (m *Machine) hearRun(msg wire.Message, run wire.Run, more bool) {
	if m.accept.open != nil {
		m.blame(wire.CodeProtocol, "entries between the parts of an answer")
		return
	}
	m.accept.open = &inbound{first: msg}
	m.addRun(run, more)
}

// hearEntries takes a chunk that follows.
func (m *Machine) hearEntries(msg *wire.Entries) {
	if m.accept.open == nil || msg.Run.Size() == 0 {
		m.blame(wire.CodeProtocol, "entries that follow nothing")
		return
	}
	m.addRun(msg.Run, msg.More)
}

func (m *Machine) addRun(run wire.Run, more bool) {
	in := m.accept.open
	size := run.Size()
	n := len(run.Data)
	if len(in.runs) == 0 {
		n = bytesOf(in.first)
	}
	m.spent(m.laneOf(in.first), n)
	in.runs, in.size = append(in.runs, run), in.size+size
	m.credit.granted -= size
	switch {
	case in.size > packing.MaxBytes, len(in.runs) > records.SegmentCounters+1: // runs of nothing would be many
		m.blame(wire.CodeProtocol, "an answer that is too large")
	case m.credit.granted < 0:
		m.blame(wire.CodeCredit, "more than there was credit for")
	case !more:
		m.accept.open = nil
		switch msg := in.first.(type) {
		case *wire.Difference:
			m.arrivedDifference(in, msg)
		case *wire.Segment:
			m.arrivedSegment(in, msg)
		case *wire.Push:
			m.arrivedPush(in, msg)
		}
	}
}

// laneOf is the lane of the entries that a message begins.
func (m *Machine) laneOf(first wire.Message) identity.Lane {
	switch first := first.(type) {
	case *wire.Push:
		return first.Account.Lane
	case *wire.Difference:
		return first.Account.Lane
	case *wire.Segment:
		if r := m.fetch.requests[first.Request]; r != nil {
			return r.branch.lane
		}
	}
	return identity.LaneDetail
}

// store hands an answer to the replica, and gives its credit back when it is
// on disk or refused.
func (m *Machine) store(in *inbound, lane identity.Lane, begin func(id uint64) Effect, then func(Done)) {
	m.hand(&handover{lane: lane, cost: in.size, begin: begin, then: func(d Done) {
		m.credit.giveBack(in.size)
		if judgeError(d.Err) == cancelled {
			m.fault(d.Err)
			return
		}
		then(d)
	}})
}

func (m *Machine) hand(h *handover) {
	lane := laneIndex(h.lane)
	m.accept.queues[lane] = append(m.accept.queues[lane], h)
	m.accept.waiting++
}

// acceptMore hands over what has come, lane by lane, within the limits.
func (m *Machine) acceptMore() {
	a := &m.accept
	for lane := range a.queues {
		for len(a.queues[lane]) > 0 {
			h := a.queues[lane][0]
			if a.count > 0 && (a.count == maxHandovers || a.bytes+h.cost > maxHandoverBytes) {
				return
			}
			a.queues[lane] = a.queues[lane][1:]
			a.waiting--
			a.count++
			a.bytes += h.cost
			m.begin(h.begin, func(d Done) {
				a.count--
				a.bytes -= h.cost
				if m.phase == open {
					h.then(d)
				}
			})
		}
	}
}

// credit is how much either side may send, in bytes of runs before
// compression.
type credit struct {
	granted  int // to the peer, and not used
	returned int // on disk, and not granted again yet

	available int // to us
	window    int
}

// giveBack notes that so much is on disk, or was dropped.
func (c *credit) giveBack(n int) { c.returned += n }

// returnCredit grants again what is on disk, in steps that are worth a
// message.
func (m *Machine) returnCredit() {
	c := &m.credit
	if c.returned >= m.cfg.Window/4 {
		c.granted += c.returned
		m.send(&wire.Credit{Bytes: uint32(c.returned)})
		c.returned = 0
	}
}

func (m *Machine) hearCredit(msg *wire.Credit) {
	c := &m.credit
	if c.available += int(msg.Bytes); msg.Bytes == 0 || c.available > c.window {
		m.blame(wire.CodeProtocol, "credit for what was not sent")
	}
}

// maxReceipts is how many receipts may be with the replica, maxReceiptsWaiting
// how many bytes of others may wait. If there are more, the oldest are dropped:
// newer ones say more, and a session begins with all that are lacking.
const (
	maxReceipts        = 16
	maxReceiptsWaiting = 1 << 20
)

func (m *Machine) hearReceipt(msg *wire.Receipt) {
	t := &m.tell
	t.noteReceipt(msg.Encoded)
	t.waiting = append(t.waiting, msg.Encoded)
	t.waitingBytes += costOf(msg)
	for t.waitingBytes > maxReceiptsWaiting {
		m.nextReceipt()
	}
}

// nextReceipt takes the receipt that has waited longest.
func (m *Machine) nextReceipt() *wire.Receipt {
	t := &m.tell
	next := &wire.Receipt{Encoded: t.waiting[0]}
	t.waiting = t.waiting[1:]
	t.waitingBytes -= costOf(next)
	return next
}

// storeReceipts hands receipts to the replica, when what they confirm is there:
// one of a log that is not held is of no use.
func (m *Machine) storeReceipts() {
	if !m.idle() {
		return
	}
	for len(m.tell.waiting) > 0 && m.tell.receipts < maxReceipts {
		encoded := m.nextReceipt().Encoded
		m.tell.receipts++
		m.begin(func(id uint64) Effect { return AcceptReceipt{id, encoded} }, func(d Done) {
			m.tell.receipts-- // that the log is not here, say, is no matter
			if m.phase == open && judgeError(d.Err) == invalid {
				m.blame(wire.CodeMismatch, d.Err.Error())
			}
		})
	}
}
