package mesh_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

func TestParseUplinkLimit(t *testing.T) {
	for text, want := range map[string]mesh.UplinkLimit{
		"50MB":                   {Total: 50e6},
		"1.5 GB":                 {Total: 15e8},
		"700":                    {Total: 700},
		"detail=20MB":            {Lanes: [3]int64{0, 0, 20e6}},
		"40mb, detail=1kB":       {Total: 40e6, Lanes: [3]int64{0, 0, 1000}},
		"zone=1MB,progress=2 MB": {Lanes: [3]int64{1e6, 2e6, 0}},
	} {
		if got, err := mesh.ParseUplinkLimit(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MB", "-1MB", "0", "NaN", "1e300GB", "video=1MB", "1MB,2MB", "detail=1MB,detail=1MB", "detail", "5 apples"} {
		if got, err := mesh.ParseUplinkLimit(text); err == nil || !strings.Contains(err.Error(), "write") && !strings.Contains(err.Error(), "twice") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// incompressible writes n records of a lane that take about size bytes each, on
// the line as well.
func incompressible(t *testing.T, r *records.Replica, lane identity.Lane, n, size int) {
	t.Helper()
	kind := records.NewKind(lane, roster.ClassAny, 7)
	for k := range n {
		err := r.Write(t.Context(), func(d *records.Draft) error {
			var body []byte
			for i := uint64(0); len(body) < size; i++ {
				sum := sha256.Sum256(binary.BigEndian.AppendUint64(fmt.Append(nil, lane, k, r.Device()), i))
				body = append(body, sum[:]...)
			}
			_, err := d.Put(records.Record{Kind: kind, Learner: identity.UserID{7}, Body: body})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// behind is how many counters of a lane of device i the coordinator lacks.
func (w *network) behind(i int, lane identity.Lane) uint64 {
	held := map[identity.LogID]uint64{}
	for _, row := range w.devices[0].replica.State().Rows {
		held[row.Log] = row.Counter
	}
	log := w.devices[i].replica.Certificate().Log(lane)
	for _, row := range w.devices[i].replica.State().Rows {
		if row.Log == log {
			return row.Counter - held[log]
		}
	}
	return 0
}

// Over an uplink with a limit no more goes than that, what is important first;
// what was left behind follows on the next day.
func TestUplinkLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 2, 70)
		defer w.stopAll()
		w.setCut(func(a, b int) bool { return a != 0 && b != 0 }, false) // no LAN
		var spent mesh.Spent
		w.devices[1].change = func(c *mesh.Config) {
			c.UplinkLimit, c.Spent = mesh.UplinkLimit{Total: 100_000}, spent
			c.SaveSpent = func(s mesh.Spent) { spent = s }
		}
		w.start(0)
		w.start(1)
		w.after(10 * time.Second)
		const size = 1000
		for range 20 {
			incompressible(t, w.devices[1].replica, identity.LaneDetail, 10, size)
			w.after(time.Second)
		}
		if got := w.uplinks.Load(); got > 100_000 || got < 75_000 {
			t.Errorf("%d bytes went over an uplink that may carry 100,000, of which the last fifth is not for details", got)
		}
		for range 3 { // of the last fifth: half is for progress, half for the lane before
			incompressible(t, w.devices[1].replica, identity.LaneProgress, 1, size)
			incompressible(t, w.devices[1].replica, identity.LaneZone, 1, size)
			w.after(time.Second)
		}
		if z, p, d := w.behind(1, identity.LaneZone), w.behind(1, identity.LaneProgress), w.behind(1, identity.LaneDetail); z != 0 || p != 0 || d < 100 {
			t.Errorf("behind by %d, %d, %d counters", z, p, d)
		}
		u := w.devices[1].node.Status().Uplink
		if len(u.Withheld) != 1 || u.Withheld[0] != identity.LaneDetail || !strings.Contains(u.Words, "tomorrow") || u.State != mesh.Connected || w.devices[1].node.HasUplink() {
			t.Errorf("status: %v %q", u.Withheld, u.Words)
		}
		incompressible(t, w.devices[1].replica, identity.LaneProgress, 30, size)
		incompressible(t, w.devices[1].replica, identity.LaneZone, 2, size)
		w.after(time.Minute)
		if z, p := w.behind(1, identity.LaneZone), w.behind(1, identity.LaneProgress); z != 0 || p < 15 {
			t.Errorf("behind by %d counters of the first lane, %d of the second", z, p)
		}
		if got := w.uplinks.Load(); got > 125_000 {
			t.Errorf("%d bytes went over an uplink that may carry 100,000 of records", got)
		}
		if raceDetector {
			return // the days that follow run without it
		}
		// The other side is held to it as well.
		w.start(2)
		incompressible(t, w.devices[2].replica, identity.LaneDetail, 20, size)
		w.after(5 * time.Minute)
		before := w.uplinks.Load()
		if w.behind(2, identity.LaneDetail) != 0 {
			t.Error("a device without a limit is held to one")
		}
		for _, row := range w.devices[1].replica.State().Rows {
			if author, _ := w.devices[1].replica.AuthorOf(row.Log); author.Device.ID() == w.zone.keys[2].Public().ID() {
				t.Errorf("%d counters of another device came", row.Counter)
			}
		}
		// A restart does not give the day anew: that would be 80,000 bytes of details.
		w.devices[1].stop()
		w.start(1)
		w.after(5 * time.Minute)
		if got := w.uplinks.Load() - before; got > 50_000 {
			t.Errorf("%d bytes after a restart", got)
		}
		for range 8 { // each day brings something, until all is there
			w.after(24 * time.Hour)
		}
		if !w.equal(0, 1, 2) || !w.safe(1) {
			t.Error("a week later not everything is with the coordinator")
		}
	})
}

// What the limit of one device leaves behind another one on the LAN carries.
func TestUplinkLimitOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, 3, 71)
		defer w.stopAll()
		w.claim()
		for _, d := range w.devices[1:3] {
			claim := d.change
			d.change = func(c *mesh.Config) {
				claim(c)
				c.UplinkLimit = mesh.UplinkLimit{Lanes: [3]int64{0, 0, 5000}}
			}
		}
		w.start(0)
		w.start(1, 2, 3)
		w.after(30 * time.Second)
		for range 10 {
			for i := 1; i <= 3; i++ {
				incompressible(t, w.devices[i].replica, identity.LaneDetail, 1, 1000)
			}
			w.after(time.Second)
		}
		w.after(3 * time.Minute)
		if !w.equal(0, 1, 2, 3) {
			t.Error("what two devices may not send, the third one did not")
		}
		for i := 1; i <= 3; i++ {
			if !w.safe(i) {
				t.Errorf("device %d does not know that everything is safe", i)
			}
		}
	})
}
