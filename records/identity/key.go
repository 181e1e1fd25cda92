package identity

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// SeedBytes is the size of the secret from which a private key is made again.
const SeedBytes = ed25519.SeedSize

// ErrKey is wrapped by errors about key material that cannot be a key.
var ErrKey = errors.New("not a valid key")

// DevicePublic is the public identity key of a device or of a coordinator.
type DevicePublic [ed25519.PublicKeySize]byte

// ID returns the device ID, the hash of the key.
func (p DevicePublic) ID() DeviceID { return DeviceID(labelDeviceID.Hash(p[:])) }

// Verify reports whether sig is this key's signature over msg under l.
func (p DevicePublic) Verify(l *Label, msg []byte, sig Signature) bool {
	return l.verify(p[:], msg, sig)
}

// AuthorPublic is the public key of one incarnation of a device's database.
type AuthorPublic [ed25519.PublicKeySize]byte

// Verify reports whether sig is this key's signature over msg under l.
func (p AuthorPublic) Verify(l *Label, msg []byte, sig Signature) bool {
	return l.verify(p[:], msg, sig)
}

// DeviceKey is the private identity key of a device or of a coordinator: who
// it is, for as long as it lives. It signs certificates and, at a coordinator,
// rosters and receipts, and authenticates TLS. The zero value holds no key.
type DeviceKey struct{ secret }

// AuthorKey is the private key of one incarnation. It signs the heads of the
// incarnation's logs. The zero value holds no key.
type AuthorKey struct{ secret }

// secret holds a private key without offering it for printing, logging or ==.
type secret struct {
	_   [0]func() // no ==
	key ed25519.PrivateKey
}

// String names the kind of thing without giving it away.
func (secret) String() string { return "[private key]" }

// Format is String, whatever the verb.
func (s secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is String, for slog.
func (s secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON always fails: private keys are stored with Seed, on purpose.
func (secret) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a private key is never put into JSON")
}

// IsZero reports whether the value holds no key.
func (s secret) IsZero() bool { return s.key == nil }

// Seed returns a copy of the 32 bytes from which the key can be made again.
// They are the secret itself: store them where only this device reads.
func (s secret) Seed() []byte { return append([]byte(nil), s.key.Seed()...) }

// GenerateDeviceKey makes a new identity key from 32 bytes of random.
func GenerateDeviceKey(random io.Reader) (DeviceKey, error) {
	s, err := generate(random)
	return DeviceKey{s}, err
}

// GenerateAuthorKey makes a new author key from 32 bytes of random.
func GenerateAuthorKey(random io.Reader) (AuthorKey, error) {
	s, err := generate(random)
	return AuthorKey{s}, err
}

// DeviceKeyFromSeed returns the key with the given seed.
func DeviceKeyFromSeed(seed []byte) (DeviceKey, error) {
	s, err := fromSeed(seed)
	return DeviceKey{s}, err
}

// AuthorKeyFromSeed returns the key with the given seed.
func AuthorKeyFromSeed(seed []byte) (AuthorKey, error) {
	s, err := fromSeed(seed)
	return AuthorKey{s}, err
}

func generate(random io.Reader) (secret, error) {
	seed := make([]byte, SeedBytes)
	if _, err := io.ReadFull(random, seed); err != nil {
		return secret{}, fmt.Errorf("generate key: %w", err)
	}
	return secret{key: ed25519.NewKeyFromSeed(seed)}, nil
}

func fromSeed(seed []byte) (secret, error) {
	if len(seed) != SeedBytes {
		return secret{}, fmt.Errorf("seed of %d bytes, want %d: %w", len(seed), SeedBytes, ErrKey)
	}
	return secret{key: ed25519.NewKeyFromSeed(seed)}, nil
}

// Public returns the public half.
func (k DeviceKey) Public() DevicePublic { return DevicePublic(k.key.Public().(ed25519.PublicKey)) }

// Sign signs msg under l.
func (k DeviceKey) Sign(l *Label, msg []byte) Signature { return l.sign(k.key, msg) }

// Signer gives the key to TLS, which signs under its own context string.
func (k DeviceKey) Signer() crypto.Signer { return k.key }

// Derive returns 32 secret bytes that only this key gives for l, for uses such
// as the key of a cookie: BLAKE3 derive_key(l, seed).
func (k DeviceKey) Derive(l *Label) [HashBytes]byte { return l.Hash(k.key.Seed()) }

// Public returns the public half.
func (k AuthorKey) Public() AuthorPublic { return AuthorPublic(k.key.Public().(ed25519.PublicKey)) }

// Sign signs msg under l.
func (k AuthorKey) Sign(l *Label, msg []byte) Signature { return l.sign(k.key, msg) }
