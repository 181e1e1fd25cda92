package gossip

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"slices"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/records/identity"
)

var labelKey = identity.NewLabel("classmesh 1 gossip key")

// maxKeys is how many keys are held at a time. Old ones stay for those who were
// away; what came before these nobody can still have.
const maxKeys = 16

// key opens what was sealed under one zone key.
type key struct {
	secret [identity.HashBytes]byte // AES-256
	aead   cipher.AEAD
}

// deriveKeys returns the keys of gossip, that of the newest zone key first.
func deriveKeys(zone []discovery.ZoneKey) []key {
	zone = slices.Clone(zone)
	slices.SortFunc(zone, func(a, b discovery.ZoneKey) int { return cmp.Compare(b.Number, a.Number) })
	var keys []key
	for _, z := range zone[:min(len(zone), maxKeys)] {
		k := key{secret: labelKey.Hash(z.Secret[:])}
		block, err := aes.NewCipher(k.secret[:])
		if err != nil {
			panic(err) // 32 bytes are a key
		}
		if k.aead, err = cipher.NewGCM(block); err != nil {
			panic(err) // and AES has blocks of 16
		}
		keys = append(keys, k)
	}
	return keys
}

// What memberlist puts around a sealed text: its version of the encryption and
// the nonce before it, the authentication tag at its end.
const (
	sealVersion  = 1
	nonceBytes   = 12
	sealOverhead = 1 + nonceBytes + 16
)

var errSealed = errors.New("not sealed with a key of the zone")

// open returns the text sealed by memberlist, in memory of its own.
func open(keys []key, sealed, associated []byte) ([]byte, error) {
	if len(sealed) < sealOverhead || sealed[0] != sealVersion {
		return nil, errSealed
	}
	for _, k := range keys {
		if plain, err := k.aead.Open(nil, sealed[1:1+nonceBytes], sealed[1+nonceBytes:], associated); err == nil {
			return plain, nil
		}
	}
	return nil, errSealed
}
