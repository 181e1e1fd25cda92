package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/classroom"
)

// classOf adds a class of n learners who have signed in.
func (d *device) classOf(n int) (classroom.GroupID, []*browser) {
	d.t.Helper()
	done, err := classroom.Generate(d.t.Context(), classroom.GenerateConfig{
		Replica: d.replica, Gate: d.gate, Learners: n, ClassSize: n, Days: 10, Seed: 1, Until: d.now(), Password: password,
		Exercises: []classroom.GeneratedExercise{{ID: "fractions-practice", Items: d.library.Exercise("fractions-practice").Items(), Needed: 8, Base: 10}},
		Videos:    []classroom.GeneratedVideo{{ID: "fractions-meaning", Duration: 42 * time.Second, Worth: 750}},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	var class []*browser
	for _, username := range done.Usernames {
		class = append(class, d.signedIn(username))
	}
	return done.Classes[0], class
}

// TestClassAtOnce: a class of forty answers at the same time, on disk, and
// every answer counts.
func TestClassAtOnce(t *testing.T) {
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "records.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	d := newDeviceIn(t, store)
	group, class := d.classOf(40)
	before := map[string]float64{}
	for i, b := range class {
		before[fmt.Sprint(i)] = b.json("GET", "/api/v1/progress", nil, 200)["totals"].(map[string]any)["attempts"].(float64)
	}
	const rounds = 5
	var all sync.WaitGroup
	var mu sync.Mutex
	var waits []time.Duration
	for i, b := range class {
		all.Go(func() {
			for round := range rounds {
				text, _ := json.Marshal(attempt(fmt.Sprint(i, "-", round), "5", i*rounds+round))
				r, err := http.NewRequestWithContext(t.Context(), "POST", d.address+"/api/v1/attempts", strings.NewReader(string(text)))
				if err != nil {
					t.Error(err)
					return
				}
				began := time.Now()
				if a := b.do(r); a.StatusCode != 200 {
					t.Errorf("%s %s", a.Status, a.body)
				}
				mu.Lock()
				waits = append(waits, time.Since(began))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(waits)
	t.Logf("median %v, 95 of 100 within %v", waits[len(waits)/2], waits[len(waits)*95/100])
	for i, b := range class {
		after := b.json("GET", "/api/v1/progress", nil, 200)["totals"].(map[string]any)["attempts"].(float64)
		if after != before[fmt.Sprint(i)]+rounds {
			t.Errorf("learner %d: %v attempts, before %v", i, after, before[fmt.Sprint(i)])
		}
	}
	if rows := d.signedIn("teacher").json("GET", "/api/v1/class?class="+group.String(), nil, 200)["rows"].([]any); len(rows) != 40 {
		t.Errorf("%d rows in the class table", len(rows))
	}
}

func BenchmarkAnswer(b *testing.B) {
	store, err := boltstore.Create(filepath.Join(b.TempDir(), "records.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	d := newDeviceIn(b, store)
	child := d.signedIn("amina")
	seed := 0
	for b.Loop() {
		seed++
		child.json("POST", "/api/v1/attempts", attempt("", "5", seed), 200)
	}
}
