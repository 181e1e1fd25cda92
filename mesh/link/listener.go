package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/records/identity"
)

// Config is what a listener needs.
type Config struct {
	// Key is who we are.
	Key identity.DeviceKey
	// Address is the host:port to bind, for UDP and TCP alike. An empty host
	// is every interface; port 0 is any port that is free for both.
	Address string
	// Protocols are the protocols to accept, such as [ProtocolExchange].
	Protocols []string
	// HTTP answers all requests on the TCP port but those for [Path]. Nil
	// answers them with "not found".
	HTTP http.Handler
	// Timing defaults to [TimingLAN].
	Timing Timing
	// Log takes refused handshakes and lost sockets; nil drops them.
	Log *slog.Logger
}

// Listener accepts connections of both transports on one port number.
type Listener struct {
	conf     Config
	tls      *tls.Config
	address  netip.AddrPort
	gate     gate
	accepted chan *Conn

	closing   chan struct{} // closed by Close
	finished  chan struct{} // closed when Run has returned
	closeOnce sync.Once

	mu       sync.Mutex
	udp      *net.UDPConn // bound by Listen, or again by Run
	tcp      net.Listener
	running  bool
	stopping bool
	conns    map[*Conn]struct{}
}

// Listen binds the port. Connections are accepted while Run runs.
func Listen(conf Config) (*Listener, error) {
	if conf.Key.IsZero() {
		return nil, errors.New("listen: no identity key")
	}
	if len(conf.Protocols) == 0 {
		return nil, errors.New("listen: no protocols")
	}
	if err := conf.Timing.setDefaults(); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	anyone := func(identity.DevicePublic) error { return nil }
	t, err := tlsConfig(conf.Key, conf.Protocols, anyone)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	tcp, udp, err := bind(conf.Address)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", conf.Address, err)
	}
	return &Listener{
		conf: conf, tls: t, tcp: tcp, udp: udp,
		address:  tcp.Addr().(*net.TCPAddr).AddrPort(),
		accepted: make(chan *Conn),
		closing:  make(chan struct{}),
		finished: make(chan struct{}),
		conns:    map[*Conn]struct{}{},
	}, nil
}

// bindTries is how many free TCP ports are tried until one is free for UDP.
const bindTries = 20

// bind binds TCP and UDP to the same port number.
func bind(address string) (tcp net.Listener, udp *net.UDPConn, err error) {
	for range bindTries {
		if tcp, err = net.Listen("tcp", address); err != nil {
			return nil, nil, err
		}
		at := tcp.Addr().(*net.TCPAddr)
		if udp, err = net.ListenUDP("udp", &net.UDPAddr{IP: at.IP, Port: at.Port, Zone: at.Zone}); err == nil {
			return tcp, udp, nil
		}
		tcp.Close()
	}
	return nil, nil, err
}

// Addr returns the bound address; its port is that of UDP and TCP.
func (l *Listener) Addr() netip.AddrPort { return l.address }

// Accept returns the next connection, its handshake complete. It fails with
// [ErrClosed] once the listener has ended, or with the error of ctx.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.closing:
	case <-l.finished:
	}
	return nil, &fault{kind: ErrClosed, text: "listener at " + l.address.String()}
}

// Run serves both transports until ctx ends or Close is called, and returns
// nil then. A socket that fails is bound again, after a wait that doubles from
// half a second to half a minute; its connections are lost. At the end every
// connection that is still open is closed with [CodeStopping]. Run can be
// called once.
func (l *Listener) Run(ctx context.Context) error {
	l.mu.Lock()
	if l.running {
		l.mu.Unlock()
		return errors.New("run listener: it has been run before")
	}
	l.running = true
	udp, tcp := l.udp, l.tcp
	l.mu.Unlock()
	defer close(l.finished)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer cancel()
		select {
		case <-l.closing:
		case <-ctx.Done():
		}
		return nil
	})
	g.Go(func() error {
		return l.supervise(ctx, "udp", func() error {
			if udp == nil {
				u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(l.address))
				if err != nil {
					return err
				}
				udp = u
			}
			socket := udp
			udp = nil
			l.setUDP(socket)
			return l.serveQUIC(ctx, socket)
		})
	})
	g.Go(func() error {
		return l.supervise(ctx, "tcp", func() error {
			if tcp == nil {
				t, err := net.Listen("tcp", l.address.String())
				if err != nil {
					return err
				}
				tcp = t
			}
			listener := tcp
			tcp = nil
			return l.serveHTTP(ctx, listener)
		})
	})
	return g.Wait()
}

// supervise calls serve again and again until ctx ends.
func (l *Listener) supervise(ctx context.Context, network string, serve func() error) error {
	const shortest, longest = 500 * time.Millisecond, 30 * time.Second
	wait := shortest
	for {
		began := time.Now()
		err := serve()
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > longest {
			wait = shortest
		}
		l.conf.Log.Warn("socket lost, binding it again", "network", network, "address", l.address, "wait", wait, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
	}
}

// httpStopWait is how long pages that are being served may take to finish.
const httpStopWait = 3 * time.Second

// serveHTTP serves WebSocket and pages until ctx ends or the listener fails.
func (l *Listener) serveHTTP(ctx context.Context, tcp net.Listener) error {
	pages := l.conf.HTTP
	if pages == nil {
		pages = http.NotFoundHandler()
	}
	var admissions sync.WaitGroup // bounded by the gate
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != Path {
				pages.ServeHTTP(w, r)
				return
			}
			admissions.Add(1)
			defer admissions.Done()
			l.admitSocket(ctx, w, r)
		}),
		ReadHeaderTimeout: handshakeWait,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(l.conf.Log.Handler(), slog.LevelDebug),
	}
	g, served := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(tcp) })
	g.Go(func() error {
		<-served.Done()
		// ctx has ended: pages get their time all the same.
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpStopWait)
		defer cancel()
		if server.Shutdown(stopping) != nil {
			server.Close()
		}
		return nil
	})
	err := g.Wait()
	admissions.Wait()
	if ctx.Err() != nil {
		l.closeConns()
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// handOut gives a connection to Accept, until ctx ends.
func (l *Listener) handOut(ctx context.Context, c *Conn) {
	if !l.keep(c) {
		c.end(&CloseError{Code: CodeStopping, Reason: "the listener is closed"})
		return
	}
	select {
	case l.accepted <- c:
	case <-c.ctx.Done():
	case <-ctx.Done():
		c.end(&CloseError{Code: CodeBusy, Reason: "nobody took the connection"})
	}
}

// keep remembers a connection for as long as it lasts. It refuses once the
// listener is about to end.
func (l *Listener) keep(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping {
		return false
	}
	l.conns[c] = struct{}{}
	context.AfterFunc(c.ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, c)
	})
	return true
}

// closeConns ends all connections at the same time.
func (l *Listener) closeConns() {
	l.mu.Lock()
	l.stopping = true
	var g errgroup.Group
	for c := range l.conns {
		g.Go(func() error { return c.CloseWithError(CodeStopping, "the program is stopping") })
	}
	l.mu.Unlock()
	g.Wait()
}

func (l *Listener) setUDP(u *net.UDPConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.udp = u
}

// refused notes a handshake that came to nothing.
func (l *Listener) refused(t Transport, from net.Addr, err error) {
	l.conf.Log.Debug("handshake failed", "transport", t, "from", from, "err", err)
}

// Close stops Run, waits for it, and frees the port.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { close(l.closing) })
	l.mu.Lock()
	running := l.running
	l.running = true // too late for Run
	l.mu.Unlock()
	if running {
		<-l.finished
		return nil
	}
	close(l.finished)
	return errors.Join(l.tcp.Close(), l.udp.Close())
}
