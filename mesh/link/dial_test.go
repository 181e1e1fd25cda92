package link_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/classmesh/classmesh/mesh/link"
)

func TestQUICWinsWhereItCan(t *testing.T) {
	s := listen(t, nil)
	a, b := connect(t, s, "http")
	if a.Transport() != link.QUIC || b.Transport() != link.QUIC {
		t.Errorf("transports %s and %s", a.Transport(), b.Transport())
	}
}

// With UDP blocked the WebSocket has to take over within a second, whether
// datagrams are swallowed or refused.
func TestBlockedUDP(t *testing.T) {
	swallow := func(t *testing.T, s *server) *http.Server {
		tcp, udp := bindBoth(t)
		t.Cleanup(func() { udp.Close() })
		return serveProxy(t, tcp, s)
	}
	refuse := func(t *testing.T, s *server) *http.Server {
		tcp, udp := bindBoth(t)
		udp.Close()
		return serveProxy(t, tcp, s)
	}
	for name, setUp := range map[string]func(*testing.T, *server) *http.Server{"swallowed": swallow, "refused": refuse} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, nil)
			conf := dialConf(t, s, "http")
			conf.Addresses = []string{setUp(t, s).Addr}
			began := time.Now()
			a, err := link.Dial(within(t), conf)
			if err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d > time.Second {
				t.Errorf("took %v", d)
			}
			if a.Transport() != link.WebSocket {
				t.Errorf("over %s", a.Transport())
			}
			b, err := s.Accept(within(t))
			if err != nil {
				t.Fatal(err)
			}
			go b.Close()
			a.Close()
		})
	}
}

// proxyTo passes requests on to a listener, as a web server in front of a
// coordinator does.
func proxyTo(s *server) http.Handler {
	target := &url.URL{Scheme: "http", Host: s.host()}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
}

func serveProxy(t *testing.T, tcp net.Listener, s *server) *http.Server {
	proxy := &http.Server{Addr: tcp.Addr().String(), Handler: proxyTo(s)}
	done := make(chan struct{})
	go func() { defer close(done); proxy.Serve(tcp) }()
	t.Cleanup(func() { proxy.Close(); <-done })
	return proxy
}

// A proxy with HTTPS and a certificate that nobody vouches for, and a prefix.
func TestThroughHTTPSProxy(t *testing.T) {
	s := listen(t, nil)
	proxy := httptest.NewTLSServer(http.StripPrefix("/classes", proxyTo(s)))
	defer proxy.Close()
	for _, scheme := range []string{"wss", "https"} {
		conf := dialConf(t, s, "http")
		conf.Addresses = []string{scheme + strings.TrimPrefix(proxy.URL, "https") + "/classes/"}
		a, err := link.Dial(within(t), conf)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Accept(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if a.Peer() != s.key.Public() || b.Peer() != newKey(t, 2).Public() || a.Transport() != link.WebSocket {
			t.Errorf("%s: wrong ends", scheme)
		}
		go b.Close()
		a.Close()
	}
}

// Of several addresses the one that answers is taken.
func TestOneOfSeveralAddresses(t *testing.T) {
	other := listen(t, func(c *link.Config) { c.Key = newKey(t, 7) })
	s := listen(t, nil)
	conf := dialConf(t, s, "quic")
	conf.Addresses = []string{newSilence(t), other.host(), "https://127.0.0.1:1", s.host()}
	began := time.Now()
	a, err := link.Dial(within(t), conf)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("took %v", d)
	}
	b, err := s.Accept(within(t))
	if err != nil {
		t.Fatal(err)
	}
	go b.Close()
	a.Close()
}

func TestDialErrors(t *testing.T) {
	s := listen(t, nil)
	conf := dialConf(t, s, "ws")
	nothing, udp := bindBoth(t)
	nothing.Close()
	udp.Close()

	conf.Addresses = []string{"ws://" + nothing.Addr().String()}
	if _, err := link.Dial(within(t), conf); !errors.Is(err, link.ErrUnreachable) {
		t.Errorf("nobody listens: %v", err)
	}
	conf.Addresses = []string{"ws://" + s.host() + "/elsewhere"}
	if _, err := link.Dial(within(t), conf); !errors.Is(err, link.ErrUnreachable) || !strings.Contains(err.Error(), "404") {
		t.Errorf("no WebSocket there: %v", err)
	}
	conf.Addresses = []string{newSilence(t)}
	conf.Timeout = 300 * time.Millisecond
	if _, err := link.Dial(within(t), conf); !errors.Is(err, link.ErrTimeout) {
		t.Errorf("no answer: %v", err)
	}
	conf.Timeout = 0
	ctx, cancel := context.WithCancelCause(context.Background())
	enough := errors.New("enough")
	time.AfterFunc(50*time.Millisecond, func() { cancel(enough) })
	if _, err := link.Dial(ctx, conf); !errors.Is(err, enough) {
		t.Errorf("given up: %v", err)
	}

	for name, change := range map[string]func(*link.DialConfig){
		"no key": func(c *link.DialConfig) {
			*c = link.DialConfig{Addresses: c.Addresses, Expect: c.Expect, Protocol: "p"}
		},
		"no expect":    func(c *link.DialConfig) { c.Expect = nil },
		"no protocol":  func(c *link.DialConfig) { c.Protocol = "" },
		"no address":   func(c *link.DialConfig) { c.Addresses = nil },
		"odd address":  func(c *link.DialConfig) { c.Addresses = []string{"ftp://x"} },
		"odd timing":   func(c *link.DialConfig) { c.Timing.Idle = time.Second },
		"many of them": func(c *link.DialConfig) { c.Addresses = make([]string, 17) },
	} {
		conf := dialConf(t, s, "ws")
		change(&conf)
		if _, err := link.Dial(within(t), conf); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string][2]string{
		"10.0.0.1:7000":             {"10.0.0.1:7000", "http://10.0.0.1:7000/mesh"},
		"[fe80::1]:7000":            {"[fe80::1]:7000", "http://[fe80::1]:7000/mesh"},
		"[fe80::1%eth0]:7000":       {"[fe80::1%eth0]:7000", "http://[fe80::1%25eth0]:7000/mesh"},
		"box.local:7000":            {"box.local:7000", "http://box.local:7000/mesh"},
		"http://c.example":          {"c.example:80", "http://c.example/mesh"},
		"https://c.example":         {"c.example:443", "https://c.example/mesh"},
		"https://c.example:8443/a/": {"c.example:8443", "https://c.example:8443/a/mesh"},
		"wss://c.example/a":         {"", "https://c.example/a/mesh"},
		"ws://c.example:81":         {"", "http://c.example:81/mesh"},
		"quic://c.example:81":       {"c.example:81", ""},
	} {
		quic, socket, err := link.ParseAddress(in)
		if err != nil || quic != want[0] || socket != want[1] {
			t.Errorf("%s: %q %q %v, want %q", in, quic, socket, err, want)
		}
	}
	for _, in := range []string{"", "host", "host:", ":1", "host:0", "host:99999", "host:1/path", "ftp://host:1", "quic://host",
		"quic://host:1/a", "https://", "https://u:p@host", "https://host?q", "https://host#f", "http:opaque", "ht tp://x:1"} {
		if quic, socket, err := link.ParseAddress(in); err == nil {
			t.Errorf("%q taken as %q %q", in, quic, socket)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("https://c.example:8443/a/")
	f.Add("[fe80::1%25eth0]:7000")
	f.Fuzz(func(t *testing.T, s string) {
		quic, socket, err := link.ParseAddress(s)
		if err == nil && quic == "" && socket == "" {
			t.Error("an address that leads nowhere")
		}
	})
}
