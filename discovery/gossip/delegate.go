package gossip

import (
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/records/identity"
)

// forgetAfter is how long a member that left counts as one that memberlist
// still holds.
const forgetAfter = 2 * time.Minute

// event is something to tell the owner of a Gossip, outside of memberlist's
// locks.
type event struct {
	sighting *discovery.Sighting
	hint     []byte
	conflict *Conflict
}

// delegate is what one memberlist tells and asks. It is called while memberlist
// holds its lock, so it keeps copies, never waits, and calls nothing of it.
type delegate struct {
	events chan<- event // full: what comes is dropped, a hint like all of it
	queue  memberlist.TransmitLimitedQueue

	own    Member     // but for Uplink
	mu     sync.Mutex // guards what follows
	uplink bool       // what this device says of itself
	over   bool       // timers of memberlist may fire after its end
	known  map[string]*known
	recent *recent
}

// known is a name that memberlist holds.
type known struct {
	member Member
	live   bool
	left   time.Time // if not live
}

func newDelegate(own Member, events chan<- event) *delegate {
	d := &delegate{own: own, uplink: own.Uplink, events: events, known: map[string]*known{}, recent: newRecent(time.Now())}
	d.queue.RetransmitMult = retransmit
	d.queue.NumNodes = func() int { return 1 + len(d.members()) }
	return d
}

// end makes the delegate deaf.
func (d *delegate) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	clear(d.known)
}

func (d *delegate) tell(e event) {
	select {
	case d.events <- e:
	default:
	}
}

// members returns who is there, but for this device.
func (d *delegate) members() []Member {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []Member
	for _, k := range d.known {
		if k.live {
			list = append(list, k.member)
		}
	}
	return list
}

// NodeMeta is asked for what this device says about itself.
func (d *delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.own
	m.Uplink = d.uplink
	return m.metadata()
}

// setUplink says what this device says of itself from now on, and reports
// whether that is something else.
func (d *delegate) setUplink(up bool) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed = d.uplink != up
	d.uplink = up
	return changed
}

// hasUplink reports whether a member that is there says that it reaches the
// coordinator.
func (d *delegate) hasUplink(device identity.DeviceID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.known[Member{Device: device}.name()]
	return k != nil && k.live && k.member.Uplink
}

// NotifyMsg is told a hint. What is new goes to the owner and on to others:
// memberlist itself passes nothing on, and an author reaches only a few.
func (d *delegate) NotifyMsg(b []byte) {
	h, err := parseHint(b)
	if err != nil {
		return
	}
	d.mu.Lock()
	news := !d.over && d.recent.add(b) && d.recent.take(time.Now())
	d.mu.Unlock()
	if !news {
		return
	}
	data := append([]byte(nil), b...) // memberlist uses b again
	if b[0] == hintFormat {
		d.tell(event{hint: append([]byte(nil), h.message...)})
		d.enqueue(string(h.topic), data)
	}
}

// broadcast sends a hint of this device to everybody.
func (d *delegate) broadcast(h hint) {
	data := h.encode()
	d.mu.Lock()
	d.recent.add(data) // it comes back
	d.mu.Unlock()
	d.enqueue(string(h.topic), data)
}

func (d *delegate) enqueue(topic string, data []byte) {
	d.queue.QueueBroadcast(queued{topic, data})
	d.queue.Prune(maxQueued)
}

// GetBroadcasts is asked for what is to be sent.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}

// LocalState and MergeRemoteState: there is none.
func (d *delegate) LocalState(bool) []byte        { return nil }
func (d *delegate) MergeRemoteState([]byte, bool) {}

// NotifyAlive is asked whether a member may be.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	if n.Name == d.own.name() {
		return nil // this device, or a copy of it: NotifyConflict will tell
	}
	if n.PCur != protocol || n.PMin > protocol || n.PMax < protocol {
		return errMember // it would make memberlist refuse everybody
	}
	m, err := parseMember(n.Name, n.Addr, n.Port, n.Meta)
	if err != nil {
		return err
	}
	if m.Gossip.Addr().IsLoopback() != d.own.Gossip.Addr().IsLoopback() {
		return errMember // it would be us
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return errMember
	}
	if d.known[n.Name] == nil && len(d.known) >= maxMembers {
		for name, k := range d.known {
			if !k.live && time.Since(k.left) > forgetAfter {
				delete(d.known, name)
			}
		}
		if len(d.known) >= maxMembers {
			return errMember
		}
	}
	return nil
}

// NotifyJoin is told that a member is there.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.note(n) }

// NotifyUpdate is told that a member says something else about itself.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.note(n) }

func (d *delegate) note(n *memberlist.Node) {
	if n.Name == d.own.name() {
		return
	}
	m, err := parseMember(n.Name, n.Addr, n.Port, n.Meta)
	if err != nil {
		return
	}
	d.mu.Lock()
	if d.over {
		d.mu.Unlock()
		return
	}
	d.known[n.Name] = &known{member: m, live: true}
	d.mu.Unlock()
	if s, ok := d.sighting(m); ok {
		d.tell(event{sighting: &s})
	}
}

// sighting returns where a member can be called.
func (d *delegate) sighting(m Member) (discovery.Sighting, bool) {
	call := m.Call
	if ip := call.Addr(); ip.Is6() && ip.IsLinkLocalUnicast() {
		call = discoveryZone(call, d.own.Gossip)
	}
	a, err := discovery.AddressOf(call)
	return discovery.Sighting{Device: m.Device, Address: a, Source: discovery.Gossip}, err == nil
}

// NotifyLeave is told that a member is not there, which may be so or not.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.known[n.Name]; k != nil && !d.over {
		k.live, k.left = false, time.Now()
	}
}

// NotifyConflict is told of one name at two addresses.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	a, err := parseMember(existing.Name, existing.Addr, existing.Port, existing.Meta)
	b, err2 := parseMember(other.Name, other.Addr, other.Port, other.Meta)
	if err != nil || err2 != nil {
		return
	}
	d.mu.Lock()
	over := d.over
	d.mu.Unlock()
	if !over {
		d.tell(event{conflict: &Conflict{Known: a, Other: b}})
	}
}
