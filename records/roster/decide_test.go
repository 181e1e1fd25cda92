package roster_test

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

func TestAdmits(t *testing.T) {
	r := school(t)
	elsewhere := identity.IssueCertificate(deviceKey(1), identity.ZoneID{1}, authorKey(101), 1)
	forged := certificate(1, 3)
	forged.Signature[0] ^= 1
	other := certificate(1, 3)
	other.Device = deviceKey(2).Public()
	for _, c := range []struct {
		name string
		cert identity.Certificate
		want error
	}{
		{"listed", certificate(1, 2), nil},
		{"not met yet", certificate(1, 3), nil},
		{"the highest not met", certificate(1, 18), nil},
		{"too high", certificate(1, 19), roster.ErrSequence},
		{"far too high", certificate(1, math.MaxInt64), roster.ErrSequence},
		{"zero", certificate(1, 0), roster.ErrSequence},
		{"listed under another number", identity.IssueCertificate(deviceKey(1), zone, authorKey(101), 4), roster.ErrSequence},
		{"a second with one number", identity.IssueCertificate(deviceKey(1), zone, authorKey(7), 2), nil},
		{"of an unknown device", certificate(9, 1), roster.ErrUnknownDevice},
		{"of another zone", elsewhere, roster.ErrZone},
		{"forged", forged, identity.ErrCertificate},
		{"of another device's signature", other, identity.ErrCertificate},
		{"for another device's author", identity.IssueCertificate(deviceKey(2), zone, authorKey(101), 3), roster.ErrOtherDevice},
		{"revoked and listed", certificate(4, 2), nil},
		{"revoked and not met", certificate(4, 3), roster.ErrRevoked},
		{"of the coordinator", certificate(0, 1), nil},
		{"of the coordinator, a high number", certificate(0, 1000), nil},
		{"of the coordinator for a device's author", identity.IssueCertificate(coordinator, zone, authorKey(101), 1), roster.ErrOtherDevice},
	} {
		if err := r.Admits(c.cert); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if c.want == identity.ErrCertificate {
			c.want = nil // that is taken to have been looked at
		}
		if err := r.AdmitsVerified(c.cert); !errors.Is(err, c.want) {
			t.Errorf("%s, verified: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestWhichLogsContinue(t *testing.T) {
	r := must(t)(school(t).Close(
		roster.Closure{Log: log(1, 1, identity.LaneDetail)},
		roster.Closure{Log: log(0, 1, identity.LaneZone), Branches: []roster.Branch{{Counter: 5}}},
	))
	for _, c := range []struct {
		name   string
		cert   identity.Certificate
		lane   identity.Lane
		want   error
		number uint64 // of the closure
		closed bool
	}{
		{"open", certificate(1, 1), identity.LaneZone, nil, 0, false},
		{"open, not met yet", certificate(1, 3), identity.LaneZone, nil, 0, false},
		{"closed", certificate(1, 1), identity.LaneDetail, roster.ErrClosed, 1, true},
		{"revoked, with a closure", certificate(4, 1), identity.LaneZone, roster.ErrRevoked, 1, true},
		{"revoked, without a closure", certificate(4, 1), identity.LaneDetail, roster.ErrRevoked, 0, true},
		{"revoked and not met", certificate(4, 3), identity.LaneZone, roster.ErrRevoked, 0, true},
		{"of an unknown device", certificate(9, 1), identity.LaneZone, roster.ErrUnknownDevice, 0, true},
		{"of the coordinator", certificate(0, 2), identity.LaneZone, nil, 0, false},
		{"of the coordinator, closed", certificate(0, 1), identity.LaneZone, roster.ErrClosed, 1, true},
	} {
		if err := r.MayContinue(c.cert, c.lane); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		got, closed := r.Closed(c.cert, c.lane)
		if closed != c.closed || got.Number != c.number || got.Log != c.cert.Log(c.lane) {
			t.Errorf("%s: closed %v, %+v", c.name, closed, got)
		}
	}
	got, ok := r.Closure(log(4, 1, identity.LaneZone))
	if want := (roster.Closure{Log: log(4, 1, identity.LaneZone), Number: 1, Branches: []roster.Branch{
		{Start: identity.StartID{1}, Counter: 50, Fingerprint: identity.Hash{1}},
		{Start: identity.StartID{9}, Counter: 40, Fingerprint: identity.Hash{2}},
	}}); !ok || !cmp.Equal(got, want) {
		t.Errorf("closure %+v", got)
	}
	if _, ok := r.Closure(log(2, 1, identity.LaneZone)); ok {
		t.Error("closure of an open log")
	}
}

func TestMayAuthor(t *testing.T) {
	r := school(t)
	for _, c := range []struct {
		name   string
		device identity.DeviceID
		want   [4]bool // any, classroom, administrates, coordinator
	}{
		{"coordinator", coordinator.Public().ID(), [4]bool{true, true, true, true}},
		{"administrates", id(1), [4]bool{true, true, true, false}},
		{"classroom", id(2), [4]bool{true, true, false, false}},
		{"plain", id(3), [4]bool{true, false, false, false}},
		{"revoked, once classroom", id(4), [4]bool{true, true, false, false}},
		{"unknown", id(9), [4]bool{}},
	} {
		for class, want := range c.want {
			if got := r.MayAuthor(c.device, roster.Class(class)); got != want {
				t.Errorf("%s, class %v: %v", c.name, roster.Class(class), got)
			}
		}
		if r.MayAuthor(c.device, 4) {
			t.Errorf("%s may author a class that there is not", c.name)
		}
	}
	r.Devices[0].Role = 77
	if d := r.Devices[0].ID(); !r.MayAuthor(d, roster.ClassAny) || r.MayAuthor(d, roster.ClassClassroom) {
		t.Error("an unknown role has not the rights of a plain member")
	}
}

func TestMayConnectAndReceive(t *testing.T) {
	r := school(t) // signed a day after the zone was created, when leases began
	const end = created + 180*day
	late := r.Sign(coordinator, end+1)
	for _, c := range []struct {
		name             string
		roster           *roster.Roster
		device           identity.DeviceID
		now              int64
		connect, receive error
	}{
		{"member", r, id(1), created, nil, nil},
		{"last moment", r, id(1), end, nil, nil},
		{"lease ended", r, id(1), end + 1, nil, roster.ErrLease},
		{"lease ended, clock at 1970", late, id(1), 0, nil, roster.ErrLease},
		{"revoked", r, id(4), created, roster.ErrRevoked, roster.ErrRevoked},
		{"unknown", r, id(9), created, roster.ErrUnknownDevice, roster.ErrUnknownDevice},
		{"coordinator", r, coordinator.Public().ID(), math.MaxInt64, nil, nil},
	} {
		if err := c.roster.MayConnect(c.device); !errors.Is(err, c.connect) {
			t.Errorf("%s: connect: %v, want %v", c.name, err, c.connect)
		}
		if err := c.roster.MayReceive(c.device, c.now); !errors.Is(err, c.receive) {
			t.Errorf("%s: receive: %v, want %v", c.name, err, c.receive)
		}
	}
	endless := must(t)(must(t)(r.SetPolicy(roster.Policy{})).RenewLease(id(1), created))
	if err := endless.MayReceive(id(1), math.MaxInt64); err != nil {
		t.Errorf("lease without end: %v", err)
	}
	endless.Devices[0].State = 77
	if err := endless.MayConnect(endless.Devices[0].ID()); !errors.Is(err, roster.ErrRevoked) {
		t.Errorf("unknown state: %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, r := range []roster.Role{roster.RolePlain, roster.RoleClassroom, roster.RoleAdministrates} {
		if got, err := roster.ParseRole(r.String()); err != nil || got != r {
			t.Errorf("%v reads as %v, %v", r, got, err)
		}
	}
	if _, err := roster.ParseRole("role 3"); !errors.Is(err, roster.ErrRoster) {
		t.Errorf("an unknown role: %v", err)
	}
	got, err := json.Marshal([]any{roster.RoleClassroom, roster.Role(7), roster.StateMember, roster.StateRevoked, roster.State(7)})
	if want := `["classroom","role 7","member","revoked","state 7"]`; err != nil || string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}
