package mesh

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records/identity"
)

// State is how things stand with the coordinator.
type State string

// The states.
const (
	Connecting State = "connecting" // the first attempt, or one that was asked for
	Connected  State = "connected"  // a session is open
	Offline    State = "offline"    // it is tried again and again
	Refused    State = "refused"    // only people can change it; see Words
)

// Status is how a node stands with the others.
type Status struct {
	Uplink UplinkStatus
	// Peers are the devices of the zone that are connected, and those that the
	// address book knows of; ascending by device, without the coordinator.
	Peers []Peer
}

// UplinkStatus is how a node stands with the coordinator.
type UplinkStatus struct {
	State     State
	Reason    Reason         // for State
	Words     string         // what Reason means and what to do, for people
	Address   string         // of the connection; empty: there is none
	Transport link.Transport // of the connection
	Since     time.Time      // of State
	// LastOK is when the coordinator was last connected: now if it is. Zero: not
	// since the program was started.
	LastOK time.Time
	// Equal: at the last comparison the coordinator held the same.
	Equal     bool
	LastError string // of the last attempt, for logs; empty while connected
	// Session is the report of the session that is open, or of the last.
	Session exchange.Report
	// Limit is how much may go to and from the coordinator each day, zero for as
	// much as there is, and Spent what was used of it. Withheld are the lanes of
	// which nothing more goes today.
	Limit    UplinkLimit
	Spent    Spent
	Withheld []identity.Lane
}

// PeerState is how a node stands with a peer.
type PeerState string

// The states of a peer.
const (
	PeerConnected  PeerState = "connected"   // a session is open
	PeerConnecting PeerState = "connecting"  // it is being dialled
	PeerKnown      PeerState = "known"       // an address is known; no link to it is needed, or soon
	PeerAway       PeerState = "unreachable" // it did not answer where it was
)

// Peer is a device of the zone.
type Peer struct {
	Device identity.DeviceID
	Name   string // from the roster
	State  PeerState
	// Address is that of the connection, or where it would be dialled first.
	Address string
	// Via is how that address came to be known; nil if the peer has called, and
	// nothing else is known of it.
	Via []discovery.Source
	// Uplink: it says of itself that it reaches the coordinator.
	Uplink bool
	// Late: it has told of work that is not here, though others were asked for it.
	Late bool

	// LastExchange is when the peer last said something in a session. Zero: not
	// since the program was started.
	LastExchange time.Time
	// Told: the peer has told, in this session or the last, what it holds. Then
	// Lacks is how many counters of what this device holds it does not hold.
	Told  bool
	Lacks uint64

	// The rest is zero unless it is connected.

	// Missing is how many counters of what the peer holds are lacking here.
	Missing   uint64
	Transport link.Transport
	Dialled   bool // by this side
	Since     time.Time
	RTT       time.Duration // about how long it takes to answer; 0: not known yet
	Session   exchange.Report
}

// memory is what is remembered of a peer when its session is over, for people.
type memory struct {
	heard time.Time
	holds exchange.Holdings // nil: it has not told
}

// remember keeps what a session that ends knows of its peer.
func (n *Node) remember(l *peerLink) {
	if !l.accepted() || n.isCoordinator(l.peer) {
		return
	}
	now := memory{heard: l.heard()}
	holds, told := l.session.Holdings()
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.holds = holds; !told {
		now.holds = n.past[l.peer].holds
	}
	n.past[l.peer] = now // members only, so the roster bounds them
}

// uplinkState is what Status says while no session is open, and the link whose
// session it is.
type uplinkState struct {
	link   *peerLink
	state  State
	reason Reason
	since  time.Time
	lastOK time.Time
	err    string
	last   exchange.Report
}

// Status returns how the node stands with the others. It never blocks.
func (n *Node) Status() Status {
	n.mu.Lock()
	u := n.uplink
	n.mu.Unlock()
	s := Status{Uplink: UplinkStatus{State: u.state, Reason: u.reason, Since: u.since, LastOK: u.lastOK, LastError: u.err, Session: u.last}}
	if u.link != nil {
		s.Uplink.Session = u.link.session.Report()
		s.Uplink.Address, s.Uplink.Transport = u.link.conn.RemoteAddr().String(), u.link.conn.Transport()
		if r := s.Uplink.Session; accepted(r) && !r.Over {
			s.Uplink.State, s.Uplink.Reason = Connected, IsConnected
			s.Uplink.Since, s.Uplink.LastOK, s.Uplink.LastError = u.link.since, n.cfg.Clock.Now(), ""
		}
	}
	n.limitStatus(&s.Uplink)
	s.Uplink.Words = s.Uplink.Reason.Words()
	s.Uplink.Equal = s.Uplink.Session.Equal
	s.Peers = n.peers(u.link)
	return s
}

// peers returns the devices of the zone that are connected or known.
func (n *Node) peers(uplink *peerLink) []Peer {
	peers, late := map[identity.DeviceID]*Peer{}, map[identity.DeviceID]bool{}
	if n.lan != nil {
		peers, late = n.lan.peers(), n.hints.late()
	}
	here := n.cfg.Replica.State()
	n.mu.Lock()
	for d, p := range peers {
		was := n.past[d]
		p.LastExchange, p.Told = was.heard, was.holds != nil
		if p.Told {
			p.Lacks = was.holds.Lacks(here)
		}
	}
	n.mu.Unlock()
	for l, r := range n.connected(uplink) {
		p := &Peer{
			Device: l.peer, State: PeerConnected, Address: l.conn.RemoteAddr().String(), Transport: l.conn.Transport(),
			Dialled: l.conn.Dialled(), Since: l.since, LastExchange: l.heard(), RTT: l.conn.RTT(), Session: r,
		}
		p.Lacks, p.Missing, p.Told = l.session.Lacks()
		if n.lan != nil {
			p.Via = n.lan.via(l)
		}
		peers[l.peer] = p
	}
	var list []Peer
	roster := n.cfg.Replica.Roster()
	for _, p := range peers {
		if d, ok := roster.Device(p.Device); ok {
			p.Name = d.Name
		}
		p.Uplink, p.Late = n.cfg.HasUplink(p.Device), late[p.Device]
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b Peer) int { return a.Device.Compare(b.Device) })
	return list
}

// connected visits the links that have been accepted, but for that of the uplink.
func (n *Node) connected(uplink *peerLink) iter.Seq2[*peerLink, exchange.Report] {
	return func(yield func(*peerLink, exchange.Report) bool) {
		for _, l := range n.links.all() {
			if r := l.session.Report(); l != uplink && accepted(r) && !r.Over && !yield(l, r) {
				return
			}
		}
	}
}

// Neighbour is a device of the LAN that is connected.
type Neighbour struct {
	Device  identity.DeviceID
	Address string // of the connection
}

// Neighbours returns the devices of the LAN that are connected, by device: what those
// need of Status who ask every few seconds. It never blocks.
func (n *Node) Neighbours() []Neighbour {
	n.mu.Lock()
	uplink := n.uplink.link
	n.mu.Unlock()
	var list []Neighbour
	for l := range n.connected(uplink) {
		list = append(list, Neighbour{l.peer, l.conn.RemoteAddr().String()})
	}
	slices.SortFunc(list, func(a, b Neighbour) int { return a.Device.Compare(b.Device) })
	return list
}

// HasUplink reports whether a session with the coordinator is open that it has
// accepted, and that may carry all lanes: what is to be told to others on the LAN.
func (n *Node) HasUplink() bool {
	n.mu.Lock()
	l := n.uplink.link
	n.mu.Unlock()
	if l == nil {
		return false
	}
	r := l.session.Report()
	return accepted(r) && !r.Over && r.Withheld == 0
}

// uplinkBegan notes that there is a session with the coordinator, which may or
// may not accept it.
func (n *Node) uplinkBegan(l *peerLink) {
	n.share(l) // before it begins
	n.mu.Lock()
	defer n.mu.Unlock()
	n.uplink.link = l
	if n.meter != nil {
		n.meter.seen = [lanes]uint64{}
		n.allow(l)
	}
}

// uplinkWas notes that the coordinator was connected until now.
func (n *Node) uplinkWas() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.uplink.lastOK = n.cfg.Clock.Now()
}

// setUplink notes what an attempt came to.
func (n *Node) setUplink(o outcome, err error) {
	state := Offline
	if o.refused {
		state = Refused
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	u := &n.uplink
	was := u.state
	if u.link != nil {
		if n.meter != nil {
			n.meterNow()
		}
		u.last = u.link.session.Report()
		if accepted(u.last) {
			was = Connected
		}
		u.link = nil
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if state != was || u.err == "" {
		u.since = n.cfg.Clock.Now()
		n.cfg.Logger.Info("uplink", "state", state, "reason", o.reason, "error", text)
	} else {
		n.cfg.Logger.Debug("uplink", "state", state, "reason", o.reason, "error", text)
	}
	u.state, u.reason, u.err = state, o.reason, cmp.Or(text, o.reason.Words())
}

// expectUplink notes that somebody waits for an attempt that begins now.
func (n *Node) expectUplink() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.uplink.state, n.uplink.reason, n.uplink.since = Connecting, IsConnecting, n.cfg.Clock.Now()
}
