package wire

import (
	"errors"
	"fmt"
)

// The versions of the protocol that this release speaks.
const (
	MinVersion = 1
	MaxVersion = 1
)

// ErrVersion means that two sides have no version in common.
var ErrVersion = errors.New("no common version of the protocol: update the older of the two devices")

// Features is a set of abilities that a session has if both sides do.
type Features uint64

// The features.
const (
	// FeatureAbsent: a VectorReply names, with counter 0, also what the side
	// that answers holds nothing of. So the other knows how much it lacks.
	FeatureAbsent Features = 1 << iota
	// FeatureSpread: the sides tell each other their links, give word of commits
	// instead of pushing them to who may have them, and say when they have
	// enough. See package exchange.
	FeatureSpread
	// FeatureSums: where a vector would be long, checksums of its buckets come
	// first, and then the rows of those that differ.
	FeatureSums
	// FeatureQuiet: in a session that stays open a comparison of which nothing
	// new is expected is a CountersSum, and no answer if it is the same there.
	FeatureQuiet
	// FeatureColumns: entries may come in columns (packing.DecodeColumns).
	FeatureColumns
)

// SupportedFeatures is what this release can do.
const SupportedFeatures = FeatureAbsent | FeatureSpread | FeatureSums | FeatureQuiet | FeatureColumns

// Has reports whether all of some features are in f.
func (f Features) Has(some Features) bool { return f&some == some }

// Offer is what one side of a session can speak.
type Offer struct {
	Min, Max uint32
	Features Features
}

// OurOffer is what this release can speak.
func OurOffer() Offer {
	return Offer{Min: MinVersion, Max: MaxVersion, Features: SupportedFeatures}
}

// Agree returns the highest version that both sides speak and the features
// that both have, or [ErrVersion].
func (o Offer) Agree(p Offer) (version uint32, f Features, err error) {
	version = min(o.Max, p.Max)
	if version < o.Min || version < p.Min || version == 0 {
		return 0, 0, fmt.Errorf("versions %d to %d and %d to %d: %w", o.Min, o.Max, p.Min, p.Max, ErrVersion)
	}
	return version, o.Features & p.Features, nil
}
