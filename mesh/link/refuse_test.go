package link_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"

	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records/identity"
)

func TestWrongPeerIsRefused(t *testing.T) {
	s := listen(t, nil)
	for _, scheme := range []string{"quic", "ws", "http"} {
		conf := dialConf(t, s, scheme)
		conf.Expect = link.ExpectDevice(newKey(t, 9).Public().ID())
		_, err := link.Dial(within(t), conf)
		if !errors.Is(err, link.ErrWrongPeer) || !strings.Contains(err.Error(), s.id().Short()) {
			t.Errorf("%s: %v", scheme, err)
		}
		mine := errors.New("my own reason")
		conf.Expect = func(identity.DevicePublic) error { return mine }
		if _, err = link.Dial(within(t), conf); !errors.Is(err, mine) || !errors.Is(err, link.ErrWrongPeer) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	lives(t, s)
}

// TestOneAnswer: a peer that is not wanted is not asked again over the other
// transport, if the first answer is to count.
func TestOneAnswer(t *testing.T) {
	s := listen(t, nil)
	for one, want := range map[bool]int32{true: 1, false: 2} {
		var asked atomic.Int32
		conf := dialConf(t, s, "http")
		conf.OneAnswer = one
		conf.Expect = func(identity.DevicePublic) error { asked.Add(1); return errors.New("not wanted") }
		if _, err := link.Dial(within(t), conf); !errors.Is(err, link.ErrWrongPeer) {
			t.Error(err)
		}
		if got := asked.Load(); got != want {
			t.Errorf("one answer %v: asked %d times", one, got)
		}
	}
	lives(t, s)
}

// lives checks that the listener still takes connections.
func lives(t *testing.T, s *server) {
	t.Helper()
	for scheme := range schemes {
		a, b := connect(t, s, scheme)
		go b.Write([]byte("alive"))
		got := make([]byte, 5)
		if _, err := io.ReadFull(a, got); err != nil || string(got) != "alive" {
			t.Errorf("%s after the attack: %q %v", scheme, got, err)
		}
	}
}

// selfSigned returns a certificate for any kind of key.
func selfSigned(t *testing.T, key crypto.Signer, err error) tls.Certificate {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func ed25519Certificate(t *testing.T) tls.Certificate {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return selfSigned(t, key, err)
}

// rawDial connects to a listener without this package. It returns the TLS
// state after the server has answered the first byte, or an error.
func rawDial(ctx context.Context, s *server, scheme string, conf *tls.Config) error {
	if scheme == "quic" {
		c, err := quic.DialAddr(ctx, s.host(), conf, nil)
		if err != nil {
			return err
		}
		defer c.CloseWithError(0, "")
		st, err := c.OpenStream()
		if err != nil {
			return err
		}
		st.Write([]byte{0, 0, 0})
		_, err = st.Read(make([]byte, 1))
		return err
	}
	ws, _, err := websocket.Dial(ctx, s.via("ws")+link.Path, nil)
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	c := tls.Client(websocket.NetConn(ctx, ws, websocket.MessageBinary), conf)
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

func TestStrangeHandshakesAreRefused(t *testing.T) {
	ecKey, ecErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rsaKey, rsaErr := rsa.GenerateKey(rand.Reader, 2048)
	good := ed25519Certificate(t)
	chain := ed25519Certificate(t)
	chain.Certificate = append(chain.Certificate, good.Certificate[0])
	base := tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{link.ProtocolExchange},
		Certificates: []tls.Certificate{good},
	}
	cases := []struct {
		name   string
		change func(*tls.Config)
		log    string // what the listener says about it
		only   string // the transport on which it can be tried
	}{
		{"ecdsa", func(c *tls.Config) { c.Certificates[0] = selfSigned(t, ecKey, ecErr) }, "key of type ECDSA, want Ed25519", ""},
		{"rsa", func(c *tls.Config) { c.Certificates[0] = selfSigned(t, rsaKey, rsaErr) }, "key of type RSA, want Ed25519", ""},
		{"no certificate", func(c *tls.Config) { c.Certificates = nil }, "didn't provide a certificate", ""},
		{"two certificates", func(c *tls.Config) { c.Certificates[0] = chain }, "2 certificates", ""},
		{"tls 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "unsupported versions", "ws"},
		{"wrong protocol", func(c *tls.Config) { c.NextProtos = []string{"h3"} }, "unsupported application protocols", ""},
		{"no protocol", func(c *tls.Config) { c.NextProtos = nil }, "did not agree", "ws"},
	}
	s := listen(t, nil)
	for _, c := range cases {
		for scheme := range schemes {
			if c.only != "" && c.only != scheme {
				continue
			}
			s.log.reset()
			conf := base.Clone()
			conf.Certificates = []tls.Certificate{good}
			c.change(conf)
			err := rawDial(within(t), s, scheme, conf)
			if err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s over %s: %v", c.name, scheme, err)
			}
			eventually(t, c.name+" over "+scheme+" is logged", func() bool { return s.log.contains(c.log) })
		}
	}
	lives(t, s)
}

// A peer with another protocol is refused in our own words, at both ends.
func TestUnknownProtocolIsRefused(t *testing.T) {
	s := listen(t, nil)
	for scheme := range schemes {
		conf := dialConf(t, s, scheme)
		conf.Protocol = "classmesh/99"
		if _, err := link.Dial(within(t), conf); !errors.Is(err, link.ErrRefused) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// ticketCatcher is a cache that nothing should ever be put into.
type ticketCatcher struct{ t *testing.T }

func (c ticketCatcher) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (c ticketCatcher) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		c.t.Error("the listener gave out a session ticket")
	}
}

// A revoked device must not come back by resuming.
func TestNoResumption(t *testing.T) {
	s := listen(t, nil)
	for scheme := range schemes {
		accepted := make(chan *link.Conn, 1)
		go func() {
			c, err := s.Accept(within(t))
			if err == nil {
				c.Write([]byte("x"))
			}
			accepted <- c
		}()
		err := rawDial(within(t), s, scheme, &tls.Config{
			InsecureSkipVerify: true, NextProtos: []string{link.ProtocolExchange},
			Certificates:       []tls.Certificate{ed25519Certificate(t)},
			ClientSessionCache: ticketCatcher{t}, ServerName: "resume",
		})
		if err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		if c := <-accepted; c != nil {
			go c.Close()
		}
	}
}

func TestRandomBytes(t *testing.T) {
	s := listen(t, nil)
	noise := make([]byte, 1400)
	udp, err := net.Dial("udp", s.host())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for i := range 200 {
		rand.Read(noise)
		if i%2 == 0 {
			noise[0] |= 0xc0 // looks like a long header of QUIC 1
			copy(noise[1:], []byte{0, 0, 0, 1, 8})
		}
		udp.Write(noise)
	}
	tcp, err := net.Dial("tcp", s.host())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	tcp.Write(noise)
	ws, _, err := websocket.Dial(within(t), s.via("ws")+link.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	ws.Write(within(t), websocket.MessageBinary, noise)
	if _, _, err := ws.Read(within(t)); err == nil {
		// An alert may come first; then the end.
		if _, _, err := ws.Read(within(t)); err == nil {
			t.Error("random bytes are answered")
		}
	}
	text, _, err := websocket.Dial(within(t), s.via("ws")+link.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer text.CloseNow()
	text.Write(within(t), websocket.MessageText, []byte("hello"))
	lives(t, s)
}

// Handshakes that stall, of either transport, do not keep others out (a
// stalled one wedged the mesh in CBL-8515).
func TestStalledHandshakesBlockNobody(t *testing.T) {
	s := listen(t, nil)
	for range 40 {
		ws, _, err := websocket.Dial(within(t), s.via("ws")+link.Path, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
	}
	for range 10 { // QUIC whose stream is never opened
		c, err := quic.DialAddr(within(t), s.host(), &tls.Config{
			InsecureSkipVerify: true, NextProtos: []string{link.ProtocolExchange},
			Certificates: []tls.Certificate{ed25519Certificate(t)},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseWithError(0, "")
	}
	began := time.Now()
	lives(t, s)
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}

// When the gate is full, newcomers are told at once; when it empties, all is
// well again.
func TestHandshakesAreBounded(t *testing.T) {
	s := listen(t, nil)
	var stalled []*websocket.Conn
	for range link.MaxHandshakes {
		ws, _, err := websocket.Dial(within(t), s.via("ws")+link.Path, nil)
		if err != nil {
			t.Fatal(err)
		}
		stalled = append(stalled, ws)
	}
	for scheme := range schemes {
		if _, err := link.Dial(within(t), dialConf(t, s, scheme)); !errors.Is(err, link.ErrRefused) {
			t.Errorf("%s into a full gate: %v", scheme, err)
		}
	}
	// Half empty: newcomers over QUIC prove their address first.
	for _, ws := range stalled[:link.MaxHandshakes/2] {
		ws.CloseNow()
	}
	eventually(t, "the gate opens", func() bool {
		a, err := link.Dial(within(t), dialConf(t, s, "quic"))
		if err != nil {
			return false
		}
		b, err := s.Accept(within(t))
		if err != nil {
			t.Fatal(err)
		}
		go b.Close()
		a.Close()
		return true
	})
	for _, ws := range stalled {
		ws.CloseNow()
	}
}

// A stream that stops without a word is not an orderly end.
func TestBreakOffIsNotAnEnd(t *testing.T) {
	s := listen(t, nil)
	for scheme := range schemes {
		read := make(chan error, 1)
		go func() {
			c, err := s.Accept(within(t))
			if err == nil {
				c.Write([]byte("x")) // whereupon rawDial hangs up
				_, err = c.Read(make([]byte, 1))
			}
			read <- err
		}()
		if err := rawDial(within(t), s, scheme, &tls.Config{
			InsecureSkipVerify: true, NextProtos: []string{link.ProtocolExchange},
			Certificates: []tls.Certificate{ed25519Certificate(t)},
		}); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		if err := <-read; !errors.Is(err, link.ErrBroken) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
