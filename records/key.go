package records

import (
	"context"
	"errors"
	"fmt"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// maxKeys is how many zone keys are kept: the newest, and those with which
// members that were away may still speak.
const maxKeys = 4

// Keys returns the zone keys held, the newest first, at most four. They must
// not be changed. The newest may have a number above or below the one that the
// roster names: keys and rosters come one after the other.
func (r *Replica) Keys() []roster.ZoneKey { return *r.keys.Load() }

// AcceptKey takes an encoded zone key that the coordinator of this zone has
// signed, from whomever it comes. It returns [ErrStale], which is harmless, for
// a number that is not above the highest held;
// [roster.ErrConflictingKey] for another secret under a number that is held,
// which stays; and otherwise what [roster.DecodeZoneKey] and
// [roster.ZoneKey.Verify] say, or [roster.ErrZone]. Who is not a member any more
// keeps what it has: it is the next key that such a device is not given.
func (r *Replica) AcceptKey(ctx context.Context, encoded []byte) error {
	k, err := roster.DecodeZoneKey(encoded)
	if err == nil {
		err = checkKey(k, r.coordinator, r.zone)
	}
	if err == nil {
		err = r.doReceived(ctx, func(b *batch) error { return b.acceptKey(k) })
	}
	if errors.Is(err, roster.ErrConflictingKey) {
		r.cfg.Logger.Warn("a zone key was refused", "key", k, "because", err)
	}
	if err != nil {
		return fmt.Errorf("accept zone key: %w", err)
	}
	return nil
}

func (b *batch) acceptKey(k roster.ZoneKey) error {
	held := b.keys
	if held == nil {
		held = b.r.Keys()
	}
	for _, h := range held {
		if h.Number == k.Number && h.Secret != k.Secret {
			return fmt.Errorf("%v: %w", k, roster.ErrConflictingKey)
		}
	}
	if len(held) > 0 && k.Number <= held[0].Number {
		return ErrStale
	}
	next := append([]roster.ZoneKey{k}, held[:min(len(held), maxKeys-1)]...)
	if err := b.tx.SetValue(valueKeys, encodeKeys(next)); err != nil {
		return b.abort(err)
	}
	b.keys = next
	b.changes = append(b.changes, Change{Key: true})
	return nil
}

func checkKey(k roster.ZoneKey, coordinator identity.DevicePublic, zone identity.ZoneID) error {
	if k.Zone != zone {
		return fmt.Errorf("%v: %w", k, roster.ErrZone)
	}
	return k.Verify(coordinator)
}

func encodeKeys(keys []roster.ZoneKey) (b []byte) {
	for _, k := range keys {
		b = append(b, k.Encode()...)
	}
	return b
}

// decodeKeys reads what encodeKeys wrote; their order must be right.
func decodeKeys(b []byte) ([]roster.ZoneKey, error) {
	if len(b)%roster.ZoneKeyBytes != 0 || len(b) > maxKeys*roster.ZoneKeyBytes {
		return nil, fmt.Errorf("zone keys of %d bytes: %w", len(b), ErrDamaged)
	}
	keys := make([]roster.ZoneKey, len(b)/roster.ZoneKeyBytes)
	for i := range keys {
		var err error
		if keys[i], err = roster.DecodeZoneKey(b[i*roster.ZoneKeyBytes : (i+1)*roster.ZoneKeyBytes]); err != nil {
			return nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
		}
		if i > 0 && keys[i-1].Number <= keys[i].Number {
			return nil, fmt.Errorf("%v stands behind %v: %w", keys[i], keys[i-1], ErrDamaged)
		}
	}
	return keys, nil
}

// checkKeys reports what is wrong with stored zone keys.
func checkKeys(b []byte, coordinator identity.DevicePublic, zone identity.ZoneID) error {
	keys, err := decodeKeys(b)
	for i := 0; err == nil && i < len(keys); i++ {
		err = checkKey(keys[i], coordinator, zone)
	}
	return err
}
