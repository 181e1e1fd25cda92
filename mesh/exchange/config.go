package exchange

import (
	"time"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/roster"
)

// Standing is what the roster says of a peer. The zero value grants nothing.
type Standing uint8

// The standings.
const (
	Unknown    Standing = iota // not listed
	Revoked                    // removed from the zone
	LeaseEnded                 // a member that may give records, but not receive
	Member                     // may give and receive
)

// Admits reports whether the peer belongs to the zone.
func (s Standing) Admits() bool { return s == LeaseEnded || s == Member }

// Judge returns the standing that a roster gives to a peer; now is the latest
// time that the judge can vouch for, in milliseconds since 1970.
func Judge(r *roster.Roster, peer identity.DevicePublic, now int64) Standing {
	id := peer.ID()
	switch {
	case r.MayReceive(id, now) == nil:
		return Member
	case r.MayConnect(id) == nil:
		return LeaseEnded
	}
	if _, listed := r.Device(id); listed {
		return Revoked
	}
	return Unknown
}

// Timing is how long a session waits for what. Zero fields get defaults.
type Timing struct {
	Greeting time.Duration // for the other's Hello: 10 s
	Stranger time.Duration // for the roster of a peer that is not listed: 5 s
	Stall    time.Duration // for any byte while an answer is due: 30 s
	Compare  time.Duration // for the comparison after news in an open session: 30 s
	Quiet    time.Duration // for one more at the longest, without news: 16 minutes
	Linger   time.Duration // of a one-shot session, for receipts or for news: 3 s
	Retry    time.Duration // before taking records again after a full disk: 60 s
}

func (t *Timing) setDefaults() {
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{
		{&t.Greeting, 10 * time.Second},
		{&t.Stranger, 5 * time.Second},
		{&t.Stall, 30 * time.Second},
		{&t.Compare, 30 * time.Second},
		{&t.Quiet, 16 * time.Minute},
		{&t.Linger, 3 * time.Second},
		{&t.Retry, time.Minute},
	} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
}

// DefaultWindow is how many bytes of runs a side takes that are not on disk
// yet.
const DefaultWindow = 2 << 20

// Config is what a [Machine] is made of. Local, Peer, Admission and Codec are
// required.
type Config struct {
	Local Local
	// Peer is the identity key that the channel has proved.
	Peer identity.DevicePublic
	// Admission says what the roster that Local has at the moment of the call
	// grants to a peer. See [Judge].
	Admission func(peer identity.DevicePublic) Standing
	Codec     *packing.Codec // packs pushes
	Software  string         // version of the program, for people
	Window    int            // bytes, at least wire.MinWindow; 0: DefaultWindow
	Timing    Timing

	// Routes is what this session shares with the others of the replica. Nil: it
	// does as if there were none. Wake is called, from anywhere, to have the
	// machine told Woken soon; a Session sets it.
	Routes *Routes
	Wake   func()

	// OneShot ends the session when both sides hold the same, or cannot come
	// closer.
	OneShot bool
	// Satisfied may hold a one-shot session open, for Timing.Linger at most,
	// until for instance the receipts are there; nil: it does not.
	Satisfied func() bool
}
