package coordinator_test

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

// A device that begins more incarnations than a roster has room for can be removed
// all the same, and what it wrote before ends with what is held.
func TestRevokedDeviceOfManyIncarnations(t *testing.T) {
	incarnations := 9000 // with 129 bytes each they do not go into 1 MiB
	if racing {
		incarnations /= 6 // more than the roster may name
	}
	folder := t.TempDir()
	c := newCentre(t, folder)
	zone := c.zone("School")
	a, b := c.join(zone), c.join(zone)
	a.write(5)
	s := a.session()
	eventually(t, "receipt", receipted(a, a.log(), 5))
	s.stop()
	must(t, s.wait(t))
	c.stop()
	whileStopped(t, c, folder, zone, func(held *records.Replica) {
		var group errgroup.Group
		group.SetLimit(128)
		for range incarnations {
			group.Go(func() error {
				other, err := records.Found(t.Context(), records.Config{
					Store: storetest.NewMemory(), Identity: a.key, Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler),
				}, records.Founding{Zone: zone, Coordinator: c.key.Public(), Roster: a.RosterBytes()})
				if err != nil {
					return err
				}
				err = other.Write(t.Context(), func(d *records.Draft) error {
					_, err := d.Put(records.Record{Kind: kind})
					return err
				})
				if err != nil {
					return err
				}
				d, err := other.Difference(t.Context(), records.BranchRef{Log: other.Certificate().Log(identity.LaneDetail)}, 0, 0)
				if err != nil {
					return err
				}
				return held.AcceptDifference(t.Context(), d)
			})
		}
		must(t, group.Wait())
	})
	c.restart(folder)
	must(t, c.Revoke(within(t), zone, a.id))
	b.session()
	eventually(t, "b learns of it", func() bool { return errors.Is(b.Roster().MayConnect(a.id), roster.ErrRevoked) })
	closure, ok := b.Roster().Closure(a.log())
	if !ok || len(closure.Branches) != 1 || closure.Branches[0].Counter != 5 {
		t.Errorf("the log is closed as %+v", closure)
	}
	if n := len(b.Roster().Closures); n > 1024 || len(b.RosterBytes()) > roster.MaxRosterBytes/4 {
		t.Errorf("the roster closes %d logs in %d bytes", n, len(b.RosterBytes()))
	}
}
