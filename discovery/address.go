package discovery

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// MaxAddressBytes bounds the text of an [Address].
const MaxAddressBytes = 255

// ErrAddress is wrapped by errors about texts that are not an address.
var ErrAddress = errors.New("not an address to call a device at")

// Address is where a device may be called: "host:port", in one spelling for
// each. The host is an IP address, with its zone if it is link-local, or a
// name. Make one with [ParseAddress] or [AddressOf].
type Address string

// Family is a class of addresses, bounded each for itself.
type Family uint8

// The families.
const (
	FamilyIPv4 Family = iota
	FamilyIPv6
	FamilyName
	families
)

// ParseAddress reads "host:port" as people type it.
func ParseAddress(s string) (Address, error) {
	if len(s) > MaxAddressBytes {
		return "", fmt.Errorf("%w: %d characters, of which there may be %d", ErrAddress, len(s), MaxAddressBytes)
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return AddressOf(ap)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%w: %q: write it as host:port, such as 192.168.1.20:7701", ErrAddress, s)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return "", fmt.Errorf("%w: %q: the port is a number from 1 to 65535", ErrAddress, s)
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !hostName(host) {
		return "", fmt.Errorf("%w: %q is neither an IP address nor a host name", ErrAddress, host)
	}
	return Address(net.JoinHostPort(host, strconv.FormatUint(number, 10))), nil
}

// AddressOf returns the address with an IP address and a port. It must be one
// that a device can be called at: no multicast, no port 0, and a link-local
// IPv6 address only with its zone.
func AddressOf(ap netip.AddrPort) (Address, error) {
	ip := ap.Addr().Unmap()
	switch {
	case !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "", fmt.Errorf("%w: %s is not the address of one device", ErrAddress, ip)
	case ap.Port() == 0:
		return "", fmt.Errorf("%w: %s without a port", ErrAddress, ip)
	case ip.Is6() && ip.IsLinkLocalUnicast() != (ip.Zone() != ""):
		return "", fmt.Errorf("%w: a link-local address needs its zone, and no other has one (fe80::1%%eth0)", ErrAddress)
	case !zoneName(ip.Zone()):
		return "", fmt.Errorf("%w: a zone that is no interface's name", ErrAddress)
	}
	return Address(netip.AddrPortFrom(ip, ap.Port()).String()), nil
}

// AddrPort returns the IP address and port, if the host is not a name.
func (a Address) AddrPort() (netip.AddrPort, bool) {
	ap, err := netip.ParseAddrPort(string(a))
	return ap, err == nil
}

// Family returns the class of the address.
func (a Address) Family() Family {
	ap, ok := a.AddrPort()
	switch {
	case !ok:
		return FamilyName
	case ap.Addr().Is4():
		return FamilyIPv4
	default:
		return FamilyIPv6
	}
}

// linkLocal reports whether the address needs no router and reaches no further
// than the wire.
func (a Address) linkLocal() bool {
	ap, ok := a.AddrPort()
	return ok && ap.Addr().IsLinkLocalUnicast()
}

// compare orders addresses by their text.
func (a Address) compare(b Address) int { return cmp.Compare(a, b) }

// zoneName reports whether s is empty or can name an interface.
func zoneName(s string) bool {
	if len(s) > 15 {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("%[]:/", c) >= 0 {
			return false
		}
	}
	return true
}

// hostName reports whether s is a host name in lower case. What ends in a
// number is not: it would be read as an IP address in one of its old spellings.
func hostName(s string) bool {
	if s == "" || len(s) > 240 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}
