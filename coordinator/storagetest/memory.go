// Package storagetest helps to test what implements coordinator.Storage and
// what stands on it: [Run] is the conformance suite of the seam, and
// [NewMemory] a storage in memory.
package storagetest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Memory is a coordinator.Storage in memory. What a disk would hold survives
// Close, for [Memory.Reopen].
type Memory struct {
	newStore func() records.Store

	mu     sync.Mutex // guards what follows
	closed bool
	data   *data
	open   map[identity.ZoneID]bool
}

type data struct {
	orgs        map[coordinator.OrgID]coordinator.Org
	zones       map[identity.ZoneID]*zone
	invitations map[identity.Hash]coordinator.Invitation
}

type zone struct {
	coordinator.Zone
	roster   []byte
	records  records.Store
	sessions []coordinator.Session // ascending
	last     uint64
	contacts map[identity.DeviceID]time.Time
}

// NewMemory returns an empty storage, whose zones keep their records in what
// newStore makes.
func NewMemory(newStore func() records.Store) *Memory {
	return &Memory{newStore: newStore, open: map[identity.ZoneID]bool{}, data: &data{
		orgs:        map[coordinator.OrgID]coordinator.Org{},
		zones:       map[identity.ZoneID]*zone{},
		invitations: map[identity.Hash]coordinator.Invitation{},
	}}
}

// Reopen returns a storage with what m held when it was closed.
func (m *Memory) Reopen() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{newStore: m.newStore, data: m.data, open: map[identity.ZoneID]bool{}}
}

// with runs f under the lock.
func (m *Memory) with(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("use storage: %w", os.ErrClosed)
	}
	return f()
}

// ms cuts a time to what is kept of it.
func ms(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}

// CreateOrg stores an organisation.
func (m *Memory) CreateOrg(ctx context.Context, o coordinator.Org) error {
	return m.with(ctx, func() error {
		for _, other := range m.data.orgs {
			if other.ID == o.ID || strings.EqualFold(other.Name, o.Name) {
				return coordinator.ErrExists
			}
		}
		o.Created = ms(o.Created)
		m.data.orgs[o.ID] = o
		return nil
	})
}

// Orgs returns all organisations by name.
func (m *Memory) Orgs(ctx context.Context) (list []coordinator.Org, err error) {
	err = m.with(ctx, func() error {
		list = slices.SortedFunc(maps.Values(m.data.orgs), func(a, b coordinator.Org) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), bytes.Compare(a.ID[:], b.ID[:]))
		})
		return nil
	})
	return list, err
}

// CreateZone stores a zone.
func (m *Memory) CreateZone(ctx context.Context, z coordinator.Zone, encoded []byte, found func(records.Store) error) error {
	check := func() error {
		if _, ok := m.data.orgs[z.Org]; !ok {
			return coordinator.ErrNotFound
		}
		for _, other := range m.data.zones {
			if other.ID == z.ID || other.Org == z.Org && strings.EqualFold(other.Name, z.Name) {
				return coordinator.ErrExists
			}
		}
		return nil
	}
	if err := m.with(ctx, check); err != nil {
		return err
	}
	store := m.newStore()
	if err := found(store); err != nil {
		return err
	}
	return m.with(ctx, func() error {
		if err := check(); err != nil {
			return err
		}
		z.Created = ms(z.Created)
		m.data.zones[z.ID] = &zone{Zone: z, roster: bytes.Clone(encoded), records: store, contacts: map[identity.DeviceID]time.Time{}}
		return nil
	})
}

// withZone runs f under the lock with a zone.
func (m *Memory) withZone(ctx context.Context, id identity.ZoneID, f func(*zone) error) error {
	return m.with(ctx, func() error {
		z, ok := m.data.zones[id]
		if !ok {
			return coordinator.ErrNotFound
		}
		return f(z)
	})
}

// Zone returns a zone.
func (m *Memory) Zone(ctx context.Context, id identity.ZoneID) (found coordinator.Zone, err error) {
	err = m.withZone(ctx, id, func(z *zone) error { found = z.Zone; return nil })
	return found, err
}

// Zones returns all zones by name.
func (m *Memory) Zones(ctx context.Context) (list []coordinator.Zone, err error) {
	err = m.with(ctx, func() error {
		for _, z := range m.data.zones {
			list = append(list, z.Zone)
		}
		slices.SortFunc(list, func(a, b coordinator.Zone) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), bytes.Compare(a.ID[:], b.ID[:]))
		})
		return nil
	})
	return list, err
}

// Roster returns the roster last stored.
func (m *Memory) Roster(ctx context.Context, id identity.ZoneID) (encoded []byte, err error) {
	err = m.withZone(ctx, id, func(z *zone) error { encoded = bytes.Clone(z.roster); return nil })
	return encoded, err
}

// SetRoster replaces a roster.
func (m *Memory) SetRoster(ctx context.Context, id identity.ZoneID, previous identity.Hash, next []byte) error {
	return m.withZone(ctx, id, func(z *zone) error {
		r, err := roster.Decode(z.roster)
		if err != nil {
			return err
		}
		if r.Hash() != previous {
			return coordinator.ErrChanged
		}
		z.roster = bytes.Clone(next)
		return nil
	})
}

// OpenRecords opens a zone's records.
func (m *Memory) OpenRecords(ctx context.Context, id identity.ZoneID) (store records.Store, err error) {
	err = m.withZone(ctx, id, func(z *zone) error {
		if m.open[id] {
			return records.ErrInUse
		}
		m.open[id] = true
		store = &handle{Store: z.records, release: func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.open, id)
		}}
		return nil
	})
	return store, err
}

// handle is one opening of a zone's records.
type handle struct {
	records.Store
	release func()

	mu     sync.RWMutex // held for reading by transactions
	closed bool
}

// Beneath returns the store that newStore made.
func (h *handle) Beneath() records.Store { return h.Store }

// View runs f on a snapshot.
func (h *handle) View(ctx context.Context, f func(records.Tx) error) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return os.ErrClosed
	}
	return h.Store.View(ctx, f)
}

// Update runs f in a transaction.
func (h *handle) Update(ctx context.Context, f func(records.WriteTx) error) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return os.ErrClosed
	}
	return h.Store.Update(ctx, f)
}

// Close ends this opening; the store beneath stays.
func (h *handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		h.release()
	}
	return nil
}

// CreateInvitation stores an invitation.
func (m *Memory) CreateInvitation(ctx context.Context, i coordinator.Invitation) error {
	return m.withZone(ctx, i.Zone, func(*zone) error {
		if _, taken := m.data.invitations[i.Secret]; taken {
			return coordinator.ErrExists
		}
		i.Created, i.Expires, i.Used = ms(i.Created), ms(i.Expires), ms(i.Used)
		m.data.invitations[i.Secret] = i
		return nil
	})
}

// Invitation returns an invitation.
func (m *Memory) Invitation(ctx context.Context, secret identity.Hash) (i coordinator.Invitation, err error) {
	err = m.with(ctx, func() error {
		var ok bool
		if i, ok = m.data.invitations[secret]; !ok {
			return coordinator.ErrNotFound
		}
		return nil
	})
	return i, err
}

// Invitations returns those of a zone.
func (m *Memory) Invitations(ctx context.Context, zone identity.ZoneID) (list []coordinator.Invitation, err error) {
	err = m.with(ctx, func() error {
		for _, i := range m.data.invitations {
			if i.Zone == zone {
				list = append(list, i)
			}
		}
		slices.SortFunc(list, func(a, b coordinator.Invitation) int {
			return cmp.Or(b.Created.Compare(a.Created), bytes.Compare(a.Secret[:], b.Secret[:]))
		})
		return nil
	})
	return list, err
}

// UseInvitation notes who has used an invitation.
func (m *Memory) UseInvitation(ctx context.Context, secret identity.Hash, device identity.DeviceID, at time.Time) error {
	return m.with(ctx, func() error {
		i, ok := m.data.invitations[secret]
		switch {
		case !ok:
			return coordinator.ErrNotFound
		case i.Device == device:
			return nil
		case !i.Device.IsZero():
			return coordinator.ErrChanged
		}
		i.Device, i.Used = device, ms(at)
		m.data.invitations[secret] = i
		return nil
	})
}

// PruneInvitations deletes old ones.
func (m *Memory) PruneInvitations(ctx context.Context, before time.Time) error {
	return m.with(ctx, func() error {
		maps.DeleteFunc(m.data.invitations, func(_ identity.Hash, i coordinator.Invitation) bool { return i.Expires.Before(ms(before)) })
		return nil
	})
}

// OpenSession stores the record of a session that begins.
func (m *Memory) OpenSession(ctx context.Context, s coordinator.Session) (number uint64, err error) {
	err = m.withZone(ctx, s.Zone, func(z *zone) error {
		z.last++
		number = z.last
		s.Number, s.Opened, s.Closed = number, ms(s.Opened), ms(s.Closed)
		z.sessions = append(z.sessions, s)
		z.contacts[s.Device] = s.Opened
		return nil
	})
	return number, err
}

// CloseSession replaces the record of an open session.
func (m *Memory) CloseSession(ctx context.Context, s coordinator.Session) error {
	return m.withZone(ctx, s.Zone, func(z *zone) error {
		i := slices.IndexFunc(z.sessions, func(t coordinator.Session) bool { return t.Number == s.Number })
		switch {
		case i < 0:
			return coordinator.ErrNotFound
		case !z.sessions[i].Closed.IsZero():
			return coordinator.ErrChanged
		}
		s.Opened, s.Closed = ms(s.Opened), ms(s.Closed)
		z.sessions[i] = s
		z.contacts[s.Device] = s.Closed
		return nil
	})
}

// Sessions returns sessions of a zone, the newest first.
func (m *Memory) Sessions(ctx context.Context, id identity.ZoneID, before uint64, limit int) (list []coordinator.Session, err error) {
	err = m.with(ctx, func() error {
		z, ok := m.data.zones[id]
		if !ok {
			return nil
		}
		for _, s := range slices.Backward(z.sessions) {
			if len(list) < limit && (before == 0 || s.Number < before) {
				list = append(list, s)
			}
		}
		return nil
	})
	return list, err
}

// InterruptSessions closes every open record.
func (m *Memory) InterruptSessions(ctx context.Context, at time.Time) (n int, err error) {
	err = m.with(ctx, func() error {
		for _, z := range m.data.zones {
			for i := range z.sessions {
				if s := &z.sessions[i]; s.Closed.IsZero() {
					s.Closed, s.Outcome = ms(at), coordinator.OutcomeInterrupted
					n++
				}
			}
		}
		return nil
	})
	return n, err
}

// PruneSessions deletes old sessions of a zone.
func (m *Memory) PruneSessions(ctx context.Context, id identity.ZoneID, before time.Time, keep int) error {
	return m.with(ctx, func() error {
		z, ok := m.data.zones[id]
		if !ok {
			return nil
		}
		var kept []coordinator.Session
		for i, s := range z.sessions {
			beyond := len(z.sessions)-i > keep
			if s.Closed.IsZero() || !beyond && !s.Closed.Before(ms(before)) {
				kept = append(kept, s)
			}
		}
		z.sessions = kept
		return nil
	})
}

// LastContacts returns when each device of a zone was there last.
func (m *Memory) LastContacts(ctx context.Context, id identity.ZoneID) (last map[identity.DeviceID]time.Time, err error) {
	last = map[identity.DeviceID]time.Time{}
	err = m.with(ctx, func() error {
		if z, ok := m.data.zones[id]; ok {
			maps.Copy(last, z.contacts)
		}
		return nil
	})
	return last, err
}

// Upkeep has nothing to do.
func (m *Memory) Upkeep(context.Context) {}

// Close refuses further use.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
