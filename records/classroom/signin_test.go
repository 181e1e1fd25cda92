package classroom_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

func TestAuthenticate(t *testing.T) {
	z := newZone(t, roster.RoleAdministrates)
	ctx, r := t.Context(), z.devices[0]
	add := func(name, password string, role classroom.Role) {
		t.Helper()
		_, err := classroom.AddUser(ctx, r, z.gate, nobody, classroom.NewUser{Name: name, Username: name, Password: password, Role: role})
		ok(t, err)
	}
	add("Ada", "one", classroom.RoleLearner)
	add("ada", "two", classroom.RoleLearner) // a namesake
	add("Tess", "three", classroom.RoleTeacher)
	add("Nopass", "", classroom.RoleLearner)
	for _, c := range []struct {
		username, password, name string
	}{
		{"Ada", "one", "Ada"}, {" ADA ", "two", "ada"}, {"tess", "three", "Tess"},
		{"ada", "three", ""}, {"ada", "", ""}, {"nopass", "", ""}, {"who", "one", ""}, {"", "", ""},
		{"ada", strings.Repeat("x", 1000), ""},
	} {
		p, account, err := z.gate.Authenticate(ctx, r, c.username, c.password)
		if c.name == "" && !errors.Is(err, classroom.ErrSignIn) || c.name != "" && (err != nil || p.Name != c.name || p.ID != account) {
			t.Errorf("%q, %.9q: %+v, %v, %v", c.username, c.password, p, account, err)
		}
	}
	tess, _, err := z.gate.Authenticate(ctx, r, "tess", "three")
	ok(t, err)
	ok(t, classroom.SetPassword(ctx, r, z.gate, nobody, tess.ID, "four"))
	if _, _, err := z.gate.Authenticate(ctx, r, "tess", "three"); !errors.Is(err, classroom.ErrSignIn) {
		t.Errorf("the old password: %v", err)
	}
	ok(t, classroom.Hide(ctx, r, nobody, classroom.UserTarget(tess.ID), "left"))
	if _, _, err := z.gate.Authenticate(ctx, r, "tess", "four"); !errors.Is(err, classroom.ErrSignIn) {
		t.Errorf("who is hidden: %v", err)
	}
}

// signsIn reports whether a username and password are let in on a device, and under which ID.
func (z *zone) signsIn(device int, username, password string) (identity.UserID, bool) {
	z.t.Helper()
	_, account, err := z.gate.Authenticate(z.t.Context(), z.devices[device], username, password)
	if err != nil && !errors.Is(err, classroom.ErrSignIn) {
		z.t.Fatal(err)
	}
	return account, err == nil
}

// TestPasswordOfJoinedPerson: a new password is that of every ID, and the old ones of none.
func TestPasswordOfJoinedPerson(t *testing.T) {
	z := newZone(t, roster.RoleClassroom)
	ctx, r := t.Context(), z.devices[0]
	var ids [2]identity.UserID
	for i, username := range []string{"ada", "ada2"} {
		var err error
		ids[i], err = classroom.AddUser(ctx, r, z.gate, nobody, classroom.NewUser{Name: "Ada", Username: username, Password: "old " + username})
		ok(t, err)
	}
	ok(t, classroom.Join(ctx, r, nobody, ids[0], ids[1], true, ""))
	for i, username := range []string{"ada", "ada2"} {
		if account, in := z.signsIn(0, username, "old "+username); !in || account != ids[i] {
			t.Errorf("%s: %v, under %v", username, in, account)
		}
	}
	ok(t, classroom.SetPassword(ctx, r, z.gate, nobody, ids[1], "new"))
	for i, username := range []string{"ada", "ada2"} {
		if account, in := z.signsIn(0, username, "new"); !in || account != ids[i] {
			t.Errorf("%s with the new password: %v, under %v", username, in, account)
		}
		if _, in := z.signsIn(0, username, "old "+username); in {
			t.Errorf("%s with the old password", username)
		}
	}
}

// TestHiddenAndJoined: an ID that was hidden on one device while another joined it lets
// nobody in, and the person is there under the other.
func TestHiddenAndJoined(t *testing.T) {
	z := newZone(t, roster.RoleClassroom, roster.RoleClassroom)
	ctx := t.Context()
	var ids [2]identity.UserID
	for i, username := range []string{"ada", "ada2"} {
		var err error
		ids[i], err = classroom.AddUser(ctx, z.devices[0], z.gate, nobody, classroom.NewUser{Name: "Ada", Username: username, Password: "secret"})
		ok(t, err)
	}
	z.pull(1, 0)
	ok(t, classroom.Hide(ctx, z.devices[0], nobody, classroom.UserTarget(ids[0]), ""))
	ok(t, classroom.Join(ctx, z.devices[1], nobody, ids[0], ids[1], true, ""))
	z.pull(1, 0)
	z.pull(0, 1)
	for device := range z.devices {
		roll := z.people(device)
		if p := roll.Person(ids[0]); p.Hidden || p.Username != "ada2" || roll.Account(ids[0]) != nil || roll.Account(ids[1]) != p {
			t.Errorf("device %d: %+v", device, p)
		}
		if _, in := z.signsIn(device, "ada", "secret"); in {
			t.Errorf("device %d: who was removed is let in", device)
		}
		if _, in := z.signsIn(device, "ada2", "secret"); !in {
			t.Errorf("device %d: who was not removed is not let in", device)
		}
	}
}

// TestStaffComeFirst: learners who are given the username of a teacher, as many as may be,
// do not shut the teacher out.
func TestStaffComeFirst(t *testing.T) {
	z := newZone(t, roster.RoleAdministrates)
	add := func(password string, role classroom.Role) {
		_, err := classroom.AddUser(t.Context(), z.devices[0], z.gate, nobody, classroom.NewUser{Name: "Tess", Username: "tess", Password: password, Role: role})
		ok(t, err)
	}
	for range 17 {
		add("taken", classroom.RoleLearner)
	}
	add("secret", classroom.RoleTeacher)
	if _, in := z.signsIn(0, "tess", "secret"); !in {
		t.Error("the teacher is shut out")
	}
}

func TestGate(t *testing.T) {
	g, err := classroom.NewGate(source(2), 1)
	ok(t, err)
	hash, err := g.Hash(t.Context(), "secret")
	ok(t, err)
	again, err := g.Hash(t.Context(), "secret")
	ok(t, err)
	if hash == again || !strings.HasPrefix(string(hash), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Error("two hashes are equal or without their parameters")
	}
	for _, c := range []struct {
		hash     classroom.PasswordHash
		password string
		want     bool
	}{
		{hash, "secret", true}, {again, "secret", true}, {hash, "Secret", false}, {hash, "", false}, {"", "", false},
		{"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$WGoUBBP3MvDiWUQkZLwrHA", "secret", false},
		{classroom.PasswordHash(strings.Replace(string(hash), "m=19456", "m=99999999", 1)), "secret", false},
		{classroom.PasswordHash(strings.Replace(string(hash), "t=2", "t=4000000", 1)), "secret", false},
		{classroom.PasswordHash(strings.Replace(string(hash), "p=1", "p=0", 1)), "secret", false},
		{classroom.PasswordHash(strings.Replace(string(hash), "m=19456", "m=019456", 1)), "secret", false},
		{classroom.PasswordHash(string(hash) + "$"), "secret", false},
		{"secret", "secret", false},
	} {
		if got, err := g.Verify(t.Context(), c.hash, c.password); got != c.want || err != nil {
			t.Errorf("%.40s…, %q: %v, %v", string(c.hash), c.password, got, err)
		}
	}
	for _, password := range []string{"", strings.Repeat("x", classroom.MaxPasswordBytes+1)} {
		if _, err := g.Hash(t.Context(), password); !errors.Is(err, classroom.ErrInput) {
			t.Errorf("hash %d bytes: %v", len(password), err)
		}
	}
	if hash.String() != "set" {
		t.Error("a hash prints itself")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Hash(canceled, "secret"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
}
