package discovery

import (
	"fmt"

	"github.com/classmesh/classmesh/records/identity"
)

// Source is how an address came into the book. Lower is trusted sooner.
type Source uint8

// The sources.
const (
	Typed       Source = iota // by people, such as with --peer
	MDNS                      // announced on this network
	Gossip                    // told by membership
	Peer                      // told by a device of the zone in a session
	Coordinator               // seen by the coordinator
	Remembered                // from before this start
	sources
)

var sourceNames = [sources]string{"typed", "mdns", "gossip", "peer", "coordinator", "remembered"}

// String returns the word for the source that status pages use.
func (s Source) String() string {
	if s < sources {
		return sourceNames[s]
	}
	return fmt.Sprintf("source %d", uint8(s))
}

// MarshalText is String.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Sighting is somebody's word that a device may be at an address.
type Sighting struct {
	// Device is who is said to be there; zero if that is not known, as with
	// mDNS, which names nobody.
	Device  identity.DeviceID
	Address Address
	Source  Source
}
