package roster

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/classmesh/classmesh/records/identity"
)

var (
	labelRoster     = identity.NewLabel("classmesh 1 roster")
	labelRosterHash = identity.NewLabel("classmesh 1 roster hash")
)

var (
	// ErrRoster is wrapped by errors about bytes or edits that give no valid
	// roster.
	ErrRoster = errors.New("not a valid roster")
	// ErrNewerFormat means that a later release wrote the roster in a way
	// that this one cannot read.
	ErrNewerFormat = errors.New("written by a newer version of classmesh; update this device")
	// ErrCoordinator means that the roster is not signed by the zone's
	// coordinator.
	ErrCoordinator = errors.New("not signed by the coordinator of this zone")
	// ErrZone means that something belongs to another zone.
	ErrZone = errors.New("of another zone")
	// ErrStale means that a roster is older than the one at hand, which is
	// harmless.
	ErrStale = errors.New("older than the roster at hand")
	// ErrConflictingRoster means that the coordinator signed two rosters with
	// one epoch: it was restored without beginning a new life, or its key is
	// in other hands. Both are evidence, and the one at hand stays until a
	// later epoch settles it.
	ErrConflictingRoster = errors.New("signed by the coordinator, but different from the roster at hand with the same epoch")
)

// Role says what a member device is trusted to author.
type Role uint8

// The roles, each with the rights of those before. A role that this version
// does not know has the rights of RolePlain.
const (
	RolePlain         Role = iota // what any member may
	RoleClassroom                 // people and groups as well: the default
	RoleAdministrates             // who may do what in the zone as well
)

// String returns the role's name.
func (r Role) String() string {
	switch r {
	case RolePlain:
		return "plain"
	case RoleClassroom:
		return "classroom"
	case RoleAdministrates:
		return "administrates"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// MarshalText returns the role's name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// ParseRole is the inverse of String for the roles that this version knows.
func ParseRole(s string) (Role, error) {
	for r := range RoleAdministrates + 1 {
		if r.String() == s {
			return r, nil
		}
	}
	return 0, fmt.Errorf("a role is plain, classroom or administrates: %w", ErrRoster)
}

// State says whether a device belongs to the zone. A state that this version
// does not know grants nothing, like StateRevoked.
type State uint8

// The states.
const (
	StateMember State = iota
	StateRevoked
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case StateMember:
		return "member"
	case StateRevoked:
		return "revoked"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText returns the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MaxNameBytes is how long the name of a device or a zone may be, in UTF-8.
const MaxNameBytes = 64

// Device is what the roster says of one device, which it names by its key.
type Device struct {
	Key          identity.DevicePublic
	Name         string // for people, at most MaxNameBytes
	Role         Role   // of a revoked device: the one it had
	State        State
	LeaseUntil   int64         // it may receive until then, milliseconds since 1970; 0: without end
	Incarnations []Incarnation // those the coordinator has met, by ascending sequence, then author
}

// ID returns the device's ID.
func (d *Device) ID() identity.DeviceID { return d.Key.ID() }

// Incarnation is one that the coordinator has met.
type Incarnation struct {
	Author   identity.AuthorPublic
	Sequence uint64
}

// Closure is the coordinator's word that a log ends with certain sets of
// entries, and never continues. Branches that it does not name are closed by
// the empty set.
type Closure struct {
	Log      identity.LogID
	Number   uint64   // from 1; of two closures of a log the higher number holds
	Branches []Branch // ascending by start
}

// Branch is one branch of a closed log: the set of entries that is live at
// Counter and has Fingerprint, as if its author had signed a head.
type Branch struct {
	Start       identity.StartID
	Counter     uint64 // from 1
	Fingerprint identity.Hash
}

// Policy is what the zone's administrators have decided.
type Policy struct {
	LeaseDays uint16 // how long a device may receive without meeting the coordinator; 0: without end
}

// DefaultPolicy is the policy of a new zone.
func DefaultPolicy() Policy { return Policy{LeaseDays: 180} }

// Roster is the coordinator's statement of a zone. Its layout is drawn at
// [Roster.Encode]. Times are milliseconds since 1970.
//
// The coordinator's own device is not in Devices: it belongs to the zone as a
// matter of course.
type Roster struct {
	Zone        identity.ZoneID
	Name        string // of the zone, for people, at most MaxNameBytes
	Coordinator identity.DevicePublic
	Epoch       Epoch
	Created     int64  // when the zone was; clocks that show an earlier time are wrong
	Signed      int64  // when the roster was; a floor for clocks
	Era         uint16 // the highest era that the clocks of records may have
	KeyNumber   uint32 // of the zone key in use; 0: there is none yet
	Policy      Policy
	Devices     []Device  // ascending by device ID
	Closures    []Closure // ascending by log
	Later       []byte    // what later releases add; kept untouched
	Signature   identity.Signature
}

// New returns the first roster of a zone, without devices and unsigned.
func New(zone identity.ZoneID, name string, coordinator identity.DevicePublic, created int64) (*Roster, error) {
	r := &Roster{
		Zone: zone, Name: name, Coordinator: coordinator,
		Epoch:   Epoch{Life: 1, Number: 1},
		Created: created, Policy: DefaultPolicy(),
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("new roster: %w", err)
	}
	return r, nil
}

// Sign returns r, signed with the coordinator's key at the given time in
// milliseconds since 1970. Signed does not fall below what it was in the
// roster that r was made from.
func (r *Roster) Sign(key identity.DeviceKey, now int64) *Roster {
	signed := *r
	signed.Signed = max(r.Signed, r.Created, now)
	signed.Signature = key.Sign(&labelRoster, signed.signed())
	return &signed
}

// Verify reports whether coordinator signed the roster, as an error wrapping
// [ErrCoordinator].
func (r *Roster) Verify(coordinator identity.DevicePublic) error {
	if r.Coordinator != coordinator || !coordinator.Verify(&labelRoster, r.signed(), r.Signature) {
		return fmt.Errorf("roster %v: %w", r.Epoch, ErrCoordinator)
	}
	return nil
}

// Hash names the roster, signature included.
func (r *Roster) Hash() identity.Hash { return HashOf(r.Encode()) }

// HashOf returns the hash of a roster that is at hand encoded.
func HashOf(encoded []byte) identity.Hash { return labelRosterHash.Hash(encoded) }

// Accept decides which roster a replica of zone follows that has current, or
// nil, and is offered the encoding of another: the one with the higher epoch.
// It returns that other, or current itself if it is the same; otherwise an
// error wrapping [ErrStale], [ErrConflictingRoster], [ErrCoordinator],
// [ErrZone], [ErrNewerFormat] or [ErrRoster], with which current stays.
func Accept(current *Roster, offered []byte, coordinator identity.DevicePublic, zone identity.ZoneID) (*Roster, error) {
	r, err := Decode(offered)
	if err != nil {
		return nil, err
	}
	if err := r.Verify(coordinator); err != nil {
		return nil, err
	}
	if r.Zone != zone {
		return nil, fmt.Errorf("roster %v: %w", r.Epoch, ErrZone)
	}
	if current == nil || Newer(r.Epoch, current.Epoch) {
		return &r, nil
	}
	switch {
	case Newer(current.Epoch, r.Epoch):
		return nil, fmt.Errorf("roster %v, at hand is %v: %w", r.Epoch, current.Epoch, ErrStale)
	case !bytes.Equal(offered, current.Encode()):
		return nil, fmt.Errorf("roster %v: %w", r.Epoch, ErrConflictingRoster)
	}
	return current, nil
}
