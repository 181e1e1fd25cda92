package coordinator_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/roster"
)

// What is written on one device arrives at the others, and all of them learn
// that it is safe at the centre; a coordinator that was away goes on.
func TestDevicesMeetAtTheCoordinator(t *testing.T) {
	folder := t.TempDir()
	c := newCentre(t, folder)
	zone := c.zone("School")
	a, b := c.join(zone), c.join(zone)
	a.write(3)
	sa, sb := a.session(), b.session()
	eventually(t, "records arrive", holds(b, a.log(), 3))
	eventually(t, "a's receipt arrives", receipted(a, a.log(), 3))
	eventually(t, "b learns of a's receipt", receipted(b, a.log(), 3))
	b.write(2) // pushed, now that the sessions are open
	eventually(t, "a push arrives", holds(a, b.log(), 2))
	eventually(t, "b's receipt arrives", receipted(b, b.log(), 2))
	eventually(t, "the incarnations are listed", func() bool {
		d, _ := a.Roster().Device(a.id)
		e, _ := a.Roster().Device(b.id)
		return len(d.Incarnations) == 1 && len(e.Incarnations) == 1
	})

	c.stop()
	sa.wait(t)
	sb.wait(t)
	a.write(4)
	b.write(6000) // more than a small difference
	c.restart(folder)
	a.session()
	b.session()
	eventually(t, "b catches up", holds(b, a.log(), 7))
	eventually(t, "a catches up", holds(a, b.log(), 6002))
	eventually(t, "a's receipts arrive", receipted(a, a.log(), 7))
	eventually(t, "b's receipts arrive", receipted(b, b.log(), 6002))
	eventually(t, "all have the same", func() bool { return a.State().Fingerprint == b.State().Fingerprint })

	list := c.sessions(zone)
	if len(list) != 4 {
		t.Fatalf("%d sessions are recorded, want 4: %+v", len(list), list)
	}
	for i, s := range list {
		open := i < 2
		if (s.Outcome == coordinator.OutcomeOpen) != open || !open && s.Outcome != coordinator.OutcomeStopped {
			t.Errorf("session %d: outcome %v", s.Number, s.Outcome)
		}
		if s.Software != "device 1" || s.Remote == "" || s.Transport == "" || s.Incarnation != 1 || s.Opened.IsZero() || s.Closed.IsZero() != open {
			t.Errorf("session %d: %+v", s.Number, s)
		}
	}
	for _, s := range list[2:] {
		if want := map[bool]uint64{true: 3, false: 2}[s.Device == a.id]; s.RecordsReceived != want || s.BytesReceived == 0 || s.Protocol != 1 {
			t.Errorf("session %d counted %d records in %d bytes of version %d", s.Number, s.RecordsReceived, s.BytesReceived, s.Protocol)
		}
	}
	devices, err := c.Devices(within(t), zone)
	must(t, err)
	for _, d := range devices {
		if !d.Connected || d.LastContact.IsZero() {
			t.Errorf("device is listed as %+v", d)
		}
	}
}

// A session that says nothing new makes no new roster, which would have to
// travel to every device.
func TestSessionsMakeNoRosters(t *testing.T) {
	c := newCentre(t, t.TempDir())
	zone := c.zone("School")
	d := c.join(zone)
	meet := func() roster.Epoch {
		t.Helper()
		s := d.session()
		d.write(1)
		n, _ := d.Frontier(records.BranchRef{Log: d.log()})
		eventually(t, "receipt", receipted(d, d.log(), n))
		s.stop()
		if err := s.wait(t); err != nil {
			t.Error(err)
		}
		return d.Roster().Epoch
	}
	first := meet()
	c.advance(24 * time.Hour)
	if again := meet(); again != first {
		t.Errorf("a day later the epoch went from %v to %v", first, again)
	}
	c.advance(60 * 24 * time.Hour)
	s := d.session()
	eventually(t, "the lease is renewed", func() bool { return d.Roster().Epoch.Compare(first) > 0 })
	s.stop()
}

// A coordinator whose clock was set back, such as one whose battery is empty,
// goes on giving records to devices: the old ones, and those that join.
func TestClockSetBack(t *testing.T) {
	c := newCentre(t, t.TempDir())
	zone := c.zone("School")
	a := c.join(zone)
	c.advance(-40 * 365 * 24 * time.Hour)
	b := c.join(zone)
	for _, d := range []*device{a, b} {
		s := d.session()
		defer s.stop()
	}
	for _, pair := range [][2]*device{{a, b}, {b, a}} {
		from, to := pair[0], pair[1]
		from.write(1)
		n, _ := from.Frontier(records.BranchRef{Log: from.log()})
		eventually(t, "what the other wrote arrives", func() bool {
			got, _ := to.Frontier(records.BranchRef{Log: from.log()})
			return got == n
		})
	}
}

func TestRevokedDevice(t *testing.T) {
	c := newCentre(t, t.TempDir())
	zone := c.zone("School")
	a, b := c.join(zone), c.join(zone)
	a.write(5)
	sa, sb := a.session(), b.session()
	eventually(t, "receipt", receipted(a, a.log(), 5))
	must(t, c.Revoke(within(t), zone, a.id))
	endedWith(t, sa.wait(t), wire.CodeRevoked)
	endedWith(t, a.session().wait(t), wire.CodeRevoked)
	eventually(t, "b learns of it", func() bool { return errors.Is(b.Roster().MayConnect(a.id), roster.ErrRevoked) })
	closure, ok := b.Roster().Closure(a.log())
	head, _ := a.Head(records.BranchRef{Log: a.log()})
	if !ok || len(closure.Branches) != 1 || closure.Branches[0].Counter != 5 || closure.Branches[0].Fingerprint != head.Fingerprint {
		t.Errorf("the log is closed as %+v", closure)
	}
	if err := c.Revoke(within(t), zone, a.id); !errors.Is(err, roster.ErrRevoked) {
		t.Errorf("revoked twice: %v", err)
	}
	eventually(t, "the outcome is recorded", func() bool {
		for _, s := range c.sessions(zone) {
			if s.Device == a.id {
				return s.Outcome == coordinator.OutcomeRefused
			}
		}
		return false
	})
	sb.stop()
	if err := sb.wait(t); err != nil {
		t.Errorf("b's session suffered: %v", err)
	}
	if _, err := c.Register(within(t), application(a.key, c.invite(zone))); !errors.Is(err, roster.ErrRevoked) {
		t.Errorf("a revoked device joined again: %v", err)
	}
}

// Who does not belong to a zone is told just that, and leaves no trace.
func TestStrangers(t *testing.T) {
	c := newCentre(t, t.TempDir())
	zone, other := c.zone("School"), c.zone("Other school")
	member, elsewhere := c.join(zone), c.join(other)
	member.write(1)
	epoch := member.Roster().Epoch

	t.Run("valid key of nobody", func(t *testing.T) {
		endedWith(t, c.found(newKey(t), zone, member.RosterBytes()).session().wait(t), wire.CodeUnknown)
	})
	t.Run("device of another zone", func(t *testing.T) {
		endedWith(t, c.found(elsewhere.key, zone, member.RosterBytes()).session().wait(t), wire.CodeUnknown)
	})
	t.Run("zone of nobody", func(t *testing.T) {
		key := newKey(t)
		r, err := roster.New([16]byte{9}, "Nowhere", c.key.Public(), 1)
		must(t, err)
		r, err = r.AddDevice(key.Public(), "x", roster.RoleClassroom, 1)
		must(t, err)
		endedWith(t, c.found(key, r.Zone, r.Sign(c.key, 1).Encode()).session().wait(t), wire.CodeUnknown)
	})
	t.Run("noise", func(t *testing.T) {
		conn := member.connect()
		conn.Write(bytes.Repeat([]byte{0xff}, 1000))
		m, _, err := wire.NewReader(conn).Read()
		if bye, ok := m.(*wire.Bye); !ok || bye.Code != wire.CodeProtocol {
			t.Errorf("the answer to noise is %v, %v", m, err)
		}
		conn.Close()
	})
	if list := append(c.sessions(zone), c.sessions(other)...); len(list) != 0 {
		t.Errorf("sessions of strangers are recorded: %+v", list)
	}
	s := member.session() // the coordinator lives
	eventually(t, "receipt", receipted(member, member.log(), 1))
	s.stop()
	s.wait(t)
	if d, _ := member.Roster().Device(member.id); len(member.Roster().Devices) != 1 || len(d.Incarnations) != 1 {
		t.Errorf("roster %v has become %+v", epoch, member.Roster())
	}
}

// Who says nothing is not waited for.
func TestSilence(t *testing.T) {
	c := newCentreWith(t, t.TempDir(), func(cfg *coordinator.Config) { cfg.Timing.Greeting = 50 * time.Millisecond })
	d := c.join(c.zone("School"))
	conn := d.connect()
	conn.SetReadDeadline(time.Now().Add(patience))
	var b [1]byte
	if n, err := conn.Read(b[:]); err == nil {
		t.Errorf("the coordinator said %d bytes to silence", n)
	}
	conn.Close()
}

// A device that comes twice has one session, the newer.
func TestNewerSessionReplaces(t *testing.T) {
	c := newCentre(t, t.TempDir())
	zone := c.zone("School")
	d := c.join(zone)
	d.write(1)
	first := d.session()
	eventually(t, "receipt", receipted(d, d.log(), 1))
	second := d.session()
	if err := first.wait(t); err != nil {
		t.Errorf("the former session ended with %v", err)
	}
	eventually(t, "the record says so", func() bool {
		list := c.sessions(zone)
		return len(list) == 2 && list[0].Outcome == coordinator.OutcomeOpen && list[1].Outcome == coordinator.OutcomeReplaced
	})
	d.write(1)
	eventually(t, "the newer session goes on", receipted(d, d.log(), 2))
	second.stop()
}

func TestBusy(t *testing.T) {
	c := newCentreWith(t, t.TempDir(), func(cfg *coordinator.Config) { cfg.MaxSessions = 1 })
	zone := c.zone("School")
	a, b := c.join(zone), c.join(zone)
	a.write(1)
	s := a.session()
	eventually(t, "receipt", receipted(a, a.log(), 1))
	if err := b.session().wait(t); err == nil {
		t.Error("more sessions than are allowed")
	}
	s.stop()
	s.wait(t)
	b.write(1)
	for ctx := within(t); ctx.Err() == nil; { // the former connection ends a little later
		s := b.session()
		eventually(t, "an answer", func() bool { return b.Receipted(b.log()) == 1 || len(s.over) > 0 })
		if b.Receipted(b.log()) == 1 {
			return
		}
	}
	t.Error("there is no room again")
}

// A crash between a commit and its receipt: the receipt comes at the next start.
func TestReceiptsAfterCrash(t *testing.T) {
	folder := t.TempDir()
	c := newCentre(t, folder)
	zone := c.zone("School")
	a, b := c.join(zone), c.join(zone)
	a.write(3)
	c.stop()
	ctx := within(t)

	storage, err := openStorage(folder)
	must(t, err)
	store, err := storage.OpenRecords(ctx, zone)
	must(t, err)
	replica, err := records.Open(ctx, records.Config{Store: store, Identity: c.key, Now: time.Now, Random: randomReader, Logger: discard})
	must(t, err)
	d, err := a.Difference(ctx, records.BranchRef{Log: a.log()}, 0, 0)
	must(t, err)
	must(t, replica.AcceptDifference(ctx, d), replica.Close(), store.Close(), storage.Close())

	c.restart(folder)
	b.session() // the author never comes back
	eventually(t, "records arrive", holds(b, a.log(), 3))
	eventually(t, "the receipt that was due arrives", receipted(b, a.log(), 3))
}

// A coordinator restored from a backup learns so from a device, begins a new
// life, and gives its receipts again.
func TestRestoredCoordinatorBeginsNewLife(t *testing.T) {
	folder, backup := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	c := newCentre(t, folder)
	zone := c.zone("School")
	a := c.join(zone)
	c.stop()
	must(t, os.CopyFS(backup, os.DirFS(folder)))
	c.restart(folder)
	b := c.join(zone) // the backup has never heard of it, nor of what follows
	for _, role := range []roster.Role{roster.RolePlain, roster.RoleClassroom, roster.RolePlain, roster.RoleClassroom} {
		must(t, c.SetDeviceRole(within(t), zone, b.id, role))
	}
	a.write(2)
	b.write(3)
	sa, sb := a.session(), b.session()
	eventually(t, "a's receipt", receipted(a, a.log(), 2))
	eventually(t, "b's receipt", receipted(b, b.log(), 3))
	eventually(t, "b has a's records", holds(b, a.log(), 2))
	before := b.Roster().Epoch
	c.restart(backup)
	sa.wait(t)
	sb.wait(t)
	late, gone := c.join(zone), c.join(zone) // before it has noticed
	must(t, c.Revoke(within(t), zone, gone.id))

	b.session()
	eventually(t, "a new life", func() bool { return b.Roster().Epoch.Life == before.Life+1 })
	eventually(t, "the receipt is earned again", func() bool { return receiptLife(b, b.log()) == before.Life+1 })
	first := a.session()
	eventually(t, "a learns of the new life", func() bool { return a.Roster().Epoch.Life == before.Life+1 })
	first.stop()
	first.wait(t)
	a.session()
	eventually(t, "a's receipt is earned again", func() bool { return receiptLife(a, a.log()) == before.Life+1 })
	if _, ok := a.Roster().Device(b.id); !ok {
		t.Error("the device that joined after the backup is lost")
	}
	if err := a.Roster().MayConnect(late.id); err != nil {
		t.Errorf("the device that joined the restored coordinator: %v", err)
	}
	if d, ok := a.Roster().Device(gone.id); ok && d.State == roster.StateMember {
		t.Error("a revocation is lost")
	}
	late.write(1)
	late.session()
	eventually(t, "it takes part", receipted(late, late.log(), 1))
}

// Who restores a backup says so, and what was signed in between counts less.
func TestRestored(t *testing.T) {
	c := newCentre(t, t.TempDir())
	zone := c.zone("School")
	d := c.join(zone)
	d.write(1)
	s := d.session()
	eventually(t, "receipt", receipted(d, d.log(), 1))
	must(t, c.Restored(within(t)))
	eventually(t, "a new life", func() bool { return d.Roster().Epoch.Life == 2 })
	eventually(t, "the receipt is earned again", func() bool { return receiptLife(d, d.log()) == 2 })
	s.stop()
}

// receiptLife is the life of the newest receipt for a log.
func receiptLife(d *device, log [32]byte) uint32 {
	list, err := d.Receipts(context.Background(), []records.Mark{{Log: log}})
	if err != nil || len(list) == 0 {
		return 0
	}
	r, err := records.DecodeReceipt(list[0])
	if err != nil {
		return 0
	}
	return r.Life
}

// A store whose disk failed within a commit is opened again, and what it may
// or may not have kept comes again.
func TestFailedStoreIsOpenedAgain(t *testing.T) {
	c := newFaultyCentre(t)
	zone := c.zone("School")
	d := c.join(zone)
	d.write(1)
	s := d.session()
	eventually(t, "receipt", receipted(d, d.log(), 1))
	c.faults.fail()
	d.write(1)
	if err := s.wait(t); err == nil {
		t.Error("the session goes on over a store that failed")
	}
	for ctx := within(t); d.Receipted(d.log()) != 2; {
		must(t, ctx.Err())
		s := d.session()
		eventually(t, "an answer", func() bool { return d.Receipted(d.log()) == 2 || len(s.over) > 0 })
		s.stop()
	}
	if n := c.faults.opened(zone); n < 2 {
		t.Errorf("the store was opened %d times", n)
	}
}

// Of the zones that nobody uses a few stay open.
func TestIdleZonesAreClosed(t *testing.T) {
	c := newFaultyCentre(t)
	var zones [][16]byte
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		zone := c.zone(name)
		zones = append(zones, zone)
		c.join(zone)
	}
	eventually(t, "two zones stay open", func() bool { return c.faults.open() == 2 })
	for _, zone := range zones {
		if list, err := c.Devices(within(t), zone); err != nil || len(list) != 1 {
			t.Errorf("devices %v, %v", list, err)
		}
	}
	eventually(t, "two zones stay open", func() bool { return c.faults.open() == 2 })
}
