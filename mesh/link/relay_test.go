package link_test

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// relay passes UDP and TCP on to a listener, counts, and can be cut, after
// which it swallows everything without a word.
type relay struct {
	tcp net.Listener
	udp *net.UDPConn

	isCut   atomic.Bool
	bytes   atomic.Int64 // of UDP payload, both ways
	packets atomic.Int64
}

func (r *relay) addr() string { return r.tcp.Addr().String() }
func (r *relay) cut()         { r.isCut.Store(true) }

func newRelay(t testing.TB, to netip.AddrPort) *relay {
	t.Helper()
	r := &relay{}
	r.tcp, r.udp = bindBoth(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []io.Closer
	keep := func(c io.Closer) {
		mu.Lock()
		defer mu.Unlock()
		open = append(open, c)
	}
	wg.Go(func() {
		for {
			in, err := r.tcp.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to.String())
			if err != nil {
				in.Close()
				continue
			}
			keep(in)
			keep(out)
			wg.Go(func() { r.copy(out, in) })
			wg.Go(func() { r.copy(in, out) })
		}
	})
	wg.Go(func() {
		backs := map[netip.AddrPort]*net.UDPConn{}
		buf := make([]byte, 2048)
		for {
			n, from, err := r.udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			out := backs[from]
			if out == nil {
				out, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
				if err != nil {
					return
				}
				backs[from] = out
				keep(out)
				wg.Go(func() {
					buf := make([]byte, 2048)
					for {
						n, err := out.Read(buf)
						if err != nil {
							return
						}
						r.pass(n, func() { r.udp.WriteToUDPAddrPort(buf[:n], from) })
					}
				})
			}
			r.pass(n, func() { out.Write(buf[:n]) })
		}
	})
	t.Cleanup(func() {
		r.tcp.Close()
		r.udp.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return r
}

func (r *relay) pass(n int, send func()) {
	if r.isCut.Load() {
		return
	}
	r.bytes.Add(int64(n))
	r.packets.Add(1)
	send()
}

func (r *relay) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			if !r.isCut.Load() {
				to.Close()
			}
			return
		}
		if !r.isCut.Load() {
			to.Write(buf[:n])
		}
	}
}

// bindBoth binds one port number for TCP and UDP.
func bindBoth(t testing.TB) (net.Listener, *net.UDPConn) {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := tcp.Addr().(*net.TCPAddr)
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: at.IP, Port: at.Port})
		if err == nil {
			return tcp, udp
		}
		tcp.Close()
	}
	t.Fatal("no port is free for both TCP and UDP")
	return nil, nil
}

// newSilence returns an address where UDP is swallowed and TCP connects but
// never answers.
func newSilence(t testing.TB) string {
	t.Helper()
	tcp, udp := bindBoth(t)
	t.Cleanup(func() { tcp.Close(); udp.Close() })
	return tcp.Addr().String()
}
