package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// OpenSession stores the record of a session that begins.
func (s *Storage) OpenSession(ctx context.Context, session coordinator.Session) (number uint64, err error) {
	err = s.commits.do(ctx, func(tx records.WriteTx) (verdict, err error) {
		zone := session.Zone
		if _, err := get(tx, tableZones, zone[:]); err != nil {
			return verdictOf(err)
		}
		switch last, err := get(tx, tableNumbers, zone[:]); {
		case err == nil && len(last) == 8:
			number = binary.BigEndian.Uint64(last)
		case !errors.Is(err, coordinator.ErrNotFound):
			return nil, errors.Join(err, records.ErrDamaged)
		}
		number++
		session.Number = number
		key := numberKey(zone, number)
		return nil, errors.Join(
			tx.SetItem(tableNumbers, zone[:], binary.BigEndian.AppendUint64(nil, number)),
			setRow(tx, tableSessions, key, sessionRowOf(session)),
			tx.SetItem(tableOpen, key, []byte{}),
			setContact(tx, zone, session.Device, session.Opened))
	})
	if err != nil {
		return 0, fmt.Errorf("open session record: %w", err)
	}
	return number, nil
}

func setContact(tx records.WriteTx, zone identity.ZoneID, device identity.DeviceID, at time.Time) error {
	return tx.SetItem(tableContacts, join(zone[:], device[:]), binary.BigEndian.AppendUint64(nil, uint64(milliseconds(at))))
}

// CloseSession replaces the record of an open session.
func (s *Storage) CloseSession(ctx context.Context, session coordinator.Session) error {
	err := s.commits.do(ctx, func(tx records.WriteTx) (verdict, err error) {
		key := numberKey(session.Zone, session.Number)
		if _, err := get(tx, tableSessions, key); err != nil {
			return verdictOf(err)
		}
		if _, err := get(tx, tableOpen, key); errors.Is(err, coordinator.ErrNotFound) {
			return coordinator.ErrChanged, nil
		} else if err != nil {
			return nil, err
		}
		return nil, errors.Join(
			setRow(tx, tableSessions, key, sessionRowOf(session)),
			tx.SetItem(tableOpen, key, nil),
			setContact(tx, session.Zone, session.Device, session.Closed))
	})
	if err != nil {
		return fmt.Errorf("close session record %d: %w", session.Number, err)
	}
	return nil
}

// Sessions returns sessions of a zone, the newest first.
func (s *Storage) Sessions(ctx context.Context, zone identity.ZoneID, before uint64, limit int) (list []coordinator.Session, err error) {
	if limit <= 0 {
		return nil, nil
	}
	err = s.control.View(ctx, func(tx records.Tx) error {
		err := tx.Items(tableSessions, zone[:], func(key, value []byte) error {
			number, err := numberOf(key)
			if err != nil {
				return err
			}
			if before != 0 && number >= before {
				return nil
			}
			var row sessionRow
			if err := decodeRow(tableSessions, value, &row); err != nil {
				return err
			}
			list = append(list, row.session(zone, number))
			if len(list) == limit {
				return errFound
			}
			return nil
		})
		if errors.Is(err, errFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return list, nil
}

// InterruptSessions closes every open record.
func (s *Storage) InterruptSessions(ctx context.Context, at time.Time) (n int, err error) {
	err = s.commits.do(ctx, func(tx records.WriteTx) (verdict, err error) {
		var keys [][]byte
		err = tx.Items(tableOpen, nil, func(key, _ []byte) error {
			keys = append(keys, append([]byte{}, key...))
			return nil
		})
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			var row sessionRow
			if err := getRow(tx, tableSessions, key, &row); err != nil {
				return nil, err
			}
			row.Closed, row.Outcome = milliseconds(at), string(coordinator.OutcomeInterrupted)
			if err := errors.Join(setRow(tx, tableSessions, key, row), tx.SetItem(tableOpen, key, nil)); err != nil {
				return nil, err
			}
		}
		n = len(keys)
		return nil, nil
	})
	if err != nil {
		return 0, fmt.Errorf("close session records left open: %w", err)
	}
	return n, nil
}

// PruneSessions deletes old sessions of a zone.
func (s *Storage) PruneSessions(ctx context.Context, zone identity.ZoneID, before time.Time, keep int) error {
	err := s.commits.do(ctx, func(tx records.WriteTx) (verdict, err error) {
		var old [][]byte
		seen := 0
		err = tx.Items(tableSessions, zone[:], func(key, value []byte) error {
			seen++
			var row sessionRow
			if err := decodeRow(tableSessions, value, &row); err != nil {
				return err
			}
			if row.Closed != 0 && (seen > keep || row.Closed < milliseconds(before)) {
				old = append(old, append([]byte{}, key...))
			}
			return nil
		})
		for _, key := range old {
			err = errors.Join(err, tx.SetItem(tableSessions, key, nil))
		}
		return nil, err
	})
	if err != nil {
		return fmt.Errorf("delete old sessions: %w", err)
	}
	return nil
}

// LastContacts returns when each device of a zone was there last.
func (s *Storage) LastContacts(ctx context.Context, zone identity.ZoneID) (map[identity.DeviceID]time.Time, error) {
	last := map[identity.DeviceID]time.Time{}
	err := s.control.View(ctx, func(tx records.Tx) error {
		return tx.Items(tableContacts, zone[:], func(key, value []byte) error {
			if len(key) != len(zone)+identity.HashBytes || len(value) != 8 {
				return fmt.Errorf("a contact of %d bytes: %w", len(key)+len(value), records.ErrDamaged)
			}
			last[identity.DeviceID(key[len(zone):])] = timeOf(int64(binary.BigEndian.Uint64(value)))
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list last contacts: %w", err)
	}
	return last, nil
}
