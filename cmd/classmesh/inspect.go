package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
)

// zoneRecords are the records of zones at a coordinator that does not run.
type zoneRecords struct {
	*coordinatorData
	zones []coordinator.Zone
}

// inspectCoordinator opens a coordinator's data for this process alone, to look
// at one of its zones, or at all of them.
func inspectCoordinator(ctx context.Context, p *program, dir, which string) (_ *zoneRecords, err error) {
	data, err := openCoordinator(ctx, p, dir)
	if err != nil {
		return nil, err
	}
	z := &zoneRecords{coordinatorData: data}
	all, err := data.storage.Zones(ctx)
	for _, zone := range all {
		if which == "" || zone.ID.String() == which || strings.EqualFold(zone.Name, which) {
			z.zones = append(z.zones, zone)
		}
	}
	if err == nil && which != "" && len(z.zones) == 0 {
		err = fmt.Errorf("find zone %q: %w", which, coordinator.ErrNotFound)
	}
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	return z, nil
}

func (z *zoneRecords) dump(ctx context.Context, w io.Writer) error {
	if len(z.zones) != 1 {
		return usagef("there are %d zones to choose from: give the ID of one with --zone", len(z.zones))
	}
	return z.open(ctx, z.zones[0], func(store records.Store) error {
		r, err := records.Open(ctx, replicaConfig(z.program, store, z.key, z.now))
		if err != nil {
			return err
		}
		return errors.Join(dumpReplica(ctx, r, w), r.Close())
	})
}

func (z *zoneRecords) check(ctx context.Context, report func(finding) error) error {
	for _, zone := range z.zones {
		err := z.open(ctx, zone, func(store records.Store) error {
			name := "zone " + zone.Name
			if file, ok := store.(*boltstore.Store); ok {
				return checkStore(ctx, file, name, report)
			}
			return checkRecords(ctx, store, name, report)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// open runs f with the records of a zone.
func (z *zoneRecords) open(ctx context.Context, zone coordinator.Zone, f func(records.Store) error) error {
	store, err := z.storage.OpenRecords(ctx, zone.ID)
	if err != nil {
		return fmt.Errorf("open records of zone %q: %w", zone.Name, err)
	}
	return errors.Join(f(store), store.Close())
}
