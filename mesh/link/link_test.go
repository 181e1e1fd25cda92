package link_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records/identity"
)

// patience bounds everything that a test waits for.
const patience = 10 * time.Second

func newKey(t testing.TB, seed byte) identity.DeviceKey {
	t.Helper()
	k, err := identity.GenerateDeviceKey(rand.NewChaCha8([32]byte{seed}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// logLines collects what a listener logs.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logLines) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (l *logLines) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

// server is a running listener.
type server struct {
	*link.Listener
	key identity.DeviceKey
	log *logLines
}

func (s *server) host() string             { return s.Addr().String() }
func (s *server) id() identity.DeviceID    { return s.key.Public().ID() }
func (s *server) via(scheme string) string { return scheme + "://" + s.host() }

func listen(t testing.TB, change func(*link.Config)) *server {
	t.Helper()
	s := &server{key: newKey(t, 1), log: &logLines{}}
	conf := link.Config{
		Key: s.key, Address: "127.0.0.1:0", Protocols: []string{link.ProtocolExchange, link.ProtocolControl},
		Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&conf)
	}
	l, err := link.Listen(conf)
	if err != nil {
		t.Fatal(err)
	}
	s.Listener = l
	done := make(chan error, 1)
	go func() { done <- l.Run(context.Background()) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func dialConf(t testing.TB, s *server, scheme string) link.DialConfig {
	t.Helper()
	return link.DialConfig{
		Key: newKey(t, 2), Addresses: []string{s.via(scheme)}, Protocol: link.ProtocolExchange,
		Expect: link.ExpectDevice(s.id()),
	}
}

// connect returns both ends of a new connection.
func connect(t testing.TB, s *server, scheme string) (dialled, accepted *link.Conn) {
	t.Helper()
	dialled, err := link.Dial(within(t), dialConf(t, s, scheme))
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = s.Accept(within(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		go accepted.Close()
		dialled.Close()
	})
	return dialled, accepted
}

var schemes = map[string]link.Transport{"quic": link.QUIC, "ws": link.WebSocket}

// eachTransport runs a test over QUIC and over the WebSocket.
func eachTransport(t *testing.T, test func(t *testing.T, scheme string)) {
	for scheme, transport := range schemes {
		t.Run(string(transport), func(t *testing.T) { test(t, scheme) })
	}
}

func TestIdentityIsSeenAtBothEnds(t *testing.T) {
	eachTransport(t, func(t *testing.T, scheme string) {
		s := listen(t, nil)
		a, b := connect(t, s, scheme)
		if a.Peer() != s.key.Public() || b.Peer() != newKey(t, 2).Public() {
			t.Error("wrong peer")
		}
		for _, c := range []*link.Conn{a, b} {
			if c.Protocol() != link.ProtocolExchange || c.Transport() != schemes[scheme] {
				t.Errorf("protocol %q over %q", c.Protocol(), c.Transport())
			}
			if host, _, err := net.SplitHostPort(c.RemoteAddr().String()); err != nil || host != "127.0.0.1" {
				t.Errorf("remote address %v", c.RemoteAddr())
			}
		}
		if !a.Dialled() || b.Dialled() {
			t.Error("who dialled is confused")
		}
		if a.RemoteAddr().String() != s.host() {
			t.Errorf("dialled %s, connected to %s", s.host(), a.RemoteAddr())
		}
	})
}

func TestProtocolIsTheDiallersChoice(t *testing.T) {
	eachTransport(t, func(t *testing.T, scheme string) {
		s := listen(t, nil)
		conf := dialConf(t, s, scheme)
		conf.Protocol = link.ProtocolControl
		a, err := link.Dial(within(t), conf)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		b, err := s.Accept(within(t))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { go b.Close() }()
		if a.Protocol() != link.ProtocolControl || b.Protocol() != link.ProtocolControl {
			t.Errorf("protocols %q and %q", a.Protocol(), b.Protocol())
		}
	})
}

// send writes n bytes that follow from seed, in uneven pieces.
func send(w io.Writer, seed byte, n int) error {
	r := rand.New(rand.NewChaCha8([32]byte{seed}))
	data := rand.NewChaCha8([32]byte{seed, 1})
	buf := make([]byte, 300<<10)
	for n > 0 {
		p := buf[:min(n, 1+r.IntN(len(buf)))]
		data.Read(p)
		if _, err := w.Write(p); err != nil {
			return err
		}
		n -= len(p)
	}
	return nil
}

// receive expects what send writes.
func receive(r io.Reader, seed byte, n int) error {
	cuts := rand.New(rand.NewChaCha8([32]byte{seed}))
	data := rand.NewChaCha8([32]byte{seed, 1})
	got, want := make([]byte, 300<<10), make([]byte, 300<<10)
	for n > 0 {
		p := min(n, 1+cuts.IntN(len(got)))
		if _, err := io.ReadFull(r, got[:p]); err != nil {
			return fmt.Errorf("%d bytes before the end: %w", n, err)
		}
		data.Read(want[:p])
		if !bytes.Equal(got[:p], want[:p]) {
			return fmt.Errorf("altered %d to %d bytes before the end", n, n-p)
		}
		n -= p
	}
	return nil
}

func TestBothWaysAtOnce(t *testing.T) {
	const size = 20 << 20
	eachTransport(t, func(t *testing.T, scheme string) {
		a, b := connect(t, listen(t, nil), scheme)
		var g errgroup.Group
		g.Go(func() error { return send(a, 1, size) })
		g.Go(func() error { return send(b, 2, size) })
		g.Go(func() error { return receive(b, 1, size) })
		g.Go(func() error { return receive(a, 2, size) })
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*link.Conn{a, b} {
			if n := c.Counts(); n.Sent != size || n.Received != size {
				t.Errorf("counts %+v", n)
			}
		}
	})
}

func TestLastBytesArriveBeforeTheEnd(t *testing.T) {
	const size = 1 << 20
	eachTransport(t, func(t *testing.T, scheme string) {
		s := listen(t, nil)
		for _, code := range []link.Code{link.CodeDone, link.CodeFirstFree + 7} {
			for _, dialler := range []bool{true, false} {
				from, to := connect(t, s, scheme)
				if !dialler {
					from, to = to, from
				}
				var g errgroup.Group
				g.Go(func() error {
					// What nobody reads must not keep the rest from arriving.
					if err := send(to, 4, 10<<10); err != nil {
						return err
					}
					if err := receive(to, 3, size); err != nil {
						return err
					}
					_, err := to.Read(make([]byte, 1))
					checkEnd(t, err, code, "größer")
					return nil
				})
				if err := send(from, 3, size); err != nil {
					t.Fatal(err)
				}
				from.CloseWithError(code, "größer")
				if err := g.Wait(); err != nil {
					t.Fatal(err)
				}
				_, err := to.Write([]byte("x"))
				if !errors.Is(err, link.ErrClosed) {
					t.Errorf("write after the end: %v", err)
				}
				want := link.CloseError{Code: code, Reason: "größer"}
				if e, ok := errors.AsType[*link.CloseError](context.Cause(from.Context())); !ok || *e != want {
					t.Errorf("own end: %v", context.Cause(from.Context()))
				}
				if _, err := from.Read(make([]byte, 1)); !errors.Is(err, link.ErrClosed) {
					t.Errorf("read after own end: %v", err)
				}
			}
		}
	})
}

func checkEnd(t *testing.T, err error, code link.Code, reason string) {
	t.Helper()
	if code == link.CodeDone {
		if err != io.EOF {
			t.Errorf("end: %v, want io.EOF", err)
		}
		return
	}
	want := link.CloseError{Code: code, Reason: reason, Remote: true}
	if e, ok := errors.AsType[*link.CloseError](err); !ok || *e != want || !errors.Is(err, link.ErrClosed) {
		t.Errorf("end: %v, want %v", err, &want)
	}
}

func TestBothCloseAtOnce(t *testing.T) {
	eachTransport(t, func(t *testing.T, scheme string) {
		a, b := connect(t, listen(t, nil), scheme)
		began := time.Now()
		var g errgroup.Group
		g.Go(func() error { return a.CloseWithError(20, "a") })
		g.Go(func() error { return b.CloseWithError(21, "b") })
		g.Go(a.Close)
		g.Wait()
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// A peer that neither reads nor closes delays the end, but not for ever.
func TestCloseDoesNotWaitForADeafPeer(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, scheme string) {
		t.Parallel()
		a, _ := connect(t, listen(t, nil), scheme)
		blocked := make(chan error, 1)
		go func() { blocked <- send(a, 1, 64<<20) }()
		a.CloseWithError(link.CodeFirstFree, "")
		select {
		case err := <-blocked:
			if !errors.Is(err, link.ErrClosed) {
				t.Errorf("blocked write: %v", err)
			}
		case <-time.After(patience):
			t.Error("a write is still blocked")
		}
	})
}

func TestDeadline(t *testing.T) {
	eachTransport(t, func(t *testing.T, scheme string) {
		s := listen(t, nil)
		a, b := connect(t, s, scheme)
		a.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, link.ErrTimeout) {
			t.Errorf("read past its deadline: %v", err)
		}
		if _, err := b.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the other side read %v", err)
		}
		a, b = connect(t, s, scheme)
		a.SetDeadline(time.Now().Add(-time.Second))
		a.SetDeadline(time.Time{})
		go b.Write([]byte("x"))
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Errorf("a deadline taken back: %v", err)
		}
		a.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		if err := send(a, 1, 64<<20); !errors.Is(err, link.ErrTimeout) {
			t.Errorf("write past its deadline: %v", err)
		}
	})
}

// The WebSocket is closed under a Read when a sign of life cannot be written in time:
// that is silence, and not a fault of the connection.
func TestClosedUnderARead(t *testing.T) {
	err := link.SocketError(fmt.Errorf("failed to get reader: %w", net.ErrClosed))
	if !errors.Is(err, link.ErrTimeout) || errors.Is(err, link.ErrBroken) {
		t.Errorf("%v", err)
	}
}

// A peer that stops answering is given up after the idle time.
func TestSilentPeerIsGivenUp(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, scheme string) {
		t.Parallel()
		timing := link.Timing{Idle: 2 * time.Second, KeepAlive: 400 * time.Millisecond}
		s := listen(t, func(c *link.Config) { c.Timing = timing })
		relay := newRelay(t, s.Addr())
		conf := dialConf(t, s, scheme)
		conf.Addresses = []string{scheme + "://" + relay.addr()}
		conf.Timing = timing
		a, err := link.Dial(within(t), conf)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Accept(within(t))
		if err != nil {
			t.Fatal(err)
		}
		ends := make(chan error, 2)
		for _, c := range []*link.Conn{a, b} {
			go func() {
				_, err := c.Read(make([]byte, 1))
				ends <- err
			}()
		}
		// Signs of life keep a quiet connection for longer than the idle time.
		select {
		case err := <-ends:
			t.Fatalf("quiet connection ended: %v", err)
		case <-time.After(3 * timing.Idle):
		}
		relay.cut()
		for range 2 {
			select {
			case err := <-ends:
				if !errors.Is(err, link.ErrTimeout) {
					t.Errorf("cut connection ended with %v", err)
				}
			case <-time.After(patience):
				t.Fatal("a cut connection lives on")
			}
		}
	})
}

func TestListenerCloseEndsConnections(t *testing.T) {
	eachTransport(t, func(t *testing.T, scheme string) {
		s := listen(t, nil)
		a, b := connect(t, s, scheme)
		if _, err := b.Write([]byte("bye")); err != nil {
			t.Fatal(err)
		}
		go s.Close()
		got, err := io.ReadAll(a)
		if string(got) != "bye" {
			t.Errorf("got %q", got)
		}
		if e, ok := errors.AsType[*link.CloseError](err); !ok || e.Code != link.CodeStopping || !e.Remote {
			t.Errorf("end: %v", err)
		}
		if _, err := s.Accept(within(t)); !errors.Is(err, link.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
	})
}

func TestListenerWithoutRun(t *testing.T) {
	l, err := link.Listen(link.Config{Key: newKey(t, 1), Address: "127.0.0.1:0", Protocols: []string{"p"}})
	if err != nil {
		t.Fatal(err)
	}
	again := link.Config{Key: newKey(t, 1), Address: l.Addr().String(), Protocols: []string{"p"}}
	if m, err := link.Listen(again); err == nil {
		m.Close()
		t.Error("one port bound twice")
	}
	l.Close()
	if err := l.Run(within(t)); err == nil {
		t.Error("Run after Close")
	}
	m, err := link.Listen(again)
	if err != nil {
		t.Fatalf("the port is not free after Close: %v", err)
	}
	m.Close()
}

// A dead UDP socket is bound again (a hung listener was syncthing#9061).
func TestDeadSocketIsBoundAgain(t *testing.T) {
	s := listen(t, nil)
	old, _ := connect(t, s, "quic")
	s.BreakUDP()
	eventually(t, "QUIC is back", func() bool {
		conf := dialConf(t, s, "quic")
		conf.Timeout = 200 * time.Millisecond
		c, err := link.Dial(within(t), conf)
		if err != nil {
			return false
		}
		d, err := s.Accept(within(t))
		if err != nil {
			t.Fatal(err)
		}
		go d.Close()
		c.Close()
		return true
	})
	if !s.log.contains("socket lost") {
		t.Error("the loss was not logged")
	}
	// The first message on the old connection is answered by a reset, long
	// before the idle time.
	if _, err := old.Write(make([]byte, 200)); err != nil {
		t.Fatal(err)
	}
	old.SetReadDeadline(time.Now().Add(patience))
	if _, err := old.Read(make([]byte, 1)); !errors.Is(err, link.ErrBroken) {
		t.Errorf("connection over the lost socket: %v", err)
	}
}

func TestOtherPagesOnThePort(t *testing.T) {
	s := listen(t, func(c *link.Config) {
		c.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page "+r.URL.Path) })
	})
	get := func(path string) (int, string) {
		r, err := http.Get("http://" + s.host() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	if code, body := get("/zones"); code != http.StatusOK || body != "page /zones" {
		t.Errorf("page: %d %q", code, body)
	}
	if code, _ := get(link.Path); code != http.StatusUpgradeRequired {
		t.Errorf("the WebSocket's path without a WebSocket: %d", code)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// After everything is closed no goroutine is left.
func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	func() {
		l, err := link.Listen(link.Config{Key: newKey(t, 1), Address: "127.0.0.1:0", Protocols: []string{link.ProtocolExchange}})
		if err != nil {
			t.Fatal(err)
		}
		s := &server{Listener: l, key: newKey(t, 1)}
		done := make(chan error, 1)
		ctx, stop := context.WithCancel(context.Background())
		go func() { done <- l.Run(ctx) }()
		for i, scheme := range []string{"quic", "ws", "http", "quic", "ws"} {
			a, err := link.Dial(within(t), dialConf(t, s, scheme))
			if err != nil {
				t.Fatal(err)
			}
			b, err := l.Accept(within(t))
			if err != nil {
				t.Fatal(err)
			}
			if i < 3 {
				go io.Copy(io.Discard, b)
				a.Close()
			} else {
				go io.Copy(io.Discard, a)
			}
		}
		// A dial that fails, and one that is given up.
		conf := dialConf(t, s, "http")
		conf.Expect = link.ExpectDevice(identity.DeviceID{})
		if _, err := link.Dial(within(t), conf); err == nil {
			t.Error("a stranger was taken")
		}
		conf.Addresses = []string{newSilence(t)}
		gone, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
		defer cancel()
		if _, err := link.Dial(gone, conf); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: %v", err)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before+1 }) // newSilence's
}

// Both ends know after a while how long the way there and back takes, over
// either transport.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, scheme string) {
		t.Parallel()
		timing := link.Timing{Idle: 10 * time.Second, KeepAlive: 50 * time.Millisecond}
		s := listen(t, func(c *link.Config) { c.Timing = timing })
		conf := dialConf(t, s, scheme)
		conf.Timing = timing
		a, err := link.Dial(within(t), conf)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Accept(within(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*link.Conn{a, b} {
			go c.Read(make([]byte, 1))
		}
		eventually(t, "both ends know the round trip", func() bool { return a.RTT() > 0 && b.RTT() > 0 })
		if a.RTT() > patience || b.RTT() > patience {
			t.Errorf("round trips of %v and %v", a.RTT(), b.RTT())
		}
		a.Close()
	})
}
