package gossip_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/discovery/gossip"
	"github.com/classmesh/classmesh/records/identity"
)

// What a map of msgpack is made of, for messages by hand.
func str(s string) string                { return string([]byte{0xda, byte(len(s) >> 8), byte(len(s))}) + s }
func u32(n uint32) string                { return string(binary.BigEndian.AppendUint32([]byte{0xce}, n)) }
func message(t byte, body string) []byte { return append([]byte{t}, body...) }

func obj(pairs ...string) string {
	return string([]byte{0x80 | byte(len(pairs)/2)}) + strings.Join(pairs, "")
}

var (
	ping     = message(0, obj(str("SeqNo"), u32(1), str("Node"), str("x")))
	alive    = message(4, obj(str("Incarnation"), u32(1), str("Node"), str("x"), str("Addr"), str("\x0a\x00\x00\x09"), str("Port"), u32(1), str("Meta"), str(""), str("Vsn"), str("\x01\x05\x02\x00\x00\x00")))
	suspect  = message(3, obj(str("Incarnation"), u32(1), str("Node"), str("x"), str("From"), str("y")))
	userHint = append([]byte{8, 2, 1, 0, 0, 0, 7}, "thint"...)
	pushPull = message(6, obj(str("Nodes"), "\x01", str("UserStateLen"), "\x00", str("Join"), "\xc3")+
		obj(str("Name"), str("x"), str("State"), "\x00"))
)

func compound(parts ...[]byte) []byte {
	b := []byte{7, byte(len(parts))}
	for _, p := range parts {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
	}
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func checksummed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{12}, crc32.ChecksumIEEE(b)), b...)
}

func TestGuard(t *testing.T) {
	many := make([][]byte, 150) // more than memberlist once could (cortex#4326)
	for i := range many {
		many[i] = ping
	}
	for name, b := range map[string][]byte{
		"ping": ping, "alive": alive, "suspect": suspect, "hint": userHint,
		"compound": compound(ping, suspect, alive, userHint), "compound of 150": compound(many...),
		"checksum": checksummed(compound(ping, userHint)), "compound of none": compound(),
	} {
		if err := gossip.CheckPacket(b); err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
	}
	deep := "\xc0"
	for range 50 {
		deep = "\x91" + deep
	}
	for name, b := range map[string][]byte{
		"nothing":                      {},
		"no body":                      {0},
		"an unknown type":              {200, 0x80},
		"compressed (a bomb)":          message(9, obj(str("Algo"), "\x00", str("Buf"), str("x"))),
		"compressed in a compound":     compound(message(9, obj(str("Algo"), "\x00", str("Buf"), str("x")))),
		"compound in a compound":       compound(compound(ping)),
		"compound cut off":             compound(ping, ping)[:12],
		"compound with a rest":         append(compound(ping), 0),
		"a wrong checksum":             append([]byte{12, 1, 2, 3, 4}, ping...),
		"checksum in a checksum":       checksummed(checksummed(ping)),
		"a push/pull as a packet":      pushPull,
		"a text longer than all":       message(0, obj(str("Node"), "\xdb\xff\xff\xff\xff")),
		"an array longer than all":     message(0, obj(str("Node"), "\xdc\xff\xff")),
		"a map of more than 65535":     message(0, "\xdf\xff\xff\xff\xff"),
		"a map longer than all":        message(0, "\xde\xff\xff"),
		"an array of more than 65535":  message(0, obj(str("Node"), "\xdd\xff\xff\xff\xff")),
		"an extension":                 message(0, obj(str("Node"), "\xc7\x01\x00x")),
		"deeply nested":                message(0, obj(str("Node"), deep)),
		"an array for a map":           message(0, "\x91\x01"),
		"a number for a name":          message(0, "\x81\x01\x01"),
		"two values":                   append(bytes.Clone(ping), 0xc0),
		"a hint that is too large":     append([]byte{8, 2, 1, 0, 0, 0, 7, 't'}, make([]byte, gossip.MaxHintBytes+1)...),
		"a topic longer than the hint": {8, 2, 9, 0, 0, 0, 7, 't'},
		"a topic that is too large":    append([]byte{8, 2, 33, 0, 0, 0, 7}, make([]byte, 60)...),
		"encrypted within":             message(10, "xxxx"),
	} {
		if gossip.CheckPacket(b) == nil {
			t.Errorf("%s passes", name)
		}
	}
	nodes := func(n string) []byte {
		return message(6, obj(str("Nodes"), n, str("UserStateLen"), "\x00", str("Join"), "\xc3"))
	}
	for name, b := range map[string][]byte{
		"push/pull": pushPull, "of nobody": nodes("\x00"), "ping": ping,
		"signed number":  nodes("\xd1\x00\x00"),
		"state of later": append(message(6, obj(str("Nodes"), "\x00", str("UserStateLen"), "\x02", str("Join"), "\xc3")), "xx"...),
	} {
		if err := gossip.CheckStream(b); err != nil {
			t.Errorf("stream: %s is refused: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"nothing (index out of range)": {},
		"a million members":            nodes(u32(1_000_000)),
		"a negative number":            nodes("\xff"),
		"a negative number of 2 bytes": nodes("\xd1\xff\xff"),
		"more than there are":          nodes("\x05"),
		"fewer than there are":         append(bytes.Clone(pushPull), obj(str("Name"), str("x"))...),
		"members twice":                message(6, obj(str("Nodes"), "\x00", str("Nodes"), "\x00", str("UserStateLen"), "\x00")),
		"no number of members":         message(6, obj(str("UserStateLen"), "\x00")),
		"a large state":                message(6, obj(str("Nodes"), "\x00", str("UserStateLen"), u32(20<<20), str("Join"), "\xc3")),
		"a header in another form":     message(6, "\x93\x00\x00\xc3"),
		"compressed":                   message(9, obj(str("Algo"), "\x00", str("Buf"), str("x"))),
		"a user message":               userHint,
	} {
		if gossip.CheckStream(b) == nil {
			t.Errorf("stream: %s passes", name)
		}
	}
}

// alone is a Gossip on a wire in memory that runs as long as the test.
func alone(t testing.TB) (w *wire, g *gossip.Gossip, address netip.AddrPort) {
	w = newWire()
	a := at(1)
	g, err := gossip.New(gossip.Config{
		Device: device(1), Port: 4433,
		Address: func() (netip.AddrPort, error) { return a, nil },
		Join:    func() []netip.AddrPort { return nil },
		Logger:  slog.New(slog.DiscardHandler),
	}.On(host{w, a.Addr()}))
	if err != nil {
		t.Fatal(err)
	}
	g.SetKeys([]discovery.ZoneKey{zoneKey(1)})
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { g.Run(ctx) })
	t.Cleanup(func() { stop(); group.Wait() })
	until(t, 10*time.Second, "it listens", func() (ok bool) {
		address, ok = g.Address()
		return ok
	})
	return w, g, address
}

// FuzzPacketEntry is a device that holds the key and means harm: whatever it
// seals, memberlist behind the guard stays up.
func FuzzPacketEntry(f *testing.F) {
	for _, b := range [][]byte{ping, alive, suspect, userHint, compound(ping, alive, userHint), checksummed(ping), pushPull,
		message(1, obj(str("SeqNo"), u32(1), str("Target"), str("\x0a\x00\x00\x09"), str("Port"), u32(1), str("Nack"), "\xc3")),
		message(2, obj(str("SeqNo"), u32(1), str("Payload"), str("x"))),
		message(5, obj(str("Incarnation"), u32(1), str("Node"), str("x"), str("From"), str("y"))),
		message(11, obj(str("SeqNo"), u32(1)))} {
		f.Add(b, false)
		f.Add(b, true)
	}
	w, _, to := alone(f)
	w.mu.Lock()
	entry, accept := w.packets[to], w.streams[to]
	w.mu.Unlock()
	f.Fuzz(func(t *testing.T, plain []byte, stream bool) {
		if !stream {
			sealed := gossip.Seal(zoneKey(1), [12]byte{1}, plain, nil)
			select {
			case entry.queue <- packet{sealed, at(9)}:
			default:
			}
			return
		}
		if gossip.CheckStream(plain) != nil {
			return // held by TestGuard, and slow
		}
		ours, theirs := net.Pipe()
		accept.queue <- named{theirs, at(9)}
		head := binary.BigEndian.AppendUint32([]byte{10}, uint32(len(plain)+29))
		ours.Write(append(head, gossip.Seal(zoneKey(1), [12]byte{1}, plain, head)...))
		ours.Close()
	})
}

func FuzzGuard(f *testing.F) {
	f.Add(compound(ping, alive))
	f.Add(pushPull)
	f.Fuzz(func(t *testing.T, b []byte) {
		gossip.CheckPacket(b)
		gossip.CheckStream(b)
		if len(b) > 2 {
			gossip.ParseMember(string(b[:43%len(b)]), net.IP(b[:4%len(b)]), 1, b)
		}
	})
}

func TestMetadata(t *testing.T) {
	m := gossip.Member{
		Device: device(7), Start: identity.StartID{1, 2, 3, 4, 5, 6, 7, 8},
		Gossip: netip.MustParseAddrPort("10.0.0.1:4434"), Call: netip.MustParseAddrPort("10.0.0.1:65535"),
	}
	meta := m.Metadata()
	if want := []byte{1, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 8}; !bytes.Equal(meta, want) {
		t.Errorf("%x, want %x", meta, want)
	}
	if len(meta) > gossip.MaxMeta { // memberlist panics
		t.Errorf("%d bytes", len(meta))
	}
	ip := net.IPv4(10, 0, 0, 1)
	largest := append(bytes.Clone(meta), make([]byte, gossip.MaxMeta-len(meta))...)
	for _, b := range [][]byte{meta, largest} { // later releases append
		got, err := gossip.ParseMember(m.Name(), ip, 4434, b)
		if err != nil || got != m {
			t.Errorf("%+v, %v", got, err)
		}
	}
	up := m
	up.Uplink = true
	if got, err := gossip.ParseMember(m.Name(), ip, 4434, up.Metadata()); err != nil || got != up || len(up.Metadata()) != len(meta)+1 {
		t.Errorf("with an uplink: %+v, %v", got, err)
	}
	for name, bad := range map[string]func() error{
		"too large": func() error { _, err := gossip.ParseMember(m.Name(), ip, 1, append(largest, 0)); return err },
		"cut off":   func() error { _, err := gossip.ParseMember(m.Name(), ip, 1, meta[:10]); return err },
		"of later": func() error {
			_, err := gossip.ParseMember(m.Name(), ip, 1, append([]byte{2}, meta[1:]...))
			return err
		},
		"no call port":  func() error { _, err := gossip.ParseMember(m.Name(), ip, 1, make([]byte, 11)); return err },
		"name":          func() error { _, err := gossip.ParseMember("pc7", ip, 1, meta); return err },
		"name's bits":   func() error { _, err := gossip.ParseMember(strings.Repeat("_", 43), ip, 1, meta); return err },
		"no port":       func() error { _, err := gossip.ParseMember(m.Name(), ip, 0, meta); return err },
		"multicast":     func() error { _, err := gossip.ParseMember(m.Name(), net.IPv4(224, 0, 0, 1), 1, meta); return err },
		"unspecified":   func() error { _, err := gossip.ParseMember(m.Name(), net.IPv6zero, 1, meta); return err },
		"odd addresses": func() error { _, err := gossip.ParseMember(m.Name(), net.IP{1, 2, 3}, 1, meta); return err },
	} {
		if bad() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
