package mesh

import (
	"fmt"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/mesh/link"
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
	now := n.cfg.Clock.Now()
	known, silent, announced := 0, 0, 0
	for _, e := range n.cfg.Book.All() {
		if e.Device == n.self() || n.isCoordinator(e.Device) {
			continue
		}
		known++
		if e.Failures > 0 {
			silent++
			for _, heard := range []time.Time{e.Heard[discovery.MDNS], e.Heard[discovery.Gossip]} {
				if now.Sub(heard).Abs() <= freshFor {
					announced++
					break
				}
			}
		}
	}
	switch {
	case connected > 0 && sockets == connected:
		return []Finding{{NoUDP, "This network blocks UDP, or a firewall does: devices reach each other by the slower way over TCP. It works; allow UDP on the device's port if it is too slow."}}
	case connected > 0 || others == 0:
		return nil
	case len(interfaces) == 0:
		return []Finding{{NoNetwork, "This device is in no network: no interface is up with an address. Check the cable, the Wi-Fi or the switch."}}
	case known == 0:
		return []Finding{{NobodySeen, "No other device of the zone was seen on this network. If one is on, the network does not pass announcements (multicast): give its address with --peer HOST:PORT, once."}}
	case silent < known:
		return nil // some have not been tried yet
	case announced > 0:
		return []Finding{{Isolated, fmt.Sprintf("This network does not let devices see each other: %s here, but none can be called. Switch off client isolation (also called AP or guest isolation) at the access point, and allow the device's port, UDP and TCP, in firewalls.", countOf(announced, "address is announced", "addresses are announced"))}}
	}
	return []Finding{{NobodyAnswers, fmt.Sprintf("None of the other devices answers: %s tried. They may be switched off, or in another network.", countOf(known, "address was", "addresses were"))}}
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
