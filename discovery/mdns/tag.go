package mdns

import (
	"cmp"
	"slices"

	"github.com/classmesh/classmesh/discovery"
	"github.com/classmesh/classmesh/records/identity"
)

var labelTag = identity.NewLabel("classmesh 1 zone tag")

// zoneTag is the first half of the hash of (secret, random): both have fixed
// sizes, and BLAKE3 lets nobody extend a hash, so it authenticates random.
func zoneTag(key discovery.ZoneKey, random [randomBytes]byte) [tagBytes]byte {
	msg := append(key.Secret[:], random[:]...)
	hash := labelTag.Hash(msg)
	return [tagBytes]byte(hash[:tagBytes])
}

// newest returns the keys with the highest numbers, the highest first: at most
// maxKeys, so that an announcement costs a bounded number of hashes.
func newest(keys []discovery.ZoneKey) []discovery.ZoneKey {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b discovery.ZoneKey) int { return cmp.Compare(b.Number, a.Number) })
	return keys[:min(len(keys), maxKeys)]
}

// maxKeys is how many keys of others are recognised.
const maxKeys = 16
