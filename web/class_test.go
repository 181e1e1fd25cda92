package web_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/classmesh/classmesh/records/classroom"
)

// answersIn returns how many answers a class page shows of a learner, all
// exercises together.
func answersIn(t testing.TB, page, learner string) int {
	t.Helper()
	for _, row := range strings.Split(page, "<tr>") {
		if strings.HasPrefix(row, `<th scope="row">`) && strings.Contains(row, ">"+learner+"</a>") {
			sum := 0
			for _, m := range regexp.MustCompile(`class="count" aria-hidden="true">(\d+)<`).FindAllStringSubmatch(row, -1) {
				n, err := strconv.Atoi(m[1])
				if err != nil {
					t.Fatal(err)
				}
				sum += n
			}
			return sum
		}
	}
	t.Fatalf("%s has no row:\n%s", learner, page)
	return 0
}

// TestClassPageIsUpToDate: while learners answer, a teacher's page never shows
// less than it did, nor less than was answered for before it was asked for.
func TestClassPageIsUpToDate(t *testing.T) {
	d := newDevice(t)
	var learners, watchers sync.WaitGroup
	var mu sync.Mutex
	given := map[string]int{} // answers that were answered for, by name
	const answers = 40
	for name, username := range map[string]string{"Amina Okafor": "amina", "Bako Juma": "bako"} {
		b := d.signedIn(username)
		learners.Go(func() {
			for i := range answers {
				b.json("POST", "/api/v1/attempts", attempt(fmt.Sprint(i), "5", i), 200)
				mu.Lock()
				given[name]++
				mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	for range 3 {
		b := d.signedIn("teacher")
		watchers.Go(func() {
			shown := map[string]int{}
			for last := false; !last; {
				select {
				case <-done:
					last = true
				default:
				}
				least := map[string]int{}
				mu.Lock()
				for name, n := range given {
					least[name] = n
				}
				mu.Unlock()
				page := b.get("/classes/"+d.class.String(), 200).body
				for name, n := range least {
					now := answersIn(t, page, name)
					if now < n || now < shown[name] {
						t.Errorf("%s: %d answers are shown, %d before, %d were given", name, now, shown[name], n)
					}
					shown[name] = now
				}
			}
			for name, n := range shown {
				if n != answers {
					t.Errorf("%s: %d answers in the end", name, n)
				}
			}
		})
	}
	learners.Wait()
	close(done)
	watchers.Wait()
}

// TestClassPageFollows: names, people and aliases of the class are shown as
// they are, however often the page was asked for before.
func TestClassPageFollows(t *testing.T) {
	d := newDevice(t)
	teacher := d.signedIn("teacher")
	page := func() string { return teacher.get("/classes/"+d.class.String(), 200).body }
	d.signedIn("amina").json("POST", "/api/v1/attempts", attempt("1", "5", 1), 200)
	d.signedIn("bako").json("POST", "/api/v1/attempts", attempt("1", "5", 2), 200)
	if n := answersIn(t, page(), "Amina Okafor"); n != 1 {
		t.Errorf("%d answers of Amina", n)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(classroom.Join(t.Context(), d.replica, d.teacher, d.learner, d.other, true, ""))
	name, gone := "Amina Okafor", "Bako Juma"
	if d.other.Compare(d.learner) < 0 {
		name, gone = gone, name
	}
	both := page()
	if n := answersIn(t, both, name); n != 2 || strings.Contains(both, gone) {
		t.Errorf("%d answers of the two that are one, with two rows: %v", n, strings.Contains(both, gone))
	}
	must(classroom.Join(t.Context(), d.replica, d.teacher, d.learner, d.other, false, ""))
	if n := answersIn(t, page(), name); n != 1 {
		t.Errorf("%d answers of one of the two", n)
	}
	renamed := "Amina <Juma>"
	must(classroom.EditUser(t.Context(), d.replica, d.teacher, d.learner, classroom.UserEdit{Name: &renamed}))
	if n := answersIn(t, page(), "Amina &lt;Juma&gt;"); n != 1 {
		t.Errorf("%d answers after a new name", n)
	}
	must(classroom.Hide(t.Context(), d.replica, d.teacher, classroom.UserTarget(d.other), ""))
	if strings.Contains(page(), "Bako Juma") {
		t.Error("who is hidden is shown")
	}
}

// TestClassPageInFewBytes: what an old phone fetches is small, and nothing
// where nothing has changed.
func TestClassPageInFewBytes(t *testing.T) {
	d := newDevice(t)
	group, class := d.classOf(40)
	teacher := d.signedIn("teacher")
	ask := func(header ...string) answer {
		t.Helper()
		r := teacher.request("GET", "/classes/"+group.String(), nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return teacher.do(r)
	}
	plain, zipped := ask("Accept-Encoding", "identity"), ask("Accept-Encoding", "gzip")
	if plain.Header.Get("Content-Encoding") != "" || zipped.Header.Get("Content-Encoding") != "gzip" || 3*len(zipped.body) > len(plain.body) {
		t.Errorf("%d bytes as they are, %d compressed", len(plain.body), len(zipped.body))
	}
	if through := ask(); through.body != plain.body {
		t.Error("compressed it is another page")
	}
	tag := plain.Header.Get("ETag")
	if a := ask("If-None-Match", tag); a.StatusCode != http.StatusNotModified || a.body != "" {
		t.Errorf("nothing has changed: %s, %d bytes", a.Status, len(a.body))
	}
	class[0].json("POST", "/api/v1/attempts", attempt("1", "5", 1), 200)
	if a := ask("If-None-Match", tag); a.StatusCode != 200 || a.Header.Get("ETag") == tag {
		t.Errorf("somebody has answered: %s, tag %s", a.Status, a.Header.Get("ETag"))
	}
}
