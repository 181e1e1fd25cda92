package classroom_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/roster"
)

func generate(t testing.TB, batch int) (*zone, classroom.Generated) {
	z := newZone(t, roster.RoleClassroom)
	g, err := classroom.Generate(t.Context(), classroom.GenerateConfig{
		Replica: z.devices[0], Gate: z.gate, Learners: 12, ClassSize: 5, Days: 7, Seed: 3, Password: "school", Batch: batch,
		Until:     time.Date(2024, 3, 8, 0, 0, 0, 0, time.UTC),
		Exercises: []classroom.GeneratedExercise{{ID: "e1", Items: []string{"a", "b"}, Needed: 8, Base: 10}, {ID: "e2", Items: []string{"c"}, Needed: 5, Base: 10}},
		Videos:    []classroom.GeneratedVideo{{ID: "v1", Duration: 4 * time.Minute, Worth: 750}},
		SetTime:   func(at time.Time) { z.clock = at },
	})
	if err != nil {
		t.Fatal(err)
	}
	return z, g
}

func TestGenerate(t *testing.T) {
	z, g := generate(t, 0)
	again, h := generate(t, 0)
	if d := cmp.Diff(g, h); d != "" {
		t.Errorf("another run made up something else: %s", d)
	}
	if d := cmp.Diff(z.devices[0].State().Rows, again.devices[0].State().Rows); d != "" {
		t.Errorf("another run wrote something else: %s", d)
	}
	r := z.people(0)
	if len(r.Classes) != 3 || len(r.People) != 12 || len(g.Learners) != 12 || len(r.Classes[2].Members) != 2 {
		t.Errorf("%d classes, %d people", len(r.Classes), len(r.People))
	}
	for _, p := range r.People {
		if p.Namesake {
			t.Errorf("%s has a namesake", p.Username)
		}
	}
	if p, _, err := z.gate.Authenticate(t.Context(), z.devices[0], g.Usernames[3], "school"); err != nil || p.ID != g.Learners[3] {
		t.Errorf("sign in: %v", err)
	}
	attempts, days := uint64(0), map[string]bool{}
	for _, id := range g.Learners {
		p := z.progress(0, id)
		attempts += p.Totals.Attempts
		for _, d := range p.Days {
			days[d.Day.String()] = true
		}
	}
	if attempts != uint64(g.Attempts) || attempts < 100 {
		t.Errorf("%d attempts recorded, %d made up", attempts, g.Attempts)
	}
	if days["2024-03-02"] || days["2024-03-03"] || !days["2024-03-08"] || len(days) != 5 {
		t.Errorf("active on %v", days)
	}
}

// BenchmarkStanding reads who is in a class of 40 and how far they are in 100
// contents, from a store on disk.
func BenchmarkStanding(b *testing.B) {
	store, err := boltstore.Create(filepath.Join(b.TempDir(), "store"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	z := newZoneIn(b, func() records.Store { return store }, roster.RoleClassroom)
	var exercises []classroom.GeneratedExercise
	var contents []string
	for i := range 100 {
		contents = append(contents, "exercise-"+string(rune('a'+i/10))+string(rune('a'+i%10)))
		exercises = append(exercises, classroom.GeneratedExercise{ID: contents[i], Items: []string{"a"}, Needed: 2, Base: 10})
	}
	g, err := classroom.Generate(b.Context(), classroom.GenerateConfig{
		Replica: z.devices[0], Learners: 40, ClassSize: 40, Days: 60, Seed: 3, Exercises: exercises,
		Until: time.Date(2024, 3, 8, 0, 0, 0, 0, time.UTC), Batch: 4096,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		standings(z, 0, g.Classes[0], contents)
	}
}
