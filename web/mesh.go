package web

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/classmesh/classmesh/records/identity"
)

// Mesh is how this device hangs together with the others of its zone.
type Mesh struct {
	// Off: this device looks for no others and exchanges with the coordinator
	// alone.
	Off bool
	// Problems keep this device from others.
	Problems []MeshProblem
	// Peers are the devices of which something is known but membership, in any
	// order. Members of the zone that are missing here were not seen.
	Peers []MeshPeer
}

// MeshProblem is something that keeps devices of a network from each other.
type MeshProblem struct {
	Name  string // such as "isolated"; those that the texts know are told in the reader's language
	Words string // what it means and what to do, in English
	// Detail is names and addresses that Words speak of; texts have none.
	Detail string
}

// PeerState is how things stand with another device.
type PeerState string

// The states of a peer. Any other text counts as PeerUnseen.
const (
	PeerConnected  PeerState = "connected"
	PeerConnecting PeerState = "connecting"
	PeerKnown      PeerState = "known"       // an address is known; no link to it is needed, or soon
	PeerAway       PeerState = "unreachable" // it does not answer where it was
	PeerUnseen     PeerState = "unseen"      // nothing is known but that it is a member
)

// MeshPeer is another device of the zone.
type MeshPeer struct {
	Device    identity.DeviceID
	State     PeerState
	Address   string   // of the link, or where it would be called
	Via       []string // how the address came to be known: "typed", "mdns", "gossip", "peer", "coordinator", "remembered"
	Transport string   // of the link: "quic", "websocket"
	RTT       time.Duration
	Equal     bool    // at the last comparison both held the same
	Lacks     *uint64 // records that are here and, as far as is known, not there; nil: not known
	Missing   uint64  // records that are there and not here, if it is connected
	Late      bool    // it has told of work that is not here, though others were asked for it
	// LastExchange is when it last said something; zero: not since the start.
	LastExchange time.Time

	// Links are those that the device says it has, and Uplink that it says it
	// reaches the coordinator: hints, absent where nothing tells.
	Links  []identity.DeviceID
	Uplink bool
}

// bond is how close this device is to another, for words and drawing.
type bond string

const (
	bondHere   bond = "here"   // this device
	bondSame   bond = "same"   // linked, and both have the same
	bondBehind bond = "behind" // linked, and something is on its way
	bondAhead  bond = "ahead"  // linked, and something is on its way here
	bondOpen   bond = "open"   // linked, and not compared yet
	bondCall   bond = "call"   // being called
	bondVia    bond = "via"    // linked to others that are linked to this device
	bondKnown  bond = "known"  // known, and not linked
	bondAway   bond = "away"   // does not answer
	bondUnseen bond = "unseen"
)

// linked reports whether there is a link from this device.
func (b bond) linked() bool {
	return b == bondSame || b == bondBehind || b == bondAhead || b == bondOpen
}

// sign is shown with words beside it, never alone.
func (b bond) sign() string {
	switch b {
	case bondHere:
		return "★"
	case bondSame:
		return "✓"
	case bondBehind:
		return "↑"
	case bondAhead:
		return "↓"
	case bondOpen, bondCall:
		return "…"
	case bondVia, bondKnown:
		return "·"
	case bondAway:
		return "✕"
	}
	return "?"
}

// meshDevice is a device as the page tells of it.
type meshDevice struct {
	Number  int // in list and drawing
	Name    string
	Bond    bond
	Sign    string
	State   string // in words
	Why     string // what it means and what to do; may be empty
	Late    string // that it has newer work; may be empty
	Way     string // over which it is linked
	Found   string // how it was found
	Heard   string // when it last said something
	Lacks   string // what it lacked when it was last heard
	Address string
	RTT     string

	id     identity.DeviceID
	peer   *MeshPeer // nil: this device, or nothing is known
	uplink bool
}

// meshPage is what the template mesh shows.
type meshPage struct {
	Summary  *syncSummary
	Centre   string // who reaches it, in words
	Linked   string // to how many of how many
	Problems []string
	Drawing  *drawing
	Devices  []meshDevice // this device first
	Told     bool         // some devices say whom they are linked to
}

func (s *Server) mesh(w http.ResponseWriter, v *visit) error {
	y, m := s.cfg.Sync(), s.cfg.Mesh()
	data := meshPage{Summary: y.summary(s, v.lang)}
	p := phrases{l: v.lang}
	data.Devices = s.meshDevices(&p, &y, &m)
	for _, problem := range m.Problems {
		data.Problems = append(data.Problems, p.problem(problem))
	}
	linked := 0
	var carriers []string // other devices that say they reach the coordinator
	for _, d := range data.Devices[1:] {
		if d.Bond.linked() {
			linked++
		}
		if d.uplink {
			carriers = append(carriers, d.Name)
		}
		data.Told = data.Told || d.peer != nil && len(d.peer.Links) > 0
	}
	switch others := len(data.Devices) - 1; {
	case others == 0:
		data.Linked = p.text("mesh.linked.alone")
	case m.Off:
		data.Linked = p.text("mesh.linked.off")
	default:
		data.Linked = p.text("mesh.linked.some", "n", linked, "all", others)
	}
	data.Centre = p.text(centreText(&y, carriers, linked > 0), "names", p.list(carriers))
	data.Drawing = draw(&p, data.Devices, linkState(y.State))
	if p.err != nil {
		return p.err
	}
	return s.render(w, v, http.StatusOK, "mesh", data)
}

// centreText is the text that says who reaches the coordinator. Without any link,
// nobody carries there what this device has.
func centreText(y *Sync, carriers []string, linked bool) string {
	switch {
	case y.State == StateNone, y.State == StateRefused:
		return "mesh.centre." + string(y.State)
	case y.State == StateConnected:
		return "mesh.centre.here"
	case len(carriers) > 0 && !linked:
		return "mesh.centre.apart"
	case len(carriers) > 0:
		return "mesh.centre.others"
	}
	return "mesh.centre.nobody"
}

// meshDevices are all members of the zone: this device, then those that are
// linked, then the others, by name.
func (s *Server) meshDevices(p *phrases, y *Sync, m *Mesh) []meshDevice {
	roster, own := s.cfg.Replica.Roster(), s.cfg.Replica.Device()
	peers := map[identity.DeviceID]*MeshPeer{}
	for i := range m.Peers {
		peers[m.Peers[i].Device] = &m.Peers[i]
	}
	names := map[identity.DeviceID]string{}
	var list []meshDevice
	for _, member := range roster.Devices {
		d := meshDevice{id: member.ID(), Name: member.Name, Bond: bondUnseen}
		names[d.id] = d.Name
		switch d.peer = peers[d.id]; {
		case d.id == own:
			d.peer, d.Bond, d.uplink = nil, bondHere, y.State == StateConnected
		case roster.MayConnect(d.id) != nil:
			continue // removed from the zone
		case d.peer != nil:
			d.Bond, d.uplink = d.peer.bond(), d.peer.Uplink
		}
		list = append(list, d)
	}
	if !slices.ContainsFunc(list, func(d meshDevice) bool { return d.Bond == bondHere }) {
		list = append(list, meshDevice{id: own, Name: s.cfg.Name, Bond: bondHere}) // it was removed itself
	}
	slices.SortFunc(list, func(a, b meshDevice) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.Name, b.Name), a.id.Compare(b.id))
	})
	for i := range list {
		list[i].Number = i + 1
		list[i].describe(p, s.cfg.Now(), relays(list, &list[i], names))
	}
	return list
}

// rank orders devices in the list. It does not change while a link goes up and
// down, lest the page jump about.
func (d *meshDevice) rank() int {
	switch d.Bond {
	case bondHere:
		return 0
	case bondUnseen:
		return 2
	}
	return 1
}

func (p *MeshPeer) bond() bond {
	switch p.State {
	case PeerConnected:
		switch {
		case p.Lacks != nil && *p.Lacks > 0:
			return bondBehind
		case p.Missing > 0:
			return bondAhead
		case p.Equal || p.Lacks != nil:
			return bondSame
		}
		return bondOpen
	case PeerConnecting:
		return bondCall
	case PeerKnown:
		return bondKnown
	case PeerAway:
		return bondAway
	}
	return bondUnseen
}

// relays returns the names of devices that are linked to this device and, as
// one of the two says, to d.
func relays(all []meshDevice, d *meshDevice, names map[identity.DeviceID]string) (list []string) {
	for _, other := range all {
		if other.id == d.id || !other.Bond.linked() {
			continue
		}
		if slices.Contains(other.peer.Links, d.id) || d.peer != nil && slices.Contains(d.peer.Links, other.id) {
			list = append(list, names[other.id])
		}
	}
	return list
}

// describe puts into words how things stand with a device. through are the
// devices between this one and it.
func (d *meshDevice) describe(p *phrases, now time.Time, through []string) {
	if len(through) > 0 && !d.Bond.linked() && d.Bond != bondHere {
		d.Bond = bondVia
	}
	d.Sign = d.Bond.sign()
	d.State = p.text("mesh.state."+string(d.Bond), "n", d.missing(), "names", p.list(through))
	switch d.Bond {
	case bondVia, bondKnown, bondAway, bondUnseen:
		d.Why = p.text("mesh.why." + string(d.Bond))
	}
	if d.peer == nil {
		return
	}
	var found []string
	for _, source := range d.peer.Via {
		found = append(found, p.known("mesh.found.", source, source))
	}
	d.Found = p.list(found)
	d.Address = d.peer.Address
	if d.Bond.linked() {
		d.Way = p.known("mesh.way.", d.peer.Transport, d.peer.Transport)
		if ms := d.peer.RTT.Milliseconds(); d.peer.RTT > 0 {
			d.RTT = p.text("mesh.ms", "n", max(ms, 1))
		}
	}
	if d.peer.Late {
		d.Late = p.text("mesh.late")
	}
	if d.peer.Lacks != nil && !d.Bond.linked() {
		d.Lacks = p.text("mesh.lacks.n", "n", *d.peer.Lacks)
	}
	if !d.peer.LastExchange.IsZero() {
		d.Heard = p.ago(now.Sub(d.peer.LastExchange))
	}
}

// missing is how many records are on their way, to it or from it.
func (d *meshDevice) missing() uint64 {
	switch {
	case d.peer == nil:
		return 0
	case d.Bond == bondAhead:
		return d.peer.Missing
	case d.peer.Lacks == nil:
		return 0
	}
	return *d.peer.Lacks
}

// phrases looks texts up and keeps the first error, for a page that is put
// together from many.
type phrases struct {
	l   *language
	err error
}

func (p *phrases) text(key string, args ...any) string {
	t, err := p.l.text(key, args...)
	p.err = cmp.Or(p.err, err)
	return t
}

// named returns the text for a name that the mesh uses, such as "broken off", if
// there is one.
func (p *phrases) named(prefix, name string) (text string, ok bool) {
	key := prefix + strings.ReplaceAll(name, " ", "_")
	if _, ok := p.l.texts[key]; !ok {
		return "", false
	}
	return p.text(key), true
}

// known is named with what to say if there is no text.
func (p *phrases) known(prefix, name, fallback string) string {
	if text, ok := p.named(prefix, name); ok {
		return text
	}
	return fallback
}

func (p *phrases) problem(m MeshProblem) string {
	text, ok := p.named("mesh.problem.", m.Name)
	if !ok {
		return m.Words
	}
	if m.Detail != "" {
		text += " (" + p.list([]string{m.Detail}) + ")"
	}
	return text
}

func (p *phrases) ago(d time.Duration) string {
	t, err := p.l.ago(d)
	p.err = cmp.Or(p.err, err)
	return t
}

// list joins words, each of which keeps its own direction.
func (p *phrases) list(words []string) string {
	const isolate, end = "\u2068", "\u2069"
	var b strings.Builder
	for i, word := range words {
		if i > 0 {
			b.WriteString(p.text("list.separator"))
		}
		b.WriteString(isolate + word + end)
	}
	return b.String()
}

// shorten cuts a name to what there is room for.
func shorten(name string, most int) string {
	if utf8.RuneCountInString(name) <= most {
		return name
	}
	return strings.TrimSpace(string([]rune(name)[:most-1])) + "…"
}
