package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/storetest"
)

// fullDisk is a coordinator's storage that has no room for records while full
// is set.
type fullDisk struct {
	coordinator.Storage
	full atomic.Bool
}

func (s *fullDisk) OpenRecords(ctx context.Context, id identity.ZoneID) (records.Store, error) {
	store, err := s.Storage.OpenRecords(ctx, id)
	if err != nil {
		return nil, err
	}
	return &storetest.Faulty{Store: store, Next: func() storetest.Fault {
		if s.full.Load() {
			return storetest.Full
		}
		return storetest.None
	}}, nil
}

// TestSyncWithAFullCoordinator: who asks for an exchange that does not get on,
// although the coordinator is connected, is told so.
func TestSyncWithAFullCoordinator(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := testProgram(t)
	data, err := openCoordinator(ctx, p, filepath.Join(t.TempDir(), "center"))
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	disk := &fullDisk{Storage: data.storage}
	data.storage = disk
	run := func(serve func(ctx context.Context, ready func()) error) {
		running, stop := context.WithCancel(ctx)
		up, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- serve(running, func() { close(up) }) }()
		select {
		case <-up:
		case err := <-done:
			t.Fatal(err)
		}
		t.Cleanup(func() {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	var url string
	run(func(ctx context.Context, ready func()) error {
		return data.serve(ctx, coordinateOptions{listen: anyPort}, func(u string) { url = u; ready() })
	})
	admin, err := adminOf(data.folder.dir)
	if err != nil {
		t.Fatal(err)
	}
	zone, err := demoZone(ctx, admin)
	if err != nil {
		t.Fatal(err)
	}
	invitation, err := admin.CreateInvitation(ctx, zone, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "device")
	if _, err := join(ctx, p, joinOptions{dir: dir, name: "Room 1", url: url, code: invitation.Code}); err != nil {
		t.Fatal(err)
	}
	d := openTestDevice(t, dir)
	run(func(ctx context.Context, ready func()) error {
		return d.serve(ctx, serveOptions{web: anyPort}, func(serving) { ready() })
	})
	if _, err := d.syncRunning(ctx, time.Minute); err != nil {
		t.Fatal(err)
	}

	disk.full.Store(true)
	if _, err := classroom.AddUser(ctx, d.replica, d.gate, identity.UserID{}, classroom.NewUser{Name: "Amina", Username: "amina", Password: "red kite", Language: "en"}); err != nil {
		t.Fatal(err)
	}
	_, err = d.syncRunning(ctx, 300*time.Millisecond)
	if !errors.Is(err, errStalled) || d.node.Status().Uplink.State != mesh.Connected {
		t.Fatalf("%v while the uplink is %+v", err, d.node.Status().Uplink)
	}
	if code, words := outcome(err); code != exitFailed || !strings.Contains(words, "tried again by itself") {
		t.Errorf("exit code %d: %s", code, words)
	}
}
