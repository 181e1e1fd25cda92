package exchange

import (
	"errors"
	"fmt"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// phase is how far the two sides know each other.
type phase uint8

const (
	greeting phase = iota // the peer's Hello is awaited
	stranger              // the roster does not list the peer; it may show one that does
	open                  // both belong to the zone
	closed
)

// Machine is one side of a session: it is told events and answers with
// effects. It does no I/O, has no clock and starts nothing, so the same events
// always give the same effects. It is not safe for concurrent use.
type Machine struct {
	cfg    Config
	zone   identity.ZoneID
	self   identity.Certificate
	phase  phase
	report Report
	wall   int64

	effects []Effect
	lastOp  uint64
	ops     map[uint64]func(Done) // what to do with the outcome of each operation

	hello      *wire.Hello // of the peer
	said       bool        // our Hello was sent
	shown      bool        // our roster was sent to a peer that asked who we are
	peerEpoch  roster.Epoch
	rosterPart []byte // what has come of a roster
	rosters    int    // operations that accept one

	state    *records.State // the last snapshot that was looked at; see snapshot
	sumsFrom int            // rows of a vector that is not told in whole
	without  wire.Features  // that this side does not offer

	credit  credit
	compare comparison
	peer    peerVector
	fetch   fetching
	accept  acceptance
	serve   serving
	tell    telling
	safe    safety
	share   sharing
	spread  spreading
	limit   limiting
	key     keying
}

// New returns a machine that waits for [Started].
func New(cfg Config) *Machine {
	cfg.Timing.setDefaults()
	if cfg.Window == 0 {
		cfg.Window = DefaultWindow
	}
	cfg.Window = max(cfg.Window, wire.MinWindow)
	m := &Machine{
		cfg:  cfg,
		zone: cfg.Local.Zone(),
		self: cfg.Local.Certificate(),
		ops:  map[uint64]func(Done){},

		sumsFrom: sumsFrom,
	}
	m.report.Peer = cfg.Peer.ID()
	m.peer.branches = map[prefix][]*branch{}
	m.fetch.requests = map[uint32]*request{}
	m.tell.position = newPositions()
	m.tell.stuck = map[identity.LogID]uint64{}
	m.tell.owed = map[identity.LogID]uint64{}
	m.share.said = &wire.Share{}
	m.tell.dirty = map[identity.LogID]wire.VectorRow{}
	return m
}

// Report returns what there is to say about the session so far.
func (m *Machine) Report() Report { return m.report }

// Step takes an event and returns what is to be done about it, in order. The
// result is valid until the next call. After a Close nothing more comes.
func (m *Machine) Step(e Event) []Effect {
	m.effects = m.effects[:0]
	if m.phase == closed {
		return nil
	}
	switch e := e.(type) {
	case Started:
		m.wall = e.Wall
		m.greet()
	case Received:
		m.receive(e.Message)
	case Heard:
		m.compare.stalling = false // anew
	case Written:
		m.tell.unwritten -= e.Cost
	case Fired:
		m.fired(e.Timer)
	case Changed:
		m.changed(e.Change)
	case Done:
		if then := m.ops[e.ID]; then != nil {
			delete(m.ops, e.ID)
			then(e)
		}
	case Lost:
		m.lost(e.Err)
	case Shared:
		m.shareWith(e.Sharing)
	case Allowed:
		m.allow(e.Allowance)
	case Woken: // to look again
	case Compare:
		m.compareAtOnce()
	case Stop:
		m.bye(e.Code, e.Words)
	}
	if m.phase == open {
		m.proceed()
	}
	return m.effects
}

// proceed does whatever has become possible. The order is that of importance:
// what is asked of the peer keeps both sides busy, what it asked for comes
// next, news last.
func (m *Machine) proceed() {
	for _, step := range []func(){
		m.lookAround,
		m.fetchMore,  // ask for what the peer has, lane by lane
		m.acceptMore, // hand to the replica what has come
		m.serveMore,  // read and send what the peer asked for
		m.tellMore,   // say what has changed and was not pushed
		m.tellReceipts,
		m.storeReceipts,
		m.compareMore,
		m.returnCredit,
		m.sayLimit,
		m.watchForStall,
	} {
		if m.phase == open {
			step()
		}
	}
}

// receive takes a message. What is allowed depends on the phase; any other
// message ends the session.
func (m *Machine) receive(msg wire.Message) {
	m.compare.stalling = false
	if bye, ok := msg.(*wire.Bye); ok {
		if c := &m.compare; bye.Code == wire.CodeDone && c.theirs != nil {
			// The peer has seen that nothing is left to do, perhaps before us.
			m.report.Equal = c.theirs.Fingerprint == m.cfg.Local.State().Fingerprint
		}
		m.end(bye.Code, bye.Words, true)
		return
	}
	switch m.phase {
	case greeting:
		switch msg := msg.(type) {
		case *wire.Hello:
			m.hearHello(msg)
			return
		case *wire.WantRoster:
			// The peer does not know us yet, and says Hello when it does.
			if m.said && !m.shown {
				m.shown = true
				m.sendRoster()
				return
			}
		}
	case stranger:
		switch msg := msg.(type) {
		case *wire.Counters:
			m.compare.theirs = msg
			return
		case *wire.Roster:
			m.hearStrangersRoster(msg)
			return
		}
	case open:
		if m.receiveOpen(msg) {
			return
		}
	}
	if m.phase != closed {
		m.blame(wire.CodeProtocol, fmt.Sprintf("message of type %d at the wrong time", msg.Type()))
	}
}

// receiveOpen takes the messages of an open session, and reports whether msg
// is one.
func (m *Machine) receiveOpen(msg wire.Message) bool {
	switch msg := msg.(type) {
	case *wire.Roster:
		m.hearRoster(msg)
	case *wire.Counters:
		m.hearCounters(msg)
	case *wire.CountersSum:
		m.hearCountersSum(msg)
	case *wire.Vector:
		m.hearVector(msg)
	case *wire.VectorSums:
		m.hearVectorSums(msg)
	case *wire.VectorReply:
		m.hearVectorReply(msg)
	case *wire.Have:
		m.hearHave(msg)
	case *wire.Want:
		m.hearWant(msg)
	case *wire.WantSegments:
		m.hearWantSegments(msg)
	case *wire.Nothing:
		m.hearNothing(msg)
	case *wire.Difference:
		m.hearRun(msg, msg.Run, msg.More)
	case *wire.Segment:
		m.hearRun(msg, msg.Run, msg.More)
	case *wire.Push:
		m.hearRun(msg, msg.Run, msg.More)
	case *wire.Entries:
		m.hearEntries(msg)
	case *wire.SegmentList:
		m.hearList(msg)
	case *wire.Rows:
		m.hearRows(msg)
	case *wire.Credit:
		m.hearCredit(msg)
	case *wire.Receipt:
		m.hearReceipt(msg)
	case *wire.Safe:
		m.hearSafe(msg)
	case *wire.Share:
		m.hearShare(msg)
	case *wire.Key:
		m.hearKey(msg)
	case *wire.Links:
		m.hearLinks(msg)
	case *wire.Enough:
		m.hearEnough(msg)
	case *wire.Limit:
		m.hearLimit(msg)
	case *wire.More:
		m.hearMore(msg)
	default:
		return false
	}
	return true
}

// fired takes a timer that has run out.
func (m *Machine) fired(t Timer) {
	switch t {
	case TimerGreeting:
		switch m.phase {
		case greeting:
			if m.said {
				m.bye(wire.CodeTimeout, "no Hello in time")
			} else {
				m.refuse()
			}
		case stranger:
			m.refuse()
		}
	case TimerStall:
		if m.compare.stalling {
			m.blame(wire.CodeTimeout, "no answer in time")
		}
	case TimerCompare:
		m.compareNow()
	case TimerLinger:
		m.compare.lingered = true
	case TimerRetry:
		m.fetchAgain()
		m.storeKey()
	case TimerWord:
		m.tellWords(soon)
	case TimerLateWord:
		m.tellWords(late)
	case TimerPull:
		m.pull()
	case TimerAnswer:
		m.compare.delaying, m.compare.delayed = false, true
	case TimerHeed:
		m.compare.heeded = false
	case TimerLinks:
		m.spread.timed = false
		if m.phase == open {
			m.sendLinks()
		}
	}
}

// changed takes a change of the replica.
func (m *Machine) changed(c Change) {
	if c.Roster {
		m.rosterChanged()
	}
	if m.phase != open {
		// What was announced with the Hello is out of date already.
		m.tell.news = m.tell.news || c.Commit != nil
		return
	}
	if c.Aside {
		m.unblock() // what did not go with it
	}
	if c.Commit != nil {
		m.tellCommit(c.Commit)
	}
	if c.Receipt != nil {
		m.tellReceipt(c.Receipt)
	}
	if c.Key {
		m.tellKey()
	}
}

// lost ends the session without a word: there is nobody to hear it.
func (m *Machine) lost(err error) {
	words := "the connection ended"
	if err != nil {
		words = err.Error()
	}
	if errors.Is(err, wire.ErrMessage) {
		m.blame(wire.CodeProtocol, words)
		return
	}
	m.end(wire.CodeFault, words, true)
}

// bye ends the session with a word to the peer.
func (m *Machine) bye(code wire.Code, words string) {
	if m.phase == closed {
		return
	}
	m.send(wire.NewBye(code, words))
	m.end(code, words, false)
}

// blame ends the session because of what the peer did.
func (m *Machine) blame(code wire.Code, words string) {
	if m.phase == closed {
		return
	}
	m.report.Blame = words
	m.bye(code, words)
}

func (m *Machine) end(code wire.Code, words string, remote bool) {
	m.phase = closed
	m.leaveRoutes()
	m.report.Over, m.report.Code, m.report.Words, m.report.Remote = true, code, words, remote
	m.effects = append(m.effects, Close{Code: code, Words: words, Remote: remote})
}

// maxUnwritten is how many bytes may wait to be written before it is plain
// that the peer does not read: more than an honest peer can ask for.
const maxUnwritten = 16 << 20

func (m *Machine) send(messages ...wire.Message) {
	for _, msg := range messages {
		cost := costOf(msg)
		m.tell.unwritten += cost
		m.effects = append(m.effects, Send{Message: msg, Cost: cost})
	}
	if m.tell.unwritten > maxUnwritten && m.phase != closed {
		m.report.Blame = "does not read"
		m.end(wire.CodeTimeout, "the peer does not read", false)
	}
}

// costOf is about how many bytes a message takes while it waits.
func costOf(msg wire.Message) int {
	const small = 64
	switch msg := msg.(type) {
	case *wire.Difference:
		return 8*small + len(msg.Run.Data)
	case *wire.Push:
		return 8*small + len(msg.Run.Data)
	case *wire.Segment:
		return small + len(msg.Run.Data)
	case *wire.Entries:
		return small + len(msg.Run.Data)
	case *wire.SegmentList:
		return 8*small + len(msg.Rows)*records.RowBytes
	case *wire.Rows:
		return small + len(msg.Rows)*records.RowBytes
	case *wire.Roster:
		return small + len(msg.Part)
	case *wire.Vector:
		return small + len(msg.Rows)*small
	case *wire.VectorSums:
		return small + len(msg.Sums)*8
	case *wire.VectorReply:
		return small + len(msg.Rows)*small
	case *wire.Safe:
		return small + len(msg.Rows)*small
	case *wire.Have:
		return small + len(msg.Rows)*small
	case *wire.Receipt:
		return small + len(msg.Encoded)
	case *wire.Key:
		return small + len(msg.Encoded)
	}
	return small
}

// begin starts an operation; then is called with its outcome.
func (m *Machine) begin(op func(id uint64) Effect, then func(Done)) {
	m.lastOp++
	m.ops[m.lastOp] = then
	m.effects = append(m.effects, op(m.lastOp))
}

func (m *Machine) raise(a Alarm) { m.effects = append(m.effects, Raise{a}) }

func (m *Machine) setTimer(t Timer) {
	after := m.cfg.Timing.Greeting
	switch t {
	case TimerStall:
		after = m.cfg.Timing.Stall
	case TimerLinger:
		after = m.cfg.Timing.Linger
	case TimerRetry:
		after = m.cfg.Timing.Retry
	case TimerAnswer:
		after = m.cfg.Timing.Stall / 3
	case TimerHeed:
		after = heedAfter
	case TimerWord, TimerLateWord, TimerPull, TimerLinks:
		after = m.spreadWait(t)
	}
	m.effects = append(m.effects, SetTimer{t, after})
}

// Lanes is how many lanes are told apart; later ones travel with the last.
const Lanes = len(identity.Lanes)

const maxLanes = Lanes

func laneIndex(l identity.Lane) int { return min(int(l), maxLanes-1) }
