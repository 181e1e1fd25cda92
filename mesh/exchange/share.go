package exchange

import (
	"slices"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Devices of one LAN that all reach the coordinator share that way: of each log
// one of them exchanges the records with it, and the others get them, and the
// receipts, on the LAN. Who that is follows from the log and from who shares,
// so nobody has to agree on it: each tells the coordinator with whom it shares,
// and both sides of that session leave the other logs alone. What either side
// says of what it holds stays true: vectors name all logs.
//
// The logs of the device itself are always exchanged, and so are those that it
// names, because nothing moved, say. What was lacking at one comparison and
// still is at the next is fetched in any case.

// Sharing says with whom a device shares its way to a peer. The zero value
// shares with nobody.
type Sharing struct {
	// Among are the devices that share, this one left out.
	Among []identity.DeviceID
	// Also are logs of others that this device exchanges all the same.
	Also []identity.LogID
}

// Shared tells a machine with whom its device shares the way to the peer from
// now on.
type Shared struct{ Sharing }

func (Shared) event() {}

// Share is for sessions with the coordinator. It may be called at any time.
func (s *Session) Share(with Sharing) { s.mail.put(Shared{with}) }

// sharing is what a session leaves to others.
type sharing struct {
	device uint64          // who shares: this side or the peer
	among  []uint64        // with whom, itself included; empty: with nobody
	own    map[prefix]bool // its own logs
	also   map[prefix]bool
	// Of logs that are left to others: what the peer held at the last
	// comparison, and whether that was lacking already then. A log may have
	// another name at the next one.
	seen   map[prefix]uint64
	late   map[prefix]bool
	wanted Sharing     // by this side
	said   *wire.Share // last
}

// Carries reports whether a device exchanges a log with those among whom it
// shares. That is who writes the log, if it is one of them; otherwise the one of greatest weight, so that when one comes or goes, no log
// passes between two others. Only the first 8 bytes of IDs count.
func Carries(device identity.DeviceID, among []identity.DeviceID, log identity.LogID, author identity.DeviceID) bool {
	all := []uint64{short8(device)}
	for _, d := range among {
		all = append(all, short8(d))
	}
	return carrier(all, prefixOf(log), short8(author)) == all[0]
}

func short8(d identity.DeviceID) uint64 { return uint64(prefixOf(identity.LogID(d))) }

func carrier(among []uint64, log prefix, author uint64) (chosen uint64) {
	greatest := uint64(0)
	for _, d := range among {
		if d == author {
			return d
		}
		if w := mix(d ^ mix(uint64(log))); w > greatest || w == greatest && d > chosen {
			greatest, chosen = w, d
		}
	}
	return chosen
}

// mix spreads the bits of x over all of its result: the finalizer of
// SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// spared reports whether this session leaves a log to others. Of a log that is
// not held here the first 8 bytes are enough.
func (m *Machine) spared(log identity.LogID) bool { return m.sparedBy(&m.share, log) }

func (m *Machine) sparedBy(s *sharing, log identity.LogID) bool {
	p := prefixOf(log)
	if len(s.among) == 0 || s.own[p] || s.also[p] {
		return false
	}
	author := uint64(0)
	if c, ok := m.cfg.Local.AuthorOf(log); ok {
		author = short8(c.Device.ID())
	}
	return carrier(s.among, p, author) != s.device
}

// leaves is spared for a branch.
func (m *Machine) leaves(b *branch) bool {
	if b.ref != (records.BranchRef{}) {
		return m.spared(b.ref.Log)
	}
	return m.spared(b.name.Log)
}

// shareWith begins to share as this side's device wants, and tells the peer.
func (m *Machine) shareWith(with Sharing) {
	m.share.wanted = with
	if m.phase != open || m.cfg.OneShot {
		return
	}
	msg := &wire.Share{}
	if len(with.Among) > 0 {
		msg.Among = []uint64{short8(m.self.Device.ID())}
		for _, d := range with.Among {
			msg.Among = append(msg.Among, short8(d))
		}
		for _, log := range with.Also {
			msg.Also = append(msg.Also, uint64(prefixOf(log)))
		}
	}
	for _, list := range []*[]uint64{&msg.Among, &msg.Also} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	if len(msg.Among) < 2 || len(msg.Among) > wire.MaxSharers || len(msg.Also) > wire.MaxAlso {
		msg = &wire.Share{} // alone, or too many to say
	}
	if said := m.share.said; slices.Equal(said.Among, msg.Among) && slices.Equal(said.Also, msg.Also) {
		return
	}
	m.share.said = msg
	m.send(msg)
	m.setShare(m.self, msg)
}

// hearShare honours what the peer leaves to others: no more than it could leave
// out by keeping silent.
func (m *Machine) hearShare(msg *wire.Share) { m.setShare(m.hello.Certificate, msg) }

func (m *Machine) setShare(who identity.Certificate, msg *wire.Share) {
	s, was := &m.share, m.share
	s.device, s.among = short8(who.Device.ID()), msg.Among
	if len(s.among) == 0 || s.seen == nil {
		s.seen, s.late = map[prefix]uint64{}, map[prefix]bool{}
	}
	s.own, s.also = map[prefix]bool{}, map[prefix]bool{}
	for _, lane := range identity.Lanes {
		s.own[prefixOf(who.Log(lane))] = true
	}
	for _, h := range m.cfg.Local.HeadsOf(who.Device.ID()) {
		s.own[prefixOf(h.Log)] = true
	}
	for _, p := range msg.Also {
		s.also[prefix(p)] = true
	}
	if m.judge() != Member {
		return
	}
	// Receipts that came meanwhile were kept back.
	for _, row := range m.snapshot().Rows {
		if m.sparedBy(&was, row.Log) && !m.spared(row.Log) {
			m.owe(row.Log, 0)
		}
	}
	if !m.compare.settled {
		return // the comparison will show what is lacking
	}
	// What was left alone may be this session's now.
	for _, b := range m.peer.all {
		if !b.forgotten {
			m.consider(b)
		}
	}
	for _, row := range m.snapshot().Rows {
		if m.spared(row.Log) {
			continue
		}
		if !m.holds(row.BranchRef, row.Counter) {
			m.tell.dirty[row.Log] = wire.VectorRow{Name: wire.FullName(row.BranchRef), Lane: row.Lane, Counter: row.Counter}
		}
		if s.also[prefixOf(row.Log)] {
			m.owe(row.Log, 0) // perhaps that is what did not move
		}
	}
}

// overdue notes, at a comparison, what the peer holds of a branch that is left
// to others, and whether that was lacking here at the last one already.
func (m *Machine) overdue(b *branch) {
	if !m.leaves(b) {
		return
	}
	s, p := &m.share, prefixOf(b.name.Log)
	if len(s.seen) == maxBranches {
		clear(s.seen) // of names that a peer makes up
		clear(s.late)
	}
	counter, _ := m.frontier(b)
	if s.seen[p] > counter {
		s.late[p] = true
	} else {
		delete(s.late, p)
	}
	s.seen[p] = b.counter
	m.consider(b)
}

// sparesReceipt reports whether a receipt speaks of nothing but logs that this
// session leaves to others.
func (m *Machine) sparesReceipt(encoded []byte) bool {
	if len(m.share.among) == 0 {
		return false
	}
	r, err := records.DecodeReceipt(encoded)
	return err == nil && !slices.ContainsFunc(r.Items, func(i records.ReceiptItem) bool { return !m.spared(i.Log) })
}
