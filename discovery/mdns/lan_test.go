//go:build linux

package mdns_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/discovery/lantest"
	"github.com/classmesh/classmesh/discovery/mdns"
)

// TestHost is what a host of the other tests runs: "device <number of its key>"
// announces itself and says what it finds; "flood" sends rubbish.
func TestHost(t *testing.T) {
	words := strings.Fields(lantest.Role())
	if len(words) == 0 {
		return // nobody has asked for a host
	}
	stopped := lantest.Stopped()
	switch words[0] {
	case "flood":
		flood(t, stopped)
		return
	case "device":
	default:
		t.Fatalf("no such part: %q", words)
	}
	number, err := strconv.Atoi(words[1])
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	s, err := mdns.New(mdns.Config{
		Port:   4433,
		Keys:   func() []discovery.ZoneKey { return []discovery.ZoneKey{key(uint32(number))} },
		Found:  func(s discovery.Sighting) { fmt.Println("found", s.Address) },
		Browse: 2 * time.Second,
		Look:   200 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(os.Stdout, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	fmt.Println("running")
	<-stopped
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	goroutinesEnd(t, before)
}

// goroutinesEnd waits until no more goroutines run than before.
func goroutinesEnd(t *testing.T, before int) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(15 * time.Second)
	for runtime.NumGoroutine() > before {
		select {
		case <-ticker.C:
		case <-deadline:
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

const soon = 20 * time.Second

func TestDevicesFindEachOther(t *testing.T) {
	t.Parallel() // hosts mostly wait
	lan := lantest.New(t, 3)
	a := lan.Start(1, "TestHost", "device 1")
	b := lan.Start(2, "TestHost", "device 1")
	stranger := lan.Start(3, "TestHost", "device 2")
	a.Expect(soon, "found 10.77.0.2:4433")
	b.Expect(soon, "found 10.77.0.1:4433")
	// One that comes later is found by those who have looked already.
	stranger.Stop(soon)
	late := lan.Start(3, "TestHost", "device 1")
	late.Expect(soon, "found 10.77.0.1:4433")
	a.Expect(soon, "found 10.77.0.3:4433")
	b.Expect(soon, "found 10.77.0.3:4433")
	// Found again and again, not once (zeroconf#103).
	for range 3 {
		a.Expect(soon, "found 10.77.0.2:4433")
	}
	a.Stop(soon)
	b.Stop(soon)
	late.Stop(soon)
}

func TestForeignZoneIsNotFound(t *testing.T) {
	t.Parallel() // hosts mostly wait
	lan := lantest.New(t, 2)
	a := lan.Start(1, "TestHost", "device 1")
	stranger := lan.Start(2, "TestHost", "device 2")
	// The browse has ended without a device, and says so once.
	a.Expect(soon, "no other device of the zone")
	stranger.Expect(soon, "no other device of the zone")
	a.Stop(soon)
	stranger.Stop(soon)
}

// Two laptops and a switch, nobody who gives out addresses.
func TestLinkLocalAlone(t *testing.T) {
	t.Parallel() // hosts mostly wait
	lan := lantest.New(t, 2)
	for i := range 2 {
		lan.IP("-n", lan.Host(i+1), "addr", "flush", "dev", "eth0", "scope", "global")
	}
	a := lan.Start(1, "TestHost", "device 1")
	b := lan.Start(2, "TestHost", "device 1")
	a.Expect(soon, "found [fe80::")
	lines := b.Expect(soon, "found [fe80::")
	if line := lines[len(lines)-1]; !strings.Contains(line, "%eth0]:4433") {
		t.Errorf("without its zone: %s", line)
	}
	a.Stop(soon)
	b.Stop(soon)
}

func TestAddressChangeIsAnnounced(t *testing.T) {
	t.Parallel() // hosts mostly wait
	lan := lantest.New(t, 3)
	a := lan.Start(1, "TestHost", "device 1")
	b := lan.Start(2, "TestHost", "device 1")
	a.Expect(soon, "found 10.77.0.2:4433")
	lan.IP("-n", lan.Host(2), "addr", "del", "10.77.0.2/24", "dev", "eth0")
	lan.IP("-n", lan.Host(2), "addr", "add", "10.77.0.99/24", "dev", "eth0")
	a.Expect(soon, "found 10.77.0.99:4433")
	// The address that it had is announced no more.
	late := lan.Start(3, "TestHost", "device 1")
	for range 3 {
		for _, line := range late.Expect(soon, "found 10.77.0.99:4433") {
			if strings.Contains(line, "10.77.0.2:4433") {
				t.Errorf("announced still: %s", line)
			}
		}
	}
	late.Stop(soon)
	// The cable out and in again.
	lan.Plug(2, false)
	lan.Plug(2, true)
	b.Expect(soon, "found 10.77.0.1:4433")
	a.Expect(soon, "found 10.77.0.99:4433")
	a.Stop(soon)
	b.Stop(soon)
}

// Whatever is sent to the multicast group, a device stays up and goes on
// finding others.
func TestRubbishOnTheWire(t *testing.T) {
	t.Parallel() // hosts mostly wait
	lan := lantest.New(t, 3)
	a := lan.Start(1, "TestHost", "device 1")
	a.Expect(soon, "running")
	rubbish := lan.Start(3, "TestHost", "flood")
	rubbish.Expect(2*soon, "sent")
	b := lan.Start(2, "TestHost", "device 1")
	a.Expect(soon, "found 10.77.0.2:4433")
	b.Expect(soon, "found 10.77.0.1:4433")
	rubbish.Stop(soon)
	a.Stop(soon)
	b.Stop(soon)
}

// flood sends packets of every kind of wrongness.
func flood(t *testing.T, stopped <-chan struct{}) {
	i, err := discovery.InterfaceByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = syscall.SetsockoptIPMreqn(int(fd), syscall.IPPROTO_IP, syscall.IP_MULTICAST_IF, &syscall.IPMreqn{Ifindex: int32(i.Index)})
		})
		if err != nil {
			return err
		}
		return failed
	}, LocalAddr: &net.UDPAddr{IP: net.IPv4(10, 77, 0, 3), Port: 0}}
	conn, err := dialer.Dial("udp4", "224.0.0.251:5353")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	random := rand.New(rand.NewPCG(1, 2))
	samples := samples(t)
	for n := range 20_000 {
		packet := append([]byte(nil), samples[n%len(samples)]...)
		switch n % 3 {
		case 0:
			for range 1 + random.IntN(8) {
				packet[random.IntN(len(packet))] = byte(random.Uint32())
			}
		case 1:
			packet = packet[:random.IntN(len(packet))]
		case 2:
			if n%5 == 0 {
				for i := range packet {
					packet[i] = byte(random.Uint32())
				}
			}
		}
		conn.Write(packet) // a full buffer loses some
	}
	fmt.Println("sent")
	<-stopped
}

// samples returns well-formed packets that mean harm.
func samples(t *testing.T) [][]byte {
	const name = "_classmesh._udp.local."
	header := func(owner string, kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: owner, Rrtype: kind, Class: dns.ClassINET, Ttl: 100}
	}
	instance := func(n int) []dns.RR {
		owner := fmt.Sprintf("x%d.%s", n, name)
		return []dns.RR{
			&dns.PTR{Hdr: header(name, dns.TypePTR), Ptr: owner},
			&dns.SRV{Hdr: header(owner, dns.TypeSRV), Port: uint16(n), Target: "h.local."},
			&dns.TXT{Hdr: header(owner, dns.TypeTXT), Txt: []string{"p=1-1", "r=" + strings.Repeat("0", 32), "t=" + goldenTag}},
			&dns.A{Hdr: header("h.local.", dns.TypeA), A: net.IPv4(10, 0, 0, byte(n))},
			&dns.AAAA{Hdr: header("h.local.", dns.TypeAAAA), AAAA: net.ParseIP("fe80::1")},
		}
	}
	var packets [][]byte
	add := func(m *dns.Msg) {
		m.Compress = true
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, b)
	}
	for n := range 100 {
		m := new(dns.Msg)
		m.Response = true
		m.Answer = instance(n)
		add(m)
	}
	query := new(dns.Msg)
	query.SetQuestion(name, dns.TypePTR)
	query.Answer = []dns.RR{
		&dns.PTR{Hdr: header(name, dns.TypePTR), Ptr: "x." + name},
		&dns.TXT{Hdr: header(name, dns.TypeTXT), Txt: []string{"x"}},
		&dns.RFC3597{Hdr: header(name, 65280), Rdata: "00"},
		&dns.NULL{Hdr: header(name, dns.TypeNULL), Data: "x"},
	}
	add(query)
	unicast := query.Copy()
	unicast.Question[0].Qclass |= 1 << 15
	add(unicast)
	many := new(dns.Msg)
	for range 200 {
		many.Question = append(many.Question, query.Question[0])
	}
	add(many)
	empty := query.Copy()
	empty.Answer = []dns.RR{&dns.ANY{Hdr: header(name, dns.TypePTR)}}
	add(empty)
	types := new(dns.Msg)
	types.SetQuestion("_services._dns-sd._udp.local.", dns.TypePTR)
	types.Answer = []dns.RR{&dns.PTR{Hdr: header("_services._dns-sd._udp.local.", dns.TypePTR), Ptr: name}}
	add(types)
	return packets
}
