package exchange

import (
	"slices"
	"time"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// How a commit gets from its author to everybody over links that form circles,
// and nearly always over each of a tree of them once. Plumtree (Leitão, Pereira,
// Rodrigues: Epidemic Broadcast Trees, 2007) is the model; what differs is that a
// peer is given word first and the records when it asks for them, instead of the
// records until it declines, and that devices tell each other their links.
//
//   - The author pushes to all its links.
//   - Who has got a commit from A passes nothing on to peers with whom A is
//     linked: A sees to them. Only if A goes is what it gave told to them.
//   - To others it gives word, a row of some 20 bytes, soon. Who lacks the commit
//     asks for it, of one peer at a time, and is pushed the next ones by that
//     peer: those that are asked form the tree.
//   - Who gets by push what it has got already says that it has enough. To peers
//     that have, or that never asked, only late word goes, and none if theirs
//     comes first. It mends the tree when a link has gone: who hears of what its
//     own source does not bring in time asks for it.
type spreading struct {
	way    *way
	ticket int      // the version of the routes that was looked at
	links  []uint64 // that were told to the peer
	timed  bool     // TimerLinks is running

	eager map[prefix]bool // logs of others of which commits are pushed
	late  map[prefix]bool // logs of which the peer has another source

	words  [2]map[identity.LogID]wire.VectorRow // to be told: soon, late
	timing [2]bool                              // TimerWord, TimerLateWord is running
	seen   map[identity.LogID]seen              // what others see to

	enough  map[prefix]bool // logs of which the peer was told that it is enough
	pulling bool            // TimerPull is running
	draws   uint64          // for spreadWait
}

// seen is a commit that the peer of another session passes on.
type seen struct {
	row wire.VectorRow
	by  *way
}

// Waits of spreading. What comes soon is a matter of a few round trips on a LAN,
// and late is after the commit has been everywhere on a healthy one.
const (
	soonWord  = 4 * time.Millisecond // and up to as much again
	lateWord  = 60 * time.Millisecond
	pullAfter = 60 * time.Millisecond  // word, if another peer is to push
	linksWait = 500 * time.Millisecond // for links to settle before they are told
)

const (
	soon = iota
	late
)

// spreads reports whether both sides keep to this.
func (m *Machine) spreads() bool { return m.spread.way != nil && m.spread.way.spread }

// joinRoutes takes part in what the sessions of this replica share.
func (m *Machine) joinRoutes() {
	if m.cfg.Routes == nil || m.cfg.OneShot {
		return
	}
	s := &m.spread
	s.eager, s.late, s.enough = map[prefix]bool{}, map[prefix]bool{}, map[prefix]bool{}
	s.seen = map[identity.LogID]seen{}
	s.words = [2]map[identity.LogID]wire.VectorRow{{}, {}}
	s.way = &way{
		wake: m.cfg.Wake, peer: short8(m.cfg.Peer.ID()), spread: m.report.Features.Has(wire.FeatureSpread), links: map[uint64]bool{},
	}
	m.cfg.Routes.join(s.way)
	if s.way.spread {
		m.sendLinks()
	}
}

func (m *Machine) leaveRoutes() {
	if m.spread.way != nil {
		m.cfg.Routes.leave(m.spread.way)
	}
}

// sendLinks tells the peer with whom this side has sessions.
func (m *Machine) sendLinks() {
	s := &m.spread
	links := m.cfg.Routes.among()
	links = links[:min(len(links), wire.MaxLinks)]
	if s.links == nil || !slices.Equal(links, s.links) {
		s.links = links
		m.send(&wire.Links{Among: links})
	}
}

// lookAround heeds that sessions have come or gone, or that peers have other
// links.
func (m *Machine) lookAround() {
	s := &m.spread
	if s.way == nil {
		return
	}
	version := m.cfg.Routes.ticket()
	if version == s.ticket {
		return
	}
	s.ticket = version
	for log, k := range s.seen {
		switch {
		case m.holdsRow(&k.row):
			delete(s.seen, log)
		case !m.cfg.Routes.sees(k.by, s.way.peer):
			delete(s.seen, log)
			m.word(soon, log, k.row)
		}
	}
	if s.way.spread {
		// Not of whom this side pushes them itself: then nobody would.
		adopted := m.cfg.Routes.adopt(s.way, wire.MaxMore, func(log prefix) bool { return !s.eager[log] })
		if len(adopted) > 0 {
			for _, log := range adopted {
				delete(s.enough, prefix(log))
			}
			m.send(&wire.More{Logs: adopted})
		}
	}
	if s.way.spread && !s.timed && !slices.Equal(m.cfg.Routes.among(), s.links) {
		s.timed = true
		m.setTimer(TimerLinks)
	}
}

func (m *Machine) holdsRow(row *wire.VectorRow) bool {
	return m.holds(row.BranchRef, row.Counter)
}

func (m *Machine) hearLinks(msg *wire.Links) {
	if m.spread.way != nil {
		m.cfg.Routes.told(m.spread.way, msg.Among)
	}
}

// pushes decides how a commit gets to the peer: true says by a push.
func (m *Machine) pushes(c *records.Commit) bool {
	s := &m.spread
	if !m.spreads() {
		return true
	}
	log := prefixOf(c.Ref.Log)
	row := wire.VectorRow{Name: wire.FullName(c.Ref), Lane: c.Lane, Counter: c.Head.Counter}
	if c.Own {
		if s.late[log] {
			m.word(late, c.Ref.Log, row)
		}
		return !s.late[log]
	}
	if by := m.cfg.Routes.source(log, c.Head.Counter); by != nil && by != s.way && m.cfg.Routes.sees(by, s.way.peer) {
		s.seen[c.Ref.Log] = seen{row, by}
		return false
	}
	switch {
	case s.eager[log]:
		return true
	case s.late[log]:
		m.word(late, c.Ref.Log, row)
	default:
		s.late[log] = true // unless the peer asks for it
		m.word(soon, c.Ref.Log, row)
	}
	return false
}

// word has the peer told of a row, unless it turns out to hold it before.
func (m *Machine) word(when int, log identity.LogID, row wire.VectorRow) {
	s := &m.spread
	if when == soon {
		delete(s.words[late], log)
	}
	s.words[when][log] = row
	if !s.timing[when] {
		s.timing[when] = true
		m.setTimer([...]Timer{TimerWord, TimerLateWord}[when])
	}
}

// tellWords tells the rows that wait.
func (m *Machine) tellWords(when int) {
	s := &m.spread
	s.timing[when] = false
	for log, row := range s.words[when] {
		if !m.holdsRow(&row) {
			m.tell.dirty[log] = row
		}
	}
	clear(s.words[when])
}

// wanted notes that the peer asks for a log: it is pushed what follows.
func (m *Machine) wanted(log identity.LogID) {
	if s := &m.spread; m.spreads() {
		s.eager[prefixOf(log)] = true
		delete(s.late, prefixOf(log))
	}
}

// hearEnough stops the pushes of a log.
func (m *Machine) hearEnough(msg *wire.Enough) {
	if s := &m.spread; m.spreads() {
		log := prefix(msg.Log)
		delete(s.eager, log)
		if len(s.late) < maxBranches {
			s.late[log] = true
		}
	}
}

// hearMore pushes logs from now on.
func (m *Machine) hearMore(msg *wire.More) {
	if s := &m.spread; m.spreads() {
		for _, log := range msg.Logs {
			if len(s.eager) < maxBranches {
				s.eager[prefix(log)] = true
				delete(s.late, prefix(log))
			}
		}
	}
}

// hasEnough tells the peer, once, that commits of a log come from elsewhere.
func (m *Machine) hasEnough(log identity.LogID) {
	s, p := &m.spread, prefixOf(log)
	if m.spreads() && !s.enough[p] && m.cfg.Routes.expects(s.way, p) {
		s.enough[p] = true
		m.send(&wire.Enough{Log: uint64(p)})
	}
}

// hears notes that the peer has told of a commit by itself: it has a source of
// its own.
func (m *Machine) hears(b *branch) {
	s := &m.spread
	if !m.spreads() || b.ref == (records.BranchRef{}) {
		return
	}
	if p := prefixOf(b.ref.Log); !s.eager[p] {
		s.late[p] = true
	}
}

// waits reports whether a branch that could be asked for is not to be: another
// session works on it, or its peer is about to push it.
func (m *Machine) waits(b *branch) bool {
	s := &m.spread
	if s.way == nil {
		return false
	}
	p := prefixOf(b.name.Log)
	if b.patient && m.cfg.Routes.expects(s.way, p) {
		if !s.pulling {
			s.pulling = true
			m.setTimer(TimerPull)
		}
		return true
	}
	if !m.cfg.Routes.take(s.way, p) {
		b.waited = true
		return true
	}
	b.claimed = true
	if b.waited && b.ref == (records.BranchRef{}) {
		// What the other session has stored may be news to this one still.
		b.ref, _ = find(m.snapshot(), b.name)
	}
	if b.waited = false; !m.lacks(b) {
		m.unclaim(b)
		return true // the change that says so is on its way
	}
	delete(s.enough, p)
	return false
}

// pull ends the wait for pushes of other peers.
func (m *Machine) pull() {
	m.spread.pulling = false
	for lane := range m.fetch.queues {
		for _, b := range m.fetch.queues[lane] {
			b.patient = false
		}
	}
}

// unclaim ends the work on a branch.
func (m *Machine) unclaim(b *branch) {
	if b.claimed {
		b.claimed = false
		m.cfg.Routes.done(m.spread.way, prefixOf(b.name.Log))
	}
}

// storedElsewhere reports whether another session's peer has brought a log up to a
// counter, which is not on disk yet.
func (m *Machine) storedElsewhere(log identity.LogID, counter uint64) bool {
	w := m.spread.way
	if w == nil {
		return false
	}
	by := m.cfg.Routes.source(prefixOf(log), counter)
	return by != nil && by != w && m.cfg.Routes.taken(w, prefixOf(log))
}

// came notes that the peer brings a log up to a counter.
func (m *Machine) came(log identity.LogID, counter uint64) {
	if m.spread.way != nil {
		m.cfg.Routes.came(m.spread.way, prefixOf(log), counter)
	}
}

// wentWrong takes back what came said.
func (m *Machine) wentWrong(log identity.LogID, err error) {
	if m.spread.way != nil && judgeError(err) != fine {
		m.cfg.Routes.wrong(m.spread.way, prefixOf(log))
	}
}

// spreadWait is how long a timer of spreading runs. Sessions differ, so that not
// both ends of a link give word at once.
func (m *Machine) spreadWait(t Timer) time.Duration {
	d := map[Timer]time.Duration{TimerWord: soonWord, TimerLateWord: lateWord, TimerPull: pullAfter, TimerLinks: linksWait}[t]
	if t != TimerWord && t != TimerLateWord {
		return d
	}
	m.spread.draws++
	part := mix(short8(m.self.Device.ID())^mix(short8(m.cfg.Peer.ID())+m.spread.draws)) % 1024
	return d + d*time.Duration(part)/1024
}
