package roster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/classmesh/classmesh/records/identity"
)

var labelZoneKey = identity.NewLabel("classmesh 1 zone key")

var (
	// ErrZoneKey is wrapped by errors about bytes that are no zone key.
	ErrZoneKey = errors.New("not a valid zone key")
	// ErrConflictingKey means that the coordinator signed two zone keys with
	// one number: it was restored without beginning a new life, or its key is
	// in other hands. The one at hand stays; the next number settles it.
	ErrConflictingKey = errors.New("signed by the coordinator, but different from the zone key at hand with the same number")
)

// ZoneSecret is the secret part of a zone key.
type ZoneSecret [32]byte

// ZoneKey is a secret that the members of a zone share, to encrypt what they
// say to all of them at once. The coordinator makes it; [Roster.KeyNumber] names
// the one in use; it passes inside sessions between members only. The next
// number replaces it when a device is removed from the zone: from then on that
// device cannot read what the others say.
type ZoneKey struct {
	Zone      identity.ZoneID
	Number    uint32 // from 1
	Secret    ZoneSecret
	Signature identity.Signature // of the coordinator
}

const zoneKeySigned = 1 + 16 + 4 + 32

// ZoneKeyBytes is the size of an encoded zone key.
const ZoneKeyBytes = zoneKeySigned + identity.SignatureBytes

// NewZoneKey makes a zone key with a secret drawn from random, signed with the
// coordinator's key.
func NewZoneKey(random io.Reader, coordinator identity.DeviceKey, zone identity.ZoneID, number uint32) (ZoneKey, error) {
	k := ZoneKey{Zone: zone, Number: number}
	if number == 0 {
		return ZoneKey{}, fmt.Errorf("new zone key: number 0: %w", ErrZoneKey)
	}
	if _, err := io.ReadFull(random, k.Secret[:]); err != nil {
		return ZoneKey{}, fmt.Errorf("new zone key: %w", err)
	}
	k.Signature = coordinator.Sign(&labelZoneKey, k.signed())
	return k, nil
}

// Verify reports whether coordinator signed the key, as an error wrapping
// [ErrCoordinator].
func (k ZoneKey) Verify(coordinator identity.DevicePublic) error {
	if !coordinator.Verify(&labelZoneKey, k.signed(), k.Signature) {
		return fmt.Errorf("%v: %w", k, ErrCoordinator)
	}
	return nil
}

// Encode returns the fixed layout, which holds the secret:
//
//	 0  format, 1
//	 1  zone (16)
//	17  number, big-endian (4), from 1
//	21  secret (32)
//	53  Ed25519 by the coordinator's key over all before (64)
func (k ZoneKey) Encode() []byte { return append(k.signed(), k.Signature[:]...) }

func (k ZoneKey) signed() []byte {
	b := make([]byte, 0, ZoneKeyBytes)
	b = append(b, format)
	b = append(b, k.Zone[:]...)
	b = binary.BigEndian.AppendUint32(b, k.Number)
	return append(b, k.Secret[:]...)
}

// DecodeZoneKey reads what Encode gives and nothing else. It does not verify
// the signature. Errors wrap [ErrNewerFormat] or [ErrZoneKey].
func DecodeZoneKey(b []byte) (ZoneKey, error) {
	in := reader{rest: b}
	var k ZoneKey
	switch f := in.uint8(); {
	case f > format:
		return ZoneKey{}, fmt.Errorf("decode zone key: format %d, this version reads %d: %w", f, format, ErrNewerFormat)
	case f != format || len(b) != ZoneKeyBytes:
		return ZoneKey{}, fmt.Errorf("decode zone key: %d bytes of format %d: %w", len(b), f, ErrZoneKey)
	}
	in.fill(k.Zone[:])
	k.Number = in.uint32()
	in.fill(k.Secret[:])
	in.fill(k.Signature[:])
	if k.Number == 0 {
		return ZoneKey{}, fmt.Errorf("decode zone key: number 0: %w", ErrZoneKey)
	}
	return k, nil
}

// String names the key without giving its secret away.
func (k ZoneKey) String() string { return fmt.Sprintf("zone key %d", k.Number) }

// Format is String, whatever the verb.
func (k ZoneKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue is String, for slog.
func (k ZoneKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalJSON always fails: zone keys are stored with Encode, on purpose.
func (ZoneKey) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a zone key is never put into JSON")
}

// String names the kind of thing without giving it away.
func (ZoneSecret) String() string { return "[secret]" }

// Format is String, whatever the verb.
func (s ZoneSecret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is String, for slog.
func (s ZoneSecret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON always fails, as that of [ZoneKey].
func (ZoneSecret) MarshalJSON() ([]byte, error) { return ZoneKey{}.MarshalJSON() }
