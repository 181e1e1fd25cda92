package storagetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Harness makes the storages that [Run] tests.
type Harness struct {
	// New returns an empty storage.
	New func(testing.TB) coordinator.Storage
	// Reopen returns what is found when a storage that was closed is opened
	// again.
	Reopen func(testing.TB, coordinator.Storage) coordinator.Storage
}

// Run is the conformance suite.
func Run(t *testing.T, h Harness) {
	for _, test := range []struct {
		name string
		run  func(*fixture)
	}{
		{"Orgs", testOrgs},
		{"Zones", testZones},
		{"ZoneThatFailsIsNotThere", testZoneFails},
		{"Rosters", testRosters},
		{"Records", testRecords},
		{"Invitations", testInvitations},
		{"OneDeviceUsesAnInvitation", testInvitationRace},
		{"Sessions", testSessions},
		{"Interrupted", testInterrupted},
		{"PruneSessions", testPruneSessions},
		{"Closed", testClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fixture{TB: t, h: h, Storage: h.New(t)}
			t.Cleanup(func() { f.Storage.Close() })
			test.run(f)
		})
	}
}

// fixture is a storage under test.
type fixture struct {
	testing.TB
	coordinator.Storage
	h Harness
}

// at is a time with more than milliseconds.
func at(minutes int) time.Time {
	return time.Date(2026, 3, 1, 8, minutes, 0, 123_456_789, time.FixedZone("", 3600))
}

func (f *fixture) must(errs ...error) {
	f.Helper()
	for _, err := range errs {
		if err != nil {
			f.Fatal(err)
		}
	}
}

func (f *fixture) want(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Errorf("got error %v, want %v", err, want)
	}
}

func same[T any](f *fixture, got, want T) {
	f.Helper()
	if !reflect.DeepEqual(got, want) {
		f.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// reopen closes the storage and opens it again.
func (f *fixture) reopen() {
	f.Helper()
	f.must(f.Storage.Close())
	f.Storage = f.h.Reopen(f.TB, f.Storage)
}

func org(n byte) coordinator.Org {
	return coordinator.Org{ID: coordinator.OrgID{n}, Name: fmt.Sprintf("Organisation %d", n), Created: at(int(n))}
}

func aZone(n byte) coordinator.Zone {
	return coordinator.Zone{ID: identity.ZoneID{n}, Org: coordinator.OrgID{1}, Name: fmt.Sprintf("School %d", n), Created: at(int(n))}
}

func key(f *fixture) identity.DeviceKey {
	k, err := identity.DeviceKeyFromSeed(make([]byte, identity.SeedBytes))
	f.must(err)
	return k
}

func (f *fixture) roster(z coordinator.Zone) *roster.Roster {
	f.Helper()
	r, err := roster.New(z.ID, z.Name, key(f).Public(), 1)
	f.must(err)
	return r.Sign(key(f), 1)
}

// note is what founding a zone's records leaves in them.
const note = "note"

func (f *fixture) createZone(z coordinator.Zone) error {
	return f.CreateZone(f.Context(), z, f.roster(z).Encode(), func(s records.Store) error {
		return s.Update(f.Context(), func(tx records.WriteTx) error { return tx.SetValue(note, z.ID[:]) })
	})
}

// withZones makes an organisation with so many zones.
func (f *fixture) withZones(n byte) {
	f.Helper()
	f.must(f.CreateOrg(f.Context(), org(1)))
	for i := range n {
		f.must(f.createZone(aZone(i + 1)))
	}
}

func cut(t *time.Time) { *t = ms(*t) }

func testOrgs(f *fixture) {
	ctx := f.Context()
	a, b := org(2), org(1)
	f.must(f.CreateOrg(ctx, a), f.CreateOrg(ctx, b))
	other := org(3)
	other.Name = "ORGANISATION 1"
	f.want(f.CreateOrg(ctx, other), coordinator.ErrExists)
	again := org(1)
	again.Name = "another"
	f.want(f.CreateOrg(ctx, again), coordinator.ErrExists)
	f.reopen()
	list, err := f.Orgs(ctx)
	f.must(err)
	cut(&a.Created)
	cut(&b.Created)
	same(f, list, []coordinator.Org{b, a})
}

func testZones(f *fixture) {
	ctx := f.Context()
	f.want(f.createZone(aZone(1)), coordinator.ErrNotFound)
	f.withZones(0)
	f.must(f.createZone(aZone(2)), f.createZone(aZone(1)))
	f.want(f.createZone(aZone(1)), coordinator.ErrExists)
	named := aZone(3)
	named.Name = "SCHOOL 1"
	f.want(f.createZone(named), coordinator.ErrExists)
	second := org(2)
	f.must(f.CreateOrg(ctx, second))
	named.Org = second.ID
	f.must(f.createZone(named)) // the same name in another organisation
	f.reopen()
	list, err := f.Zones(ctx)
	f.must(err)
	want := []coordinator.Zone{named, aZone(1), aZone(2)}
	for i := range want {
		cut(&want[i].Created)
	}
	same(f, list, want)
	z, err := f.Zone(ctx, identity.ZoneID{2})
	f.must(err)
	same(f, z, want[2])
	_, err = f.Zone(ctx, identity.ZoneID{9})
	f.want(err, coordinator.ErrNotFound)
}

func testZoneFails(f *fixture) {
	ctx := f.Context()
	f.withZones(0)
	z := aZone(1)
	failure := errors.New("founding fails")
	f.want(f.CreateZone(ctx, z, f.roster(z).Encode(), func(records.Store) error { return failure }), failure)
	_, err := f.Zone(ctx, z.ID)
	f.want(err, coordinator.ErrNotFound)
	_, err = f.OpenRecords(ctx, z.ID)
	f.want(err, coordinator.ErrNotFound)
	f.must(f.createZone(z)) // nothing stands in the way
}

func testRosters(f *fixture) {
	ctx := f.Context()
	f.withZones(1)
	z := aZone(1)
	first := f.roster(z)
	got, err := f.Roster(ctx, z.ID)
	f.must(err)
	same(f, got, first.Encode())
	second, err := first.RaiseEra()
	f.must(err)
	second = second.Sign(key(f), 2)
	f.want(f.SetRoster(ctx, z.ID, second.Hash(), second.Encode()), coordinator.ErrChanged)
	f.must(f.SetRoster(ctx, z.ID, first.Hash(), second.Encode()))
	f.want(f.SetRoster(ctx, z.ID, first.Hash(), first.Encode()), coordinator.ErrChanged)
	f.reopen()
	got, err = f.Roster(ctx, z.ID)
	f.must(err)
	same(f, got, second.Encode())
	f.want(f.SetRoster(ctx, identity.ZoneID{9}, first.Hash(), first.Encode()), coordinator.ErrNotFound)
	_, err = f.Roster(ctx, identity.ZoneID{9})
	f.want(err, coordinator.ErrNotFound)
}

func testRecords(f *fixture) {
	ctx := f.Context()
	f.withZones(2)
	read := func(s records.Store) []byte {
		var b []byte
		f.must(s.View(ctx, func(tx records.Tx) (err error) { b, err = tx.Value(note); return err }))
		return b
	}
	one, err := f.OpenRecords(ctx, identity.ZoneID{1})
	f.must(err)
	two, err := f.OpenRecords(ctx, identity.ZoneID{2})
	f.must(err)
	if a, b := read(one), read(two); a[0] != 1 || b[0] != 2 {
		f.Errorf("zones share records: %v, %v", a, b)
	}
	_, err = f.OpenRecords(ctx, identity.ZoneID{1})
	f.want(err, records.ErrInUse)
	f.must(one.Update(ctx, func(tx records.WriteTx) error { return tx.SetValue(note, []byte{7}) }))
	f.must(one.Close(), two.Close())
	f.want(one.View(ctx, func(records.Tx) error { return nil }), os.ErrClosed)
	f.reopen()
	one, err = f.OpenRecords(ctx, identity.ZoneID{1})
	f.must(err)
	if b := read(one); b[0] != 7 {
		f.Errorf("records lost: %v", b)
	}
	f.must(one.Close())
}

func testInvitations(f *fixture) {
	ctx := f.Context()
	role := roster.RolePlain
	a := coordinator.Invitation{Secret: identity.Hash{1}, Zone: identity.ZoneID{1}, Role: &role, Created: at(1), Expires: at(30)}
	b := coordinator.Invitation{Secret: identity.Hash{2}, Zone: identity.ZoneID{1}, Created: at(2), Expires: at(20)}
	f.want(f.CreateInvitation(ctx, a), coordinator.ErrNotFound)
	f.withZones(2)
	f.must(f.CreateInvitation(ctx, a), f.CreateInvitation(ctx, b))
	f.want(f.CreateInvitation(ctx, a), coordinator.ErrExists)
	device := identity.DeviceID{5}
	f.must(f.UseInvitation(ctx, b.Secret, device, at(3)), f.UseInvitation(ctx, b.Secret, device, at(4)))
	f.want(f.UseInvitation(ctx, b.Secret, identity.DeviceID{6}, at(5)), coordinator.ErrChanged)
	f.want(f.UseInvitation(ctx, identity.Hash{9}, device, at(5)), coordinator.ErrNotFound)
	f.reopen()
	b.Device, b.Used = device, at(3)
	for _, i := range []*coordinator.Invitation{&a, &b} {
		cut(&i.Created)
		cut(&i.Expires)
		cut(&i.Used)
		got, err := f.Invitation(ctx, i.Secret)
		f.must(err)
		same(f, got, *i)
	}
	list, err := f.Invitations(ctx, a.Zone)
	f.must(err)
	same(f, list, []coordinator.Invitation{b, a})
	if list, err = f.Invitations(ctx, identity.ZoneID{2}); err != nil || len(list) != 0 {
		f.Errorf("another zone has invitations %v, %v", list, err)
	}
	f.must(f.PruneInvitations(ctx, at(25)))
	_, err = f.Invitation(ctx, b.Secret)
	f.want(err, coordinator.ErrNotFound)
	list, err = f.Invitations(ctx, a.Zone)
	f.must(err)
	same(f, list, []coordinator.Invitation{a})
}

func testInvitationRace(f *fixture) {
	ctx := f.Context()
	f.withZones(1)
	secret := identity.Hash{1}
	f.must(f.CreateInvitation(ctx, coordinator.Invitation{Secret: secret, Zone: identity.ZoneID{1}, Created: at(1), Expires: at(30)}))
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() { errs[i] = f.UseInvitation(ctx, secret, identity.DeviceID{byte(i + 1)}, at(2)) })
	}
	wg.Wait()
	i, err := f.Invitation(ctx, secret)
	f.must(err)
	for n, err := range errs {
		if winner := i.Device == (identity.DeviceID{byte(n + 1)}); winner != (err == nil) || !winner && !errors.Is(err, coordinator.ErrChanged) {
			f.Errorf("device %d was told %v; the invitation went to %v", n+1, err, i.Device)
		}
	}
}

func session(zone, device byte, opened int) coordinator.Session {
	return coordinator.Session{
		Zone: identity.ZoneID{zone}, Device: identity.DeviceID{device}, Incarnation: 3, Start: identity.StartID{4},
		Remote: "192.0.2.1:5", Transport: "quic", Software: "classmesh", Protocol: 1,
		Opened: ms(at(opened)), Outcome: coordinator.OutcomeOpen,
	}
}

func (f *fixture) openSession(s coordinator.Session) coordinator.Session {
	f.Helper()
	var err error
	s.Number, err = f.OpenSession(f.Context(), s)
	f.must(err)
	return s
}

func closed(s coordinator.Session, minutes int, o coordinator.Outcome) coordinator.Session {
	s.Closed, s.Outcome, s.Words = ms(at(minutes)), o, "words"
	s.RecordsSent, s.RecordsReceived, s.BytesSent, s.BytesReceived, s.Equal = 1, 2, 1<<40, 4, true
	return s
}

func (f *fixture) sessions(zone byte, before uint64, limit int) []coordinator.Session {
	f.Helper()
	list, err := f.Sessions(f.Context(), identity.ZoneID{zone}, before, limit)
	f.must(err)
	return list
}

func testSessions(f *fixture) {
	ctx := f.Context()
	_, err := f.OpenSession(ctx, session(1, 1, 1))
	f.want(err, coordinator.ErrNotFound)
	f.withZones(2)
	a, b, other := f.openSession(session(1, 1, 1)), f.openSession(session(1, 2, 2)), f.openSession(session(2, 9, 3))
	if a.Number == 0 || b.Number <= a.Number {
		f.Errorf("numbers %d, %d do not rise from 1", a.Number, b.Number)
	}
	a = closed(a, 5, coordinator.OutcomeDone)
	f.must(f.CloseSession(ctx, a))
	f.want(f.CloseSession(ctx, a), coordinator.ErrChanged)
	missing := a
	missing.Number = 99
	f.want(f.CloseSession(ctx, missing), coordinator.ErrNotFound)
	f.reopen()
	same(f, f.sessions(1, 0, 10), []coordinator.Session{b, a})
	same(f, f.sessions(1, 0, 1), []coordinator.Session{b})
	same(f, f.sessions(1, b.Number, 10), []coordinator.Session{a})
	same(f, f.sessions(2, 0, 10), []coordinator.Session{other})
	if list := f.sessions(1, 0, 0); len(list) != 0 {
		f.Errorf("none were asked for, %d came", len(list))
	}
	contacts, err := f.LastContacts(ctx, identity.ZoneID{1})
	f.must(err)
	same(f, contacts, map[identity.DeviceID]time.Time{a.Device: a.Closed, b.Device: b.Opened})
	if c := f.openSession(session(1, 1, 6)); c.Number <= b.Number {
		f.Errorf("number %d after %d", c.Number, b.Number)
	}
}

func testInterrupted(f *fixture) {
	ctx := f.Context()
	f.withZones(2)
	a := f.openSession(session(1, 1, 1))
	b := closed(f.openSession(session(1, 2, 2)), 3, coordinator.OutcomeDone)
	f.must(f.CloseSession(ctx, b))
	c := f.openSession(session(2, 3, 4))
	f.reopen()
	n, err := f.InterruptSessions(ctx, at(9))
	f.must(err)
	if n != 2 {
		f.Errorf("%d were left open, want 2", n)
	}
	for _, s := range []*coordinator.Session{&a, &c} {
		s.Closed, s.Outcome = ms(at(9)), coordinator.OutcomeInterrupted
	}
	same(f, f.sessions(1, 0, 10), []coordinator.Session{b, a})
	same(f, f.sessions(2, 0, 10), []coordinator.Session{c})
	if n, err := f.InterruptSessions(ctx, at(10)); n != 0 || err != nil {
		f.Errorf("a second time: %d, %v", n, err)
	}
}

func testPruneSessions(f *fixture) {
	ctx := f.Context()
	f.withZones(2)
	first := f.openSession(session(1, 9, 0)) // stays open
	var list []coordinator.Session
	for i := range 6 {
		s := closed(f.openSession(session(1, 1, i)), i+1, coordinator.OutcomeDone)
		f.must(f.CloseSession(ctx, s))
		list = append(list, s)
	}
	elsewhere := closed(f.openSession(session(2, 1, 0)), 1, coordinator.OutcomeDone)
	f.must(f.CloseSession(ctx, elsewhere))
	zone := identity.ZoneID{1}
	f.must(f.PruneSessions(ctx, zone, at(3), 100)) // those that ended at minutes 1 and 2
	kept := slices.Clone(list[2:])
	slices.Reverse(kept)
	same(f, f.sessions(1, 0, 10), append(slices.Clone(kept), first))
	f.must(f.PruneSessions(ctx, zone, at(3), 2))
	f.reopen()
	same(f, f.sessions(1, 0, 10), append(kept[:2:2], first))
	same(f, f.sessions(2, 0, 10), []coordinator.Session{elsewhere})
	contacts, err := f.LastContacts(ctx, zone)
	f.must(err)
	if len(slices.Collect(maps.Keys(contacts))) != 2 {
		f.Errorf("contacts went with the sessions: %v", contacts)
	}
}

func testClosed(f *fixture) {
	f.withZones(1)
	f.must(f.Storage.Close())
	ctx := f.Context()
	_, err := f.Orgs(ctx)
	f.want(err, os.ErrClosed)
	f.want(f.CreateOrg(ctx, org(2)), os.ErrClosed)
	f.Storage = f.h.Reopen(f.TB, f.Storage)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	f.want(f.CreateOrg(ended, org(2)), context.Canceled)
	if list, err := f.Orgs(ctx); err != nil || len(list) != 1 {
		f.Errorf("organisations %v, %v", list, err)
	}
}
