package link

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Path is where a listener serves the WebSocket, and where Dial looks for it
// below the prefix of an address.
const Path = "/mesh"

// socket is a WebSocket as a pipe of bytes, for TLS to run in.
type socket struct {
	ws      *websocket.Conn
	remote  net.Addr
	beats   *beats
	message io.Reader // what is being read; nil between messages

	readBy, writeBy deadline
}

func newSocket(ws *websocket.Conn, remote net.Addr, b *beats) *socket {
	ws.SetReadLimit(-1) // messages are read in pieces, never held
	s := &socket{ws: ws, remote: remote, beats: b}
	s.readBy.hangUp = func() { ws.CloseNow() }
	s.writeBy.hangUp = s.readBy.hangUp
	return s
}

// Read reads from one message after the other.
func (s *socket) Read(p []byte) (int, error) {
	if err := s.readBy.begin(); err != nil {
		return 0, err
	}
	s.beats.waiting.Store(s.beats.now())
	n, err := s.read(p)
	s.beats.waiting.Store(0)
	return n, s.readBy.done(err)
}

func (s *socket) read(p []byte) (int, error) {
	for {
		if s.message == nil {
			kind, r, err := s.ws.Reader(context.Background())
			if err != nil {
				return 0, err
			}
			if kind != websocket.MessageBinary {
				return 0, &fault{kind: ErrProtocol, text: "text in the WebSocket"}
			}
			s.message = r
		}
		n, err := s.message.Read(p)
		if err == io.EOF {
			s.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write sends p as one message.
func (s *socket) Write(p []byte) (int, error) {
	if err := s.writeBy.begin(); err != nil {
		return 0, err
	}
	if err := s.writeBy.done(s.ws.Write(context.Background(), websocket.MessageBinary, p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close hangs up at once. TLS calls it when a handshake is given up, and a
// goodbye at the level of the WebSocket would wait for the peer.
func (s *socket) Close() error { return s.ws.CloseNow() }

// LocalAddr is unknown: nil.
func (s *socket) LocalAddr() net.Addr { return nil }

// RemoteAddr returns the peer's address, or that of a proxy before it.
func (s *socket) RemoteAddr() net.Addr { return s.remote }

// SetDeadline sets both deadlines.
func (s *socket) SetDeadline(t time.Time) error {
	s.readBy.set(t)
	s.writeBy.set(t)
	return nil
}

// SetReadDeadline interrupts a Read at t.
func (s *socket) SetReadDeadline(t time.Time) error {
	s.readBy.set(t)
	return nil
}

// SetWriteDeadline interrupts a Write at t.
func (s *socket) SetWriteDeadline(t time.Time) error {
	s.writeBy.set(t)
	return nil
}

// beats is what is known of the peer's liveness. Times are nanoseconds since
// start and never 0.
type beats struct {
	start   time.Time
	waiting atomic.Int64 // since when a Read has been waiting; 0: none is
	heard   atomic.Int64 // the last ping or pong
	rtt     atomic.Int64 // smoothed, in nanoseconds; 0: no pong has come
}

func (b *beats) now() int64 { return int64(time.Since(b.start)) + 1 }

// silence returns for how long the peer has been silent. While nobody reads
// here nothing can be heard, and nothing is concluded.
func (b *beats) silence() time.Duration {
	waiting := b.waiting.Load()
	if waiting == 0 {
		return 0
	}
	return time.Duration(b.now() - max(waiting, b.heard.Load()))
}

func newBeats() *beats { return &beats{start: time.Now()} }

func (b *beats) onPing(context.Context, []byte) bool {
	b.heard.Store(b.now())
	return true
}

func (b *beats) onPong(context.Context, []byte) { b.heard.Store(b.now()) }

// measured takes a round trip into the smoothed one, as TCP does, unless it shows
// that those before had to wait for the peer to begin to read. It is not called
// concurrently.
func (b *beats) measured(took time.Duration) {
	if before := time.Duration(b.rtt.Load()); before > 0 && took > before/2 {
		took = before + (took-before)/8
	}
	b.rtt.Store(int64(max(took, 1)))
}

// socketPipe is TLS inside a WebSocket.
type socketPipe struct {
	*tls.Conn
	socket *socket
}

// abort tells the peer nothing: without the end frame before it, the end of
// the stream means that it broke off.
func (p *socketPipe) abort(Code, string) { p.socket.ws.CloseNow() }

func (p *socketPipe) roundTrip() time.Duration { return time.Duration(p.socket.beats.rtt.Load()) }

func (p *socketPipe) translate(err error) error { return socketError(err) }

// newSocketConn makes a Conn of TLS whose handshake is complete.
func newSocketConn(t *tls.Conn, s *socket, protocols []string, timing Timing, dialled bool) (*Conn, error) {
	state := t.ConnectionState()
	peer, err := peerKey(state, protocols)
	if err != nil {
		return nil, err
	}
	c := newConn(&socketPipe{t, s}, peer, state.NegotiatedProtocol, WebSocket, s.RemoteAddr, dialled)
	watch(c, s, timing)
	return c, nil
}

// watch does for a WebSocket what QUIC does by itself: both sides send signs of
// life (proxies on the way cut off what is quiet), measure how long the answer
// takes, and give up a peer that they no longer hear.
func watch(c *Conn, s *socket, timing Timing) {
	var timer *time.Timer
	beat := func() {
		if c.ctx.Err() != nil {
			return
		}
		if s.beats.silence() > timing.Idle {
			c.end(&fault{kind: ErrTimeout, text: "nothing heard for " + timing.Idle.String()})
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, timing.KeepAlive)
		defer cancel()
		began := time.Now()
		if s.ws.Ping(ctx) == nil { // that no pong came shows in silence
			s.beats.measured(time.Since(began))
		}
		timer.Reset(max(0, timing.KeepAlive-time.Since(began)))
	}
	timer = time.AfterFunc(time.Hour, beat)
	timer.Reset(0)
	context.AfterFunc(c.ctx, func() { timer.Stop() })
}

// dialSocket connects to a WebSocket. The connection outlives ctx.
func dialSocket(ctx context.Context, to *url.URL, d *dialler) (*Conn, error) {
	var remote net.Addr
	transport := &http.Transport{
		Proxy: d.proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				remote = c.RemoteAddr()
			}
			return c, err
		},
		// The outer certificate is not relied upon: school proxies put in
		// their own, boards without a clock find every one invalid, and the
		// TLS inside authenticates both sides whatever is outside.
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true,
	}
	defer transport.CloseIdleConnections()
	b := newBeats()
	ws, response, err := websocket.Dial(ctx, to.String(), &websocket.DialOptions{
		HTTPClient:     &http.Client{Transport: transport},
		OnPingReceived: b.onPing,
		OnPongReceived: b.onPong,
	})
	if err != nil {
		switch {
		case response == nil:
		case response.StatusCode == http.StatusServiceUnavailable: // as admitSocket says it
			return nil, &fault{kind: ErrRefused, text: "the other side is busy: HTTP " + response.Status}
		default:
			return nil, &fault{kind: ErrUnreachable, text: "a web server answers that is no classmesh (HTTP " + response.Status + "): another program, or the login page of the network"}
		}
		return nil, socketError(err)
	}
	s := newSocket(ws, remote, b)
	t := tls.Client(s, d.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		s.Close()
		return nil, socketError(err)
	}
	c, err := newSocketConn(t, s, d.protocols, d.timing, true)
	if err != nil {
		s.Close()
		return nil, err
	}
	if err := c.open(); err != nil {
		return nil, err
	}
	return c, nil
}

// admitSocket answers a request for the WebSocket. It returns when the
// connection has been handed out or refused.
func (l *Listener) admitSocket(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	slot := l.gate.enter()
	if slot == nil {
		http.Error(w, "too many handshakes; try again later", http.StatusServiceUnavailable)
		return
	}
	defer slot.leave()
	remote := net.Addr(nil)
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		remote = net.TCPAddrFromAddrPort(a)
	}
	b := newBeats()
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{OnPingReceived: b.onPing, OnPongReceived: b.onPong})
	if err != nil {
		l.refused(WebSocket, remote, &fault{kind: ErrProtocol, text: err.Error()})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeWait)
	defer cancel()
	s := newSocket(ws, remote, b)
	t := tls.Server(s, l.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		l.refused(WebSocket, remote, socketError(err))
		s.Close()
		return
	}
	c, err := newSocketConn(t, s, l.conf.Protocols, l.conf.Timing, false)
	if err != nil {
		l.refused(WebSocket, remote, err)
		s.Close()
		return
	}
	l.handOut(ctx, c)
}

// socketError turns an error of crypto/tls, net/http or the WebSocket into one
// of this package.
func socketError(err error) error {
	if e := known(err); e != nil {
		return e
	}
	op, isOp := errors.AsType[*net.OpError](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	_, isRecord := errors.AsType[tls.RecordHeaderError](err)
	_, isCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	kind := ErrBroken
	switch {
	case isOp && op.Op == "remote error": // an alert of TLS
		kind = ErrRefused
	case isOp && op.Op == "local error", isRecord, isCertificate:
		kind = ErrProtocol
	case isTimeout(err), errors.Is(err, context.DeadlineExceeded):
		kind = ErrTimeout
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, net.ErrClosed):
		// Whoever closes a connection here has ended it first, with its reason. What is
		// left is the library, which closes it when a ping cannot be written in time.
		return &fault{kind: ErrTimeout, text: "a sign of life could not be sent for too long"}
	case isDNS, isOp && op.Op == "dial":
		kind = ErrUnreachable
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &fault{kind: ErrBroken, text: "the stream ended early"}
	}
	return &fault{kind: kind, text: cause(err)}
}

// cause is the innermost of what the libraries say, each of which puts its own
// words before those of the next: what the network said.
func cause(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Error()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return err.Error()
}
