package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/records/identity"
)

// DialConfig says whom to dial, and how.
type DialConfig struct {
	// Key is who we are.
	Key identity.DeviceKey
	// Addresses are where the device may be, likeliest first; all are tried.
	//
	//	host:port, [fe80::1%eth0]:port                      both transports
	//	http://host[:port][/prefix], https://…              both transports
	//	ws://host[:port][/prefix], wss://…                  WebSocket only
	//	quic://host:port                                    QUIC only
	Addresses []string
	// Protocol is what to speak, such as [ProtocolExchange].
	Protocol string
	// Expect returns an error for a peer that is not wanted, such as
	// [ExpectDevice] does. It may be called several times at once.
	Expect func(identity.DevicePublic) error
	// OneAnswer says that who answers first is who is there: a peer that Expect
	// refuses ends the Dial, and no other address or transport is tried after it.
	OneAnswer bool
	// Timing defaults to [TimingLAN].
	Timing Timing
	// Timeout bounds the whole of Dial; it defaults to 10 s.
	Timeout time.Duration
	// Proxy finds the HTTP proxy for the WebSocket, as in [http.Transport];
	// nil is none.
	Proxy func(*http.Request) (*url.URL, error)
}

const (
	dialTimeout = 10 * time.Second

	// headStart is how long QUIC may try alone. A healthy path has answered
	// by then; where UDP is blocked this is what it costs.
	headStart = 250 * time.Millisecond
	// stagger lies between the starts of attempts of one kind.
	stagger = 50 * time.Millisecond

	maxAddresses = 16
)

// dialler is what each attempt of a Dial needs.
type dialler struct {
	tls       *tls.Config
	protocols []string
	timing    Timing
	proxy     func(*http.Request) (*url.URL, error)
}

// Dial connects to a device at whichever address and over whichever transport
// answers first; attempts that did not win are gone when it returns. The
// connection outlives ctx. If all attempts fail, the error is that of each of
// them, for errors.Is.
//
// A nil error means that the peer has proved its key. Whether it took ours
// shows at the first Read, as [ErrRefused] if not.
func Dial(ctx context.Context, conf DialConfig) (*Conn, error) {
	attempts, err := conf.attempts()
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	timeout := conf.Timeout
	if timeout == 0 {
		timeout = dialTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := race(limited, attempts, func(err error) bool { return conf.OneAnswer && errors.Is(err, ErrWrongPeer) })
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case limited.Err() != nil:
		err = attemptsError{&fault{kind: ErrTimeout, text: "no answer within " + timeout.String()}, err}
	}
	return nil, fmt.Errorf("dial %s: %w", strings.Join(conf.Addresses, ", "), err)
}

// attempts lists the ways to the device in the order in which to try them.
func (conf *DialConfig) attempts() ([]attempt, error) {
	if conf.Key.IsZero() {
		return nil, errors.New("no identity key")
	}
	if conf.Expect == nil {
		return nil, errors.New("nothing says which peer to expect")
	}
	if conf.Protocol == "" {
		return nil, errors.New("no protocol")
	}
	if n := len(conf.Addresses); n == 0 || n > maxAddresses {
		return nil, fmt.Errorf("%d addresses, want 1 to %d", n, maxAddresses)
	}
	if err := conf.Timing.setDefaults(); err != nil {
		return nil, err
	}
	protocols := []string{conf.Protocol}
	t, err := tlsConfig(conf.Key, protocols, func(peer identity.DevicePublic) error {
		if err := conf.Expect(peer); err != nil {
			return &fault{kind: ErrWrongPeer, cause: err}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d := &dialler{tls: t, protocols: protocols, timing: conf.Timing, proxy: conf.Proxy}
	var viaQUIC, viaSocket []attempt
	for _, a := range conf.Addresses {
		e, err := parseAddress(a)
		if err != nil {
			return nil, &fault{kind: ErrAddress, text: fmt.Sprintf("%q: %v", a, err)}
		}
		if e.hostPort != "" {
			viaQUIC = append(viaQUIC, attempt{
				after: time.Duration(len(viaQUIC)) * stagger,
				run:   func(ctx context.Context) (*Conn, error) { return resolveQUIC(ctx, e.hostPort, d) },
			})
		}
		if e.socket != nil {
			viaSocket = append(viaSocket, attempt{
				after: headStart + time.Duration(len(viaSocket))*stagger,
				run:   func(ctx context.Context) (*Conn, error) { return dialSocketNamed(ctx, e.socket, d) },
			})
		}
	}
	return append(viaQUIC, viaSocket...), nil
}

// endpoint is an address in the terms of the transports.
type endpoint struct {
	hostPort string   // for QUIC; empty: not to be tried
	socket   *url.URL // for the WebSocket; nil: not to be tried
}

// parseAddress reads an address as [DialConfig.Addresses] describes it.
func parseAddress(a string) (endpoint, error) {
	if !strings.Contains(a, "://") {
		a = "http://" + strings.ReplaceAll(a, "%", "%25") // the zone of a link-local address
		if u, err := url.Parse(a); err != nil || u.Port() == "" || u.Path != "" {
			return endpoint{}, errors.New("want host:port or a URL")
		}
	}
	u, err := url.Parse(a)
	if err != nil {
		return endpoint{}, errors.New("not a URL")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return endpoint{}, errors.New("want no more than scheme, host, port and path")
	}
	port := u.Port()
	scheme := u.Scheme
	switch scheme {
	case "https", "wss":
		scheme = "https"
		if port == "" {
			port = "443"
		}
	case "http", "ws":
		scheme = "http"
		if port == "" {
			port = "80"
		}
	case "quic":
		if u.Path != "" {
			return endpoint{}, errors.New("a quic:// address has no path")
		}
	default:
		return endpoint{}, fmt.Errorf("scheme %q is none of http, https, ws, wss, quic", u.Scheme)
	}
	if n, err := strconv.ParseUint(port, 10, 16); u.Hostname() == "" || err != nil || n == 0 {
		return endpoint{}, errors.New("host or port is missing or wrong")
	}
	var e endpoint
	if u.Scheme != "ws" && u.Scheme != "wss" {
		e.hostPort = net.JoinHostPort(u.Hostname(), port)
	}
	if scheme != "quic" {
		e.socket = (&url.URL{Scheme: scheme, Host: u.Host, Path: u.Path}).JoinPath(Path)
	}
	return e, nil
}

// resolveQUIC dials all IP addresses of a host.
func resolveQUIC(ctx context.Context, hostPort string, d *dialler) (*Conn, error) {
	c, err := func() (*Conn, error) {
		host, port, err := net.SplitHostPort(hostPort)
		if err != nil {
			return nil, &fault{kind: ErrUnreachable, text: err.Error()}
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, &fault{kind: ErrUnreachable, text: err.Error()}
		}
		ips := make([]netip.Addr, 1)
		if ips[0], err = netip.ParseAddr(host); err != nil {
			// Asked for an IP address, this loses the zone.
			ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
		if err != nil {
			return nil, socketError(err)
		}
		var attempts []attempt
		for i, ip := range ips[:min(len(ips), maxAddresses)] {
			to := netip.AddrPortFrom(ip.Unmap(), uint16(n))
			attempts = append(attempts, attempt{
				after: time.Duration(i) * stagger,
				run:   func(ctx context.Context) (*Conn, error) { return dialQUIC(ctx, to, d) },
			})
		}
		return race(ctx, attempts, func(error) bool { return false })
	}()
	if err != nil {
		return nil, fmt.Errorf("quic to %s: %w", hostPort, err)
	}
	return c, nil
}

func dialSocketNamed(ctx context.Context, to *url.URL, d *dialler) (*Conn, error) {
	c, err := dialSocket(ctx, to, d)
	if err != nil {
		return nil, fmt.Errorf("websocket to %s: %w", to, err)
	}
	return c, nil
}

// attempt is one way to make a connection.
type attempt struct {
	after time.Duration // the latest start, counted from that of the race
	run   func(context.Context) (*Conn, error)
}

// race starts the attempts in order, each at its time, or as soon as all
// before it have failed. The first to succeed wins; the others are given up,
// and have ended when race returns. After a failure that is final no more are
// started.
func race(ctx context.Context, attempts []attempt, final func(error) bool) (*Conn, error) {
	type outcome struct {
		conn *Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		began    = time.Now()
		outcomes = make(chan outcome)
		timer    = time.NewTimer(time.Hour) // until it is set
		running  errgroup.Group
		left     int // attempts that are running
		winner   *Conn
		failures attemptsError
	)
	defer timer.Stop()
	defer running.Wait()
	begin := func() {
		run := attempts[0].run
		attempts = attempts[1:]
		left++
		running.Go(func() error {
			c, err := run(ctx)
			outcomes <- outcome{c, err}
			return nil
		})
	}
	for len(attempts) > 0 && ctx.Err() == nil || left > 0 {
		var due <-chan time.Time
		if len(attempts) > 0 && ctx.Err() == nil {
			if left == 0 {
				begin()
				continue
			}
			timer.Reset(attempts[0].after - time.Since(began))
			due = timer.C
		}
		select {
		case <-due:
			begin()
		case o := <-outcomes:
			left--
			switch {
			case o.err != nil:
				failures = append(failures, o.err)
				if final(o.err) {
					attempts = nil
				}
			case winner == nil:
				winner = o.conn
				cancel()
			default:
				o.conn.end(&CloseError{Code: CodeDuplicate, Reason: "another attempt was faster"})
			}
		}
	}
	if winner == nil && len(failures) == 0 {
		failures = attemptsError{context.Cause(ctx)}
	}
	if winner == nil {
		return nil, failures
	}
	return winner, nil
}
