package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/storetest"
	"github.com/classmesh/classmesh/web"
)

// TestPages opens every page there is, for everybody who may see it or not.
func TestPages(t *testing.T) {
	d := newDevice(t)
	learner, teacher, nobody := d.signedIn("amina"), d.signedIn("teacher"), d.browser()
	for _, c := range []struct {
		path   string
		staff  bool // only
		status int
		text   string
	}{
		{"/topics", false, 200, "What a fraction means"},
		{"/topics/fractions", false, 200, "Calculate with fractions"},
		{"/topics/nothing", false, 404, "no such page"},
		{"/videos/fractions-meaning", false, 200, `srclang="ar"`},
		{"/videos/nothing", false, 404, "does not have that video"},
		{"/exercises/fractions-basics", false, 200, `name="answer"`},
		{"/exercises/nothing", false, 404, "does not have that exercise"},
		{"/progress", false, 200, "Understand fractions"},
		{"/status", false, 200, "May the children leave now?"},
		{"/status/mesh", true, 200, "Device by device"},
		{"/classes", true, 200, "2 learners"},
		{"/classes/" + d.class.String(), true, 200, "Bako Juma"},
		{"/classes/group-nothing", true, 404, "no such class"},
		{"/people", true, 200, "Everybody is in a class."},
		{"/learners/" + d.learner.String(), true, 200, "Amina Okafor"},
		{"/learners/user-nothing", true, 404, "no such person"},
		{"/learners/" + d.learner.String() + "/exercises/fractions-basics", true, 200, "no answers yet"},
		{"/learners/" + d.learner.String() + "/exercises/nothing", true, 404, "does not have that exercise"},
	} {
		a := teacher.get(c.path, c.status)
		if !strings.Contains(a.body, c.text) {
			t.Errorf("%s does not say %q:\n%s", c.path, c.text, a.body)
		}
		if a.Header.Get("Cache-Control") != "no-store" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: headers %v", c.path, a.Header)
		}
		if regexp.MustCompile(`(?i)(src|href)="?https?://`).MatchString(a.body) {
			t.Errorf("%s loads something from elsewhere", c.path)
		}
		if c.staff {
			if a := learner.get(c.path, 403); strings.Contains(a.body, "Bako") {
				t.Errorf("%s tells a learner of others", c.path)
			}
		} else {
			learner.get(c.path, c.status)
		}
		if a := nobody.get(c.path, 200); !strings.HasPrefix(a.path, "/signin?next=") {
			t.Errorf("%s leads nobody to %s", c.path, a.path)
		}
	}
	if a := learner.get("/", 200); a.path != "/topics" {
		t.Errorf("learners begin at %s", a.path)
	}
	if a := teacher.get("/", 200); a.path != "/classes" {
		t.Errorf("teachers begin at %s", a.path)
	}
	nobody.get("/nowhere", 404)
	nobody.post("/topics", "", 404)
}

func TestSignInByForm(t *testing.T) {
	d := newDevice(t)
	b := d.browser()
	a := b.get("/exercises/fractions-basics", 200)
	if !strings.Contains(a.body, `value="/exercises/fractions-basics"`) {
		t.Fatal("the page asked for is forgotten")
	}
	form := url.Values{"username": {`<script>"`}, "password": {"x"}, "next": {"/exercises/fractions-basics"}}
	a = b.post("/signin", form.Encode(), 401)
	if !strings.Contains(a.body, "&lt;script&gt;&#34;") || strings.Contains(a.body, "<script>\"") {
		t.Error("what was typed is not shown, or not escaped")
	}
	form.Set("username", "amina")
	form.Set("password", password)
	if a = b.post("/signin", form.Encode(), 200); a.path != "/exercises/fractions-basics" {
		t.Errorf("leads to %s", a.path)
	}
	if a := b.get("/signin", 200); a.path != "/topics" {
		t.Errorf("who has signed in is led to %s", a.path)
	}
	form.Set("next", "https://evil.example/")
	if a = d.browser().post("/signin", form.Encode(), 200); a.path != "/topics" {
		t.Errorf("leads to %s", a.path)
	}
	d.browser().post("/signin", "username="+strings.Repeat("x", 20_000), 413)
	d.browser().post("/signin", "%zz", 400)
}

// hidden returns the hidden fields of a page's form.
func hidden(page string) url.Values {
	v := url.Values{}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`).FindAllStringSubmatch(page, -1) {
		v.Add(m[1], m[2])
	}
	return v
}

// TestExerciseByForm does an exercise without scripts.
func TestExerciseByForm(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("amina")
	const page = "/exercises/fractions-practice"
	form := hidden(b.get(page, 200).body)
	if again := hidden(b.get(page, 200).body); again.Get("seed") != form.Get("seed") {
		t.Error("loading the page again gives another question")
	}
	a := b.post(page, form.Encode()+"&answer=what", 422)
	if !strings.Contains(a.body, "cannot be read") || !strings.Contains(a.body, `value="what"`) || hidden(a.body).Get("seed") != form.Get("seed") {
		t.Errorf("an answer that cannot be read is answered with %s", a.body)
	}
	d.pass(7 * time.Second)
	form.Set("answer", "9999")
	a = b.post(page, form.Encode(), 200)
	if !strings.Contains(a.body, "Not quite") || !strings.Contains(a.body, `class="hints"`) {
		t.Errorf("a wrong answer is answered with %s", a.body)
	}
	// Back, and another answer: only the first counts.
	var seed uint64
	fmt.Sscan(form.Get("seed"), &seed)
	form.Set("answer", d.rightAnswer("fractions-practice", form.Get("item"), seed))
	if a = b.post(page, form.Encode(), 200); !strings.Contains(a.body, "Not quite") {
		t.Errorf("the second answer is answered with %s", a.body)
	}
	if s := d.progress(d.learner).Exercises[0]; s.Attempts != 1 || s.Right != 0 || s.ActiveMS != 7000 {
		t.Errorf("recorded: %+v", s)
	}

	hinted := b.get(page+"?hints=2", 200)
	form = hidden(hinted.body)
	if form.Get("hinted") != "1" {
		t.Errorf("a hint is not noted: %s", hinted.body)
	}
	fmt.Sscan(form.Get("seed"), &seed)
	form.Set("answer", d.rightAnswer("fractions-practice", form.Get("item"), seed))
	if a = b.post(page, form.Encode(), 200); !strings.Contains(a.body, "because you took a hint") {
		t.Errorf("a right answer with a hint is answered with %s", a.body)
	}
	for range 8 {
		form = hidden(b.get(page, 200).body)
		fmt.Sscan(form.Get("seed"), &seed)
		form.Set("answer", d.rightAnswer("fractions-practice", form.Get("item"), seed))
		a = b.post(page, form.Encode(), 200)
	}
	if !strings.Contains(a.body, "You have completed this exercise: 104 points!") {
		t.Errorf("the last answer is answered with %s", a.body)
	}
	if s := d.progress(d.learner).Exercises[0]; s.Status != classroom.StatusComplete || s.Attempts != 10 || s.Right != 8 {
		t.Errorf("recorded: %+v", s)
	}
	b.post(page, "seed=x&item=y&answer=1", 400)
	b.post(page, "seed=1&item=y&answer=1", 404)

	teacher := d.signedIn("teacher")
	a = teacher.get("/learners/"+d.learner.String()+"/exercises/fractions-practice", 200)
	for _, text := range []string{"9999", "with a hint", "10 answers, 8 right", "room 4"} {
		if !strings.Contains(a.body, text) {
			t.Errorf("the attempts do not show %q:\n%s", text, a.body)
		}
	}
	a = teacher.get("/classes/"+d.class.String(), 200)
	if !strings.Contains(a.body, `class="cell complete"`) || !strings.Contains(a.body, "1 / 2") {
		t.Errorf("the class table shows %s", a.body)
	}
}

func attempt(id, answer string, seed int) map[string]any {
	return map[string]any{"id": id, "exercise": "fractions-practice", "item": "part-of-number", "seed": seed, "answer": answer, "ms_taken": 1000}
}

// TestSentAgain: an answer counts once, however often it is sent.
func TestSentAgain(t *testing.T) {
	d := newDevice(t)
	b, other := d.signedIn("amina"), d.signedIn("bako")
	var group sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	for range 10 {
		group.Go(func() {
			text, _ := json.Marshal(attempt("one", "5", 3))
			r, err := http.NewRequestWithContext(t.Context(), "POST", d.address+"/api/v1/attempts", strings.NewReader(string(text)))
			if err != nil {
				t.Error(err)
				return
			}
			a := b.do(r)
			mu.Lock()
			defer mu.Unlock()
			if a.StatusCode != 200 {
				t.Errorf("%s %s", a.Status, a.body)
			}
			if strings.Contains(a.body, `"repeated":false`) {
				fresh++
			}
		})
	}
	group.Wait()
	if n := d.progress(d.learner).Totals.Attempts; n != 1 || fresh != 1 {
		t.Errorf("%d attempts recorded, %d answers say so", n, fresh)
	}
	if got := code(b.json("POST", "/api/v1/attempts", attempt("one", "6", 3), 409)); got != "id_reused" {
		t.Error(got)
	}
	other.json("POST", "/api/v1/attempts", attempt("one", "6", 3), 200) // IDs are each person's own
	b.json("POST", "/api/v1/attempts", attempt("", "5", 3), 200)
	b.json("POST", "/api/v1/attempts", attempt("", "5", 3), 200)
	b.json("POST", "/api/v1/attempts", attempt("two", "5", 3), 200)
	if n := d.progress(d.learner).Totals.Attempts; n != 4 {
		t.Errorf("%d attempts recorded", n)
	}

	// The device is started again before the answer arrives.
	d.pass(-time.Hour) // and its clock stands where it stood before
	d.start()
	got := b.json("POST", "/api/v1/attempts", attempt("one", "5", 3), 200)
	if p := got["progress"].(map[string]any); got["repeated"] != true || p["attempts"] != 4.0 {
		t.Errorf("after a restart: %v", got)
	}
	if got := b.json("POST", "/api/v1/attempts", attempt("three", "7", 3), 200); got["repeated"] != false {
		t.Errorf("another answer after a restart: %v", got)
	}
	if got := b.json("POST", "/api/v1/attempts", attempt("four", "7", 3), 200); got["repeated"] != false {
		t.Errorf("the same answer twice since the restart: %v", got)
	}
	if n := d.progress(d.learner).Totals.Attempts; n != 6 {
		t.Errorf("%d attempts recorded", n)
	}

	viewing := map[string]any{"id": "v", "video": "fractions-meaning", "from_s": 3, "to_s": 9}
	b.json("POST", "/api/v1/viewings", viewing, 200)
	if got := b.json("POST", "/api/v1/viewings", viewing, 200); got["repeated"] != true {
		t.Errorf("a viewing again: %v", got)
	}
	viewing["to_s"] = 10
	b.json("POST", "/api/v1/viewings", viewing, 409)
	if v := d.progress(d.learner).Videos[0]; v.PlayedS != 6 {
		t.Errorf("recorded: %+v", v)
	}
}

// TestFullDisk: what could not be saved is not said to be, and can be sent
// again.
// unreadable is a store of which a part cannot be read.
type unreadable struct {
	records.Store
	damaged atomic.Bool
}

func (s *unreadable) View(ctx context.Context, f func(records.Tx) error) error {
	if s.damaged.Load() {
		return fmt.Errorf("a page is not what it should be: %w", records.ErrDamaged)
	}
	return s.Store.View(ctx, f)
}

func TestDamagedStore(t *testing.T) {
	store := &unreadable{Store: storetest.NewMemory()}
	d := newDeviceIn(t, store)
	b := d.signedIn("amina")
	store.damaged.Store(true)
	if got := code(b.json("GET", "/api/v1/progress", nil, 500)); got != "damaged" {
		t.Error(got)
	}
	if a := b.get("/progress", 500); !strings.Contains(a.body, "disk may be failing") {
		t.Errorf("the page says %s", a.body)
	}
}

func TestFullDisk(t *testing.T) {
	var mu sync.Mutex
	full := false
	store := &storetest.Faulty{Store: storetest.NewMemory(), Next: func() storetest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if full {
			return storetest.Full
		}
		return storetest.None
	}}
	set := func(f bool) {
		mu.Lock()
		defer mu.Unlock()
		full = f
	}
	d := newDeviceIn(t, store)
	b := d.signedIn("amina")
	set(true)
	if got := code(b.json("POST", "/api/v1/attempts", attempt("one", "5", 3), 507)); got != "disk_full" {
		t.Error(got)
	}
	form := hidden(b.get("/exercises/fractions-practice", 200).body)
	if a := b.post("/exercises/fractions-practice", form.Encode()+"&answer=5", 507); !strings.Contains(a.body, "disk of this device is full") {
		t.Errorf("the page says %s", a.body)
	}
	set(false)
	if got := b.json("POST", "/api/v1/attempts", attempt("one", "5", 3), 200); got["repeated"] != false {
		t.Errorf("then: %v", got)
	}
	if n := d.progress(d.learner).Totals.Attempts; n != 1 {
		t.Errorf("%d attempts recorded", n)
	}
}

func TestTeacherAddsAndChanges(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("teacher")
	a := b.post("/classes", "name=Class+6B", 200)
	if !strings.HasPrefix(a.path, "/classes/group-") || !strings.Contains(a.body, "no learners in this class") {
		t.Fatalf("leads to %s: %s", a.path, a.body)
	}
	class := a.path
	b.post("/classes", "name=", 400)
	a = b.post(class+"/learners", "name=Chidi+Eze&username=chidi&password=sun", 200)
	if !strings.Contains(a.body, "Chidi Eze was added") {
		t.Errorf("says %s", a.body)
	}
	if a = b.post(class+"/learners", "name=X&username=x&password=", 400); !strings.Contains(a.body, "password is needed") || !strings.Contains(a.body, `value="X"`) {
		t.Errorf("says %s", a.body)
	}
	b.post(class+"/learners", "name=&username=y&password=z", 400)
	d.browser().json("POST", "/api/v1/session", map[string]string{"username": "chidi", "password": "sun"}, 200)

	learner := "/learners/" + d.learner.String()
	if a = b.post(learner+"/password", "password=moon", 200); !strings.Contains(a.body, "password was changed") {
		t.Errorf("says %s", a.body)
	}
	b.post(learner+"/password", "password=", 400)
	b.post(learner+"/password", "password="+strings.Repeat("x", 200), 400)
	d.browser().json("POST", "/api/v1/session", map[string]string{"username": "amina", "password": "moon"}, 200)

	child := d.signedIn("bako")
	child.post("/classes", "name=Mine", 403)
	child.post(class+"/learners", "name=X&username=x&password=y", 403)
	child.post(learner+"/password", "password=mine", 403)
	child.post("/status/sync", "", 403)

	id, err := classroom.AddUser(t.Context(), d.replica, d.gate, d.teacher, classroom.NewUser{Name: "Head", Username: "head", Password: password, Role: classroom.RoleAdministrator})
	if err != nil {
		t.Fatal(err)
	}
	b.post("/learners/"+id.String()+"/password", "password=mine", 403) // above the teacher
	d.signedIn("head").post("/learners/"+d.teacher.String()+"/password", "password=new", 200)
	b.json("GET", "/api/v1/class", nil, 401)
}

// again is how things stand when something was published again.
func again(n uint64, going bool) web.Sync {
	s := web.Sync{State: web.StateConnected}
	s.Again.Records, s.Again.Going = n, going
	return s
}

func TestStatus(t *testing.T) {
	d := newDevice(t)
	b := d.signedIn("teacher")
	for _, c := range []struct {
		sync  web.Sync
		level string
		texts []string
	}{
		{web.Sync{State: web.StateConnected, Logs: []web.SyncLog{{Device: d.replica.Device(), Counter: 3, Receipt: 3, Trouble: "copied"}}}, "forked",
			[]string{"a part of its work cannot be sent", "Needs attention"}},
		{web.Sync{State: web.StateConnected}, "safe", []string{"Yes, everything is safe.", "All safe"}},
		{web.Sync{State: web.StateOffline}, "safe", []string{"Yes, everything is safe.", "Not reachable"}},
		{web.Sync{State: web.StateConnected, NotYetSafe: 1}, "sending", []string{"1 record is on its way"}},
		{web.Sync{State: "asleep", NotYetSafe: 1200}, "waiting", []string{"1200 records have not reached", "do not erase this device", "not since this device was started"}},
		{web.Sync{State: web.StateConnecting, NotYetSafe: 2, LastOK: d.now().Add(-3 * time.Hour)}, "waiting", []string{"3 hours ago", "2 not yet safe"}},
		{web.Sync{State: web.StateRefused, NotYetSafe: 3, Reason: "gone", Words: "revoked: ask the administrator"}, "refused", []string{"does not accept this device", "revoked: ask the administrator"}},
		{web.Sync{State: web.StateRefused, NotYetSafe: 3, Reason: "unknown device", Words: "unused"}, "refused", []string{"The centre does not know this device. Ask an administrator"}},
		{web.Sync{State: web.StateNone, NotYetSafe: 3}, "alone", []string{"on this device only"}},
		{again(1, false), "safe", []string{"1 record that only it had was sent to the others again"}},
		{again(1, true), "safe", []string{"is being sent to the others again"}},
	} {
		// The trouble of others is shown, and does not change what is safe here.
		c.sync.Logs = append(c.sync.Logs, web.SyncLog{Counter: 9, Receipt: 4, Trouble: "copied"}, web.SyncLog{Device: d.replica.Device(), Counter: 1, Receipt: 1})
		d.setSync(c.sync)
		a := b.get("/status", 200)
		for _, text := range append(c.texts, "verdict-panel "+c.level, "room 4", ">5<", "two versions of its work") {
			if !strings.Contains(a.body, text) {
				t.Errorf("%+v: the page does not say %q:\n%s", c.sync, text, a.body)
			}
		}
		got := b.json("GET", "/api/v1/sync", nil, 200)
		if got["safe"] != (c.level == "safe") || got["words"].(map[string]any)["level"] != c.level {
			t.Errorf("%+v: %v", c.sync, got)
		}
	}
	b.post("/status/sync", "", 200)
	if d.synced != 1 {
		t.Errorf("asked for an exchange %d times", d.synced)
	}
	d.config.SyncNow, d.config.Sync = nil, nil
	d.start()
	if a := b.get("/status", 200); strings.Contains(a.body, "Exchange now") || !strings.Contains(a.body, "on this device only") {
		t.Errorf("without an exchange: %s", a.body)
	}
	b.post("/status/sync", "", 404)
}

func TestMedia(t *testing.T) {
	d := newDevice(t)
	b := d.browser()
	page := d.signedIn("amina").get("/videos/fractions-meaning", 200).body
	film := regexp.MustCompile(`src="(/media/[^"]+\.webm[^"]*)"`).FindStringSubmatch(page)[1]
	a := b.get(film, 200)
	tag := a.Header.Get("ETag")
	if a.Header.Get("Content-Type") != "video/webm" || tag == "" || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("headers of the film: %v", a.Header)
	}
	r := b.request("GET", film, nil)
	r.Header.Set("Range", "bytes=10-19")
	if part := b.do(r); part.StatusCode != 206 || part.body != a.body[10:20] {
		t.Errorf("a part: %s, %d bytes", part.Status, len(part.body))
	}
	r = b.request("GET", film, nil)
	r.Header.Set("If-None-Match", tag)
	if same := b.do(r); same.StatusCode != 304 {
		t.Errorf("the same again: %s", same.Status)
	}
	old, _, _ := strings.Cut(film, "?")
	if a := b.get(old, 200); a.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("without a version: %v", a.Header)
	}
	captions := regexp.MustCompile(`src="(/media/[^"]+\.en\.vtt[^"]*)" srclang="en" label="English" default`).FindStringSubmatch(page)
	if captions == nil {
		t.Fatalf("no English captions by default: %s", page)
	}
	if a := b.get(captions[1], 200); !strings.HasPrefix(a.Header.Get("Content-Type"), "text/vtt") || !strings.HasPrefix(a.body, "WEBVTT") {
		t.Errorf("captions: %v", a.Header)
	}
	for _, path := range []string{"/media/numbers/pack.json", "/media/numbers/..%2f..%2fpack.go", "/media/nothing/x.webm", "/media/numbers/", "/static/x/nothing.css", "/static/x/..%2fdoc.go"} {
		b.get(path, 404)
	}
	css := regexp.MustCompile(`href="(/static/[^"]+\.css)"`).FindStringSubmatch(page)[1]
	if a := b.get(css, 200); !strings.HasPrefix(a.Header.Get("Content-Type"), "text/css") || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("style: %v", a.Header)
	}
}

func TestNewRefuses(t *testing.T) {
	d := newDevice(t)
	for _, change := range []func(*web.Config){
		func(c *web.Config) { c.Replica = nil }, func(c *web.Config) { c.Gate = nil }, func(c *web.Config) { c.Library = nil },
		func(c *web.Config) { c.Random = nil }, func(c *web.Config) { c.SessionKey = []byte("short") },
	} {
		c := d.config
		change(&c)
		if s, err := web.New(c); err == nil || s != nil {
			t.Error("an incomplete configuration is taken")
		}
	}
}
