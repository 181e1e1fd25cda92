package web_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

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
	must(classroom.EditPerson(t.Context(), d.replica, d.teacher, d.learner, classroom.PersonEdit{Name: &renamed}))
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

// hasty serves pages that keep themselves up to date fifty times as often, and
// tells how class pages were answered, if anybody listens.
type hasty struct {
	http.Handler
	statuses chan int
}

func (h *hasty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Header.Del("Accept-Encoding")
	kept := httptest.NewRecorder()
	h.Handler.ServeHTTP(kept, r)
	if strings.HasPrefix(r.URL.Path, "/classes/") {
		select {
		case h.statuses <- kept.Code:
		default:
		}
	}
	maps.Copy(w.Header(), kept.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(kept.Code)
	w.Write(bytes.Replace(kept.Body.Bytes(), []byte(`data-refresh="10"`), []byte(`data-refresh="0.2"`), 1))
}

// TestClassPageKeepsUp: a page that is looked at shows what learners do, by
// itself, also after it was told many times that nothing has changed, and does
// not pull away what somebody has just reached.
func TestClassPageKeepsUp(t *testing.T) {
	ctx := newChromium(t)
	d := newDevice(t)
	h := &hasty{d.server.Config.Handler, make(chan int)}
	d.server.Config.Handler = h
	b := newTab(d, ctx)
	b.signIn("teacher")
	b.open("/classes/" + d.class.String())
	child := d.signedIn("amina")
	// times waits until the page has asked twice more and heard a status.
	times := func(status int) {
		t.Helper()
		for range 2 {
			for got := 0; got != status; {
				select {
				case got = <-h.statuses:
				case <-time.After(30 * time.Second):
					t.Fatalf("the page does not ask, or is not answered %d", status)
				}
			}
		}
	}
	shows := func(n int) {
		t.Helper()
		b.wait(fmt.Sprintf(`document.querySelector("td .count") && document.querySelector("td .count").textContent === "%d"`, n))
	}
	for i := range 3 {
		times(http.StatusNotModified)
		child.json("POST", "/api/v1/attempts", attempt(fmt.Sprint(i), "5", i), 200)
		shows(i + 1)
	}
	b.do("reach a cell", chromedp.Evaluate[chromedp.Void](`void document.querySelector("td a").focus()`))
	child.json("POST", "/api/v1/attempts", attempt("4", "5", 4), 200)
	times(http.StatusOK)
	if got := eval[string](b, `document.querySelector("td .count").textContent + document.activeElement.tagName`); got != "3A" {
		t.Errorf("under the finger the page shows %s", got)
	}
	b.do("leave it", chromedp.Evaluate[chromedp.Void](`void document.activeElement.blur()`))
	shows(4)
}
