package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// testProgram is a program that logs to t.
func testProgram(t testing.TB) *program {
	t.Helper()
	return &program{
		in: strings.NewReader(""), out: io.Discard, errOut: io.Discard,
		now: time.Now, random: rand.Reader, log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), level: new(slog.LevelVar),
	}
}

// command runs a command line in this process.
func command(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	p := testProgram(t)
	p.out, p.errOut = &out, &errOut
	root := newRootCommand(p)
	root.SetArgs(args)
	code, words := outcome(root.ExecuteContext(t.Context()))
	return code, out.String(), errOut.String() + words
}

// mustCommand runs a command line that has to succeed, and returns its output.
func mustCommand(t testing.TB, args ...string) string {
	t.Helper()
	code, out, errOut := command(t, args...)
	if code != exitOK {
		t.Fatalf("classmesh %s: exit code %d: %s", strings.Join(args, " "), code, errOut)
	}
	return out
}

// testZone is a zone whose coordinator is a key alone.
type testZone struct {
	coordinator identity.DeviceKey
	roster      *roster.Roster
}

func newTestZone(t testing.TB) *testZone {
	t.Helper()
	key, err := identity.GenerateDeviceKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.NewZoneID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := roster.New(id, "Test school", key.Public(), time.Now().UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	return &testZone{key, r}
}

// admit puts a device into the roster and returns what joining tells it.
func (z *testZone) admit(t testing.TB, key identity.DeviceKey, name string) (deviceSettings, []byte) {
	t.Helper()
	now := time.Now().UnixMilli()
	r, err := z.roster.AddDevice(key.Public(), name, roster.RoleAdministrates, now)
	if err != nil {
		t.Fatal(err)
	}
	z.roster = r.Sign(z.coordinator, now)
	return deviceSettings{
		Name: name, Zone: r.Zone, ZoneName: r.Name, Coordinator: publicKey(z.coordinator.Public()),
		Addresses: []string{"127.0.0.1:9"},
	}, z.roster.Encode()
}

// newTestDevice makes a whole data folder of a device without a coordinator.
func newTestDevice(t testing.TB, dir string) string {
	t.Helper()
	p := testProgram(t)
	f, err := createFolder(t.Context(), dir, deviceFolder)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	key, err := makeKey(f.path(keyName), p.random)
	if err != nil {
		t.Fatal(err)
	}
	settings, encoded := newTestZone(t).admit(t, key, "Test device")
	if err := makeDevice(t.Context(), p, f, key, settings, encoded); err != nil {
		t.Fatal(err)
	}
	return dir
}

// openTestDevice opens a device until the test ends.
func openTestDevice(t testing.TB, dir string) *device {
	t.Helper()
	d, err := openDevice(t.Context(), testProgram(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// serveTestControl answers commands at the local socket until the returned
// function is called, as a device that runs does.
func serveTestControl(t testing.TB, d *device) (stop func()) {
	t.Helper()
	s, err := listenLocal(d.folder)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serveHTTP(ctx, d.server(controlHandler(d)), s) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	}
}
