package exchange

import (
	"errors"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// greet begins the session: a peer that the roster lists is told who we are at
// once, any other only when it has shown a roster that lists it.
func (m *Machine) greet() {
	m.setTimer(TimerGreeting)
	if m.judge().Admits() && !m.said {
		m.sayHello()
	}
}

// judge asks what the roster says of the peer now.
func (m *Machine) judge() Standing {
	m.report.Standing = m.cfg.Admission(m.cfg.Peer)
	return m.report.Standing
}

// offer is what this side can speak here.
func (m *Machine) offer() wire.Offer {
	o := wire.OurOffer()
	if m.cfg.Routes == nil || m.cfg.OneShot {
		o.Features &^= wire.FeatureSpread
	}
	if m.cfg.OneShot {
		o.Features &^= wire.FeatureQuiet
	}
	o.Features &^= m.without
	return o
}

func (m *Machine) sayHello() {
	l := m.cfg.Local
	h := &wire.Hello{
		Offer: m.offer(), Zone: m.zone, Certificate: m.self, Start: l.StartID(),
		Software: m.cfg.Software, Epoch: l.Roster().Epoch, RosterHash: l.RosterHash(),
		Wall: m.wall, Window: uint32(m.cfg.Window),
	}
	for _, lane := range identity.Lanes {
		h.Receipted = append(h.Receipted, l.Receipted(m.self.Log(lane)))
	}
	for _, head := range l.HeadsOf(m.cfg.Peer.ID()) {
		if len(h.Held) == wire.MaxHeld {
			break
		}
		h.Held = append(h.Held, wire.Held{Head: head, Receipted: l.Receipted(head.Log)})
	}
	if keys := l.Keys(); len(keys) > 0 {
		h.KeyNumber = keys[0].Number
	}
	m.said = true
	m.credit.granted = m.cfg.Window
	m.send(h)
	m.announce()
}

// hearHello decides whether to go on with the peer.
func (m *Machine) hearHello(h *wire.Hello) {
	version, features, versionErr := h.Agree(m.offer())
	genuine := h.Certificate.Device == m.cfg.Peer && h.Certificate.Zone == h.Zone
	ours := m.cfg.Local.Roster().Epoch
	if !m.judge().Admits() {
		if versionErr != nil || !genuine || h.Zone != m.zone || !roster.Newer(h.Epoch, ours) {
			m.refuse()
			return
		}
	}
	switch {
	case versionErr != nil:
		m.bye(wire.CodeVersion, versionErr.Error())
		return
	case h.Zone != m.zone:
		m.bye(wire.CodeZone, "of another zone")
		return
	case !genuine:
		m.blame(wire.CodeIdentity, "certificate of another device")
		return
	case h.Window < wire.MinWindow:
		m.blame(wire.CodeProtocol, "window too small")
		return
	case h.Certificate.Device == m.self.Device && h.Start == m.cfg.Local.StartID():
		m.bye(wire.CodeSelf, "connected to itself")
		return
	}
	m.hello, m.peerEpoch = h, h.Epoch
	r := &m.report
	r.Certificate, r.Start, r.Software, r.Epoch, r.Wall = h.Certificate, h.Start, h.Software, h.Epoch, h.Wall
	r.Version, r.Features = version, features
	if !r.Standing.Admits() {
		m.phase = stranger
		m.effects = append(m.effects, SetTimer{TimerGreeting, m.cfg.Timing.Stranger})
		m.send(&wire.WantRoster{})
		return
	}
	m.enter()
}

// refuse tells a peer that does not belong to the zone just that.
func (m *Machine) refuse() {
	if m.report.Standing == Revoked {
		m.bye(wire.CodeRevoked, "")
		return
	}
	m.bye(wire.CodeUnknown, "")
}

// enter opens the session: both sides belong to the zone.
func (m *Machine) enter() {
	m.phase = open
	m.effects = append(m.effects, StopTimer{TimerGreeting})
	if !m.said {
		m.sayHello()
	}
	m.credit.available, m.credit.window = int(m.hello.Window), int(m.hello.Window)
	m.lookForCopies()
	ours := m.cfg.Local.Roster()
	if roster.Newer(ours.Epoch, m.peerEpoch) || ours.Epoch == m.peerEpoch && m.cfg.Local.RosterHash() != m.hello.RosterHash {
		m.sendRoster()
	}
	m.key.theirs = m.hello.KeyNumber
	m.tellKey()
	m.joinRoutes()
	m.shareWith(m.share.wanted)
	if c := m.compare.theirs; c != nil { // heard before
		m.hearCounters(c)
	}
	m.oweOwn()
}

// lookForCopies learns from the peer's Hello whether this store is a copy or
// an old backup.
func (m *Machine) lookForCopies() {
	if m.copied() {
		m.raise(Alarm{Kind: AlarmCopy})
	}
	for i := range m.hello.Held {
		h := &m.hello.Held[i].Head
		// By counters alone a store that was restored and has written more since
		// would look as if it were ahead.
		rel := m.cfg.Local.Relation(h)
		switch {
		case m.ownLog(h.Log):
			if h.Verify(m.self.Author) != nil || rel == records.Same || rel == records.Behind {
				continue // a lie, or nothing new
			}
		case rel != records.Forked || !m.formerLog(h.Log):
			continue // the tail of a former incarnation is fetched as any log
		}
		m.raise(Alarm{Kind: AlarmBehind, Log: h.Log, Head: h})
	}
}

// copied reports whether the peer is a copy of this device.
func (m *Machine) copied() bool { return m.hello.Certificate.Device == m.self.Device }

// formerLog reports whether a log is of a former incarnation of this device, and
// the peer somebody else. Copies do not give way to each other: each would set
// aside what it has, and none would be left to give the other the log.
func (m *Machine) formerLog(log identity.LogID) bool {
	cert, ok := m.cfg.Local.AuthorOf(log)
	return ok && cert.Device == m.self.Device && cert.Author != m.self.Author && !m.copied()
}

func (m *Machine) ownLog(log identity.LogID) bool {
	for _, lane := range identity.Lanes {
		if m.self.Log(lane) == log {
			return true
		}
	}
	return false
}

func (m *Machine) sendRoster() {
	m.peerEpoch = m.cfg.Local.Roster().Epoch // when it has arrived
	m.send(wire.NewRoster(m.cfg.Local.RosterBytes())...)
}

// takeRoster puts parts together and returns the whole when it is complete.
func (m *Machine) takeRoster(msg *wire.Roster) (encoded []byte, complete bool) {
	if len(m.rosterPart)+len(msg.Part) > wire.MaxRosterBytes || len(msg.Part) == 0 {
		m.blame(wire.CodeProtocol, "roster too large or in empty parts")
		return nil, false
	}
	m.rosterPart = append(m.rosterPart, msg.Part...)
	if msg.More {
		return nil, false
	}
	encoded, m.rosterPart = m.rosterPart, nil
	return encoded, true
}

// hearStrangersRoster takes the one roster that a peer may show which is not
// listed, and decides anew.
func (m *Machine) hearStrangersRoster(msg *wire.Roster) {
	if m.rosters > 0 {
		m.refuse()
		return
	}
	encoded, complete := m.takeRoster(msg)
	if !complete {
		return
	}
	m.acceptRoster(encoded, func(error) {
		if m.phase != stranger {
			return
		}
		if m.judge().Admits() {
			m.enter()
			return
		}
		m.refuse()
	})
}

func (m *Machine) acceptRoster(encoded []byte, then func(error)) {
	m.rosters++
	m.begin(func(id uint64) Effect { return AcceptRoster{id, encoded} }, func(d Done) {
		m.rosters--
		then(d.Err)
	})
}

// maxRosters is how many rosters may wait to be stored.
const maxRosters = 4

// hearRoster takes a roster in an open session.
func (m *Machine) hearRoster(msg *wire.Roster) {
	encoded, complete := m.takeRoster(msg)
	if !complete || m.rosters == maxRosters {
		return // what is dropped is offered again in the next session
	}
	// The peer has what it sends; it need not be sent back.
	if r, err := roster.Decode(encoded); err == nil && roster.Newer(r.Epoch, m.peerEpoch) {
		m.peerEpoch = r.Epoch
		m.report.Epoch = r.Epoch
	}
	m.acceptRoster(encoded, func(err error) {
		switch {
		case m.phase != open || errors.Is(err, roster.ErrStale):
		case err == nil:
			m.rosterChanged()
		case errors.Is(err, roster.ErrConflictingRoster) || errors.Is(err, roster.ErrNewerFormat):
			m.raise(Alarm{Kind: AlarmRoster, Err: err})
		case judgeError(err) == invalid:
			m.blame(wire.CodeMismatch, "roster: "+err.Error())
		default:
			m.fault(err)
		}
	})
}

// rosterChanged looks at everything again that the roster decides.
func (m *Machine) rosterChanged() {
	admitted := m.judge().Admits()
	switch {
	case m.phase == greeting && !m.said:
		if admitted {
			m.sayHello()
		}
	case m.phase == stranger:
		if admitted {
			m.enter()
		}
	case !admitted:
		m.refuse()
	case m.phase == open:
		if roster.Newer(m.cfg.Local.Roster().Epoch, m.peerEpoch) {
			m.sendRoster()
		}
		m.tellKey() // that is named now, or may be received
		m.unblock()
	}
}
