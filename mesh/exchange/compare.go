package exchange

import (
	"bytes"
	"time"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// comparison finds out in what the two sides differ, in rounds:
//
//	both    Counters                     equal: done
//	leader  Vector
//	other   VectorReply                  both ask for what they lack
//	both    Counters, when all is there  equal: done
//
// If they still differ, the leader begins the next round. One that began from
// the same two fingerprints as the last has names and fingerprints in full. If
// even that changes nothing, the sides differ in what no fetching can cure (a
// fork; an author that is not admitted) and stay as they are until something
// changes.
//
// Where a vector is long, checksums go first: see sums.go.
//
// In a session that stays open pushes do the work. The leader announces itself
// every now and then and wants an answer, and only then can a round follow:
// Timing.Compare after news, and while there is none, after twice as long each
// time, up to Timing.Quiet. The other side does so only if it has had news of
// which the leader has not asked. See quiet.go for how little that takes.
//
// A side that has reason to think that it lacks something does not wait: see
// compareAtOnce.
type comparison struct {
	ours, theirs *wire.Counters // last said and heard
	of           *records.State // what ours was said of
	fresh        bool           // theirs was heard and not judged yet
	answer       bool           // theirs asks for a reply
	delaying     bool           // TimerAnswer is running
	delayed      bool           // it has run out
	asked        bool           // ours did, and there is none yet
	round        uint32         // vectors exchanged
	awaiting     bool           // a VectorReply is due, or if buckets is not 0 a Vector
	sent         *records.State // what the last vector, or its checksums, were made of
	buckets      int            // how many checksums were sent
	level        level
	at           [2]identity.Hash // our and their fingerprint when level was reached

	settled bool          // the first comparison is over
	wait    time.Duration // how long TimerCompare runs, or ran last
	waiting bool          // TimerCompare is running
	due     bool          // it has run out
	poke    bool          // and what is held here must be announced
	heeded  bool          // a round began out of turn for the peer; TimerHeed is running

	inStep  bool              // both sides held the same in all that Counters tell, when last compared
	sums    int               // CountersSum sent since Counters were
	sum     *wire.CountersSum // of the peer's, not judged yet
	differs bool              // from what is held here: Counters are due, and the peer's are wanted

	lingering, lingered bool // TimerLinger is running; it has run out
	stalling            bool // TimerStall is running
}

// level is what was tried while both fingerprints stayed as they are.
type level uint8

const (
	untried level = iota
	short         // vectors with short names
	inFull        // vectors in full
)

// maxRounds is how often a one-shot session compares; then the two sides
// change too fast to be ever found equal.
const maxRounds = 8

// leads reports whether this side sends the vectors.
func (m *Machine) leads() bool {
	a, b := m.self.Device.ID(), m.cfg.Peer.ID()
	if a == b {
		x, y := m.cfg.Local.StartID(), m.hello.Start
		return bytes.Compare(x[:], y[:]) < 0
	}
	return a.Compare(b) < 0
}

// idle reports whether nothing is left to ask for or to store.
func (m *Machine) idle() bool {
	return m.fetch.active == 0 && m.accept.idle() && m.rosters == 0 && !m.key.storing
}

// receiptsMoving reports whether receipts are being read for the peer, or
// stored: a one-shot session must not end before them.
func (m *Machine) receiptsMoving() bool {
	t := &m.tell
	return t.reading || len(t.owed) > 0 || t.receipts > 0 || len(t.waiting) > 0
}

func (m *Machine) hearCounters(msg *wire.Counters) {
	c := &m.compare
	c.theirs, c.fresh, c.answer, c.asked, c.sum = msg, true, msg.Reply, false, nil
	if roster.Newer(msg.Epoch, m.peerEpoch) {
		m.peerEpoch = msg.Epoch
	}
	m.report.Epoch = msg.Epoch
	if msg.Reply && m.leads() && !m.cfg.OneShot && c.settled && !c.heeded {
		c.due, c.heeded = true, true // if there is a difference, the peer knows why it asks now
		m.setTimer(TimerHeed)
	}
}

// compareMore announces what is held here, when there is reason to, and judges
// what the peer announced.
func (m *Machine) compareMore() {
	c := &m.compare
	if !m.idle() && !m.mustAnswer() || c.awaiting || m.receiptsMoving() {
		return
	}
	m.judgeSum()
	if m.mustAnnounce() {
		m.announce()
	}
	if c.fresh && c.theirs.Round == c.round && c.ours.Round == c.round && c.theirs.Epoch == c.ours.Epoch {
		c.fresh = false
		m.judgeCounters()
	} else if c.lingered {
		m.bye(wire.CodeDone, "the two sides did not come together")
	}
}

// mustAnswer reports whether the peer is to be answered although something is left
// to ask it for. As a rule it is answered when that is here. But if all of it waits
// for other sessions, which may take their time over a log, the peer would hear
// nothing and take this side for dead.
func (m *Machine) mustAnswer() bool {
	c := &m.compare
	queued := 0
	for lane := range m.fetch.queues {
		queued += len(m.fetch.queues[lane])
	}
	if !c.answer || queued < m.fetch.active || !m.accept.idle() || m.rosters > 0 || m.key.storing {
		c.delayed = false
		return false
	}
	if !c.delaying && !c.delayed {
		c.delaying = true
		m.setTimer(TimerAnswer)
	}
	return c.delayed
}

func (m *Machine) mustAnnounce() bool {
	c := &m.compare
	switch {
	case c.ours == nil, c.ours.Round != c.round, c.ours.Epoch != m.cfg.Local.Roster().Epoch, c.poke, c.differs, c.answer && c.theirs.Round == c.round:
		return true
	case !m.tell.news:
		return false
	case m.cfg.OneShot || !c.settled:
		return true
	}
	m.compareSoon()
	return false
}

// compareSoon has the sides compared a while after news.
func (m *Machine) compareSoon() {
	// Those who share compare in turns.
	wait := m.cfg.Timing.Compare * time.Duration(max(1, len(m.share.among)))
	if !m.leads() {
		wait += wait / 4 // the leader may ask before
	}
	if c := &m.compare; !c.waiting || c.wait > wait {
		c.waiting, c.wait = true, wait
		m.effects = append(m.effects, SetTimer{TimerCompare, wait})
	}
}

// compareLater has the leader ask again, after longer and longer waits.
func (m *Machine) compareLater() {
	if c := &m.compare; !c.waiting && m.leads() && !m.cfg.OneShot {
		c.waiting, c.wait = true, min(2*max(c.wait, m.cfg.Timing.Compare), max(m.cfg.Timing.Quiet, c.wait))
		m.effects = append(m.effects, SetTimer{TimerCompare, c.wait})
	}
}

// compareNow is called when the wait is over.
func (m *Machine) compareNow() {
	c := &m.compare
	c.waiting = false
	if m.leads() || m.tell.news {
		c.due, c.poke = true, true
	}
}

// heedAfter is how often the peer can have a round begun before it is due: a
// vector is longer than the Counters that ask for it.
const heedAfter = 5 * time.Second

// compareAtOnce has both sides say what they hold as soon as nothing is left to
// ask for, and a round begun if that differs. A leader need not ask its peer; one
// that is asked by its peer heeds it, now and then.
func (m *Machine) compareAtOnce() {
	if m.phase == open && !m.cfg.OneShot {
		m.compare.due, m.compare.differs = true, true
	} // else they are about to compare
}

// counters returns what there is to say of what is held here.
func (m *Machine) counters() (*wire.Counters, *records.State) {
	s := m.snapshot()
	now := &wire.Counters{Epoch: s.Epoch, Fingerprint: s.Fingerprint, Round: m.compare.round, Safe: safeSum(s)}
	for i := range s.Rows {
		now.Staged = now.Staged || s.Rows[i].Staged > s.Rows[i].Counter
	}
	return now, s
}

// announce sends what is held here in short.
func (m *Machine) announce() {
	c := &m.compare
	now, s := m.counters()
	if m.quiet(now) {
		m.announceSum(now, s)
		return
	}
	// What a side says again it wants answered, if it is to judge, so that it
	// does not judge by something old. What both say first in a round crosses
	// on the way, and an answer is not answered.
	first := c.ours == nil || c.ours.Round != now.Round || c.ours.Epoch != now.Epoch
	now.Reply = !first && !c.answer && (m.cfg.OneShot || m.leads() || c.differs)
	must := first || c.answer || c.poke || c.differs
	c.answer, c.delayed, c.poke, c.differs, m.tell.news = false, false, false, false, false
	if !must && c.ours.Fingerprint == now.Fingerprint && c.ours.Staged == now.Staged && c.ours.Safe == now.Safe {
		return
	}
	c.ours, c.of, c.asked, c.fresh, c.sums = now, s, now.Reply, c.theirs != nil && !now.Reply, 0
	m.send(now)
}

// judgeCounters decides what the two announcements mean.
func (m *Machine) judgeCounters() {
	c := &m.compare
	equal := c.theirs.Fingerprint == c.ours.Fingerprint
	m.report.Equal = equal
	c.inStep = equal && c.ours.Safe == c.theirs.Safe && !c.ours.Staged && !c.theirs.Staged
	if now := [2]identity.Hash{c.ours.Fingerprint, c.theirs.Fingerprint}; now != c.at {
		c.at, c.level = now, untried
	}
	switch {
	case equal && (c.round > 0 || !c.ours.Staged && !c.theirs.Staged):
		c.settled = true
		m.tell.position.bring(c.of, nil)
		clear(m.tell.stuck)
		m.compareSafe()
		m.compareLater()
		m.finish("")
	case !m.leads():
		c.settled = c.settled || c.round > 0
		m.linger() // a vector should come, or news
	case c.level == inFull || m.cfg.OneShot && c.round >= maxRounds:
		c.settled = true
		m.compareLater()
		m.finish("the two sides differ in what cannot be fetched")
	case c.round == 0 || m.cfg.OneShot || c.due:
		c.due = false
		c.level++
		c.round++
		m.sendVector()
	default:
		c.settled = true
		m.compareSoon()
	}
}

// finish ends a one-shot session that has nothing left to do.
func (m *Machine) finish(words string) {
	if !m.cfg.OneShot {
		return
	}
	satisfied := m.cfg.Satisfied == nil || m.cfg.Satisfied()
	if m.serve.pending == 0 && (m.compare.lingered || satisfied && !m.keyDue()) {
		m.bye(wire.CodeDone, words)
		return
	}
	m.compare.fresh = true // judged again at the next step
	m.linger()
}

// linger gives a one-shot session a few seconds more.
func (m *Machine) linger() {
	if c := &m.compare; m.cfg.OneShot && !c.lingering {
		c.lingering = true
		m.setTimer(TimerLinger)
	}
}

// collect puts the parts of a vector together and returns the rows when they
// are complete.
func (m *Machine) collect(rows []wire.VectorRow, more bool) (all []wire.VectorRow, complete bool) {
	p := &m.peer
	n := len(p.parts)
	switch {
	case more && len(rows) == 0,
		n+len(rows) > wire.MaxVectorRows,
		n > 0 && len(rows) > 0 && p.parts[n-1].Compare(rows[0].Name) >= 0:
		m.blame(wire.CodeProtocol, "rows of a vector out of order or too many")
		return nil, false
	}
	p.parts = append(p.parts, rows...)
	if more {
		return nil, false
	}
	all, p.parts = p.parts, nil
	return all, true
}

// hearVector takes the leader's vector, or the answer to this leader's
// checksums, and answers with the rows that differ.
func (m *Machine) hearVector(msg *wire.Vector) {
	c := &m.compare
	switch {
	case c.awaiting && c.buckets > 0:
		m.hearVectorOf(msg)
		return
	case m.leads(), c.awaiting, len(msg.Buckets) > 0:
		m.blame(wire.CodeProtocol, "a vector at the wrong time")
		return
	}
	if theirs, complete := m.collect(msg.Rows, msg.More); complete {
		m.roundBegan()
		m.answerVector(theirs, msg)
	}
}

// roundBegan notes that the leader has begun a round.
func (m *Machine) roundBegan() {
	c := &m.compare
	c.round++
	if c.lingering {
		c.lingering, c.lingered = false, false
		m.effects = append(m.effects, StopTimer{TimerLinger})
	}
}

// answerVector answers rows of the peer with those that differ here, in the
// buckets of which the peer has told all.
func (m *Machine) answerVector(theirs []wire.VectorRow, msg *wire.Vector) {
	s := m.snapshot()
	rows := fullNames(s, msg.Buckets)
	if msg.Full {
		rows = m.vectorOf(s, true)
	}
	var differing []wire.VectorRow
	for _, row := range rows {
		their := matching(theirs, row.BranchRef)
		if their != nil && same(&row, their) {
			continue
		}
		if !msg.Full {
			ref := row.BranchRef
			if len(withPrefix(theirs, ref.Log)) < 2 {
				row.Name = nameOf(s, ref)
			}
		}
		differing = append(differing, row)
	}
	if m.report.Features.Has(wire.FeatureAbsent) {
		for i := range theirs {
			if _, ok := find(s, theirs[i].Name); !ok && len(differing) < wire.MaxVectorRows {
				differing = append(differing, wire.VectorRow{Name: theirs[i].Name, Lane: theirs[i].Lane})
			}
		}
	}
	sortRows(differing)
	m.send(wire.NewVectorReply(differing)...)
	for i := range s.Rows {
		if msg.Buckets.Has(s.Rows[i].Log) && matching(theirs, s.Rows[i].BranchRef) == nil {
			m.compared(s.Rows[i].Log, 0)
		}
	}
	m.toldAll(theirs, true)
}

func (m *Machine) hearVectorReply(msg *wire.VectorReply) {
	if c := &m.compare; !c.awaiting || c.buckets > 0 {
		m.blame(wire.CodeProtocol, "a vector that nobody asked for")
		return
	}
	if theirs, complete := m.collect(msg.Rows, msg.More); complete {
		m.compare.awaiting = false
		if m.report.Features.Has(wire.FeatureAbsent) {
			var differing []records.VectorRow
			for i := range theirs {
				if i == 0 || prefixOf(theirs[i-1].Log) != prefixOf(theirs[i].Log) {
					differing = append(differing, namesakes(m.compare.sent, theirs[i].Log)...)
				}
			}
			m.sameThere(m.compare.sent, differing)
		}
		m.toldAll(theirs, true)
	}
}

func (m *Machine) hearHave(msg *wire.Have) {
	m.toldAll(msg.Rows, false)
	for i := range msg.Rows {
		if b := m.peerBranch(msg.Rows[i].Name, msg.Rows[i].Lane); b != nil {
			b.patient = true
			m.hears(b)
		}
	}
}

// toldAll takes note of rows of the peer's vector. Where a row shows that the peer
// holds another continuation (another fingerprint at the same counter, or an earlier
// counter that these starts cannot have had), its head is asked for, which is
// evidence.
func (m *Machine) toldAll(rows []wire.VectorRow, compared bool) {
	for i := range rows {
		row := &rows[i]
		b := m.told(row)
		if b != nil && compared {
			m.overdue(b)
			m.compared(b.ref.Log, row.Counter)
		}
		if b == nil || row.Counter == 0 {
			continue
		}
		mine, ok := m.cfg.Local.Head(b.ref)
		if ok && row.IsLog(mine.Log) && !b.blocked && (mine.Counter > row.Counter && !m.cfg.Local.Passed(mine.Log, row.ShownStart(), row.Counter) ||
			mine.Counter == row.Counter && row.Fingerprint != (identity.Hash{}) && mine.Fingerprint != row.Fingerprint) {
			b.suspect = true
			m.consider(b)
		}
	}
}

// watchForStall runs a timer while the peer owes an answer and has all that it
// needs to give it.
func (m *Machine) watchForStall() {
	c := &m.compare
	owed := c.theirs == nil || c.asked || c.awaiting || len(m.fetch.requests) > 0 || m.accept.open != nil ||
		m.accept.list != nil || len(m.peer.parts) > 0 || m.rosterPart != nil
	ours := m.accept.count > 0 || m.credit.granted < m.cfg.Window/2 // it may wait for us
	switch {
	case owed && !ours && !c.stalling:
		c.stalling = true
		m.setTimer(TimerStall)
	case c.stalling && (!owed || ours):
		c.stalling = false
		m.effects = append(m.effects, StopTimer{TimerStall})
	}
}
