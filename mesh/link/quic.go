package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/records/identity"
)

// Flow control: one stream may have up to 2 MiB on its way, which fills
// 100 Mbit/s at a round trip of 160 ms; a peer can make us hold no more than
// the connection's window. See also [windows].
const (
	streamWindowFirst = 256 << 10
	streamWindowMost  = 2 << 20
	connWindowFirst   = 512 << 10
	connWindowMost    = 4 << 20
)

var labelStatelessReset = identity.NewLabel("classmesh 1 quic stateless reset")

// quicConfig holds what both sides of QUIC have in common.
func quicConfig(t Timing) *quic.Config {
	return &quic.Config{
		Versions:                       []quic.Version{quic.Version1},
		HandshakeIdleTimeout:           handshakeWait / 2, // a handshake may take twice this
		MaxIdleTimeout:                 t.Idle,
		KeepAlivePeriod:                t.KeepAlive,
		InitialStreamReceiveWindow:     streamWindowFirst,
		MaxStreamReceiveWindow:         streamWindowMost,
		InitialConnectionReceiveWindow: connWindowFirst,
		MaxConnectionReceiveWindow:     connWindowMost,
		// A connection has one stream, opened by the dialler; its credit is
		// never given back, so there is no second one.
		MaxIncomingStreams:         -1,
		MaxIncomingUniStreams:      -1,
		RequireStreamCreditRelease: true,
		// Probing for packets larger than 1280 bytes gains 8 % of the rate
		// on loopback, which no sync reaches, and costs each connection that
		// lives longer than a few round trips 12 kB: more than twice the
		// 4.6 kB of handshake, a message each way and end. It is also what
		// goes wrong on odd paths.
		DisablePathMTUDiscovery: true,
	}
}

// quicPipe is the one stream of a QUIC connection.
type quicPipe struct {
	*quic.Stream
	conn *quic.Conn
}

func (p *quicPipe) abort(code Code, reason string) {
	p.conn.CloseWithError(quic.ApplicationErrorCode(code), reason)
}

func (p *quicPipe) roundTrip() time.Duration {
	s := p.conn.ConnectionStats()
	if s.LatestRTT == 0 {
		return 0 // the smoothed one is a guess so far
	}
	return s.SmoothedRTT
}

func (p *quicPipe) translate(err error) error { return quicError(err) }

// newQUICConn makes a Conn of a connection whose handshake is complete.
func newQUICConn(q *quic.Conn, stream *quic.Stream, protocols []string, dialled bool) (*Conn, error) {
	state := q.ConnectionState().TLS
	peer, err := peerKey(state, protocols)
	if err != nil {
		return nil, err
	}
	c := newConn(&quicPipe{stream, q}, peer, state.NegotiatedProtocol, QUIC, q.RemoteAddr, dialled)
	context.AfterFunc(q.Context(), func() { c.end(quicError(context.Cause(q.Context()))) })
	return c, nil
}

// dialQUIC connects to one address from a socket of its own. The connection
// outlives ctx.
func dialQUIC(ctx context.Context, to netip.AddrPort, d *dialler) (*Conn, error) {
	network := "udp6"
	if to.Addr().Unmap().Is4() {
		network = "udp4"
	}
	socket, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, &fault{kind: ErrUnreachable, text: err.Error()}
	}
	// A Transport of one's own gives the connection an ID. Without one, the
	// peer's stateless reset after its restart would not be recognised.
	transport := &quic.Transport{Conn: socket}
	hangUp := func() {
		transport.Close()
		socket.Close()
	}
	q, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(to), d.tls, quicConfig(d.timing))
	if err != nil {
		hangUp()
		return nil, quicError(err)
	}
	context.AfterFunc(q.Context(), hangUp)
	stream, err := q.OpenStream()
	if err != nil {
		q.CloseWithError(quic.ApplicationErrorCode(CodeFault), "")
		return nil, quicError(err)
	}
	c, err := newQUICConn(q, stream, d.protocols, true)
	if err != nil {
		q.CloseWithError(quic.ApplicationErrorCode(CodeFault), "")
		return nil, err
	}
	if err := c.open(); err != nil {
		return nil, err
	}
	return c, nil
}

// slotKey is where the context of an incoming connection keeps its slot.
type slotKey struct{}

// serveQUIC accepts connections on socket until ctx ends or the socket fails.
// It closes the socket.
func (l *Listener) serveQUIC(ctx context.Context, socket *net.UDPConn) error {
	defer socket.Close()
	reset := quic.StatelessResetKey(l.conf.Key.Derive(&labelStatelessReset))
	transport := &quic.Transport{
		Conn:              socket,
		StatelessResetKey: &reset,
		// Forged source addresses must not be able to take all slots.
		VerifySourceAddress: func(net.Addr) bool { return l.gate.crowded() },
		ConnContext: func(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
			slot := l.gate.enter()
			if slot == nil {
				return nil, errors.New("too many handshakes")
			}
			context.AfterFunc(ctx, func() {
				if slot.leave() { // it ended before it was handed out
					l.refused(QUIC, info.RemoteAddr, quicError(context.Cause(ctx)))
				}
			})
			return context.WithValue(ctx, slotKey{}, slot), nil
		},
	}
	conf := quicConfig(l.conf.Timing)
	conf.MaxIncomingStreams = 1
	var windows windows
	conf.AllowConnectionWindowIncrease = func(q *quic.Conn, by uint64) bool { return windows.grow(q, by) }
	listener, err := transport.Listen(l.tls, conf)
	if err != nil {
		return fmt.Errorf("listen for QUIC: %w", quicError(err))
	}
	var admissions errgroup.Group // bounded by the gate
	defer func() {
		// In this order, so that peers hear of the end.
		listener.Close()
		admissions.Wait()
		if ctx.Err() != nil {
			l.closeConns()
		}
		transport.Close()
	}()
	for {
		q, err := listener.Accept(ctx)
		if err != nil {
			return fmt.Errorf("accept QUIC: %w", quicError(err))
		}
		context.AfterFunc(q.Context(), func() { windows.forget(q) })
		admissions.Go(func() error {
			l.admitQUIC(ctx, q)
			return nil
		})
	}
}

// admitQUIC waits for the stream of a new connection and hands it out.
func (l *Listener) admitQUIC(ctx context.Context, q *quic.Conn) {
	if slot, ok := q.Context().Value(slotKey{}).(*slot); ok {
		defer slot.leave()
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeWait)
	defer cancel()
	stream, err := q.AcceptStream(ctx)
	if err != nil {
		l.refused(QUIC, q.RemoteAddr(), quicError(err))
		q.CloseWithError(quic.ApplicationErrorCode(CodeFault), "no stream was opened")
		return
	}
	c, err := newQUICConn(q, stream, l.conf.Protocols, false)
	if err != nil {
		l.refused(QUIC, q.RemoteAddr(), err)
		q.CloseWithError(quic.ApplicationErrorCode(CodeFault), "")
		return
	}
	l.handOut(ctx, c)
}

// tlsAlerts is where QUIC keeps the alerts of TLS among its error codes.
const tlsAlerts quic.TransportErrorCode = 0x100

// quicError turns an error of quic-go into one of this package.
func quicError(err error) error {
	if e := known(err); e != nil {
		return e
	}
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		switch {
		case !e.Remote:
			return &CloseError{Code: Code(e.ErrorCode), Reason: e.ErrorMessage}
		case Code(e.ErrorCode) == CodeDone:
			return &fault{kind: ErrBroken, text: "the peer hung up"}
		default:
			return &CloseError{Code: Code(e.ErrorCode), Reason: cutReason(e.ErrorMessage), Remote: true}
		}
	}
	if e, ok := errors.AsType[*quic.TransportError](err); ok {
		alert := e.ErrorCode >= tlsAlerts && e.ErrorCode < tlsAlerts+0x100
		switch {
		case e.Remote && (alert || e.ErrorCode == quic.ConnectionRefused):
			return &fault{kind: ErrRefused, text: e.Error()}
		case alert:
			return &fault{kind: ErrProtocol, text: e.Error()}
		}
		return &fault{kind: ErrBroken, text: e.Error()}
	}
	if _, ok := errors.AsType[*quic.VersionNegotiationError](err); ok {
		return &fault{kind: ErrRefused, text: err.Error()}
	}
	if _, ok := errors.AsType[*quic.StatelessResetError](err); ok {
		return &fault{kind: ErrBroken, text: "the peer has restarted"}
	}
	if isTimeout(err) {
		return &fault{kind: ErrTimeout, text: err.Error()}
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	if errors.Is(err, io.EOF) {
		return &fault{kind: ErrBroken, text: "the stream ended early"}
	}
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		return &fault{kind: ErrUnreachable, text: e.Error()}
	}
	return &fault{kind: ErrBroken, text: err.Error()}
}

// isTimeout reports whether err says that time ran out.
func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
