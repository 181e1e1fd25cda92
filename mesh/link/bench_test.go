package link_test

import (
	"io"
	"testing"

	"github.com/classmesh/classmesh/mesh/link"
)

func BenchmarkThroughput(b *testing.B) {
	const size = 16 << 20
	for scheme, transport := range schemes {
		b.Run(string(transport), func(b *testing.B) {
			from, to := connect(b, listen(b, nil), scheme)
			data := make([]byte, 256<<10)
			b.SetBytes(size)
			for b.Loop() {
				go func() {
					for range size / len(data) {
						from.Write(data)
					}
				}()
				if _, err := io.CopyN(io.Discard, to, size); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One fresh connection, one message there and back, without the end.
func BenchmarkDialAndRoundTrip(b *testing.B) {
	for scheme, transport := range schemes {
		b.Run(string(transport), func(b *testing.B) {
			s := listen(b, nil)
			conf := dialConf(b, s, scheme)
			msg := make([]byte, 100)
			for b.Loop() {
				dialAndRoundTrip(b, s, conf, msg)
			}
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for scheme, transport := range schemes {
		b.Run(string(transport), func(b *testing.B) {
			from, to := connect(b, listen(b, nil), scheme)
			go io.Copy(to, to)
			msg := make([]byte, 300)
			for b.Loop() {
				if _, err := from.Write(msg); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(from, msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func dialAndRoundTrip(t testing.TB, s *server, conf link.DialConfig, msg []byte) {
	a, err := link.Dial(within(t), conf)
	if err != nil {
		t.Fatal(err)
	}
	echoed := make(chan error, 1)
	go func() {
		c, err := s.Accept(within(t))
		if err == nil {
			_, err = io.Copy(c, c)
		}
		echoed <- err
	}()
	if _, err := a.Write(msg); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(a, msg); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if err := <-echoed; err != nil {
		t.Fatal(err)
	}
}

// A fresh connection with a message of 100 bytes each way, and its end, has to
// leave room for a session within 8 KB.
func TestBytesOfFreshConnection(t *testing.T) {
	s := listen(t, nil)
	r := newRelay(t, s.Addr())
	conf := dialConf(t, s, "quic")
	conf.Addresses = []string{"quic://" + r.addr()}
	dialAndRoundTrip(t, s, conf, make([]byte, 100))
	const headers = 28 // IPv4 and UDP
	total := r.bytes.Load() + headers*r.packets.Load()
	t.Logf("%d packets, %d bytes, with IP headers %d", r.packets.Load(), r.bytes.Load(), total)
	if total > 6500 {
		t.Errorf("a fresh connection costs %d bytes", total)
	}
}
