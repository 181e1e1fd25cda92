package discovery

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Interface is one way to a network.
type Interface struct {
	Index    int
	Name     string
	Flags    net.Flags
	Prefixes []netip.Prefix // its addresses, ascending; IPv6 ones without zone
}

// maxInterfaces and maxPrefixes bound what is looked at: each interface costs
// sockets.
const (
	maxInterfaces = 16
	maxPrefixes   = 16
)

// SystemInterfaces returns the interfaces of this machine that lead to other
// devices, sorted by index: those that are up, with a cable or a Wi-Fi, and have
// an address, without loopback, point-to-point links (tunnels), and the bridges of containers and
// virtual machines, whose addresses mean nothing to others.
func SystemInterfaces() ([]Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var list []Interface
	for _, i := range all {
		if !leadsOut(i) {
			continue
		}
		found, err := interfaceOf(i)
		if err != nil {
			continue // it went away meanwhile
		}
		if len(found.Prefixes) > 0 && len(list) < maxInterfaces {
			list = append(list, found)
		}
	}
	slices.SortFunc(list, func(a, b Interface) int { return cmp.Compare(a.Index, b.Index) })
	return list, nil
}

// leadsOut reports whether an interface leads to other devices, if it has an
// address.
func leadsOut(i net.Interface) bool {
	const works = net.FlagUp | net.FlagRunning
	return i.Flags&works == works && i.Flags&(net.FlagLoopback|net.FlagPointToPoint) == 0 && !virtual(i.Name)
}

// InterfaceByName returns one interface, whatever it leads to.
func InterfaceByName(name string) (Interface, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return Interface{}, fmt.Errorf("find network interface %q: %w", name, err)
	}
	return interfaceOf(*i)
}

func interfaceOf(i net.Interface) (Interface, error) {
	addrs, err := i.Addrs()
	if err != nil {
		return Interface{}, fmt.Errorf("list addresses of %s: %w", i.Name, err)
	}
	out := Interface{Index: i.Index, Name: i.Name, Flags: i.Flags}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		ones, _ := n.Mask.Size()
		if ok && len(out.Prefixes) < maxPrefixes {
			out.Prefixes = append(out.Prefixes, netip.PrefixFrom(ip.Unmap(), ones))
		}
	}
	slices.SortFunc(out.Prefixes, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return out, nil
}

// virtual reports whether an interface is one that container engines and
// hypervisors make for themselves.
func virtual(name string) bool {
	for _, prefix := range []string{"docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "lxcbr", "lxdbr", "cni", "flannel", "cali", "podman", "vnet"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Advertised returns the address at which others on the same network reach this
// device best: a private IPv4 address, else another IPv4 address, else a global
// or private IPv6 address, else a link-local one, with its zone. False if there
// is none.
func Advertised(list []Interface) (netip.Addr, bool) {
	rank := func(a netip.Addr) int {
		switch {
		case a.IsLoopback():
			return 5
		case a.Is4() && a.IsPrivate():
			return 0
		case a.Is4() && !a.IsLinkLocalUnicast():
			return 1
		case a.Is6() && !a.IsLinkLocalUnicast():
			return 2
		case a.Is4():
			return 3
		default:
			return 4
		}
	}
	var best netip.Addr
	for _, i := range list {
		for _, p := range i.Prefixes {
			a := p.Addr()
			if a.Is6() && a.IsLinkLocalUnicast() {
				a = a.WithZone(i.Name)
			}
			if !best.IsValid() || rank(a) < rank(best) {
				best = a
			}
		}
	}
	return best, best.IsValid()
}

// Equal reports whether two interfaces are the same and have the same
// addresses.
func (i Interface) Equal(j Interface) bool {
	return i.Index == j.Index && i.Name == j.Name && i.Flags == j.Flags && slices.Equal(i.Prefixes, j.Prefixes)
}
