package roster

import (
	"errors"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
)

var (
	// ErrUnknownDevice means that the roster does not list the device.
	ErrUnknownDevice = errors.New("device is not in the roster of this zone")
	// ErrRevoked means that the device does not belong to the zone any more.
	ErrRevoked = errors.New("device was removed from this zone")
	// ErrSequence means that the incarnation's number cannot be right: too far
	// above those that the coordinator has met, or not the one it has listed.
	ErrSequence = errors.New("incarnation has an impossible sequence number; the device must meet the coordinator first")
	// ErrOtherDevice means that the author key belongs to another device.
	ErrOtherDevice = errors.New("author key is that of another device")
	// ErrClosed means that the log has ended with a closed set.
	ErrClosed = errors.New("log is closed")
	// ErrLease means that the device has not met the coordinator for too long
	// to be given records.
	ErrLease = errors.New("lease has ended; the device must meet the coordinator")
)

// MaxUnlisted is how far the sequence number of an incarnation that the
// coordinator has not met may lie above the highest that it has.
const MaxUnlisted = 16

// Class says who may author records of a kind. It is part of the kind's
// number, two bits, so that a release can decide for kinds it does not know.
type Class uint8

// The classes.
const (
	ClassAny           Class = iota // any member
	ClassClassroom                  // devices with RoleClassroom or RoleAdministrates
	ClassAdministrates              // devices with RoleAdministrates
	ClassCoordinator                // the coordinator alone
)

// String returns the class's name.
func (c Class) String() string {
	switch c {
	case ClassAny:
		return "any"
	case ClassClassroom:
		return "classroom"
	case ClassAdministrates:
		return "administrates"
	case ClassCoordinator:
		return "coordinator"
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// Device returns what the roster says of a device. The coordinator's own is
// not listed.
func (r *Roster) Device(id identity.DeviceID) (Device, bool) {
	if i, ok := r.find(id); ok {
		return r.Devices[i], true
	}
	return Device{}, false
}

func (r *Roster) find(id identity.DeviceID) (int, bool) {
	return slices.BinarySearchFunc(r.Devices, id, func(d Device, id identity.DeviceID) int {
		return d.ID().Compare(id)
	})
}

// Closure returns the closure that the roster holds of a log. A log of a
// revoked device may be closed without one: see [Roster.Closed].
func (r *Roster) Closure(log identity.LogID) (Closure, bool) {
	i, ok := r.findClosure(log)
	if !ok {
		return Closure{}, false
	}
	return r.Closures[i], true
}

func (r *Roster) findClosure(log identity.LogID) (int, bool) {
	return slices.BinarySearchFunc(r.Closures, log, func(c Closure, log identity.LogID) int {
		return c.Log.Compare(log)
	})
}

// Admits reports whether anything that an incarnation wrote may count: nil, or
// an error wrapping [ErrZone], [ErrUnknownDevice], [ErrRevoked],
// [ErrSequence], [ErrOtherDevice] or [identity.ErrCertificate].
//
// An incarnation is admitted if its device is a member and vouches for it with
// a number at most [MaxUnlisted] above the highest listed, so that a restored
// device works before it meets the coordinator; of a revoked device, if it is
// listed. How much of its logs counts is for [Roster.Closed] to say.
func (r *Roster) Admits(c identity.Certificate) error {
	listed, err := r.admits(c)
	if err == nil && !listed { // else the coordinator's signature says what the device's would
		err = c.Verify()
	}
	return incarnationError(c, err)
}

// AdmitsVerified is Admits for a certificate whose signatures have been verified
// before, such as one under which a log is held.
func (r *Roster) AdmitsVerified(c identity.Certificate) error {
	_, err := r.admits(c)
	return incarnationError(c, err)
}

func incarnationError(c identity.Certificate, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("incarnation %d of device %s: %w", c.Sequence, c.Device.ID().Short(), err)
}

// admits is Admits but for the signature of an incarnation that is not listed.
func (r *Roster) admits(c identity.Certificate) (listed bool, err error) {
	if c.Zone != r.Zone {
		return false, ErrZone
	}
	if c.Device == r.Coordinator {
		return false, r.unclaimed(c)
	}
	d, ok := r.Device(c.Device.ID())
	if !ok {
		return false, ErrUnknownDevice
	}
	highest := uint64(0)
	for _, in := range d.Incarnations {
		if in.Author == c.Author {
			if in.Sequence != c.Sequence {
				return false, ErrSequence
			}
			return true, nil
		}
		highest = max(highest, in.Sequence)
	}
	switch {
	case d.State != StateMember:
		return false, ErrRevoked
	case c.Sequence == 0 || c.Sequence > highest && c.Sequence-highest > MaxUnlisted:
		return false, ErrSequence
	}
	return false, r.unclaimed(c)
}

// unclaimed checks that the author of an incarnation that is not listed is not
// another device's: two must not answer for one log.
func (r *Roster) unclaimed(c identity.Certificate) error {
	for i := range r.Devices {
		if r.Devices[i].lists(c.Author) {
			return ErrOtherDevice
		}
	}
	return nil
}

func (d *Device) lists(a identity.AuthorPublic) bool {
	return slices.ContainsFunc(d.Incarnations, func(in Incarnation) bool { return in.Author == a })
}

// Closed returns the closure with which an incarnation's log in a lane ends,
// if it is closed. Without a closure of their own the logs of a device that is
// not a member are closed by the empty set, as number 0.
func (r *Roster) Closed(c identity.Certificate, lane identity.Lane) (Closure, bool) {
	log := c.Log(lane)
	if closure, ok := r.Closure(log); ok {
		return closure, true
	}
	return Closure{Log: log}, r.member(c.Device.ID()) != nil
}

// Covers reports whether the set that an author signed at a counter lies
// within a closed log: it is a closed set, or an earlier state of one as far as
// counters tell.
func (c *Closure) Covers(counter uint64, fingerprint identity.Hash) bool {
	for i := range c.Branches {
		b := &c.Branches[i]
		if counter < b.Counter || counter == b.Counter && fingerprint == b.Fingerprint {
			return true
		}
	}
	return false
}

// MayContinue reports whether an incarnation's log in a lane may grow: nil, or
// an error of [Roster.Admits], or one wrapping [ErrRevoked] or [ErrClosed], if
// nothing counts but the closed set.
func (r *Roster) MayContinue(c identity.Certificate, lane identity.Lane) error {
	if err := r.Admits(c); err != nil {
		return err
	}
	if err := r.member(c.Device.ID()); err != nil {
		return fmt.Errorf("log %s: %w", c.Log(lane).Short(), err)
	}
	if _, closed := r.Closure(c.Log(lane)); closed {
		return fmt.Errorf("log %s: %w", c.Log(lane).Short(), ErrClosed)
	}
	return nil
}

// MayAuthor reports whether what a device writes in records of a class counts.
// Of a revoked device this is the same as before: its closed sets still count.
// Who asks for every record of a log should ask once and keep the answer, for
// as long as the roster is the same.
func (r *Roster) MayAuthor(id identity.DeviceID, c Class) bool {
	if id == r.Coordinator.ID() {
		return c <= ClassCoordinator
	}
	d, ok := r.Device(id)
	switch {
	case !ok:
		return false
	case c == ClassAny:
		return true
	case c == ClassClassroom:
		return d.Role == RoleClassroom || d.Role == RoleAdministrates
	case c == ClassAdministrates:
		return d.Role == RoleAdministrates
	}
	return false
}

// MayConnect reports whether a device belongs to the zone: nil, or an error
// wrapping [ErrUnknownDevice] or [ErrRevoked].
func (r *Roster) MayConnect(id identity.DeviceID) error {
	if err := r.member(id); err != nil {
		return fmt.Errorf("device %s: %w", id.Short(), err)
	}
	return nil
}

func (r *Roster) member(id identity.DeviceID) error {
	if id == r.Coordinator.ID() {
		return nil
	}
	d, ok := r.Device(id)
	switch {
	case !ok:
		return ErrUnknownDevice
	case d.State != StateMember:
		return ErrRevoked
	}
	return nil
}

// MayReceive reports whether a device may be given records: as MayConnect, or
// an error wrapping [ErrLease]. now is the latest time that the asker can vouch
// for, in milliseconds since 1970; the roster's own is a floor for it. A device
// with an ended lease may still connect, and its records are taken.
func (r *Roster) MayReceive(id identity.DeviceID, now int64) error {
	if err := r.MayConnect(id); err != nil {
		return err
	}
	if d, ok := r.Device(id); ok && d.LeaseUntil != 0 && max(now, r.Signed) > d.LeaseUntil {
		return fmt.Errorf("device %s: %w", id.Short(), ErrLease)
	}
	return nil
}
