package gossip

import (
	"context"
	"net"
	"net/netip"

	"github.com/classmesh/classmesh/discovery"
)

// Bounds that tests reach.
const (
	MaxMembers     = maxMembers
	MaxPacketBytes = maxPacketBytes
	MaxStreamBytes = maxStreamBytes
	MaxIncomingOf  = maxIncomingOf
	MaxMeta        = maxMeta
	Rejoin         = rejoin
)

// What tests look into.
var (
	CheckPacket = checkPacket
	CheckStream = checkStream
	ParseMember = parseMember
	NewLogger   = newLogger
)

// Metadata returns what m says about itself, and Name its name.
func (m Member) Metadata() []byte { return m.metadata() }
func (m Member) Name() string     { return m.name() }

// Network is where sockets come from in a test.
type Network interface {
	ListenPacket(netip.AddrPort) (net.PacketConn, error)
	Listen(netip.AddrPort) (net.Listener, error)
	Dial(context.Context, netip.AddrPort) (net.Conn, error)
}

type testNetwork struct{ Network }

func (n testNetwork) listenPacket(at netip.AddrPort) (net.PacketConn, error) {
	return n.ListenPacket(at)
}
func (n testNetwork) listen(at netip.AddrPort) (net.Listener, error) { return n.Listen(at) }
func (n testNetwork) dial(ctx context.Context, _ netip.Addr, to netip.AddrPort) (net.Conn, error) {
	return n.Dial(ctx, to)
}

// On makes a Gossip use a test's network.
func (c Config) On(n Network) Config {
	c.network = testNetwork{n}
	return c
}

// Seal seals as a member with the key does: for whoever means harm from inside.
func Seal(zone discovery.ZoneKey, nonce [12]byte, plain, associated []byte) []byte {
	k := deriveKeys([]discovery.ZoneKey{zone})[0]
	b := append([]byte{sealVersion}, nonce[:]...)
	return k.aead.Seal(b, nonce[:], plain, associated)
}

// Ring returns how many keys memberlist holds, and the guard.
func (g *Gossip) Ring() (ring, guard int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == nil {
		return 0, len(g.keys)
	}
	return len(g.now.ring.GetKeys()), len(g.keys)
}
