package classroom_test

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

// lockedSource is randomness that several goroutines may draw.
type lockedSource struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (s *lockedSource) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(p)
}

func source(seed byte) io.Reader { return &lockedSource{r: rand.NewChaCha8([32]byte{seed})} }

// created is when the zones of tests were, in milliseconds since 1970.
const created = 1_700_000_000_000

// zone is a zone's devices, by role.
type zone struct {
	t       testing.TB
	devices []*records.Replica
	configs []records.Config // of the devices
	gate    *classroom.Gate
	clock   time.Time
}

var zoneID = identity.ZoneID{1}

// newZone founds a replica in memory for each role, all in one zone.
func newZone(t testing.TB, roles ...roster.Role) *zone {
	t.Helper()
	return newZoneIn(t, func() records.Store { return storetest.NewMemory() }, roles...)
}

func newZoneIn(t testing.TB, newStore func() records.Store, roles ...roster.Role) *zone {
	t.Helper()
	random := source(1)
	coordinator, err := identity.GenerateDeviceKey(random)
	if err != nil {
		t.Fatal(err)
	}
	ros, err := roster.New(zoneID, "zone", coordinator.Public(), created)
	if err != nil {
		t.Fatal(err)
	}
	keys := make([]identity.DeviceKey, len(roles))
	for i, role := range roles {
		if keys[i], err = identity.GenerateDeviceKey(random); err != nil {
			t.Fatal(err)
		}
		if ros, err = ros.AddDevice(keys[i].Public(), fmt.Sprint("device ", i), role, created); err != nil {
			t.Fatal(err)
		}
	}
	z := &zone{t: t, clock: time.UnixMilli(created + 1000)}
	if z.gate, err = classroom.NewGate(random, 2); err != nil {
		t.Fatal(err)
	}
	signed := ros.Sign(coordinator, created).Encode()
	for _, key := range keys {
		config := records.Config{
			Store: newStore(), Identity: key, Random: random, Logger: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return z.clock },
		}
		r, err := records.Found(t.Context(), config, records.Founding{Zone: zoneID, Coordinator: coordinator.Public(), Roster: signed})
		if err != nil {
			t.Fatal(err)
		}
		z.devices, z.configs = append(z.devices, r), append(z.configs, config)
	}
	return z
}

// pull gives device to what device from has beyond it, as a session does. Of
// lanes it takes those that are given, or all.
func (z *zone) pull(to, from int, lanes ...identity.Lane) {
	z.t.Helper()
	z.pullThose(to, from, func(row records.VectorRow) bool { return len(lanes) == 0 || slices.Contains(lanes, row.Lane) })
}

// pullThose does so with those branches that are wanted.
func (z *zone) pullThose(to, from int, wanted func(records.VectorRow) bool) {
	z.t.Helper()
	src, dst := z.devices[from], z.devices[to]
	for _, row := range src.State().Rows {
		base, starts := dst.Frontier(row.BranchRef)
		if !wanted(row) || base >= row.Counter {
			continue
		}
		d, err := src.Difference(z.t.Context(), row.BranchRef, base, starts)
		if err != nil {
			z.t.Fatal(err)
		}
		if err := dst.AcceptDifference(z.t.Context(), d); err != nil {
			z.t.Fatal(err)
		}
	}
}

// read asks a view of a device.
func read[T any](z *zone, device int, f func(*records.View) (T, error)) T {
	z.t.Helper()
	var answer T
	err := z.devices[device].Read(z.t.Context(), func(v *records.View) (err error) {
		answer, err = f(v)
		return err
	})
	if err != nil {
		z.t.Fatal(err)
	}
	return answer
}

func (z *zone) progress(device int, u identity.UserID) *classroom.LearnerProgress {
	z.t.Helper()
	return read(z, device, func(v *records.View) (*classroom.LearnerProgress, error) { return classroom.Progress(v, u) })
}

func (z *zone) people(device int) *classroom.Roll {
	z.t.Helper()
	return read(z, device, classroom.People)
}

// add adds a user without a password.
func (z *zone) add(device int, name string, role classroom.Role, groups ...classroom.GroupID) identity.UserID {
	z.t.Helper()
	id, err := classroom.AddUser(z.t.Context(), z.devices[device], z.gate, identity.UserID{},
		classroom.NewUser{Name: name, Username: name, Role: role, Groups: groups})
	if err != nil {
		z.t.Fatal(err)
	}
	return id
}

// answer records an answer to an exercise of 8 right answers and 10 points.
func (z *zone) answer(device int, u identity.UserID, exercise string, right bool) classroom.ExerciseState {
	z.t.Helper()
	s, err := classroom.RecordAttempt(z.t.Context(), z.devices[device], classroom.MarkedAnswer{
		Learner: u, Exercise: exercise, Item: "item", Seed: 7, Answer: "3/4", Correct: right,
		Taken: 5 * time.Second, Language: "en", Needed: 8, Base: 10,
	})
	if err != nil {
		z.t.Fatal(err)
	}
	return s
}

// watch records a stretch of a video of 100 seconds and 750 points.
func (z *zone) watch(device int, u identity.UserID, video string, from, to int) classroom.VideoState {
	z.t.Helper()
	s, err := classroom.RecordViewing(z.t.Context(), z.devices[device], classroom.WatchedSpan{
		Learner: u, Video: video, From: time.Duration(from) * time.Second, To: time.Duration(to) * time.Second,
		Duration: 100 * time.Second, Worth: 750,
	})
	if err != nil {
		z.t.Fatal(err)
	}
	return s
}
