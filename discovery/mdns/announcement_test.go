package mdns_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/discovery/mdns"
)

func key(n uint32) discovery.ZoneKey {
	k := discovery.ZoneKey{Number: n}
	k.Secret[0], k.Secret[31] = byte(n), 7
	return k
}

// service returns a service that is not run, and what it has found.
func service(t testing.TB, conf mdns.Config, keys ...discovery.ZoneKey) (*mdns.Service, *[]discovery.Sighting) {
	t.Helper()
	var found []discovery.Sighting
	conf.Port = 4433
	conf.Keys = func() []discovery.ZoneKey { return keys }
	conf.Found = func(s discovery.Sighting) { found = append(found, s) }
	s, err := mdns.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	return s, &found
}

var eth0 = discovery.Interface{Index: 2, Name: "eth0", Flags: net.FlagUp | net.FlagMulticast}

func TestGoldenText(t *testing.T) {
	s, _ := service(t, mdns.Config{ProtocolMin: 1, ProtocolMax: 2, Random: bytes.NewReader(make([]byte, 16))}, key(1))
	want := []string{"p=1-2", "r=00000000000000000000000000000000", "t=" + goldenTag}
	if got := s.Text(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

const goldenTag = "0345f63b5a398f9567d7d390c45251e3"

// Nothing that is announced may tell one who does not hold the key anything.
func TestAnnouncementIsNewAtEachStart(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		s, _ := service(t, mdns.Config{}, key(1), key(2))
		for _, field := range s.Text()[1:] {
			if seen[field] {
				t.Errorf("%q was announced at two starts", field)
			}
			seen[field] = true
		}
	}
}

func TestWhoIsFound(t *testing.T) {
	ip := net.IPv4(10, 0, 0, 1)
	for _, c := range []struct {
		name         string
		theirs, ours []discovery.ZoneKey
		conf         mdns.Config
		found        bool
	}{
		{"the same key", []discovery.ZoneKey{key(1)}, []discovery.ZoneKey{key(1)}, mdns.Config{}, true},
		{"another zone", []discovery.ZoneKey{key(1)}, []discovery.ZoneKey{key(2)}, mdns.Config{}, false},
		{"absent during key rotation (serf#579): we", []discovery.ZoneKey{key(3), key(1), key(2)}, []discovery.ZoneKey{key(1)}, mdns.Config{}, true},
		{"absent during key rotation (serf#579): they", []discovery.ZoneKey{key(1)}, []discovery.ZoneKey{key(3), key(1), key(2)}, mdns.Config{}, true},
		{"another protocol", []discovery.ZoneKey{key(1)}, []discovery.ZoneKey{key(1)}, mdns.Config{ProtocolMin: 3, ProtocolMax: 4}, false},
		{"an overlap of protocols", []discovery.ZoneKey{key(1)}, []discovery.ZoneKey{key(1)}, mdns.Config{ProtocolMin: 2, ProtocolMax: 4}, true},
	} {
		them, _ := service(t, mdns.Config{ProtocolMin: 1, ProtocolMax: 2}, c.theirs...)
		us, found := service(t, c.conf, c.ours...)
		us.Take(eth0, 4433, them.Text(), ip)
		if got := len(*found) == 1; got != c.found {
			t.Errorf("%s: found %v", c.name, *found)
		}
	}
	us, found := service(t, mdns.Config{}, key(1))
	us.Take(eth0, 4433, us.Text(), ip)
	if len(*found) > 0 {
		t.Error("it found itself")
	}
}

func TestAddressesOfAnAnnouncement(t *testing.T) {
	them, _ := service(t, mdns.Config{}, key(1))
	us, found := service(t, mdns.Config{}, key(1))
	us.Take(eth0, 4433, them.Text(),
		net.IPv4(10, 0, 0, 1), net.IPv4(127, 0, 0, 1), net.IPv4zero, net.IPv4(224, 0, 0, 251),
		net.ParseIP("fe80::1"), net.ParseIP("fd00::1"), net.ParseIP("::1"), net.IP{1, 2, 3}, nil)
	var got []string
	for _, s := range *found {
		if !s.Device.IsZero() || s.Source != discovery.MDNS {
			t.Errorf("%+v", s)
		}
		got = append(got, string(s.Address))
	}
	want := []string{"10.0.0.1:4433", "[fe80::1%eth0]:4433", "[fd00::1]:4433"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	*found = nil
	for _, port := range []int{0, -1, 65536} {
		us.Take(eth0, port, them.Text(), net.IPv4(10, 0, 0, 1))
	}
	if len(*found) > 0 {
		t.Errorf("ports that cannot be: %v", *found)
	}
	many := make([]net.IP, 1000)
	for i := range many {
		many[i] = net.IPv4(10, 0, byte(i>>8), byte(i))
	}
	us.Take(eth0, 4433, them.Text(), many...)
	if len(*found) > 4 {
		t.Errorf("%d addresses of one instance", len(*found))
	}
}

func TestOneBrowseTakesOnlySoMuch(t *testing.T) {
	them, _ := service(t, mdns.Config{}, key(1))
	us, found := service(t, mdns.Config{}, key(1))
	if stops := us.Flood(eth0, mdns.MaxInstances, them.Text(), net.IPv4(10, 0, 0, 1)); stops > 0 || len(*found) != mdns.MaxInstances {
		t.Errorf("stopped %d times after %d", stops, len(*found))
	}
	*found = nil
	if stops := us.Flood(eth0, 2*mdns.MaxInstances, them.Text(), net.IPv4(10, 0, 0, 1)); stops == 0 || len(*found) != mdns.MaxInstances {
		t.Errorf("stopped %d times after %d", stops, len(*found))
	}
}

func TestAnnouncedAddresses(t *testing.T) {
	on := eth0
	for _, p := range []string{"10.0.0.1/24", "127.0.0.1/8", "fe80::1/64", "fd00::1/64"} {
		on.Prefixes = append(on.Prefixes, netip.MustParsePrefix(p))
	}
	if got := fmt.Sprint(mdns.Announced(on)); got != "[10.0.0.1 fe80::1 fd00::1]" {
		t.Errorf("%s", got)
	}
	for i := range 50 {
		on.Prefixes = append(on.Prefixes, netip.MustParsePrefix(fmt.Sprintf("10.1.%d.1/24", i)))
	}
	if got := mdns.Announced(on); len(got) > 8 {
		t.Errorf("%d addresses are announced", len(got))
	}
}

func FuzzAnnouncement(f *testing.F) {
	s, _ := service(f, mdns.Config{}, key(1), key(2))
	f.Add(strings.Join(s.Text(), "\n"))
	f.Add("p=1-2\nr=00\nt=00")
	f.Add("p=2-1\np=\nx\n=\nr=zz")
	us, found := service(f, mdns.Config{}, key(3))
	f.Fuzz(func(t *testing.T, joined string) {
		text := strings.Split(joined, "\n")
		if again, ok := mdns.Reparse(text); ok {
			if third, ok := mdns.Reparse(again); !ok || !slices.Equal(again, third) {
				t.Errorf("%q becomes %q", again, third)
			}
			if len(again) > 2+mdns.MaxTags {
				t.Errorf("%d fields", len(again))
			}
		}
		us.Take(eth0, 4433, text, net.IPv4(10, 0, 0, 1))
		if len(*found) > 0 {
			t.Error("found without the key")
		}
	})
}

func TestNewChecks(t *testing.T) {
	keys := func() []discovery.ZoneKey { return nil }
	for _, c := range []mdns.Config{{}, {Port: 1}, {Port: 1, Keys: keys}, {Keys: keys, Found: func(discovery.Sighting) {}},
		{Port: 1, Keys: keys, Found: func(discovery.Sighting) {}, Random: strings.NewReader("short")}} {
		if _, err := mdns.New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
