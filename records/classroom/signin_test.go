package classroom_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/classmesh/classmesh/records/classroom"
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
		p, err := z.gate.Authenticate(ctx, r, c.username, c.password)
		if c.name == "" && !errors.Is(err, classroom.ErrSignIn) || c.name != "" && (err != nil || p.Name != c.name) {
			t.Errorf("%q, %.9q: %+v, %v", c.username, c.password, p, err)
		}
	}
	tess, err := z.gate.Authenticate(ctx, r, "tess", "three")
	ok(t, err)
	ok(t, classroom.SetPassword(ctx, r, z.gate, nobody, tess.ID, "four"))
	if _, err := z.gate.Authenticate(ctx, r, "tess", "three"); !errors.Is(err, classroom.ErrSignIn) {
		t.Errorf("the old password: %v", err)
	}
	ok(t, classroom.Hide(ctx, r, nobody, classroom.UserTarget(tess.ID), "left"))
	if _, err := z.gate.Authenticate(ctx, r, "tess", "four"); !errors.Is(err, classroom.ErrSignIn) {
		t.Errorf("who is hidden: %v", err)
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
