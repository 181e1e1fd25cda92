package gossip

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Bounds of the transport.
const (
	maxIncoming   = 16 // streams that others opened, at a time
	maxIncomingOf = 4  // of those, from one address
	dialTimeout   = 3 * time.Second
	streamTimeout = 10 * time.Second
	// maxFaults is how many errors in a row a socket survives.
	maxFaults = 100
)

// network is where a transport's sockets come from.
type network interface {
	listenPacket(netip.AddrPort) (net.PacketConn, error)
	listen(netip.AddrPort) (net.Listener, error)
	dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)
}

// system is the network of the machine.
type system struct{}

func (system) listenPacket(at netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
}

func (system) listen(at netip.AddrPort) (net.Listener, error) {
	return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
}

func (system) dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return d.DialContext(ctx, "tcp", to.String())
}

// transport carries memberlist's packets and streams between the sockets of one
// address and the guard. It keeps hold of all that it opens: after Shutdown
// nothing of it is left.
type transport struct {
	net    network
	keys   func() []key
	at     netip.AddrPort
	packet net.PacketConn
	stream net.Listener

	packets chan *memberlist.Packet
	streams chan net.Conn
	broken  chan struct{} // closed when a socket has failed for good
	once    sync.Once

	dials     context.Context
	stopDials context.CancelFunc
	done      chan struct{} // closed by Shutdown
	group     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	closed   bool
	conns    map[*guarded]struct{}
	incoming map[netip.Addr]int
	open     int // sum of incoming
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// newTransport listens at an address, over UDP and TCP; port 0 is any.
func newTransport(n network, at netip.AddrPort, keys func() []key) (*transport, error) {
	t := &transport{
		net: n, keys: keys,
		packets:  make(chan *memberlist.Packet),
		streams:  make(chan net.Conn),
		broken:   make(chan struct{}),
		done:     make(chan struct{}),
		conns:    map[*guarded]struct{}{},
		incoming: map[netip.Addr]int{},
	}
	var err error
	for range 10 { // with any port, that of TCP may be taken over UDP
		if t.stream, err = n.listen(at); err != nil {
			break
		}
		bound, ok := addrPort(t.stream.Addr())
		if !ok {
			err = fmt.Errorf("no IP address: %v", t.stream.Addr())
			t.stream.Close()
			break
		}
		t.at = netip.AddrPortFrom(at.Addr(), bound.Port())
		if t.packet, err = n.listenPacket(t.at); err == nil {
			break
		}
		t.stream.Close()
		if at.Port() != 0 {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listen for membership at %s: %w", at, err)
	}
	t.dials, t.stopDials = context.WithCancel(context.Background())
	t.group.Go(t.readPackets)
	t.group.Go(t.acceptStreams)
	return t, nil
}

func addrPort(a net.Addr) (netip.AddrPort, bool) {
	ap, err := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), err == nil
}

// fail tells that a socket is of no more use.
func (t *transport) fail() { t.once.Do(func() { close(t.broken) }) }

func (t *transport) readPackets() {
	buf := make([]byte, maxPacketBytes+1)
	faults := 0
	for {
		n, from, err := t.packet.ReadFrom(buf)
		now := time.Now()
		if err != nil {
			if faults++; errors.Is(err, net.ErrClosed) || faults == maxFaults {
				t.fail()
				return
			}
			continue
		}
		faults = 0
		if n > maxPacketBytes {
			continue
		}
		plain, err := open(t.keys(), buf[:n], nil)
		if err != nil || checkPacket(plain) != nil {
			continue // from a stranger, or meaning harm: there is nobody to tell
		}
		p := &memberlist.Packet{Buf: bytes.Clone(buf[:n]), From: from, Timestamp: now}
		select {
		case t.packets <- p:
		case <-t.done:
			return
		}
	}
}

func (t *transport) acceptStreams() {
	faults := 0
	for {
		conn, err := t.stream.Accept()
		if err != nil {
			if faults++; errors.Is(err, net.ErrClosed) || faults == maxFaults {
				t.fail()
				return
			}
			continue
		}
		faults = 0
		from, _ := addrPort(conn.RemoteAddr())
		g := t.hold(conn, from.Addr(), true)
		if g == nil {
			conn.Close() // too many, or this is the end
			continue
		}
		conn.SetDeadline(time.Now().Add(streamTimeout))
		select {
		case t.streams <- g:
		case <-t.done:
			g.Close()
			return
		}
	}
}

// hold takes a connection in, unless there are too many.
func (t *transport) hold(conn net.Conn, from netip.Addr, incoming bool) *guarded {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	g := &guarded{Conn: conn, transport: t, from: from, incoming: incoming}
	if incoming {
		if t.open == maxIncoming || t.incoming[from] == maxIncomingOf {
			return nil
		}
		t.open++
		t.incoming[from]++
	}
	t.conns[g] = struct{}{}
	return g
}

func (t *transport) release(g *guarded) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, held := t.conns[g]; !held {
		return
	}
	delete(t.conns, g)
	if g.incoming {
		t.open--
		if t.incoming[g.from]--; t.incoming[g.from] == 0 {
			delete(t.incoming, g.from)
		}
	}
}

// target returns where to send to. An address without a zone is on the network
// that this one is on.
func (t *transport) target(addr string) (netip.AddrPort, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return to, fmt.Errorf("%q is not an IP address and a port", addr)
	}
	ip := to.Addr().Unmap()
	if !callable(ip) || to.Port() == 0 {
		return to, fmt.Errorf("%s is not the address of one device", to)
	}
	if ip.Is6() && ip.IsLinkLocalUnicast() && ip.Zone() == "" {
		ip = ip.WithZone(t.at.Addr().Zone())
	}
	return netip.AddrPortFrom(ip, to.Port()), nil
}

// FinalAdvertiseAddr is the address that the sockets are bound to.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.at.Addr().AsSlice(), int(t.at.Port()), nil
}

func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	to, err := t.target(a.Addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.packet.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streams }

func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	to, err := t.target(a.Addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.dials, min(timeout, dialTimeout))
	defer cancel()
	conn, err := t.net.dial(ctx, t.at.Addr(), to)
	if err != nil {
		return nil, err
	}
	g := t.hold(conn, to.Addr(), false)
	if g == nil {
		conn.Close()
		return nil, net.ErrClosed
	}
	return g, nil
}

// Shutdown closes the sockets and all connections, and returns when nothing
// reads from them any more.
func (t *transport) Shutdown() error {
	t.stopDials()
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	close(t.done)
	for g := range t.conns {
		g.Conn.Close()
	}
	t.mu.Unlock()
	t.packet.Close()
	t.stream.Close()
	t.group.Wait()
	return nil
}

// guarded is a stream of which memberlist sees what the peer sent only when all
// of it is there and has been looked through. Each side sends one message:
//
//	0  10: encrypted
//	1  size of what follows (4)
//	5  sealed text, to which bytes 0–4 are bound
type guarded struct {
	net.Conn
	transport *transport
	from      netip.Addr
	incoming  bool

	message io.Reader // nil: not read yet
}

// Read is called by one goroutine at a time.
func (g *guarded) Read(b []byte) (int, error) {
	if g.message == nil {
		message, err := g.readMessage()
		if err != nil {
			return 0, err
		}
		g.message = bytes.NewReader(message)
	}
	return g.message.Read(b)
}

func (g *guarded) readMessage() ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(g.Conn, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != typeEncrypted || size > maxStreamBytes {
		return nil, errGuard
	}
	var message bytes.Buffer // grows with what has come, not with what is claimed
	message.Write(head[:])
	if n, err := io.CopyN(&message, g.Conn, int64(size)); err != nil {
		return nil, fmt.Errorf("%d of %d bytes: %w", n, size, err)
	}
	plain, err := open(g.transport.keys(), message.Bytes()[len(head):], head[:])
	if err != nil {
		return nil, err
	}
	if err := checkStream(plain); err != nil {
		return nil, err
	}
	return message.Bytes(), nil
}

func (g *guarded) Close() error {
	g.transport.release(g)
	return g.Conn.Close()
}
