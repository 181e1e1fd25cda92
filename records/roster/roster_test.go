package roster_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

const (
	created = 1_700_000_000_000 // of the zone in these tests
	day     = 24 * 60 * 60 * 1000
)

var zone = identity.ZoneID{0: 7, 15: 9}

func seed(n int) []byte { return fmt.Appendf(nil, "%032d", n) }

func deviceKey(n int) identity.DeviceKey {
	k, err := identity.DeviceKeyFromSeed(seed(n))
	if err != nil {
		panic(err)
	}
	return k
}

func author(n int) identity.AuthorPublic { return authorKey(n).Public() }

func authorKey(n int) identity.AuthorKey {
	k, err := identity.AuthorKeyFromSeed(seed(n))
	if err != nil {
		panic(err)
	}
	return k
}

// coordinator signs the rosters of these tests; the devices have the numbers
// from 1 on, and device n's incarnation with sequence s the author 100·n+s.
var coordinator = deviceKey(0)

func id(n int) identity.DeviceID { return deviceKey(n).Public().ID() }

func certificate(n int, sequence uint64) identity.Certificate {
	return identity.IssueCertificate(deviceKey(n), zone, authorKey(100*n+int(sequence)), sequence)
}

func log(n int, sequence uint64, l identity.Lane) identity.LogID {
	return certificate(n, sequence).Log(l)
}

// must unwraps an edit that has to succeed.
func must(t testing.TB) func(*roster.Roster, error) *roster.Roster {
	return func(r *roster.Roster, err error) *roster.Roster {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func empty(t testing.TB) *roster.Roster {
	t.Helper()
	return must(t)(roster.New(zone, "Green Hill", coordinator.Public(), created))
}

// school has device 1 (administrates), 2 (classroom), 3 (plain) and 4
// (classroom, revoked); each has its incarnations 1 and 2 listed, and one log
// of device 4 is closed with two branches.
func school(t testing.TB) *roster.Roster {
	t.Helper()
	r := empty(t)
	for n, role := range []roster.Role{roster.RoleAdministrates, roster.RoleClassroom, roster.RolePlain, roster.RoleClassroom} {
		r = must(t)(r.AddDevice(deviceKey(n+1).Public(), fmt.Sprintf("Raum %d", n+1), role, created))
		for s := range uint64(2) {
			r = must(t)(r.ListIncarnation(certificate(n+1, s+1)))
		}
	}
	r = must(t)(r.Revoke(id(4), roster.Closure{Log: log(4, 1, identity.LaneZone), Branches: []roster.Branch{
		{Start: identity.StartID{9}, Counter: 40, Fingerprint: identity.Hash{2}},
		{Start: identity.StartID{1}, Counter: 50, Fingerprint: identity.Hash{1}},
	}}))
	return r.Sign(coordinator, created+day)
}

// The bytes of a roster with every part never change.
func TestGoldenBytes(t *testing.T) {
	r := must(t)(empty(t).SetPolicy(roster.Policy{}))
	r = must(t)(r.AddDevice(deviceKey(1).Public(), "Ä", roster.RoleClassroom, created))
	r = must(t)(r.ListIncarnation(certificate(1, 5)))
	r = must(t)(r.Close(roster.Closure{Log: identity.LogID{1}, Branches: []roster.Branch{
		{Start: identity.StartID{2}, Counter: 3, Fingerprint: identity.Hash{4}},
	}}))
	r.Later = []byte("new")
	r = r.Sign(coordinator, created+day)

	key, device, in := coordinator.Public(), deviceKey(1).Public(), author(105)
	want := strings.Join([]string{
		"01",                               // format
		"07000000000000000000000000000009", // zone
		hex.EncodeToString(key[:]),         // coordinator
		"00000001", "0000000000000005",     // epoch 1.5
		"0000018bcfe56800",         // created
		"0000018bd50bc400",         // signed
		"0000", "00000000", "0000", // era, key number, policy
		"0a", "477265656e2048696c6c", // name
		"0001",                         // devices
		hex.EncodeToString(device[:]),  //   key
		"01", "00", "0000000000000000", //   classroom, member, no lease
		"02", "c384", //   name
		"0001",                         //   incarnations
		"0000000000000005",             //     sequence
		hex.EncodeToString(in[:]),      //     author
		"0001",                         // closures
		"01", strings.Repeat("00", 31), //   log
		"0000000000000001",            //   number
		"01",                          //   branches
		"02", strings.Repeat("00", 7), //     start
		"0000000000000003",             //     counter
		"04", strings.Repeat("00", 31), //     fingerprint
		"0003", "6e6577", // later
		hex.EncodeToString(r.Signature[:]), // signature
	}, "")
	if got := hex.EncodeToString(r.Encode()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	const signature = "ecf3f921ed48d67887ad785a59ff3d7a15b3f2d083a0ee3caca99368f8d8ca31b32c0991c2cea2e26e2f313e2fa8bf564174f9d320641047cd4a5af06292c102"
	if got := hex.EncodeToString(r.Signature[:]); got != signature {
		t.Errorf("signature %s", got)
	}
	const hash = "h-qlgbtnch2gt5g2wajwectfdpadxp7elv6cgzge3bhkl3bam7xssq"
	if got := r.Hash().String(); got != hash {
		t.Errorf("hash %s", got)
	}
}

func TestRoundTrip(t *testing.T) {
	r := school(t)
	b := r.Encode()
	got, err := roster.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(*r, got); d != "" {
		t.Error(d)
	}
	if err := got.Verify(coordinator.Public()); err != nil {
		t.Error(err)
	}
	clear(b)
	if d := cmp.Diff(*r, got); d != "" {
		t.Errorf("Decode kept a part of its input: %s", d)
	}
}

func TestEveryAlteredByteIsRefused(t *testing.T) {
	b := school(t).Encode()
	for i := range b {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			b[i] ^= flip
			if _, err := roster.Accept(nil, b, coordinator.Public(), zone); err == nil {
				t.Errorf("byte %d altered: accepted", i)
			}
			b[i] ^= flip
		}
		if _, err := roster.Decode(b[:i]); err == nil {
			t.Errorf("cut to %d bytes: decoded", i)
		}
	}
	if _, err := roster.Decode(append(b, 0)); !errors.Is(err, roster.ErrRoster) {
		t.Errorf("a byte too many: %v", err)
	}
}

// What a signature would cover, but no roster may hold.
func TestDecodeRefusesOtherSpellings(t *testing.T) {
	for name, spoil := range map[string]func(*roster.Roster){
		"epoch 0.1":              func(r *roster.Roster) { r.Epoch.Life = 0 },
		"epoch 1.0":              func(r *roster.Roster) { r.Epoch.Number = 0 },
		"signed before 1970":     func(r *roster.Roster) { r.Signed = -1 },
		"created before 1970":    func(r *roster.Roster) { r.Created = -1 },
		"name not UTF-8":         func(r *roster.Roster) { r.Name = "\xff" },
		"name too long":          func(r *roster.Roster) { r.Name = strings.Repeat("x", 65) },
		"device name not UTF-8":  func(r *roster.Roster) { r.Devices[0].Name = "\xff" },
		"device name too long":   func(r *roster.Roster) { r.Devices[0].Name = strings.Repeat("x", 65) },
		"lease before 1970":      func(r *roster.Roster) { r.Devices[0].LeaseUntil = -1 },
		"devices unsorted":       func(r *roster.Roster) { slices.Reverse(r.Devices) },
		"device twice":           func(r *roster.Roster) { r.Devices[1] = r.Devices[0] },
		"device the coordinator": func(r *roster.Roster) { r.Coordinator = r.Devices[1].Key },
		"incarnations unsorted":  func(r *roster.Roster) { slices.Reverse(r.Devices[0].Incarnations) },
		"incarnation 0":          func(r *roster.Roster) { r.Devices[0].Incarnations[0].Sequence = 0 },
		"author twice": func(r *roster.Roster) {
			r.Devices[0].Incarnations[0].Author = r.Devices[1].Incarnations[0].Author
		},
		"closure twice": func(r *roster.Roster) { r.Closures = append(r.Closures, r.Closures[0]) },
		"closure 0":     func(r *roster.Roster) { r.Closures[0].Number = 0 },
		"branches unsorted": func(r *roster.Roster) {
			slices.Reverse(r.Closures[0].Branches)
		},
		"branch twice": func(r *roster.Roster) { r.Closures[0].Branches[1].Start = r.Closures[0].Branches[0].Start },
		"branch empty": func(r *roster.Roster) { r.Closures[0].Branches[0].Counter = 0 },
	} {
		r := school(t)
		spoil(r)
		if _, err := roster.Decode(r.Encode()); !errors.Is(err, roster.ErrRoster) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodeTakesNoMemoryForRowsThatAreNotThere(t *testing.T) {
	b := school(t).Encode()[:98] // up to the number of devices
	b = append(b, 0xff, 0xff)
	var err error
	if n := testing.AllocsPerRun(10, func() { _, err = roster.Decode(b) }); n > 10 || err == nil {
		t.Errorf("%v allocations, %v", n, err)
	}
	if _, err := roster.Decode(make([]byte, roster.MaxRosterBytes+1)); !errors.Is(err, roster.ErrRoster) {
		t.Errorf("more than a roster can have: %v", err)
	}
}

func TestSizeOfALargeZone(t *testing.T) {
	r := empty(t)
	r.Devices = make([]roster.Device, 500)
	for n := range r.Devices {
		d := &r.Devices[n]
		d.Key, d.Name = deviceKey(n+1).Public(), strings.Repeat("n", roster.MaxNameBytes)
		for s := range uint64(3) {
			d.Incarnations = append(d.Incarnations, roster.Incarnation{Author: author(1000*n + int(s)), Sequence: s + 1})
			for _, lane := range identity.Lanes {
				r.Closures = append(r.Closures, roster.Closure{
					Log: identity.NewLogID(zone, author(1000*n+int(s)), lane), Number: 1,
					Branches: []roster.Branch{{Counter: 1}},
				})
			}
		}
	}
	slices.SortFunc(r.Devices, func(a, b roster.Device) int { return a.ID().Compare(b.ID()) })
	slices.SortFunc(r.Closures, func(a, b roster.Closure) int { return a.Log.Compare(b.Log) })
	all := r.Sign(coordinator, created).Encode()
	if _, err := roster.Accept(nil, all, coordinator.Public(), zone); err != nil {
		t.Errorf("every log closed: %v", err)
	}
	r.Closures = nil
	open := r.Sign(coordinator, created).Encode()
	if _, err := roster.Accept(nil, open, coordinator.Public(), zone); err != nil {
		t.Error(err)
	}
	if len(open) > 128<<10 || len(all) > roster.MaxRosterBytes/2 {
		t.Errorf("%d bytes, with every log closed %d", len(open), len(all))
	}
}

func TestAccept(t *testing.T) {
	first := empty(t).Sign(coordinator, created)
	second := must(t)(first.RaiseEra()).Sign(coordinator, created)
	other := must(t)(first.RaiseKeyNumber(1)).Sign(coordinator, created)
	restored := must(t)(first.NewLife(second.Epoch)).Sign(coordinator, created)
	stranger := *second
	stranger.Coordinator = deviceKey(8).Public()
	elsewhere := *second
	elsewhere.Zone[0]++
	later := second.Encode()
	later[0] = 2

	for _, c := range []struct {
		name    string
		current *roster.Roster
		offered []byte
		want    *roster.Roster
		err     error
	}{
		{"the first", nil, first.Encode(), first, nil},
		{"a higher number", first, second.Encode(), second, nil},
		{"a higher life", second, restored.Encode(), restored, nil},
		{"the same", second, second.Encode(), second, nil},
		{"a lower number", second, first.Encode(), nil, roster.ErrStale},
		{"a lower life", restored, second.Encode(), nil, roster.ErrStale},
		{"another with the same epoch", second, other.Encode(), nil, roster.ErrConflictingRoster},
		{"of another coordinator", nil, stranger.Sign(deviceKey(8), 0).Encode(), nil, roster.ErrCoordinator},
		{"that names the coordinator, signed by another", nil, second.Sign(deviceKey(8), 0).Encode(), nil, roster.ErrCoordinator},
		{"of another zone", nil, elsewhere.Sign(coordinator, 0).Encode(), nil, roster.ErrZone},
		{"of a later release", nil, later, nil, roster.ErrNewerFormat},
		{"nothing", nil, nil, nil, roster.ErrRoster},
	} {
		got, err := roster.Accept(c.current, c.offered, coordinator.Public(), zone)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// Whatever order rosters arrive in, and however often, the same one is
// followed in the end.
func TestOrderOfAcceptanceDoesNotMatter(t *testing.T) {
	r := empty(t).Sign(coordinator, created)
	all := [][]byte{r.Encode()}
	for n := range 12 {
		if n%5 == 4 {
			r = must(t)(r.NewLife(r.Epoch))
		} else {
			r = must(t)(r.RaiseEra())
		}
		r = r.Sign(coordinator, created+int64(n))
		all = append(all, r.Encode())
	}
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfN(rapid.IntRange(0, len(all)-1), 1, 30).Draw(t, "offered")
		var current *roster.Roster
		for _, n := range some {
			next, err := roster.Accept(current, all[n], coordinator.Public(), zone)
			switch {
			case err == nil:
				current = next
			case !errors.Is(err, roster.ErrStale):
				t.Fatal(err)
			}
		}
		if want := all[slices.Max(some)]; !bytes.Equal(current.Encode(), want) {
			t.Fatalf("ended with %v", current.Epoch)
		}
	})
}

func TestEpoch(t *testing.T) {
	a, b, c := roster.Epoch{Life: 1, Number: 9}, roster.Epoch{Life: 1, Number: 10}, roster.Epoch{Life: 2, Number: 1}
	if !roster.Newer(b, a) || !roster.Newer(c, b) || roster.Newer(a, a) || roster.Newer(a, c) {
		t.Error("epochs are not ordered by life, then number")
	}
	if got := roster.NextLife(b); got != c {
		t.Errorf("life after %v is %v", b, got)
	}
	if b, err := json.Marshal(map[string]roster.Epoch{"e": a}); err != nil || string(b) != `{"e":"1.9"}` {
		t.Errorf("%s, %v", b, err)
	}
	var parsed roster.Epoch
	if err := json.Unmarshal([]byte(`"1.9"`), &parsed); err != nil || parsed != a {
		t.Errorf("%v, %v", parsed, err)
	}
	for _, s := range []string{"", "1", "1.", ".1", "01.1", "+1.1", "1.1.1", "-1.1", "4294967296.1", "1.18446744073709551616", "1.1 "} {
		if _, err := roster.ParseEpoch(s); !errors.Is(err, roster.ErrEpoch) {
			t.Errorf("ParseEpoch(%q): %v", s, err)
		}
	}
}

func FuzzDecodeRoster(f *testing.F) {
	r := school(f)
	f.Add(r.Encode())
	r.Later = []byte("later")
	f.Add(r.Sign(coordinator, 0).Encode())
	f.Add(empty(f).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := roster.Decode(b)
		switch {
		case err == nil:
			if again := r.Encode(); !bytes.Equal(again, b) {
				t.Fatalf("two spellings: %x and %x", b, again)
			}
		case !errors.Is(err, roster.ErrRoster) && !errors.Is(err, roster.ErrNewerFormat):
			t.Fatalf("error without a sentinel: %v", err)
		}
	})
}

func source(n uint64) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{byte(n)}) }

func BenchmarkMayAuthor(b *testing.B) {
	r := empty(b)
	r.Devices = make([]roster.Device, 500)
	for n := range r.Devices {
		r.Devices[n].Key = deviceKey(n + 1).Public()
	}
	slices.SortFunc(r.Devices, func(a, b roster.Device) int { return a.ID().Compare(b.ID()) })
	last := id(250)
	b.ReportAllocs()
	for b.Loop() {
		if !r.MayAuthor(last, roster.ClassAny) {
			b.Fatal("refused")
		}
	}
}
