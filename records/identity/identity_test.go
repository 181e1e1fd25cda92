package identity_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"lukechampine.com/blake3"

	"github.com/classmesh/classmesh/records/identity"
)

func source(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// The labelled hash is BLAKE3's own derive_key, whatever the length.
func TestHashIsDeriveKey(t *testing.T) {
	l := identity.NewLabel("classmesh test")
	r := source(1)
	for _, n := range []int{0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 3000, 4096, 5000, 16383, 16384, 16385, 20000, 32768, 40000, 72300, 131072} {
		msg := make([]byte, n)
		r.Read(msg)
		var want [2048]byte
		blake3.DeriveKey(want[:], l.String(), msg)
		if got := l.Hash(msg); got != identity.Hash(want[:32]) {
			t.Errorf("Hash of %d bytes differs from derive_key", n)
		}
		var got [2048]byte
		l.Expand(msg, got[:])
		if got != want {
			t.Errorf("Expand of %d bytes differs from derive_key", n)
		}
	}
}

func TestHashDoesNotAllocate(t *testing.T) {
	l := identity.NewLabel("classmesh test")
	msg, out := make([]byte, 2048), make([]byte, 2048)
	if n := testing.AllocsPerRun(100, func() { l.Hash(msg); l.Expand(msg[:32], out) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSignaturesKeepToTheirLabel(t *testing.T) {
	a, b := identity.NewLabel("a"), identity.NewLabel("b")
	k, err := identity.GenerateDeviceKey(source(2))
	if err != nil {
		t.Fatal(err)
	}
	sig := k.Sign(&a, []byte("m"))
	if !k.Public().Verify(&a, []byte("m"), sig) {
		t.Error("own signature refused")
	}
	if k.Public().Verify(&b, []byte("m"), sig) || k.Public().Verify(&a, []byte("n"), sig) {
		t.Error("signature accepted under another label or for another message")
	}
	// A label that is a prefix of another, with the rest moved to the message.
	ab := identity.NewLabel("ab")
	if k.Public().Verify(&a, []byte("bm"), k.Sign(&ab, []byte("m"))) {
		t.Error("label and message run into each other")
	}
}

func TestPrivateKeysDoNotPrint(t *testing.T) {
	k, _ := identity.GenerateDeviceKey(source(3))
	seed := hex.EncodeToString(k.Seed())
	for _, f := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		s := fmt.Sprintf(f, k)
		if strings.Contains(s, seed[:8]) || strings.Contains(s, fmt.Sprint(k.Seed()[0], " ", k.Seed()[1])) {
			t.Errorf("%s prints the key", f)
		}
	}
	if b, err := json.Marshal(k); err == nil {
		t.Errorf("JSON of a private key: %s", b)
	}
	again, err := identity.DeviceKeyFromSeed(k.Seed())
	if err != nil || again.Public() != k.Public() {
		t.Errorf("seed does not give the key again: %v", err)
	}
	if _, err := identity.DeviceKeyFromSeed([]byte("short")); !errors.Is(err, identity.ErrKey) {
		t.Errorf("short seed: %v", err)
	}
}

func TestTextFormsAreInverses(t *testing.T) {
	r := source(4)
	for range 100 {
		var h [32]byte
		r.Read(h[:])
		d := identity.DeviceID(h)
		if e, err := identity.ParseDeviceID(d.String()); err != nil || e != d {
			t.Fatalf("device %s: %v %v", d, e, err)
		}
		if e, err := identity.ParseDeviceID(" " + strings.ToUpper(d.String())); err != nil || e != d {
			t.Fatalf("device in capitals: %v", err)
		}
		l := identity.LogID(h)
		if m, err := identity.ParseLogID(l.String()); err != nil || m != l {
			t.Fatalf("log %s: %v", l, err)
		}
		z, _ := identity.NewZoneID(r)
		if y, err := identity.ParseZoneID(z.String()); err != nil || y != z {
			t.Fatalf("zone %s: %v", z, err)
		}
		u, _ := identity.NewUserID(r)
		if v, err := identity.ParseUserID(u.String()); err != nil || v != u {
			t.Fatalf("user %s: %v", u, err)
		}
	}
}

// Every slip of one character in a device ID is noticed.
func TestDeviceIDCheckDigits(t *testing.T) {
	var d identity.DeviceID
	source(5).Read(d[:])
	text := strings.ReplaceAll(d.String(), "-", "")
	for i := range text {
		for _, c := range "abcdefghijklmnopqrstuvwxyz234567" {
			if byte(c) == text[i] {
				continue
			}
			if _, err := identity.ParseDeviceID(text[:i] + string(c) + text[i+1:]); !errors.Is(err, identity.ErrID) {
				t.Fatalf("slip at %d to %c not noticed", i, c)
			}
		}
	}
	for _, bad := range []string{"", "abc", strings.Repeat("a", 57), strings.Repeat("1", 56), strings.Repeat("é", 28)} {
		if _, err := identity.ParseDeviceID(bad); !errors.Is(err, identity.ErrID) {
			t.Errorf("ParseDeviceID(%d bytes) = %v", len(bad), err)
		}
	}
}

func TestCertificate(t *testing.T) {
	r := source(6)
	k, _ := identity.GenerateDeviceKey(r)
	a, _ := identity.GenerateAuthorKey(r)
	z, _ := identity.NewZoneID(r)
	c := identity.IssueCertificate(k, z, a, 7)
	b := c.Encode()
	got, err := identity.DecodeCertificate(b)
	if err != nil || got != c {
		t.Fatalf("decode: %v", err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := identity.DecodeCertificate(bad); !errors.Is(err, identity.ErrCertificate) {
			t.Fatalf("altered byte %d accepted: %v", i, err)
		}
	}
	for n := range b {
		if _, err := identity.DecodeCertificate(b[:n]); !errors.Is(err, identity.ErrCertificate) {
			t.Fatalf("%d bytes accepted", n)
		}
	}
	// A thief certifies somebody else's author key as an incarnation of his.
	thief, _ := identity.GenerateDeviceKey(r)
	own, _ := identity.GenerateAuthorKey(r)
	stolen := identity.IssueCertificate(thief, z, own, 7)
	stolen.Author, stolen.Possession = c.Author, c.Possession
	label := identity.NewLabel("classmesh 1 incarnation certificate")
	stolen.Signature = thief.Sign(&label, stolen.Encode()[:89])
	if err := stolen.Verify(); !errors.Is(err, identity.ErrCertificate) || !strings.Contains(err.Error(), "author key") {
		t.Errorf("certificate of another's author key: %v", err)
	}
	seen := map[identity.LogID]bool{}
	for _, l := range identity.Lanes {
		seen[c.Log(l)] = true
	}
	if len(seen) != len(identity.Lanes) {
		t.Error("two lanes share a log")
	}
}

func FuzzDecodeCertificate(f *testing.F) {
	r := source(7)
	k, _ := identity.GenerateDeviceKey(r)
	a, _ := identity.GenerateAuthorKey(r)
	f.Add(identity.IssueCertificate(k, identity.ZoneID{1}, a, 1).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := identity.DecodeCertificate(b); err == nil && !bytes.Equal(c.Encode(), b) {
			t.Error("two spellings of one certificate")
		}
	})
}

func FuzzParseDeviceID(f *testing.F) {
	f.Add(identity.DeviceID{1, 2, 3}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := identity.ParseDeviceID(s); err == nil {
			if e, err := identity.ParseDeviceID(d.String()); err != nil || e != d {
				t.Error("parse of String differs")
			}
		}
	})
}

func BenchmarkHash200(b *testing.B) {
	l := identity.NewLabel("classmesh test")
	msg := make([]byte, 200)
	for b.Loop() {
		l.Hash(msg)
	}
}

func BenchmarkExpand(b *testing.B) {
	l := identity.NewLabel("classmesh test")
	msg, out := make([]byte, 32), make([]byte, 2048)
	for b.Loop() {
		l.Expand(msg, out)
	}
}
