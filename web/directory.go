package web

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
)

// directory is who is in the zone and what they sign in with, as of one
// moment. It does not change.
type directory struct {
	roll   *classroom.Roll
	stamps map[secretOwner]stamp
}

// stamp changes whenever the password of an account does. It gives nothing away.
type stamp [sha256.Size]byte

type secretOwner struct {
	kind records.Kind
	user identity.UserID
}

// stamp returns the stamp of the account that somebody has signed in with. It stays the same
// when the account is joined with another, so that who is at work goes on working.
func (d *directory) stamp(p *classroom.Person, account identity.UserID) stamp {
	kind := classroom.KindLearnerSecret
	if p.Role.IsStaff() {
		kind = classroom.KindStaffSecret
	}
	one := d.stamps[secretOwner{kind, account}]
	return sha256.Sum256(slices.Concat(account[:], one[:]))
}

// directoryCache keeps the directory, because every request asks for it and it
// changes rarely: with the lane zone or the roster.
type directoryCache struct {
	mu       sync.Mutex // guards the rest, and is held while reading: forty requests read once
	current  *directory
	revision records.Revision // of the lane zone, when or before current was read
}

// people returns who is in the zone now.
func (s *Server) people(ctx context.Context) (*directory, error) {
	c := &s.directory
	c.mu.Lock()
	defer c.mu.Unlock()
	revision := s.cfg.Replica.Revision(identity.LaneZone)
	if c.current != nil && c.revision == revision {
		return c.current, nil
	}
	d := &directory{stamps: map[secretOwner]stamp{}}
	// Others wait for this one: it must not end with the request that asked.
	err := s.cfg.Replica.Read(context.WithoutCancel(ctx), func(v *records.View) (err error) {
		if d.roll, err = classroom.People(v); err != nil {
			return err
		}
		return d.readStamps(v)
	})
	if err != nil {
		return nil, fmt.Errorf("read who is in the zone: %w", err)
	}
	c.current, c.revision = d, revision
	return d, nil
}

// readStamps notes, of each secret, the version that was written last.
func (d *directory) readStamps(v *records.View) error {
	type place struct {
		clock records.Clock
		log   identity.LogID
	}
	newest := map[secretOwner]place{}
	for _, kind := range []records.Kind{classroom.KindLearnerSecret, classroom.KindStaffSecret} {
		err := v.Registers(records.RegisterPrefix{Kind: kind}, func(row records.RegisterRow) error {
			owner, at := secretOwner{kind, row.Key.Learner}, place{row.Envelope.Clock, row.Log}
			last, ok := newest[owner]
			if !ok || at.clock > last.clock || at.clock == last.clock && at.log.Compare(last.log) > 0 {
				newest[owner], d.stamps[owner] = at, sha256.Sum256(row.Body)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
