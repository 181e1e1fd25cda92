package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// ErrName means that a name is empty, too long, or not text in one line.
var ErrName = fmt.Errorf("a name has 1 to %d bytes of text in one line", MaxNameBytes)

func checkName(name string) error {
	if strings.TrimSpace(name) == "" || len(name) > MaxNameBytes || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return ErrName
	}
	return nil
}

// CreateOrg creates an organisation.
func (c *Coordinator) CreateOrg(ctx context.Context, name string) (Org, error) {
	o := Org{Name: name, Created: c.cfg.Now()}
	err := c.call(func() (err error) {
		if err := checkName(name); err != nil {
			return err
		}
		if o.ID, err = NewOrgID(c.random); err != nil {
			return err
		}
		return c.cfg.Storage.CreateOrg(ctx, o)
	})
	if err != nil {
		return Org{}, fmt.Errorf("create organisation: %w", err)
	}
	return o, nil
}

// call runs f as a call that the coordinator waits for before it ends.
func (c *Coordinator) call(f func() error) error {
	leave, err := c.enter()
	if err != nil {
		return err
	}
	defer leave()
	return f()
}

// callZone is call with a zone.
func (c *Coordinator) callZone(ctx context.Context, id identity.ZoneID, f func(*zone) error) error {
	return c.call(func() error {
		z, err := c.zones.acquire(ctx, id)
		if err != nil {
			return err
		}
		defer c.zones.release(z)
		return f(z)
	})
}

// Orgs returns all organisations by name.
func (c *Coordinator) Orgs(ctx context.Context) (list []Org, err error) {
	err = c.call(func() error { list, err = c.cfg.Storage.Orgs(ctx); return err })
	return list, err
}

// CreateZone creates a zone of an organisation, without devices, with its first
// zone key.
func (c *Coordinator) CreateZone(ctx context.Context, org OrgID, name string) (Zone, error) {
	z := Zone{Org: org, Name: name, Created: c.cfg.Now()}
	err := c.call(func() (err error) {
		if err := checkName(name); err != nil {
			return err
		}
		if z.ID, err = identity.NewZoneID(c.random); err != nil {
			return err
		}
		first, err := roster.New(z.ID, name, c.public, z.Created.UnixMilli())
		if err != nil {
			return err
		}
		key, err := roster.NewZoneKey(c.random, c.cfg.Key, z.ID, 1)
		if err != nil {
			return err
		}
		if first, err = first.RaiseKeyNumber(key.Number); err != nil {
			return err
		}
		encoded := first.Sign(c.cfg.Key, z.Created.UnixMilli()).Encode()
		return c.cfg.Storage.CreateZone(ctx, z, encoded, func(store records.Store) error {
			founded, err := records.Found(ctx, c.replicaConfig(store), records.Founding{Zone: z.ID, Coordinator: c.public, Roster: encoded})
			if err != nil {
				return err
			}
			return errors.Join(founded.AcceptKey(ctx, key.Encode()), founded.Close())
		})
	})
	if err != nil {
		return Zone{}, fmt.Errorf("create zone: %w", err)
	}
	return z, nil
}

// Zones returns all zones by name.
func (c *Coordinator) Zones(ctx context.Context) (list []Zone, err error) {
	err = c.call(func() error { list, err = c.cfg.Storage.Zones(ctx); return err })
	return list, err
}

// Zone returns a zone.
func (c *Coordinator) Zone(ctx context.Context, id identity.ZoneID) (z Zone, err error) {
	err = c.call(func() error { z, err = c.cfg.Storage.Zone(ctx, id); return err })
	return z, err
}

// Device is a device of a zone, as it is listed.
type Device struct {
	roster.Device
	LastContact time.Time // zero: never
	Connected   bool
}

// Devices returns the devices of a zone, those that were revoked included, by
// name.
func (c *Coordinator) Devices(ctx context.Context, id identity.ZoneID) (list []Device, err error) {
	err = c.callZone(ctx, id, func(z *zone) error {
		last, err := c.cfg.Storage.LastContacts(ctx, id)
		if err != nil {
			return err
		}
		z.mu.Lock()
		defer z.mu.Unlock()
		for _, d := range z.replica.Roster().Devices {
			list = append(list, Device{d, last[d.ID()], len(z.live[d.ID()]) > 0})
		}
		slices.SortStableFunc(list, func(a, b Device) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	return list, nil
}

// Revoke removes a device from a zone. Its logs end with what the coordinator
// holds of them; what it writes from now on counts for nothing. The other devices
// get another zone key.
func (c *Coordinator) Revoke(ctx context.Context, id identity.ZoneID, device identity.DeviceID) error {
	err := c.callZone(ctx, id, func(z *zone) error {
		return z.edit(ctx, func(r *roster.Roster) (*roster.Roster, error) {
			next, err := z.revoke(r, device)
			if err != nil {
				return nil, err
			}
			return z.rekey(ctx, next, 0, 1)
		})
	})
	if err != nil {
		return fmt.Errorf("revoke device: %w", err)
	}
	return nil
}

// Restored is for who has put a backup of the storage in its place: every zone
// begins a new life, in which receipts are earned again and no epoch and no
// number of a zone key is used that may have been used before.
func (c *Coordinator) Restored(ctx context.Context) error {
	zones, err := c.Zones(ctx)
	for _, z := range zones {
		err = errors.Join(err, c.callZone(ctx, z.ID, func(z *zone) error {
			return z.edit(ctx, func(r *roster.Roster) (*roster.Roster, error) {
				next, err := r.NewLife(r.Epoch)
				if err != nil {
					return nil, err
				}
				return z.rekey(ctx, next, 0, keysOfALife)
			})
		}))
	}
	if err != nil {
		return fmt.Errorf("begin a new life: %w", err)
	}
	return nil
}

// SetDeviceRole gives a device another role.
func (c *Coordinator) SetDeviceRole(ctx context.Context, id identity.ZoneID, device identity.DeviceID, role roster.Role) error {
	err := c.callZone(ctx, id, func(z *zone) error {
		return z.edit(ctx, func(r *roster.Roster) (*roster.Roster, error) {
			if d, ok := r.Device(device); ok && d.Role == role && d.State == roster.StateMember {
				return r, nil
			}
			return r.SetRole(device, role)
		})
	})
	if err != nil {
		return fmt.Errorf("set role of device: %w", err)
	}
	return nil
}

// MaxListed is how many sessions one call lists.
const MaxListed = 1000

// Sessions returns at most limit sessions of a zone (MaxListed if 0), the
// newest first, those with numbers below before; 0 stands for all.
func (c *Coordinator) Sessions(ctx context.Context, id identity.ZoneID, before uint64, limit int) (list []Session, err error) {
	if limit <= 0 || limit > MaxListed {
		limit = MaxListed
	}
	err = c.call(func() error {
		if _, err := c.cfg.Storage.Zone(ctx, id); err != nil {
			return err
		}
		list, err = c.cfg.Storage.Sessions(ctx, id, before, limit)
		return err
	})
	return list, err
}

// Ready reports, as an error, whether the coordinator can do its work: its
// storage answers and it is not stopping.
func (c *Coordinator) Ready(ctx context.Context) error {
	select {
	case <-c.prepared:
	default:
		return errors.New("the coordinator is starting")
	}
	_, err := c.Orgs(ctx)
	return err
}
