package gossip

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"github.com/classmesh/classmesh/records/identity"
)

// Member is a device that others say is there.
type Member struct {
	Device identity.DeviceID
	// Gossip is where its membership speaks, and Call where the device can be
	// called.
	Gossip, Call netip.AddrPort
	// Start tells one start of its process from another.
	Start identity.StartID
	// Uplink: it says that it reaches the coordinator, and may send what others
	// have as well.
	Uplink bool
}

// Conflict is one device at two addresses. It is a hint for the check for
// copies: two starts that are both there mean two devices with one identity;
// the same start, or one of them gone, that the device has moved or was
// restarted.
type Conflict struct {
	Known, Other Member
}

const (
	metaFormat = 1
	metaBytes  = 11  // format, port, start; a byte of flags may follow, and what later releases add
	metaUplink = 1   // in the flags
	maxMeta    = 128 // memberlist takes 512; a list of all has to fit a stream
)

var errMember = errors.New("not a member as devices describe themselves")

// metadata returns what m says about itself.
func (m Member) metadata() []byte {
	b := binary.BigEndian.AppendUint16([]byte{metaFormat}, m.Call.Port())
	b = append(b, m.Start[:]...)
	if m.Uplink {
		b = append(b, metaUplink)
	}
	return b
}

// name returns the member's name.
func (m Member) name() string { return base64.RawURLEncoding.EncodeToString(m.Device[:]) }

// parseMember reads what memberlist knows of a node.
func parseMember(name string, ip net.IP, port uint16, meta []byte) (m Member, err error) {
	if len(name) != base64.RawURLEncoding.EncodedLen(identity.HashBytes) {
		return m, errMember
	}
	device, err := base64.RawURLEncoding.Strict().DecodeString(name)
	if err != nil || len(device) != identity.HashBytes {
		return m, errMember
	}
	m.Device = identity.DeviceID(device)
	addr, ok := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	if !ok || !callable(addr) || port == 0 {
		return m, errMember
	}
	if len(meta) < metaBytes || len(meta) > maxMeta || meta[0] != metaFormat {
		return m, errMember
	}
	call := binary.BigEndian.Uint16(meta[1:])
	if call == 0 {
		return m, errMember
	}
	m.Gossip, m.Call = netip.AddrPortFrom(addr, port), netip.AddrPortFrom(addr, call)
	m.Start = identity.StartID(meta[3:metaBytes])
	m.Uplink = len(meta) > metaBytes && meta[metaBytes]&metaUplink != 0
	return m, nil
}

// callable reports whether an address can be that of one device.
func callable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
