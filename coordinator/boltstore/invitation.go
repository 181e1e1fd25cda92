package boltstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// CreateInvitation stores an invitation.
func (s *Storage) CreateInvitation(ctx context.Context, i coordinator.Invitation) error {
	err := s.commits.do(ctx, func(tx records.WriteTx) (verdict, err error) {
		if _, err := get(tx, tableZones, i.Zone[:]); err != nil {
			return verdictOf(err)
		}
		if _, err := get(tx, tableInvitations, i.Secret[:]); !errors.Is(err, coordinator.ErrNotFound) {
			return verdictOf(cmp.Or(err, coordinator.ErrExists))
		}
		return nil, errors.Join(
			setRow(tx, tableInvitations, i.Secret[:], invitationRowOf(i)),
			tx.SetItem(tableInvited, join(i.Zone[:], i.Secret[:]), []byte{}))
	})
	if err != nil {
		return fmt.Errorf("store invitation: %w", err)
	}
	return nil
}

func invitation(tx records.Tx, secret identity.Hash) (coordinator.Invitation, error) {
	var row invitationRow
	err := getRow(tx, tableInvitations, secret[:], &row)
	return row.invitation(secret), err
}

// Invitation returns an invitation.
func (s *Storage) Invitation(ctx context.Context, secret identity.Hash) (i coordinator.Invitation, err error) {
	err = s.control.View(ctx, func(tx records.Tx) error {
		i, err = invitation(tx, secret)
		return err
	})
	if err != nil {
		return coordinator.Invitation{}, fmt.Errorf("read invitation: %w", err)
	}
	return i, nil
}

// Invitations returns those of a zone.
func (s *Storage) Invitations(ctx context.Context, zone identity.ZoneID) (list []coordinator.Invitation, err error) {
	err = s.control.View(ctx, func(tx records.Tx) error {
		return tx.Items(tableInvited, zone[:], func(key, _ []byte) error {
			i, err := invitation(tx, identity.Hash(key[len(zone):]))
			list = append(list, i)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list invitations: %w", err)
	}
	slices.SortFunc(list, func(a, b coordinator.Invitation) int {
		return cmp.Or(b.Created.Compare(a.Created), slices.Compare(a.Secret[:], b.Secret[:]))
	})
	return list, nil
}

// UseInvitation notes who has used an invitation.
func (s *Storage) UseInvitation(ctx context.Context, secret identity.Hash, device identity.DeviceID, at time.Time) error {
	err := s.commits.do(ctx, func(tx records.WriteTx) (verdict, err error) {
		i, err := invitation(tx, secret)
		switch {
		case err != nil:
			return verdictOf(err)
		case i.Device == device:
			return nil, nil
		case !i.Device.IsZero():
			return coordinator.ErrChanged, nil
		}
		i.Device, i.Used = device, at
		return nil, setRow(tx, tableInvitations, secret[:], invitationRowOf(i))
	})
	if err != nil {
		return fmt.Errorf("use invitation: %w", err)
	}
	return nil
}

// PruneInvitations deletes old ones.
func (s *Storage) PruneInvitations(ctx context.Context, before time.Time) error {
	err := s.commits.do(ctx, func(tx records.WriteTx) (verdict, err error) {
		var old []coordinator.Invitation
		err = tx.Items(tableInvitations, nil, func(key, value []byte) error {
			var row invitationRow
			if err := decodeRow(tableInvitations, value, &row); err != nil {
				return err
			}
			if i := row.invitation(identity.Hash(key)); row.Expires < milliseconds(before) {
				old = append(old, i)
			}
			return nil
		})
		for _, i := range old {
			err = errors.Join(err,
				tx.SetItem(tableInvitations, i.Secret[:], nil),
				tx.SetItem(tableInvited, join(i.Zone[:], i.Secret[:]), nil))
		}
		return nil, err
	})
	if err != nil {
		return fmt.Errorf("delete old invitations: %w", err)
	}
	return nil
}
