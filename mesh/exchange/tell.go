package exchange

import (
	"maps"
	"slices"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// telling is what the peer is told of without being asked: commits, receipts,
// and rows of commits that were not pushed.
type telling struct {
	position  positions                         // how far the peer has been brought, as far as is known
	dirty     map[identity.LogID]wire.VectorRow // rows to be told
	stuck     map[identity.LogID]uint64         // how far it holds logs of which it took nothing
	unwritten int                               // bytes sent and not written to the stream
	news      bool                              // what is held here has changed since it was announced

	owed         map[identity.LogID]uint64 // logs of which the peer is to have the receipts, beyond a counter
	reading      bool                      // of receipts that are owed
	receipts     int                       // of the peer's, with the replica
	waiting      [][]byte                  // that are not yet
	waitingBytes int
	heard        []identity.Signature
}

// maxPushBytes is how much may wait to be written for a commit to be pushed.
// Behind more it would not be news when it arrives.
const maxPushBytes = 256 << 10

// tellCommit pushes a commit to a peer that stands right before it; otherwise
// the peer is told that there is something to ask for. What the peer gave us
// it is not told.
func (m *Machine) tellCommit(c *records.Commit) {
	m.tell.news = true
	m.learn(c.Ref)
	if m.holds(c.Ref, c.Head.Counter) || m.spared(c.Ref.Log) || m.withheld(c.Lane) || m.judge() != Member {
		return
	}
	if !m.pushes(c) {
		return
	}
	d := c.Difference
	if d != nil && m.tell.position.at(c.Ref.Log) == d.Base && m.tell.unwritten < maxPushBytes && len(d.Starts) <= wire.MaxStarts {
		runs := m.form().pack(m.cfg.Codec, d.Entries)
		if size := wire.Size(runs); size <= m.credit.available {
			m.credit.available -= size
			m.brought(c.Ref.Log, c.Head.Counter)
			delete(m.tell.dirty, c.Ref.Log)
			m.report.PushesSent++
			m.report.sent(laneIndex(c.Lane), len(d.Entries))
			push := wire.NewPush(c, runs)
			m.spent(c.Lane, bytesOf(push...))
			m.send(push...)
			return
		}
	}
	m.tell.dirty[c.Ref.Log] = wire.VectorRow{Name: wire.FullName(c.Ref), Lane: c.Lane, Counter: c.Head.Counter}
}

// tellMore tells the rows of commits that were not pushed.
func (m *Machine) tellMore() {
	t := &m.tell
	if len(t.dirty) == 0 || t.unwritten >= maxPushBytes || m.compare.awaiting {
		return
	}
	rows := slices.Collect(maps.Values(t.dirty))
	clear(t.dirty)
	for i := range rows { // short names, which takes a look at what is held if a log is new
		if m.state == nil || len(namesakes(m.state, rows[i].Log)) == 0 {
			m.snapshot()
		}
		if len(namesakes(m.state, rows[i].Log)) > 0 {
			rows[i].Name = nameOf(m.state, rows[i].BranchRef)
		}
	}
	sortRows(rows)
	m.send(wire.NewHave(rows)...)
}

// arrivedPush stores a push that continues what is held here, and otherwise
// takes it as word that there is something to ask for.
func (m *Machine) arrivedPush(in *inbound, p *wire.Push) {
	a := &p.Account
	ref := a.Ref()
	b := m.pushed(a)
	counter, _ := m.cfg.Local.Frontier(ref)
	if b == nil || counter >= a.Head.Counter {
		m.credit.giveBack(in.size) // known already, by another way
		m.hasEnough(ref.Log)
		return
	}
	if m.storedElsewhere(ref.Log, a.Head.Counter) {
		m.credit.giveBack(in.size)
		m.hasEnough(ref.Log)
		m.consider(b) // if that comes to nothing
		return
	}
	switch last := len(b.pushes) - 1; {
	case last >= 0 && len(b.pushes) < maxPushes && previousHash(b.pushes[last]) == p.Previous:
		b.pushes = append(b.pushes, in) // behind the one that is being stored
		return
	case last < 0 && (b.stage == resting || b.stage == queued) && !b.blocked && !m.working(b) && m.stands(ref) == p.Previous:
		if b.stage == resting {
			m.fetch.active++
		} else {
			m.unqueue(b)
		}
		b.stage = storing
		b.pushes = append(b.pushes, in)
		if m.spread.way != nil && m.cfg.Routes.take(m.spread.way, prefixOf(ref.Log)) {
			b.claimed = true
		}
		m.storePush(b)
		return
	}
	m.report.PushesIgnored++
	m.credit.giveBack(in.size)
	m.consider(b)
}

// maxPushes is how many pushes of one branch may follow one another while the
// first is stored.
const maxPushes = 16

// pushed returns the branch that a push speaks of.
func (m *Machine) pushed(a *wire.Account) *branch {
	ref := a.Ref()
	var b *branch
	for _, known := range m.peer.branches[prefixOf(ref.Log)] {
		if known.name.Is(ref) || known.ref.Log == ref.Log && b == nil {
			b = known
		}
	}
	if b == nil {
		b = m.peerBranch(wire.FullName(ref), a.Lane)
	}
	if b == nil {
		return nil // of more logs than there can be nothing is remembered
	}
	m.brought(ref.Log, a.Head.Counter)
	if a.Head.Counter > b.counter {
		b.counter, b.parked = a.Head.Counter, false
		b.news++
	}
	return b
}

// stands returns the hash of the head at which a branch is held here.
func (m *Machine) stands(ref records.BranchRef) identity.Hash {
	if head, ok := m.cfg.Local.Head(ref); ok {
		return head.Hash()
	}
	return identity.Hash{}
}

func previousHash(in *inbound) identity.Hash {
	return in.first.(*wire.Push).Account.Head.Hash()
}

// storePush hands the first of a branch's pushes to the replica.
func (m *Machine) storePush(b *branch) {
	in := b.pushes[0]
	p := in.first.(*wire.Push)
	held, _ := m.cfg.Local.AuthorOf(p.Account.Head.Log)
	m.came(p.Account.Head.Log, p.Account.Head.Counter)
	m.store(in, b.lane, func(id uint64) Effect {
		return AcceptDifference{id, p, held, in.runs}
	}, func(d Done) {
		m.report.received(b.lane, d.Records)
		m.wentWrong(p.Account.Head.Log, d.Err)
		b.pushes = b.pushes[1:]
		if judgeError(d.Err) == fine && len(b.pushes) > 0 && m.stands(p.Account.Ref()) == b.pushes[0].first.(*wire.Push).Previous {
			m.storePush(b)
			return
		}
		for _, rest := range b.pushes {
			m.report.PushesIgnored++
			m.credit.giveBack(rest.size)
		}
		b.pushes = nil
		m.storedDifference(b, &p.Account, d.Err)
	})
}

// unqueue takes a branch out of its queue.
func (m *Machine) unqueue(b *branch) {
	queue := &m.fetch.queues[laneIndex(b.lane)]
	*queue = slices.DeleteFunc(*queue, func(o *branch) bool { return o == b })
}

// maxHeard is how many of the peer's receipts are remembered.
const maxHeard = 64

// noteReceipt remembers a receipt of the peer's, which need not be told it.
func (t *telling) noteReceipt(encoded []byte) {
	if len(t.heard) == maxHeard {
		t.heard = t.heard[1:]
	}
	t.heard = append(t.heard, signatureOf(encoded))
}

func signatureOf(encoded []byte) (s identity.Signature) {
	copy(s[:], encoded[max(0, len(encoded)-len(s)):])
	return s
}

func (m *Machine) tellReceipt(encoded []byte) {
	if !m.sparesReceipt(encoded) && !slices.Contains(m.tell.heard, signatureOf(encoded)) && m.tell.unwritten < maxUnwritten/2 {
		m.tell.noteReceipt(encoded)
		m.send(&wire.Receipt{Encoded: encoded})
	}
}

// owe notes that the peer is to have the receipt of a log, if there is one
// beyond a counter.
func (m *Machine) owe(log identity.LogID, beyond uint64) {
	if m.cfg.Local.Receipted(log) > beyond {
		m.tell.owed[log] = beyond
	}
}

// oweOwn owes the peer the receipts of its own logs that, by its Hello, it does
// not have. What an earlier life of the coordinator confirmed is confirmed
// anew, and of its former incarnations nothing is known.
func (m *Machine) oweOwn() {
	current := map[identity.LogID]bool{}
	for i, lane := range identity.Lanes {
		log, known := m.hello.Certificate.Log(lane), uint64(0)
		if i < len(m.hello.Receipted) && m.hello.Epoch.Life >= m.cfg.Local.Roster().Epoch.Life {
			known = m.hello.Receipted[i]
		}
		current[log] = true
		m.owe(log, known)
	}
	for _, h := range m.cfg.Local.HeadsOf(m.cfg.Peer.ID()) {
		if !current[h.Log] {
			m.owe(h.Log, 0)
		}
	}
}

// maxOwed is how many logs' receipts are read at once.
const maxOwed = 256

// tellReceipts reads and sends the receipts that are owed: of what the peer is
// given it shall know as well whether it is safe.
func (m *Machine) tellReceipts() {
	t := &m.tell
	if len(t.owed) == 0 || t.reading {
		return
	}
	var beyond []Mark
	for _, log := range slices.SortedFunc(maps.Keys(t.owed), identity.LogID.Compare) {
		if len(beyond) < maxOwed {
			beyond = append(beyond, Mark{Log: log, Counter: t.owed[log]})
			delete(t.owed, log)
		}
	}
	t.reading = true
	m.begin(func(id uint64) Effect { return ReadReceipts{id, beyond} }, func(d Done) {
		t.reading = false
		if m.phase == open {
			// The peer may have heard one before it had anything that the
			// receipt is about, and so have dropped it.
			m.tell.heard = slices.DeleteFunc(m.tell.heard, func(s identity.Signature) bool {
				return slices.ContainsFunc(d.Receipts, func(r []byte) bool { return s == signatureOf(r) })
			})
			for _, r := range d.Receipts {
				m.tellReceipt(r)
			}
		}
	})
}
