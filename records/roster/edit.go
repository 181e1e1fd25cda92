package roster

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
)

// ErrKnownDevice means that the roster lists the device already.
var ErrKnownDevice = errors.New("device is in the roster already")

const dayMilliseconds = 24 * 60 * 60 * 1000

// edit returns a copy of r with the next number, unsigned, that change has
// been applied to. Slices are copied before they are changed, so that r stays
// as it is.
func (r *Roster) edit(change func(*Roster) error) (*Roster, error) {
	next := *r
	next.Epoch.Number++
	next.Signature = identity.Signature{}
	err := change(&next)
	if err == nil {
		err = next.check()
	}
	if err != nil {
		return nil, fmt.Errorf("edit roster %v: %w", r.Epoch, err)
	}
	return &next, nil
}

// editDevice is edit for one device that is a member.
func (r *Roster) editDevice(id identity.DeviceID, change func(*Device) error) (*Roster, error) {
	return r.edit(func(next *Roster) error {
		i, ok := next.find(id)
		if !ok {
			return fmt.Errorf("device %s: %w", id.Short(), ErrUnknownDevice)
		}
		if next.Devices[i].State != StateMember {
			return fmt.Errorf("device %s: %w", id.Short(), ErrRevoked)
		}
		next.Devices = slices.Clone(next.Devices)
		return change(&next.Devices[i])
	})
}

// AddDevice adds a member with the given key, name and role, at the time now
// in milliseconds since 1970, from which its lease runs. A device that is
// listed is refused with [ErrKnownDevice] or, if it was revoked, with
// [ErrRevoked]: it comes back under a new key only.
func (r *Roster) AddDevice(key identity.DevicePublic, name string, role Role, now int64) (*Roster, error) {
	return r.edit(func(next *Roster) error {
		i, known := next.find(key.ID())
		if known {
			why := ErrKnownDevice
			if next.Devices[i].State != StateMember {
				why = ErrRevoked
			}
			return fmt.Errorf("device %s: %w", key.ID().Short(), why)
		}
		d := Device{Key: key, Name: name, Role: role, LeaseUntil: next.lease(now)}
		next.Devices = slices.Insert(slices.Clone(next.Devices), i, d)
		return nil
	})
}

// lease returns the end of a lease that begins now.
func (r *Roster) lease(now int64) int64 {
	if r.Policy.LeaseDays == 0 {
		return 0
	}
	return now + int64(r.Policy.LeaseDays)*dayMilliseconds
}

// RenewLease lets the lease of a device that has met the coordinator run from
// now. It returns r itself as long as the lease would be less than a sixteenth
// longer, because a new roster has to travel to every device.
func (r *Roster) RenewLease(id identity.DeviceID, now int64) (*Roster, error) {
	if d, ok := r.Device(id); ok && d.State == StateMember {
		until := r.lease(now)
		if longer := until - d.LeaseUntil; longer == 0 || longer > 0 && d.LeaseUntil > 0 && longer < (until-now)/16 {
			return r, nil
		}
	}
	return r.editDevice(id, func(d *Device) error { d.LeaseUntil = r.lease(now); return nil })
}

// SetRole gives a member another role.
func (r *Roster) SetRole(id identity.DeviceID, role Role) (*Roster, error) {
	return r.editDevice(id, func(d *Device) error { d.Role = role; return nil })
}

// RenameDevice gives a member another name.
func (r *Roster) RenameDevice(id identity.DeviceID, name string) (*Roster, error) {
	return r.editDevice(id, func(d *Device) error { d.Name = name; return nil })
}

// ListIncarnation lists an incarnation that the coordinator has met and that
// the roster admits. It returns r itself if there is nothing to add.
func (r *Roster) ListIncarnation(c identity.Certificate) (*Roster, error) {
	if err := r.Admits(c); err != nil {
		return nil, fmt.Errorf("list incarnation: %w", err)
	}
	if c.Device == r.Coordinator {
		return r, nil
	}
	if d, _ := r.Device(c.Device.ID()); d.lists(c.Author) {
		return r, nil
	}
	return r.editDevice(c.Device.ID(), func(d *Device) error {
		in := Incarnation{Author: c.Author, Sequence: c.Sequence}
		i, _ := slices.BinarySearchFunc(d.Incarnations, in, compareIncarnations)
		d.Incarnations = slices.Insert(slices.Clone(d.Incarnations), i, in)
		return nil
	})
}

func compareIncarnations(a, b Incarnation) int {
	return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), bytes.Compare(a.Author[:], b.Author[:]))
}

// Revoke removes a member from the zone. Its logs end with the sets in
// closures, which are numbered here; a log without one ends with what an
// earlier closure says, or with nothing. It is refused if a closure is of a
// log that no listed incarnation of the device has.
func (r *Roster) Revoke(id identity.DeviceID, closures ...Closure) (*Roster, error) {
	d, _ := r.Device(id)
	own := map[identity.LogID]bool{}
	for _, in := range d.Incarnations {
		for _, lane := range identity.Lanes {
			own[identity.NewLogID(r.Zone, in.Author, lane)] = true
		}
	}
	for _, c := range closures {
		if !own[c.Log] {
			return nil, fmt.Errorf("revoke device %s: log %s is not of a listed incarnation: %w", id.Short(), c.Log.Short(), ErrRoster)
		}
	}
	next, err := r.editDevice(id, func(d *Device) error { d.State = StateRevoked; return nil })
	if err != nil {
		return nil, err
	}
	if err := next.close(closures); err != nil {
		return nil, fmt.Errorf("revoke device %s: %w", id.Short(), err)
	}
	return next, nil
}

// Close ends logs with the sets in closures, or restates with which ones they
// ended. Closures are numbered here: one above the number that the log has.
func (r *Roster) Close(closures ...Closure) (*Roster, error) {
	return r.edit(func(next *Roster) error { return next.close(closures) })
}

// close changes r, which nobody else has yet.
func (r *Roster) close(closures []Closure) error {
	r.Closures = slices.Clone(r.Closures)
	for _, c := range closures {
		c.Number = 1
		c.Branches = slices.Clone(c.Branches)
		slices.SortFunc(c.Branches, compareBranches)
		i, ok := r.findClosure(c.Log)
		if ok {
			c.Number = r.Closures[i].Number + 1
			r.Closures[i] = c
		} else {
			r.Closures = slices.Insert(r.Closures, i, c)
		}
	}
	return r.check()
}

// NewLife begins a new life of the coordinator, above every life that was
// seen under its signature.
func (r *Roster) NewLife(seen Epoch) (*Roster, error) {
	return r.edit(func(next *Roster) error {
		if Newer(r.Epoch, seen) {
			seen = r.Epoch
		}
		if seen.Life == math.MaxUint32 {
			return fmt.Errorf("life %d is the last: %w", seen.Life, ErrRoster)
		}
		next.Epoch = NextLife(seen)
		return nil
	})
}

// RaiseEra begins the next era of the clocks of records, which puts every
// clock of the eras before, however insane, behind it.
func (r *Roster) RaiseEra() (*Roster, error) {
	return r.edit(func(next *Roster) error {
		if next.Era == math.MaxUint16 {
			return fmt.Errorf("era %d is the last: %w", next.Era, ErrRoster)
		}
		next.Era++
		return nil
	})
}

// RaiseKeyNumber says that the zone key with a higher number is in use from now
// on.
func (r *Roster) RaiseKeyNumber(number uint32) (*Roster, error) {
	return r.edit(func(next *Roster) error {
		if number <= r.KeyNumber {
			return fmt.Errorf("zone key %d after %d: %w", number, r.KeyNumber, ErrRoster)
		}
		next.KeyNumber = number
		return nil
	})
}

// SetPolicy changes the policy. Leases that run keep their end until they are
// renewed.
func (r *Roster) SetPolicy(p Policy) (*Roster, error) {
	return r.edit(func(next *Roster) error { next.Policy = p; return nil })
}
