package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// edit makes the zone's next roster. change returns the roster that it is
// given if there is nothing to change. When edit returns nil the new roster is
// stored, and the replica tells it to whoever is connected.
func (z *zone) edit(ctx context.Context, change func(*roster.Roster) (*roster.Roster, error)) error {
	z.authority.Lock()
	defer z.authority.Unlock()
	if err := z.settleLocked(ctx); err != nil {
		return err
	}
	return z.editLocked(ctx, change)
}

func (z *zone) editLocked(ctx context.Context, change func(*roster.Roster) (*roster.Roster, error)) error {
	next, err := change(z.current)
	if err != nil || next == z.current {
		return err
	}
	next = next.Sign(z.c.cfg.Key, z.c.cfg.Now().UnixMilli())
	encoded := next.Encode()
	if len(encoded) > roster.MaxRosterBytes {
		return fmt.Errorf("the zone has too many devices: its roster would have %d bytes: %w", len(encoded), roster.ErrRoster)
	}
	// What has been begun is finished: a roster that is stored is told.
	ctx = context.WithoutCancel(ctx)
	if err := z.c.cfg.Storage.SetRoster(ctx, z.id, z.current.Hash(), encoded); err != nil {
		return err
	}
	z.current = next
	if err := z.replica.AcceptRoster(ctx, encoded); err != nil {
		z.unsettled.Store(true)
		return err
	}
	return nil
}

// settle brings storage and replica to one roster, and sees to it that this
// names the newest zone key.
func (z *zone) settle(ctx context.Context) error {
	z.authority.Lock()
	defer z.authority.Unlock()
	return z.settleLocked(ctx)
}

func (z *zone) settleLocked(ctx context.Context) error {
	if err := z.settleRoster(ctx); err != nil {
		return err
	}
	return z.settleKey(ctx)
}

// settleRoster is a part of settle; the authority is held.
func (z *zone) settleRoster(ctx context.Context) error {
	held, known := z.replica.Roster(), z.current
	switch {
	case held.Epoch.Compare(z.current.Epoch) < 0:
		// Stored, but a crash or a fault came before the replica had it.
		err := z.replica.AcceptRoster(ctx, z.current.Encode())
		z.unsettled.Store(err != nil)
		return err
	case held.Hash() != z.current.Hash():
		// A device brought a roster with our signature that we do not know of:
		// so our storage is older than what we have signed.
		z.logger.Warn("the coordinator was restored from a backup: it begins a new life", "signed", held.Epoch, "known", z.current.Epoch)
		if err := z.c.cfg.Storage.SetRoster(ctx, z.id, z.current.Hash(), held.Encode()); err != nil {
			return err
		}
		z.current = held
	case !z.conflict.Load():
		return nil
	default:
		z.logger.Warn("the coordinator signed two rosters with one epoch: it begins a new life", "epoch", held.Epoch)
	}
	err := z.editLocked(ctx, func(r *roster.Roster) (*roster.Roster, error) {
		next, err := r.NewLife(r.Epoch)
		if err == nil {
			next, err = z.regain(next, known)
		}
		if err == nil {
			next, err = z.rekey(ctx, next, known.KeyNumber, keysOfALife)
		}
		return next, err
	})
	if err == nil {
		z.conflict.Store(false)
	}
	return err
}

// regain puts into a roster what another of the zone says, from which it does
// not descend: the devices that were let in or revoked since the coordinator was
// restored, and before it noticed. The authority is held.
func (z *zone) regain(r, other *roster.Roster) (*roster.Roster, error) {
	for _, d := range other.Devices {
		var err error
		listed, ok := r.Device(d.ID())
		if !ok {
			if r, err = r.AddDevice(d.Key, d.Name, d.Role, z.c.leaseStart(r)); err != nil {
				return nil, err
			}
		}
		// Who was not listed is a member now.
		if (!ok || listed.State == roster.StateMember) && d.State != roster.StateMember {
			if r, err = z.revoke(r, d.ID()); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// maxEnds is of how many logs a revocation says how they end, and how many
// incarnations of a device are listed because it was met in them: one that begins
// thousands must neither fill the roster nor be the one that cannot be removed.
const maxEnds = 1024

// revoke removes a device from r and ends its logs with what is held of them; if
// those are too many, others than the most important end with nothing.
// Whoever makes a roster of that makes a zone key too.
// The authority is held.
func (z *zone) revoke(r *roster.Roster, device identity.DeviceID) (*roster.Roster, error) {
	list := z.ends(r, device)
	for n := min(len(list), maxEnds); ; n /= 2 {
		next, err := revokeWith(r, device, list[:n])
		if err == nil && n < len(list) {
			z.logger.Warn("a device has too many logs to say how all of them end: some count for nothing", "device", device.Short(), "logs", len(list), "ended", n)
		}
		if err == nil || n == 0 || !errors.Is(err, roster.ErrRoster) {
			return next, err
		}
	}
}

func revokeWith(r *roster.Roster, device identity.DeviceID, list []end) (*roster.Roster, error) {
	closures := make([]roster.Closure, len(list))
	for i := range list {
		listed, err := r.ListIncarnation(list[i].author)
		if err != nil {
			return nil, err
		}
		r, closures[i] = listed, list[i].closure
	}
	return r.Revoke(device, closures...)
}

// renew begins a new incarnation of the coordinator's own if its store is behind
// what others hold of the present one, and sets aside what others hold otherwise.
func (z *zone) renew(ctx context.Context) error {
	head := z.behind.Swap(nil)
	if head == nil {
		return nil
	}
	former := z.replica.Certificate()
	_, err := z.replica.Behind(ctx, head, identity.DeviceID{}) // it gives way to nobody, whoever holds that
	if z.replica.Certificate() != former {
		z.logger.Warn("the coordinator was restored from a backup: it begins a new incarnation")
	}
	return err
}

// end is what is held of a log, as its end, and under which certificate.
type end struct {
	closure roster.Closure
	author  identity.Certificate
	listed  bool // in the roster, because the device was met as that
}

// ends returns what the zone holds of a device's logs: first what it was met as, and
// of that the longest.
func (z *zone) ends(r *roster.Roster, device identity.DeviceID) (list []end) {
	known := map[identity.AuthorPublic]bool{}
	if d, ok := r.Device(device); ok {
		for _, in := range d.Incarnations {
			known[in.Author] = true
		}
	}
	for _, row := range z.replica.State().Rows {
		cert, ok := z.replica.AuthorOf(row.Log)
		if !ok || cert.Device.ID() != device {
			continue
		}
		head, ok := z.replica.Head(row.BranchRef)
		if !ok {
			continue
		}
		branch := roster.Branch{Start: head.Start(), Counter: head.Counter, Fingerprint: head.Fingerprint}
		list = append(list, end{roster.Closure{Log: row.Log, Branches: []roster.Branch{branch}}, cert, known[cert.Author]})
	}
	slices.SortStableFunc(list, func(a, b end) int {
		if a.listed != b.listed {
			if a.listed {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.closure.Branches[0].Counter, a.closure.Branches[0].Counter)
	})
	return list
}
