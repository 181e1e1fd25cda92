package discovery_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/classmesh/classmesh/discovery"
)

// golden is a book of two entries as it stands on disk.
const golden = "010002" +
	"0000000000000000000000000000000000000000000000000000000000000000" +
	"0c" + "7063372e6c616e3a34343333" +
	"0000000000000001" + "0000000000000002" + "0000000000000000" +
	"0001000000000000000000000000000000000000000000000000000000000000" +
	"0d" + "31302e302e302e313a34343333" +
	"0000000000000001" + "0000000000000002" + "0000000000000002"

func TestGoldenBook(t *testing.T) {
	raw, err := hex.DecodeString(golden)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := discovery.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries[0].Address != "pc7.lan:4433" || !entries[0].LastSuccess.IsZero() ||
		entries[1].Device != device(1) || entries[1].Address != "10.0.0.1:4433" ||
		!entries[1].LastSuccess.Equal(time.Unix(2, 0)) || !entries[1].FirstSeen.Equal(time.Unix(1, 0)) {
		t.Errorf("%+v", entries)
	}
	b, err := discovery.New(discovery.Config{
		Load: func() ([]byte, error) { return raw, nil },
		Save: func([]byte) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Encode(); !bytes.Equal(got, raw) {
		t.Errorf("encoded again:\n%x\nwant\n%x", got, raw)
	}
	for i := range raw {
		if _, err := discovery.Decode(raw[:i]); !errors.Is(err, discovery.ErrBook) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := discovery.Decode(append(raw, 0)); !errors.Is(err, discovery.ErrBook) {
		t.Errorf("a byte more: %v", err)
	}
	if _, err := discovery.Decode(bytes.Repeat([]byte{1}, discovery.MaxBookBytes+1)); !errors.Is(err, discovery.ErrBook) {
		t.Errorf("too large: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	raw, _ := hex.DecodeString(golden)
	f.Add(raw)
	f.Add([]byte{1, 0, 0})
	f.Add([]byte{1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := discovery.Decode(b)
		if err != nil {
			if !errors.Is(err, discovery.ErrBook) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		book, err := discovery.New(discovery.Config{
			Load: func() ([]byte, error) { return b, nil },
			Save: func([]byte) error { return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		// Only the bounds may have made it smaller.
		again := book.Encode()
		if len(book.All()) == len(entries) && !bytes.Equal(again, b) {
			t.Errorf("two encodings of one book:\n%x\n%x", b, again)
		}
		if _, err := discovery.Decode(again); err != nil {
			t.Errorf("cannot read what it wrote: %v", err)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"10.0.0.1:1", "[fe80::1%eth0]:4433", "[::ffff:10.0.0.1]:80", "Pc7.Lan.:4433", "0x7f.1:80", "[::1]:0", "a b:1", "1.2.3:4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := discovery.ParseAddress(s)
		if err != nil {
			if !errors.Is(err, discovery.ErrAddress) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		if len(a) > discovery.MaxAddressBytes {
			t.Errorf("%d bytes", len(a))
		}
		if again, err := discovery.ParseAddress(string(a)); err != nil || again != a {
			t.Errorf("%q becomes %q, %v", a, again, err)
		}
	})
}

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]discovery.Address{
		"192.168.1.20:4433":      "192.168.1.20:4433",
		"[::ffff:10.0.0.1]:4433": "10.0.0.1:4433",
		"[FD00::0001]:4433":      "[fd00::1]:4433",
		"[fe80::1%eth0]:4433":    "[fe80::1%eth0]:4433",
		"Room-7.School.LAN:4433": "room-7.school.lan:4433",
		"room7.:04433":           "room7:4433",
	} {
		if got, err := discovery.ParseAddress(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", ":", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "0.0.0.0:1", "[::]:1", "224.0.0.251:5353",
		"255.255.255.255:1", "[ff02::fb]:5353", "[fe80::1]:1", "[fd00::1%eth0]:1", "127.1:80", "0x7f000001:80", "2130706433:80",
		"a..b:1", "-a:1", "a b:1", "http://a:1", "[fe80::1%" + string(make([]byte, 20)) + "]:1",
	} {
		if got, err := discovery.ParseAddress(in); err == nil {
			t.Errorf("%q was taken as %q", in, got)
		}
	}
}
