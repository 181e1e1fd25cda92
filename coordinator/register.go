package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Errors of Register, each in words for the person who types the code.
var (
	ErrWrongCode   = errors.New("the coordinator does not know this code: compare every letter, or ask for a new code")
	ErrUsedCode    = errors.New("this code was used by another device: every device needs a code of its own, ask for a new one")
	ErrExpiredCode = errors.New("this code has expired: ask for a new one")
	ErrManyTries   = fmt.Errorf("too many wrong codes came from this network: wait an hour, then try again with the right one (%d are allowed in an hour)", MaxTries)
)

// InvitationTime is how long an invitation holds.
const InvitationTime = 7 * 24 * time.Hour

// Invite says what an invitation is for.
type Invite struct {
	Zone identity.ZoneID
	// Role of the device that joins; nil: it administrates if it is the
	// zone's first, and is a classroom's otherwise.
	Role *roster.Role
	// Valid is how long it holds: InvitationTime if 0, which is the most.
	Valid time.Duration
}

// CreateInvitation makes an invitation. Its code is nowhere else: what is kept
// does not give it away.
func (c *Coordinator) CreateInvitation(ctx context.Context, in Invite) (roster.Invitation, Invitation, error) {
	var code roster.Invitation
	var kept Invitation
	err := c.call(func() (err error) {
		valid := cmp.Or(in.Valid, InvitationTime)
		if valid < 0 || valid > InvitationTime {
			return fmt.Errorf("an invitation holds for %v at most", InvitationTime)
		}
		if code, err = roster.NewInvitation(c.random, c.public); err != nil {
			return err
		}
		now := c.cfg.Now()
		kept = Invitation{Secret: code.Secret().Hash(), Zone: in.Zone, Role: in.Role, Created: now, Expires: now.Add(valid)}
		return c.cfg.Storage.CreateInvitation(ctx, kept)
	})
	if err != nil {
		return roster.Invitation{}, Invitation{}, fmt.Errorf("create invitation: %w", err)
	}
	return code, kept, nil
}

// Invitations returns a zone's invitations of the last weeks, the newest first.
func (c *Coordinator) Invitations(ctx context.Context, id identity.ZoneID) (list []Invitation, err error) {
	err = c.call(func() error {
		if _, err := c.cfg.Storage.Zone(ctx, id); err != nil {
			return err
		}
		list, err = c.cfg.Storage.Invitations(ctx, id)
		return err
	})
	return list, err
}

// Application is what a device asks for that wants to join.
type Application struct {
	Secret roster.Secret
	Key    identity.DevicePublic // proved by the channel
	Name   string                // for people
	From   netip.Addr            // where the wrong tries are counted
}

// Registration is what a device is told that has joined.
type Registration struct {
	Zone     identity.ZoneID
	ZoneName string
	Roster   []byte // signed and encoded; lists the device
}

// Register lets a device join the zone that its code is for. When it returns
// nil, that is on disk; a device that asks again with the same code, because
// the answer was lost, gets it again. An application
// that fails leaves the code usable, at least by that device. The errors are those above, ErrName, and roster.ErrRevoked for a
// device that was removed from the zone.
func (c *Coordinator) Register(ctx context.Context, a Application) (r Registration, err error) {
	err = c.call(func() error { r, err = c.register(ctx, a); return err })
	if err != nil {
		return Registration{}, fmt.Errorf("register device: %w", err)
	}
	return r, nil
}

func (c *Coordinator) register(ctx context.Context, a Application) (r Registration, err error) {
	if err := checkName(a.Name); err != nil {
		return r, err
	}
	if !c.wrong.allowed(a.From) {
		return r, ErrManyTries
	}
	secret, device := a.Secret.Hash(), a.Key.ID()
	kept, err := c.cfg.Storage.Invitation(ctx, secret)
	switch {
	case errors.Is(err, ErrNotFound):
		c.wrong.count(a.From)
		c.cfg.Logger.Warn("a device came with a wrong code", "device", device.Short(), "from", a.From)
		return r, ErrWrongCode
	case err != nil:
		return r, err
	case kept.Device == device: // again, after a cut
	case !kept.Device.IsZero():
		return r, ErrUsedCode
	case !c.cfg.Now().Before(kept.Expires):
		return r, ErrExpiredCode
	}
	z, err := c.zones.acquire(ctx, kept.Zone)
	if err != nil {
		return r, err
	}
	defer c.zones.release(z)
	if err := z.add(ctx, kept, a); err != nil {
		return r, err
	}
	ros := z.replica.Roster()
	z.logger.Info("a device has joined", "device", device.Short(), "name", a.Name, "epoch", ros.Epoch)
	return Registration{Zone: z.id, ZoneName: ros.Name, Roster: z.replica.RosterBytes()}, nil
}

// add puts a device into the roster, unless it is there. The invitation is used
// up first, so that it can never serve two; if a crash comes between, the
// device asks again.
func (z *zone) add(ctx context.Context, kept Invitation, a Application) error {
	return z.edit(ctx, func(r *roster.Roster) (*roster.Roster, error) {
		role := roster.RoleClassroom
		switch {
		case kept.Role != nil:
			role = *kept.Role
		case len(r.Devices) == 0:
			role = roster.RoleAdministrates
		}
		now := z.c.cfg.Now()
		next, err := r.AddDevice(a.Key, a.Name, role, z.c.leaseStart(r))
		if errors.Is(err, roster.ErrKnownDevice) {
			return r, nil // it needs no code any more, and uses none up
		}
		if err != nil {
			return nil, err
		}
		err = z.c.cfg.Storage.UseInvitation(ctx, kept.Secret, a.Key.ID(), now)
		if errors.Is(err, ErrChanged) {
			return nil, ErrUsedCode
		}
		return next, err
	})
}
