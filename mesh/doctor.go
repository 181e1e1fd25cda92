package mesh

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records/identity"
)

// Problem names what a [Finding] is about.
type Problem string

// The problems.
const (
	// NoNetwork: no interface leads to other devices.
	NoNetwork Problem = "no network"
	// NobodySeen: no address of another device is known.
	NobodySeen Problem = "nobody seen"
	// Isolated: devices announce themselves, and none can be called.
	Isolated Problem = "isolated"
	// NobodyAnswers: addresses are known, but nothing was heard from there.
	NobodyAnswers Problem = "nobody answers"
	// NoUDP: connections come about over WebSocket only.
	NoUDP Problem = "no UDP"
)

// Finding is something that keeps devices of a LAN from each other.
type Finding struct {
	Problem Problem
	Words   string // what it means and what to do, for people
	Detail  string // names and addresses that Words speak of, for those who have their own; may be empty
}

// Doctor says what keeps this device from others on the LAN, as far as it can
// tell; nothing if it has peers or needs none. interfaces are those of this
// machine; see discovery.SystemInterfaces. It never blocks.
func (n *Node) Doctor(interfaces []discovery.Interface) []Finding {
	if n.lan == nil {
		return nil
	}
	others := 0
	for _, d := range n.cfg.Replica.Roster().Devices {
		if d.ID() != n.self() && n.cfg.Replica.Roster().MayConnect(d.ID()) == nil {
			others++
		}
	}
	connected, sockets := 0, 0
	for _, p := range n.Status().Peers {
		if p.State == PeerConnected {
			connected++
			if p.Transport == link.WebSocket {
				sockets++
			}
		}
	}
	switch {
	case connected > 0 && sockets == connected:
		return []Finding{{Problem: NoUDP, Words: "Devices reach each other by the slower way only, over TCP: this network or a firewall seems to block UDP. It works; allow UDP on the device's port if it is too slow. UDP is tried again every ten minutes."}}
	case connected > 0 || others == 0:
		return nil
	case len(interfaces) == 0:
		return []Finding{{Problem: NoNetwork, Words: "This device is in no network: no interface is up with an address. Check the cable, the Wi-Fi or the switch."}}
	}
	return n.silence()
}

// silence says why none of the devices that there are is connected.
func (n *Node) silence() []Finding {
	now := n.cfg.Clock.Now()
	since := n.cfg.Book.NetworkSince()
	known, tried := 0, true
	silent, announced := map[identity.DeviceID]bool{}, map[identity.DeviceID]bool{}
	for _, e := range n.cfg.Book.All() {
		if e.Device == n.self() || n.isCoordinator(e.Device) {
			continue
		}
		known++
		tried = tried && e.Failures > 0
		silent[e.Device] = true
		for _, heard := range []time.Time{e.Heard[discovery.MDNS], e.Heard[discovery.Gossip]} {
			if now.Sub(heard).Abs() <= freshFor && heard.After(since) {
				announced[e.Device] = true
			}
		}
	}
	elsewhere := n.names(n.lan.atWork(now), "") // or here
	switch {
	case known > 0 && !tried:
		return nil
	case len(announced) > 0:
		return []Finding{{Problem: Isolated, Detail: n.listed(announced), Words: "This network does not let devices see each other: " + n.names(announced, "another device") + ": announced here, but not to be called. " + openUp}}
	case elsewhere != "" && known > 0:
		return []Finding{{Problem: NobodyAnswers, Words: "None of the other devices answers, but some are at work, which shows by the coordinator: " + elsewhere + ". If they are here, this network does not let devices see each other: " + lowerFirst(openUp)}}
	case elsewhere != "":
		return []Finding{{Problem: NobodySeen, Words: "No other device of the zone was seen on this network, but some are at work, which shows by the coordinator: " + elsewhere + ". If they are here, this network does not let devices see each other: " + lowerFirst(openUp) + " Or it does not pass announcements (multicast): give the address of one with --peer HOST:PORT, once."}}
	case known == 0:
		return []Finding{{Problem: NobodySeen, Words: "No other device of the zone was seen on this network. If one is on, the network does not pass announcements (multicast): give its address with --peer HOST:PORT, once."}}
	}
	return []Finding{{Problem: NobodyAnswers, Detail: n.listed(silent), Words: "None of the other devices answers: " + n.names(silent, "another device") + ". They may be switched off, or in another network."}}
}

// openUp is what to do about a network that keeps its clients apart.
const openUp = "Switch off client isolation (also called AP or guest isolation) at the access point, and allow the device's port, UDP and TCP, in firewalls."

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// called returns what people call devices, a few of many, and how many more
// there are.
func (n *Node) called(devices map[identity.DeviceID]bool) (list []string, more int) {
	const most = 5
	for _, d := range n.cfg.Replica.Roster().Devices {
		if devices[d.ID()] && d.ID() != n.self() {
			list = append(list, d.Name)
		}
	}
	slices.Sort(list)
	if more = len(list) - most; more > 0 {
		return list[:most], more
	}
	return list, 0
}

// listed lists devices in no language.
func (n *Node) listed(devices map[identity.DeviceID]bool) string {
	list, more := n.called(devices)
	if more > 0 {
		list = append(list, fmt.Sprintf("+%d", more))
	}
	return strings.Join(list, ", ")
}

// names lists devices in words; whoever is not named is called unnamed, if that
// is not empty.
func (n *Node) names(devices map[identity.DeviceID]bool, unnamed string) string {
	list, more := n.called(devices)
	if len(list) == 0 && len(devices) > 0 {
		return unnamed
	}
	if more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	if last := len(list) - 1; last > 0 {
		return strings.Join(list[:last], ", ") + " and " + list[last]
	}
	return strings.Join(list, "")
}
