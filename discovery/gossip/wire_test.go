package gossip_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// wire is a network in memory that can be cut, for tests in virtual time.
type wire struct {
	mu      sync.Mutex
	packets map[netip.AddrPort]*packets
	streams map[netip.AddrPort]*streams
	cut     func(a, b netip.Addr) bool // nil: nobody is cut off
	sent    int                        // bytes of packets
}

func newWire() *wire {
	return &wire{packets: map[netip.AddrPort]*packets{}, streams: map[netip.AddrPort]*streams{}}
}

func (w *wire) setCut(cut func(a, b netip.Addr) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

func (w *wire) bytes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent
}

// host is the wire as one address sees it.
type host struct {
	*wire
	addr netip.Addr
}

func (h host) ListenPacket(at netip.AddrPort) (net.PacketConn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.packets[at] != nil {
		return nil, fmt.Errorf("%s: in use", at)
	}
	p := &packets{wire: h.wire, at: at, queue: make(chan packet, 1024), done: make(chan struct{})}
	h.packets[at] = p
	return p, nil
}

func (h host) Listen(at netip.AddrPort) (net.Listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[at] != nil {
		return nil, fmt.Errorf("%s: in use", at)
	}
	s := &streams{wire: h.wire, at: at, queue: make(chan net.Conn), done: make(chan struct{})}
	h.streams[at] = s
	return s, nil
}

func (h host) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	h.mu.Lock()
	s, cut := h.streams[to], h.cut != nil && h.cut(h.addr, to.Addr())
	h.mu.Unlock()
	if cut {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s == nil {
		return nil, errors.New("connection refused")
	}
	a, b := net.Pipe()
	select {
	case s.queue <- named{b, netip.AddrPortFrom(h.addr, 50000)}:
		return named{a, to}, nil
	case <-s.done:
	case <-ctx.Done():
	}
	return nil, errors.New("connection refused")
}

type named struct {
	net.Conn
	remote netip.AddrPort
}

func (n named) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(n.remote) }

type packet struct {
	data []byte
	from netip.AddrPort
}

type packets struct {
	wire  *wire
	at    netip.AddrPort
	queue chan packet
	once  sync.Once
	done  chan struct{}
}

func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case got := <-p.queue:
		return copy(b, got.data), net.UDPAddrFromAddrPort(got.from), nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

func (p *packets) WriteTo(b []byte, to net.Addr) (int, error) {
	at := to.(*net.UDPAddr).AddrPort()
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	p.wire.mu.Lock()
	defer p.wire.mu.Unlock()
	p.wire.sent += len(b)
	if q := p.wire.packets[at]; q != nil && (p.wire.cut == nil || !p.wire.cut(p.at.Addr(), at.Addr())) {
		select {
		case q.queue <- packet{append([]byte(nil), b...), p.at}:
		default: // as a full buffer does
		}
	}
	return len(b), nil
}

func (p *packets) Close() error {
	p.once.Do(func() {
		close(p.done)
		p.wire.mu.Lock()
		defer p.wire.mu.Unlock()
		delete(p.wire.packets, p.at)
	})
	return nil
}

func (p *packets) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(p.at) }
func (p *packets) SetDeadline(time.Time) error      { return nil }
func (p *packets) SetReadDeadline(time.Time) error  { return nil }
func (p *packets) SetWriteDeadline(time.Time) error { return nil }

type streams struct {
	wire  *wire
	at    netip.AddrPort
	queue chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (s *streams) Accept() (net.Conn, error) {
	select {
	case c := <-s.queue:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *streams) Close() error {
	s.once.Do(func() {
		close(s.done)
		s.wire.mu.Lock()
		defer s.wire.mu.Unlock()
		delete(s.wire.streams, s.at)
	})
	return nil
}

func (s *streams) Addr() net.Addr { return net.TCPAddrFromAddrPort(s.at) }
