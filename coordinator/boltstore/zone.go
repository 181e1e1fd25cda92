package boltstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// CreateOrg stores an organisation.
func (s *Storage) CreateOrg(ctx context.Context, o coordinator.Org) error {
	err := s.commits.do(ctx, func(tx records.WriteTx) (verdict, err error) {
		all, err := orgs(tx)
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			if other.ID == o.ID || strings.EqualFold(other.Name, o.Name) {
				return coordinator.ErrExists, nil
			}
		}
		return nil, setRow(tx, tableOrgs, o.ID[:], orgRow{o.Name, milliseconds(o.Created)})
	})
	if err != nil {
		return fmt.Errorf("create organisation %q: %w", o.Name, err)
	}
	return nil
}

// Orgs returns all organisations by name.
func (s *Storage) Orgs(ctx context.Context) (list []coordinator.Org, err error) {
	err = s.control.View(ctx, func(tx records.Tx) error {
		list, err = orgs(tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list organisations: %w", err)
	}
	return list, nil
}

func orgs(tx records.Tx) ([]coordinator.Org, error) {
	var list []coordinator.Org
	err := tx.Items(tableOrgs, nil, func(key, value []byte) error {
		var row orgRow
		if err := decodeRow(tableOrgs, value, &row); err != nil {
			return err
		}
		list = append(list, coordinator.Org{ID: coordinator.OrgID(key), Name: row.Name, Created: timeOf(row.Created)})
		return nil
	})
	slices.SortFunc(list, func(a, b coordinator.Org) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), slices.Compare(a.ID[:], b.ID[:]))
	})
	return list, err
}

// CreateZone makes the zone's file first and lists the zone then.
func (s *Storage) CreateZone(ctx context.Context, z coordinator.Zone, encoded []byte, found func(records.Store) error) error {
	if err := s.createZone(ctx, z, encoded, found); err != nil {
		return fmt.Errorf("create zone %q: %w", z.Name, err)
	}
	return nil
}

func (s *Storage) createZone(ctx context.Context, z coordinator.Zone, encoded []byte, found func(records.Store) error) (err error) {
	// Once more within the change: this is only to make no file in vain.
	if err := s.control.View(ctx, func(tx records.Tx) error { return mayCreate(tx, z) }); err != nil {
		return err
	}
	path := s.zonePath(z.ID)
	store, err := boltstore.Create(path, s.options.zone())
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("a file of that zone is there: %w", coordinator.ErrExists)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(found(store), store.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	err = s.commits.do(ctx, func(tx records.WriteTx) (verdict, err error) {
		if err := mayCreate(tx, z); err != nil {
			return verdictOf(err)
		}
		return nil, errors.Join(
			setRow(tx, tableZones, z.ID[:], zoneRow{z.Org, z.Name, milliseconds(z.Created)}),
			tx.SetItem(tableRosters, z.ID[:], encoded))
	})
	if err != nil && !errors.Is(err, records.ErrUncertain) {
		return errors.Join(err, os.Remove(path))
	}
	return err
}

// mayCreate refuses a zone whose organisation is missing or whose ID or name
// is taken.
func mayCreate(tx records.Tx, z coordinator.Zone) error {
	if _, err := get(tx, tableOrgs, z.Org[:]); err != nil {
		return fmt.Errorf("organisation: %w", err)
	}
	return eachZone(tx, func(other coordinator.Zone) error {
		if other.ID == z.ID || other.Org == z.Org && strings.EqualFold(other.Name, z.Name) {
			return coordinator.ErrExists
		}
		return nil
	})
}

func eachZone(tx records.Tx, fn func(coordinator.Zone) error) error {
	return tx.Items(tableZones, nil, func(key, value []byte) error {
		var row zoneRow
		if err := decodeRow(tableZones, value, &row); err != nil {
			return err
		}
		return fn(row.zone(identity.ZoneID(key)))
	})
}

// Zone returns a zone.
func (s *Storage) Zone(ctx context.Context, id identity.ZoneID) (z coordinator.Zone, err error) {
	err = s.control.View(ctx, func(tx records.Tx) error {
		var row zoneRow
		err := getRow(tx, tableZones, id[:], &row)
		z = row.zone(id)
		return err
	})
	if err != nil {
		return coordinator.Zone{}, fmt.Errorf("read zone %v: %w", id, err)
	}
	return z, nil
}

// Zones returns all zones by name.
func (s *Storage) Zones(ctx context.Context) (list []coordinator.Zone, err error) {
	err = s.control.View(ctx, func(tx records.Tx) error {
		return eachZone(tx, func(z coordinator.Zone) error { list = append(list, z); return nil })
	})
	if err != nil {
		return nil, fmt.Errorf("list zones: %w", err)
	}
	slices.SortFunc(list, func(a, b coordinator.Zone) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), slices.Compare(a.ID[:], b.ID[:]))
	})
	return list, nil
}

// Roster returns the roster last stored.
func (s *Storage) Roster(ctx context.Context, id identity.ZoneID) (encoded []byte, err error) {
	err = s.control.View(ctx, func(tx records.Tx) error {
		encoded, err = get(tx, tableRosters, id[:])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read roster of %v: %w", id, err)
	}
	return encoded, nil
}

// SetRoster replaces a roster.
func (s *Storage) SetRoster(ctx context.Context, id identity.ZoneID, previous identity.Hash, next []byte) error {
	err := s.commits.do(ctx, func(tx records.WriteTx) (verdict, err error) {
		stored, err := get(tx, tableRosters, id[:])
		if err != nil {
			return verdictOf(err)
		}
		r, err := roster.Decode(stored)
		if err != nil {
			return fmt.Errorf("the stored one: %w (%v)", records.ErrDamaged, err), nil
		}
		if r.Hash() != previous {
			return coordinator.ErrChanged, nil
		}
		return nil, tx.SetItem(tableRosters, id[:], next)
	})
	if err != nil {
		return fmt.Errorf("store roster of %v: %w", id, err)
	}
	return nil
}
