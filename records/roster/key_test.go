package roster_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/classmesh/classmesh/records/roster"
)

func zoneKey(t testing.TB, number uint32) roster.ZoneKey {
	t.Helper()
	k, err := roster.NewZoneKey(bytes.NewReader(seed(77)), coordinator, zone, number)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The bytes of a zone key never change.
func TestGoldenZoneKey(t *testing.T) {
	want := strings.Join([]string{
		"01",                               // format
		"07000000000000000000000000000009", // zone
		"00000102",                         // number
		"3030303030303030303030303030303030303030303030303030303030303737", // secret
		"ac9a0b098e80da261ac4570ac4d02f775daa8eca86eb4b51ca6d327c352293eb", // signature
		"c8787b39a012fdee2a0efe6ad710b3c501a6d921e16a41ca4946aca5ce6b8c08",
	}, "")
	if got := hex.EncodeToString(zoneKey(t, 0x102).Encode()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestZoneKey(t *testing.T) {
	k := zoneKey(t, 3)
	b := k.Encode()
	got, err := roster.DecodeZoneKey(b)
	if err != nil || got != k || len(b) != roster.ZoneKeyBytes {
		t.Fatalf("%d bytes read back as another key: %v", len(b), err)
	}
	if err := got.Verify(coordinator.Public()); err != nil {
		t.Error(err)
	}
	if err := got.Verify(deviceKey(1).Public()); !errors.Is(err, roster.ErrCoordinator) {
		t.Errorf("signed by another: %v", err)
	}
	for i := range b {
		b[i] ^= 0x80
		if k, err := roster.DecodeZoneKey(b); err == nil && k.Verify(coordinator.Public()) == nil {
			t.Errorf("byte %d altered: accepted", i)
		}
		b[i] ^= 0x80
		if _, err := roster.DecodeZoneKey(b[:i]); !errors.Is(err, roster.ErrZoneKey) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := roster.DecodeZoneKey(append(b, 0)); !errors.Is(err, roster.ErrZoneKey) {
		t.Errorf("a byte too many: %v", err)
	}
	none := k
	none.Number = 0
	if _, err := roster.DecodeZoneKey(none.Encode()); !errors.Is(err, roster.ErrZoneKey) {
		t.Errorf("number 0: %v", err)
	}
	if _, err := roster.NewZoneKey(bytes.NewReader(seed(1)), coordinator, zone, 0); !errors.Is(err, roster.ErrZoneKey) {
		t.Errorf("a new key with number 0: %v", err)
	}
	if _, err := roster.NewZoneKey(strings.NewReader("short"), coordinator, zone, 1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a new key without enough randomness: %v", err)
	}
	later := bytes.Clone(b)
	later[0] = 2
	for _, b := range [][]byte{later, later[:40], append(later, 1)} {
		if _, err := roster.DecodeZoneKey(b); !errors.Is(err, roster.ErrNewerFormat) {
			t.Errorf("a later format in %d bytes: %v", len(b), err)
		}
	}
	// A signature over a key holds for nothing else.
	r := empty(t)
	r.Signature = k.Signature
	if err := r.Verify(coordinator.Public()); !errors.Is(err, roster.ErrCoordinator) {
		t.Errorf("a roster with a key's signature: %v", err)
	}
}

// However a key is printed, its secret is not shown.
func TestZoneKeyIsNotPrinted(t *testing.T) {
	k := zoneKey(t, 3)
	var out strings.Builder
	for _, f := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q", "%c", "%U"} {
		fmt.Fprintf(&out, f+"\n", k)
		fmt.Fprintf(&out, f+"\n", &k)
		fmt.Fprintf(&out, f+"\n", k.Secret)
		fmt.Fprintf(&out, f+"\n", []roster.ZoneKey{k})
		fmt.Fprintf(&out, f+"\n", struct{ Key roster.ZoneKey }{k})
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "key", k, "secret", k.Secret, "keys", []roster.ZoneKey{k}, "secrets", []roster.ZoneSecret{k.Secret})
	}
	for _, v := range []any{k, &k, k.Secret, []roster.ZoneKey{k}, map[string]roster.ZoneSecret{"a": k.Secret}} {
		if b, err := json.Marshal(v); err == nil {
			t.Errorf("%T became JSON: %s", v, b)
		}
	}
	text := strings.ToLower(out.String())
	for _, shown := range []string{"48 48", "48,48", "3030", "0x30", "0000000", "u+0030"} { // the secret is digits
		if strings.Contains(text, shown) {
			t.Errorf("the secret is shown as %q in\n%s", shown, out.String())
		}
	}
	if want := "zone key 3"; k.String() != want || !strings.Contains(out.String(), "key="+fmt.Sprintf("%q", want)) {
		t.Errorf("the key is called %q", k)
	}
}

func FuzzDecodeZoneKey(f *testing.F) {
	b := zoneKey(f, 1).Encode()
	f.Add(b)
	f.Add(b[:100])
	f.Add(append([]byte{2}, b...))
	f.Add(zoneKey(f, 1<<32-1).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := roster.DecodeZoneKey(b)
		switch {
		case err == nil:
			if d := cmp.Diff(b, k.Encode()); d != "" {
				t.Fatal("two spellings of one key")
			}
		case !errors.Is(err, roster.ErrZoneKey) && !errors.Is(err, roster.ErrNewerFormat):
			t.Fatalf("error without a sentinel: %v", err)
		}
	})
}
