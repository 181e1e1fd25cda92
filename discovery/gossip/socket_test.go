package gossip_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/discovery/gossip"
	"github.com/classmesh/classmesh/records/identity"
)

// until waits for real things to happen.
func until(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(within)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// sockets starts device n on a loopback address of its own and any port.
func sockets(t *testing.T, n int, join func() []netip.AddrPort, logger *slog.Logger) (g *gossip.Gossip, stop func()) {
	t.Helper()
	ip := netip.AddrFrom4([4]byte{127, 0, 0, byte(n)})
	g, err := gossip.New(gossip.Config{
		Device: device(n), Start: identity.StartID{byte(n)}, Port: 4433, Join: join, Logger: logger,
		Address: func() (netip.AddrPort, error) { return netip.AddrPortFrom(ip, 0), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	g.SetKeys([]discovery.ZoneKey{zoneKey(1)})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); group.Wait() })
	until(t, 10*time.Second, "it listens", func() bool { _, ok := g.Address(); return ok })
	return g, func() { cancel(); group.Wait() }
}

func nobody() []netip.AddrPort { return nil }

func TestRealSockets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has 127.0.0.2 and up without being told")
	}
	before := runtime.NumGoroutine()
	a, stopA := sockets(t, 2, nobody, nil)
	first, _ := a.Address()
	if first.Addr().String() != "127.0.0.2" {
		t.Fatalf("listens at %s", first)
	}
	// On no other address.
	if conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), first.Port()).String(), time.Second); err == nil {
		conn.Close()
		t.Error("it listens on every address")
	}
	b, stopB := sockets(t, 3, func() []netip.AddrPort { return []netip.AddrPort{first} }, nil)
	until(t, 10*time.Second, "both", func() bool { return len(a.Members()) == 1 && len(b.Members()) == 1 })
	if m := a.Members()[0]; m.Device != device(3) || m.Call.String() != "127.0.0.3:4433" || m.Start != (identity.StartID{3}) {
		t.Errorf("%+v", m)
	}
	stopB()
	until(t, 5*time.Second, "the goodbye", func() bool { return len(a.Members()) == 0 })
	stopA()
	until(t, 30*time.Second, "nothing is left running", func() bool { return runtime.NumGoroutine() <= before })
}

// Rubbish, floods and callers that say nothing, from within the zone and from
// outside.
func TestRubbishOnSockets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has 127.0.0.2 and up without being told")
	}
	a, _ := sockets(t, 4, nobody, nil)
	to, _ := a.Address()
	udp, err := net.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	var silent []net.Conn
	defer func() {
		for _, c := range silent {
			c.Close()
		}
	}()
	for n := range 200 {
		junk := make([]byte, n*7%2500)
		rand.Read(junk)
		udp.Write(junk)
		udp.Write(append([]byte{0}, junk...)) // the older, padded encryption
		udp.Write(gossip.Seal(zoneKey(1), [12]byte(append(make([]byte, 11), byte(n))), junk, nil))
		udp.Write(gossip.Seal(zoneKey(1), [12]byte{byte(n)}, nil, nil))
		conn, err := net.DialTimeout("tcp", to.String(), time.Second)
		if err != nil {
			continue // it is busy refusing others
		}
		switch n % 4 {
		case 0: // says nothing
			silent = append(silent, conn)
			continue
		case 1:
			conn.Write(junk)
		case 2: // claims much
			conn.Write(binary.BigEndian.AppendUint32([]byte{10}, 1<<31))
		case 3: // nothing, well sealed: memberlist alone would fail
			head := binary.BigEndian.AppendUint32([]byte{10}, 29)
			conn.Write(append(head, gossip.Seal(zoneKey(1), [12]byte{}, nil, head)...))
		}
		conn.Close()
	}
	// It is there and takes others in, from another address even while callers
	// from one say nothing.
	b, _ := sockets(t, 5, func() []netip.AddrPort { return []netip.AddrPort{to} }, nil)
	until(t, 30*time.Second, "both", func() bool { return len(a.Members()) == 1 && len(b.Members()) == 1 })
}

// Callers from one address that say nothing take only so many places, and none
// from others.
func TestSilentCallers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has 127.0.0.2 and up without being told")
	}
	a, _ := sockets(t, 6, nobody, nil)
	to, _ := a.Address()
	refused := 0
	for range gossip.MaxIncomingOf + 3 {
		conn, err := net.DialTimeout("tcp", to.String(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// Who is taken in hears nothing for as long as a stream may last; who is
		// not, the end, at once.
		conn.SetReadDeadline(time.Now().Add(time.Second))
		var none [1]byte
		if _, err := conn.Read(none[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
			refused++
		}
	}
	if refused != 3 {
		t.Errorf("%d callers were refused, of whom 3 were too many", refused)
	}
	b, _ := sockets(t, 7, func() []netip.AddrPort { return []netip.AddrPort{to} }, nil)
	until(t, 3*time.Second, "both", func() bool { return len(a.Members()) == 1 && len(b.Members()) == 1 })
}

// A device that holds the key invents members: there is an end to it, and
// nothing of it is believed that could not be.
func TestInventedMembers(t *testing.T) {
	w, g, to := alone(t)
	w.mu.Lock()
	entry := w.packets[to]
	w.mu.Unlock()
	for n := range 3 * gossip.MaxMembers {
		m := gossip.Member{Device: device(n + 1000), Call: at(9)}
		if n%3 == 0 {
			m.Device = device(n/3 + 10) // few
		}
		body := obj(str("Incarnation"), u32(1), str("Node"), str(m.Name()), str("Addr"), str("\x0a\x00\x00\x09"),
			str("Port"), u32(uint32(n%60000+1)), str("Meta"), str(string(m.Metadata())), str("Vsn"), str("\x01\x05\x02\x00\x00\x00"))
		entry.queue <- packet{gossip.Seal(zoneKey(1), [12]byte{byte(n >> 8), byte(n)}, message(4, body), nil), at(9)}
	}
	until(t, 20*time.Second, "all are looked at", func() bool { return len(entry.queue) == 0 })
	until(t, 20*time.Second, "it is full", func() bool { return len(g.Members()) >= gossip.MaxMembers })
	if n := len(g.Members()); n > gossip.MaxMembers {
		t.Errorf("%d members", n)
	}
	// One that comes now gets a list that it takes.
	if list := joined(t, w); len(list) > gossip.MaxMembers {
		t.Errorf("%d members", len(list))
	}
}

// joined starts a device on the wire that joins the first one, waits until it
// has, and returns whom it knows.
func joined(t *testing.T, w *wire) []gossip.Member {
	t.Helper()
	a := at(2)
	g, err := gossip.New(gossip.Config{
		Device: device(2), Port: 4433,
		Address: func() (netip.AddrPort, error) { return a, nil },
		Join:    func() []netip.AddrPort { return []netip.AddrPort{at(1)} },
	}.On(host{w, a.Addr()}))
	if err != nil {
		t.Fatal(err)
	}
	g.SetKeys([]discovery.ZoneKey{zoneKey(1)})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { g.Run(ctx) })
	t.Cleanup(func() { cancel(); group.Wait() })
	until(t, 20*time.Second, "it is joined", func() bool { return len(g.Members()) > 0 })
	return g.Members()
}

func TestLoggerIsBounded(t *testing.T) {
	var out bytes.Buffer
	logger := gossip.NewLogger(slog.New(slog.NewTextHandler(&out, nil)))
	for i := range 1000 {
		logger.Printf("[ERR] memberlist: number %d %s", i, strings.Repeat("x", 1000))
		logger.Printf("[DEBUG] memberlist: not for people")
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 10 || !strings.Contains(lines[0], `level=INFO msg=membership said="number 0 xxx`) || len(lines[0]) > 500 {
		t.Errorf("%d lines, the first %q", len(lines), lines[0])
	}
	logger.Print("no level")
	fmt.Fprint(logger.Writer(), "")
}
