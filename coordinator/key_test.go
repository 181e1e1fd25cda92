package coordinator_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// newestKey is the number of the newest zone key of a device.
func (d *device) newestKey() uint32 {
	if keys := d.Keys(); len(keys) > 0 {
		return keys[0].Number
	}
	return 0
}

func (d *device) hasKey(number uint32) func() bool {
	return func() bool { return d.newestKey() == number && d.Roster().KeyNumber == number }
}

func sameKey(t *testing.T, devices ...*device) {
	t.Helper()
	for _, d := range devices[1:] {
		if d.Keys()[0] != devices[0].Keys()[0] {
			t.Errorf("devices have different keys: %v and %v", d.Keys()[0], devices[0].Keys()[0])
		}
	}
}

// whileStopped uses the zone's replica, while the coordinator is stopped.
func whileStopped(t *testing.T, c *centre, folder string, zone identity.ZoneID, use func(*records.Replica)) {
	t.Helper()
	storage, err := openStorage(folder)
	must(t, err)
	store, err := storage.OpenRecords(within(t), zone)
	must(t, err)
	replica, err := records.Open(within(t), records.Config{Store: store, Identity: c.key, Now: time.Now, Random: randomReader, Logger: discard})
	must(t, err)
	use(replica)
	must(t, replica.Close(), store.Close(), storage.Close())
}

// A zone has a key from the beginning; who is removed does not get the next,
// and who was away gets it on return.
func TestZoneKeys(t *testing.T) {
	folder := t.TempDir()
	c := newCentre(t, folder)
	zone := c.zone("School")
	a, b, away := c.join(zone), c.join(zone), c.join(zone)
	sa, _ := a.session(), b.session()
	eventually(t, "a has the first key", a.hasKey(1))
	eventually(t, "b has the first key", b.hasKey(1))
	must(t, c.Revoke(within(t), zone, a.id))
	endedWith(t, sa.wait(t), wire.CodeRevoked)
	eventually(t, "b has the next key", b.hasKey(2))
	endedWith(t, a.session().wait(t), wire.CodeRevoked)
	if a.newestKey() != 1 {
		t.Errorf("the removed device has key %d", a.newestKey())
	}
	away.session()
	eventually(t, "who was away has the next key", away.hasKey(2))
	c.restart(folder)
	late := c.join(zone)
	late.session()
	eventually(t, "who joined later has it", late.hasKey(2))
	sameKey(t, b, away, late)
	if err := c.Revoke(within(t), zone, a.id); !errors.Is(err, roster.ErrRevoked) {
		t.Errorf("revoked twice: %v", err)
	}
	if late.Roster().KeyNumber != 2 {
		t.Error("a revocation that was refused made a key")
	}
}

// A zone from before there were keys gets one when it is opened.
func TestZoneWithoutKey(t *testing.T) {
	folder := t.TempDir()
	c := newCentre(t, folder)
	ctx := within(t)
	o, err := c.CreateOrg(ctx, "Org")
	must(t, err)
	zone := coordinator.Zone{ID: identity.ZoneID{5}, Org: o.ID, Name: "Old", Created: time.UnixMilli(1)}
	first, err := roster.New(zone.ID, "Old", c.key.Public(), 1)
	must(t, err)
	encoded := first.Sign(c.key, 1).Encode()
	must(t, c.storage.CreateZone(ctx, zone, encoded, func(store records.Store) error {
		r, err := records.Found(ctx, records.Config{Store: store, Identity: c.key, Now: time.Now, Random: randomReader, Logger: discard},
			records.Founding{Zone: zone.ID, Coordinator: c.key.Public(), Roster: encoded})
		if err == nil {
			err = r.Close()
		}
		return err
	}))
	d := c.join(zone.ID)
	d.session()
	eventually(t, "the device has a key", d.hasKey(1))
	c.restart(folder)
	d.session()
	e := c.join(zone.ID)
	e.session()
	eventually(t, "another has the same", e.hasKey(1))
	sameKey(t, d, e)
}

// A crash between a key and the roster that names it: nobody has that key, and
// nobody ever gets another with its number.
func TestCrashBetweenKeyAndRoster(t *testing.T) {
	folder := t.TempDir()
	c := newCentre(t, folder)
	zone := c.zone("School")
	a, b := c.join(zone), c.join(zone)
	a.session()
	eventually(t, "a has the first key", a.hasKey(1))
	c.stop()
	whileStopped(t, c, folder, zone, func(r *records.Replica) {
		k, err := roster.NewZoneKey(randomReader, c.key, zone, 2)
		must(t, err, r.AcceptKey(within(t), k.Encode()))
	})
	c.restart(folder)
	a.session()
	b.session()
	eventually(t, "a has another key", a.hasKey(3))
	eventually(t, "b has another key", b.hasKey(3))
	sameKey(t, a, b)
	for _, d := range []*device{a, b} {
		for _, k := range d.Keys() {
			if k.Number == 2 {
				t.Error("a key that no roster named was passed on")
			}
		}
	}
}

// A store that fails while a device is removed: it is removed when that is
// tried again, and the key is one that nobody else has.
func TestRevocationOnAFailingDisk(t *testing.T) {
	c := newFaultyCentre(t)
	zone := c.zone("School")
	a, b := c.join(zone), c.join(zone)
	c.faults.fail()
	if err := c.Revoke(within(t), zone, a.id); !errors.Is(err, records.ErrUncertain) {
		t.Fatalf("revoked while the disk failed: %v", err)
	}
	must(t, c.Revoke(within(t), zone, a.id))
	b.session()
	eventually(t, "b knows of it", func() bool {
		return errors.Is(b.Roster().MayConnect(a.id), roster.ErrRevoked) && b.newestKey() == b.Roster().KeyNumber
	})
	if b.newestKey() < 2 {
		t.Errorf("the key is number %d", b.newestKey())
	}
}

// A coordinator restored from a backup gives out no number that may have been
// used since, whether it is told so or finds out.
func TestKeysOfARestoredCoordinator(t *testing.T) {
	for _, told := range []bool{false, true} {
		folder, backup := t.TempDir(), filepath.Join(t.TempDir(), "backup")
		c := newCentre(t, folder)
		zone := c.zone("School")
		a, b, gone, later := c.join(zone), c.join(zone), c.join(zone), c.join(zone)
		c.stop()
		must(t, os.CopyFS(backup, os.DirFS(folder)))
		c.restart(folder)
		must(t, c.Revoke(within(t), zone, gone.id), c.Revoke(within(t), zone, later.id))
		s := a.session()
		eventually(t, "a has the third key", a.hasKey(3))
		c.restart(backup)
		s.wait(t)
		if told {
			must(t, c.Restored(within(t)))
		} else {
			// Before it has noticed, it makes another key with a number that a has.
			must(t, c.Revoke(within(t), zone, gone.id))
		}
		b.session()
		eventually(t, "b has a key", func() bool { return b.newestKey() > 1 && b.newestKey() == b.Roster().KeyNumber })
		s = a.session()
		eventually(t, "a knows the new life", func() bool { return a.Roster().Epoch.Life == 2 })
		eventually(t, "both have one key", func() bool {
			return a.newestKey() > 1000 && a.newestKey() == b.newestKey() && a.Roster().KeyNumber == a.newestKey() && b.Roster().KeyNumber == a.newestKey()
		})
		sameKey(t, a, b)
		s.stop()
	}
}

// A device brings a key of a former life to a coordinator that has a lower one:
// another follows.
func TestKeyThatADeviceBrings(t *testing.T) {
	c := newCentre(t, t.TempDir())
	zone := c.zone("School")
	a, b := c.join(zone), c.join(zone)
	k, err := roster.NewZoneKey(randomReader, c.key, zone, 5000)
	must(t, err, a.AcceptKey(within(t), k.Encode()))
	a.session()
	b.session()
	eventually(t, "a has another key", a.hasKey(5001))
	eventually(t, "b has it too", b.hasKey(5001))
	sameKey(t, a, b)
}
