package coordinator_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

func TestRegister(t *testing.T) {
	folder := t.TempDir()
	c := newCentre(t, folder)
	zone := c.zone("School")
	first, second, third := newKey(t), newKey(t), newKey(t)
	plain := roster.RolePlain
	secrets := []roster.Secret{c.invite(zone), c.invite(zone)}
	code, _, err := c.CreateInvitation(within(t), coordinator.Invite{Zone: zone, Role: &plain})
	must(t, err)
	secrets = append(secrets, code.Secret())
	for i, key := range []identity.DeviceKey{first, second, third} {
		r, err := c.Register(within(t), application(key, secrets[i]))
		must(t, err)
		ros, err := roster.Accept(nil, r.Roster, c.key.Public(), zone)
		must(t, err)
		d, _ := ros.Device(key.Public().ID())
		want := []roster.Role{roster.RoleAdministrates, roster.RoleClassroom, roster.RolePlain}[i]
		if r.Zone != zone || r.ZoneName != "School" || d.Role != want || d.State != roster.StateMember {
			t.Errorf("device %d: %+v in zone %v (%q), want role %v", i, d, r.Zone, r.ZoneName, want)
		}
	}
	again := func() coordinator.Registration {
		t.Helper()
		r, err := c.Register(within(t), application(first, secrets[0]))
		must(t, err)
		return r
	}
	before := again()
	c.restart(folder)
	c.advance(30 * 24 * time.Hour) // and the code has expired long ago
	if !bytes.Equal(again().Roster, before.Roster) {
		t.Error("a device that repeats its code changes the roster")
	}
	if _, err := c.Register(within(t), application(newKey(t), secrets[0])); !errors.Is(err, coordinator.ErrUsedCode) {
		t.Errorf("a code was used twice: %v", err)
	}
	must(t, c.SetDeviceRole(within(t), zone, second.Public().ID(), roster.RoleAdministrates))
	devices, err := c.Devices(within(t), zone)
	must(t, err)
	i := slices.IndexFunc(devices, func(d coordinator.Device) bool { return d.ID() == second.Public().ID() })
	if len(devices) != 3 || devices[i].Role != roster.RoleAdministrates {
		t.Errorf("devices: %+v", devices)
	}
}

func TestRegisterRefuses(t *testing.T) {
	c := newCentre(t, t.TempDir())
	zone := c.zone("School")
	member := newKey(t)
	_, err := c.Register(within(t), application(member, c.invite(zone)))
	must(t, err)
	good := c.invite(zone)
	old := c.invite(zone)
	short, _, err := c.CreateInvitation(within(t), coordinator.Invite{Zone: zone, Valid: time.Hour})
	must(t, err)
	c.advance(2 * time.Hour)
	for _, test := range []struct {
		name   string
		change func(*coordinator.Application)
		want   error
	}{
		{"wrong code", func(a *coordinator.Application) { a.Secret[0] ^= 1 }, coordinator.ErrWrongCode},
		{"no code", func(a *coordinator.Application) { a.Secret = roster.Secret{} }, coordinator.ErrWrongCode},
		{"expired code", func(a *coordinator.Application) { a.Secret = short.Secret() }, coordinator.ErrExpiredCode},
		{"no name", func(a *coordinator.Application) { a.Name = " " }, coordinator.ErrName},
		{"long name", func(a *coordinator.Application) { a.Name = strings.Repeat("x", 65) }, coordinator.ErrName},
		{"name that is not text", func(a *coordinator.Application) { a.Name = "\xff" }, coordinator.ErrName},
		{"name with a control character", func(a *coordinator.Application) { a.Name = "a\x1b[2Jb" }, coordinator.ErrName},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := application(newKey(t), good)
			test.change(&a)
			if _, err := c.Register(within(t), a); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	// A member who brings another code uses it up for nobody.
	_, err = c.Register(within(t), application(member, good))
	must(t, err)
	_, err = c.Register(within(t), application(newKey(t), good))
	must(t, err)
	c.advance(coordinator.InvitationTime)
	if _, err := c.Register(within(t), application(newKey(t), old)); !errors.Is(err, coordinator.ErrExpiredCode) {
		t.Errorf("after a week: %v", err)
	}
	if devices, err := c.Devices(within(t), zone); err != nil || len(devices) != 2 {
		t.Errorf("refused applications left %d devices, %v", len(devices), err)
	}
}

// Who guesses is not listened to for long, and others are not affected.
func TestGuessing(t *testing.T) {
	c := newCentre(t, t.TempDir())
	good := c.invite(c.zone("School"))
	register := func(from string, wrong byte) error {
		a := application(newKey(t), good)
		a.From = netip.MustParseAddr(from)
		a.Secret[1] ^= wrong
		_, err := c.Register(within(t), a)
		return err
	}
	for i := range coordinator.MaxTries {
		if err := register("2001:db8::1", byte(i+1)); !errors.Is(err, coordinator.ErrWrongCode) {
			t.Fatalf("try %d: %v", i, err)
		}
	}
	for _, from := range []string{"2001:db8::1", "2001:db8::ffff:2"} { // one network
		if err := register(from, 0); !errors.Is(err, coordinator.ErrManyTries) {
			t.Errorf("the right code after %d wrong ones from %s: %v", coordinator.MaxTries, from, err)
		}
	}
	if err := register("2001:db8:0:1::1", 0); err != nil {
		t.Errorf("another network suffers: %v", err)
	}
	c.advance(coordinator.TryWindow)
	if err := register("2001:db8::1", 0); !errors.Is(err, coordinator.ErrUsedCode) {
		t.Errorf("an hour later: %v", err)
	}
}

// Of many devices with one code, one joins.
func TestRegisterRace(t *testing.T) {
	c := newCentre(t, t.TempDir())
	zone := c.zone("School")
	secret := c.invite(zone)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = c.Register(context.Background(), application(newKey(t), secret)) })
	}
	wg.Wait()
	joined := 0
	for _, err := range errs {
		if err == nil {
			joined++
		} else if !errors.Is(err, coordinator.ErrUsedCode) {
			t.Error(err)
		}
	}
	if devices, err := c.Devices(within(t), zone); joined != 1 || err != nil || len(devices) != 1 {
		t.Errorf("%d joined, %d are listed, %v", joined, len(devices), err)
	}
}

func TestOrgsAndZones(t *testing.T) {
	c := newCentre(t, t.TempDir())
	ctx := within(t)
	o, err := c.CreateOrg(ctx, "Org")
	must(t, err)
	if _, err := c.CreateOrg(ctx, "org"); !errors.Is(err, coordinator.ErrExists) {
		t.Errorf("an organisation twice: %v", err)
	}
	if _, err := c.CreateOrg(ctx, ""); !errors.Is(err, coordinator.ErrName) {
		t.Errorf("an organisation without a name: %v", err)
	}
	z, err := c.CreateZone(ctx, o.ID, "Zone")
	must(t, err)
	if _, err := c.CreateZone(ctx, o.ID, "zone"); !errors.Is(err, coordinator.ErrExists) {
		t.Errorf("a zone twice: %v", err)
	}
	if _, err := c.CreateZone(ctx, coordinator.OrgID{1}, "other"); !errors.Is(err, coordinator.ErrNotFound) {
		t.Errorf("a zone of nobody: %v", err)
	}
	if _, err := c.Devices(ctx, identity.ZoneID{1}); !errors.Is(err, coordinator.ErrNotFound) {
		t.Errorf("devices of an unknown zone: %v", err)
	}
	if _, err := c.Sessions(ctx, identity.ZoneID{1}, 0, 0); !errors.Is(err, coordinator.ErrNotFound) {
		t.Errorf("sessions of an unknown zone: %v", err)
	}
	if _, _, err := c.CreateInvitation(ctx, coordinator.Invite{Zone: z.ID, Valid: coordinator.InvitationTime + 1}); err == nil {
		t.Error("an invitation for longer than a week")
	}
	if err := c.Revoke(ctx, z.ID, identity.DeviceID{1}); !errors.Is(err, roster.ErrUnknownDevice) {
		t.Errorf("revoked nobody: %v", err)
	}
	id, err := coordinator.ParseOrgID(o.ID.String())
	if err != nil || id != o.ID {
		t.Errorf("%v reads back as %v, %v", o.ID, id, err)
	}
	for _, bad := range []string{"", "org-", "org-a", o.ID.String() + "a", "zone" + o.ID.String()[3:], strings.ToUpper(o.ID.String())} {
		if _, err := coordinator.ParseOrgID(bad); !errors.Is(err, identity.ErrID) {
			t.Errorf("parsed %q: %v", bad, err)
		}
	}
	c.stop()
	if _, err := c.Orgs(ctx); !errors.Is(err, coordinator.ErrStopped) {
		t.Errorf("a stopped coordinator: %v", err)
	}
}
