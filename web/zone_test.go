package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
	"github.com/classmesh/classmesh/web"
	"github.com/classmesh/classmesh/web/content"
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

const created = 1_700_000_000_000

// device is a device of a zone of its own, with its pages and people.
type device struct {
	t       testing.TB
	store   records.Store
	replica *records.Replica
	gate    *classroom.Gate
	library *content.Library
	config  web.Config
	server  *httptest.Server
	address string

	members []identity.DeviceID // the other devices, by name: see otherRooms

	coordinator identity.DeviceKey

	mu     sync.Mutex // guards the rest
	clock  time.Time
	sync   web.Sync
	mesh   web.Mesh
	synced int // how often an exchange was asked for

	class   classroom.GroupID
	learner identity.UserID // amina
	other   identity.UserID // bako
	teacher identity.UserID // teacher
}

// another returns a device of the same zone, with a role, that has what this one has.
func (d *device) another(role roster.Role) *device {
	d.t.Helper()
	must := func(err error) {
		d.t.Helper()
		if err != nil {
			d.t.Fatal(err)
		}
	}
	random := d.config.Random
	key, err := identity.GenerateDeviceKey(random)
	must(err)
	ros, err := d.replica.Roster().AddDevice(key.Public(), "room 9", role, created)
	must(err)
	encoded := ros.Sign(d.coordinator, created).Encode()
	must(d.replica.AcceptRoster(d.t.Context(), encoded))
	o := &device{t: d.t, library: d.library, gate: d.gate, clock: d.clock, coordinator: d.coordinator, class: d.class, learner: d.learner, other: d.other, teacher: d.teacher}
	o.replica, err = records.Found(d.t.Context(), records.Config{
		Store: storetest.NewMemory(), Identity: key, Random: random, Logger: slog.New(slog.DiscardHandler), Now: o.now,
	}, records.Founding{Zone: identity.ZoneID{1}, Coordinator: d.coordinator.Public(), Roster: encoded})
	must(err)
	for _, row := range d.replica.State().Rows {
		base, starts := o.replica.Frontier(row.BranchRef)
		difference, err := d.replica.Difference(d.t.Context(), row.BranchRef, base, starts)
		must(err)
		must(o.replica.AcceptDifference(d.t.Context(), difference))
	}
	o.config = web.Config{
		Replica: o.replica, Gate: o.gate, Library: o.library, SessionKey: d.config.SessionKey, Name: "room 9", Now: o.now, Random: random,
	}
	o.start()
	d.t.Cleanup(func() {
		o.server.Close()
		o.replica.Close()
	})
	return o
}

const password = "open sesame"

// otherRooms are the names of the other devices of the zone.
var otherRooms = []string{"Laboratory of <science> upstairs", "library", "room 5", "room 6"}

func newDevice(t testing.TB) *device { return newDeviceIn(t, storetest.NewMemory()) }

func newDeviceIn(t testing.TB, store records.Store) *device {
	t.Helper()
	random := &lockedSource{r: rand.NewChaCha8([32]byte{1})}
	d := &device{t: t, store: store, clock: time.UnixMilli(created).Add(24 * time.Hour)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	coordinator, err := identity.GenerateDeviceKey(random)
	must(err)
	key, err := identity.GenerateDeviceKey(random)
	must(err)
	ros, err := roster.New(identity.ZoneID{1}, "Hill School", coordinator.Public(), created)
	must(err)
	ros, err = ros.AddDevice(key.Public(), "room 4", roster.RoleAdministrates, created)
	must(err)
	for _, name := range otherRooms {
		other, err := identity.GenerateDeviceKey(random)
		must(err)
		ros, err = ros.AddDevice(other.Public(), name, roster.RoleClassroom, created)
		must(err)
		d.members = append(d.members, other.Public().ID())
	}
	d.replica, err = records.Found(t.Context(), records.Config{
		Store: store, Identity: key, Random: random, Logger: slog.New(slog.DiscardHandler), Now: d.now,
	}, records.Founding{Zone: identity.ZoneID{1}, Coordinator: coordinator.Public(), Roster: ros.Sign(coordinator, created).Encode()})
	must(err)
	d.coordinator = coordinator
	d.gate, err = classroom.NewGate(random, 2)
	must(err)
	packs, err := content.Shipped()
	must(err)
	d.library, err = content.NewLibrary(packs...)
	must(err)

	d.class, err = classroom.AddGroup(t.Context(), d.replica, identity.UserID{}, "Class 5A", "")
	must(err)
	add := func(name, username string, role classroom.Role, groups ...classroom.GroupID) identity.UserID {
		t.Helper()
		id, err := classroom.AddUser(t.Context(), d.replica, d.gate, identity.UserID{}, classroom.NewUser{
			Name: name, Username: username, Password: password, Language: "en", Role: role, Groups: groups,
		})
		must(err)
		return id
	}
	d.learner = add("Amina Okafor", "amina", classroom.RoleLearner, d.class)
	d.other = add("Bako Juma", "bako", classroom.RoleLearner, d.class)
	d.teacher = add("Ms Rosa Silva", "teacher", classroom.RoleTeacher)

	d.config = web.Config{
		Replica: d.replica, Gate: d.gate, Library: d.library, SessionKey: bytes.Repeat([]byte{7}, web.SessionKeyBytes),
		Name: "room 4", ZoneName: func() string { return "Hill School" },
		Sync: func() web.Sync {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.sync
		},
		Mesh: func() web.Mesh {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.mesh
		},
		SyncNow: func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.synced++
		},
		Now: d.now, Random: random, Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	}
	d.sync = web.Sync{State: web.StateConnected, Address: "203.0.113.5:443", Transport: "quic"}
	d.start()
	t.Cleanup(func() {
		d.server.Close()
		d.replica.Close()
	})
	return d
}

// start starts the pages, anew if they run already: what they kept in memory
// is gone.
func (d *device) start() {
	d.t.Helper()
	s, err := web.New(d.config)
	if err != nil {
		d.t.Fatal(err)
	}
	if d.server == nil {
		d.server = httptest.NewServer(s.Handler())
		d.address = d.server.URL
		return
	}
	d.server.Config.Handler = s.Handler()
}

func (d *device) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clock
}

func (d *device) pass(t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock = d.clock.Add(t)
}

func (d *device) setSync(s web.Sync) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync = s
}

func (d *device) setMesh(m web.Mesh) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mesh = m
}

// roll reads who is in the zone.
func (d *device) roll() (r *classroom.Roll) {
	d.t.Helper()
	err := d.replica.Read(d.t.Context(), func(v *records.View) (err error) {
		r, err = classroom.People(v)
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func (d *device) progress(user identity.UserID) *classroom.LearnerProgress {
	d.t.Helper()
	var p *classroom.LearnerProgress
	err := d.replica.Read(d.t.Context(), func(v *records.View) (err error) {
		p, err = classroom.Progress(v, user)
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

// rightAnswer finds the answer to a question by trying.
func (d *device) rightAnswer(exercise, item string, seed uint64) string {
	d.t.Helper()
	e := d.library.Exercise(exercise)
	q, err := e.Question(item, seed, "en")
	if err != nil {
		d.t.Fatal(err)
	}
	var tries []string
	for _, o := range q.Options {
		tries = append(tries, o.ID)
	}
	for n := range 201 {
		tries = append(tries, fmt.Sprint(n))
		for m := 1; m <= 24 && n <= 24; m++ {
			tries = append(tries, fmt.Sprintf("%d/%d", n, m))
		}
	}
	tries = append(tries, "numerator", "denominator", "half", "quarter", "third")
	for _, a := range tries {
		if m, err := e.Mark(item, seed, a); err == nil && m.Correct {
			return a
		}
	}
	d.t.Fatalf("no answer is right: %s", q.Prompt)
	return ""
}

// browser is somebody's browser without scripts.
type browser struct {
	d      *device
	client *http.Client
}

func (d *device) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return &browser{d, &http.Client{Jar: jar}}
}

// signedIn returns the browser of somebody who has signed in.
func (d *device) signedIn(username string) *browser {
	d.t.Helper()
	b := d.browser()
	b.json("POST", "/api/v1/session", map[string]string{"username": username, "password": password}, 200)
	return b
}

// answer is what came back, redirects followed.
type answer struct {
	*http.Response
	body string
	path string
}

func (b *browser) do(r *http.Request) answer {
	b.d.t.Helper()
	res, err := b.client.Do(r)
	if err != nil {
		b.d.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.d.t.Fatal(err)
	}
	return answer{res, string(body), res.Request.URL.RequestURI()}
}

func (b *browser) request(method, path string, body io.Reader) *http.Request {
	b.d.t.Helper()
	r, err := http.NewRequestWithContext(b.d.t.Context(), method, b.d.address+path, body)
	if err != nil {
		b.d.t.Fatal(err)
	}
	return r
}

func (b *browser) get(path string, status int) answer {
	b.d.t.Helper()
	a := b.do(b.request("GET", path, nil))
	if a.StatusCode != status {
		b.d.t.Fatalf("GET %s: %s\n%s", path, a.Status, a.body)
	}
	return a
}

func (b *browser) post(path, form string, status int) answer {
	b.d.t.Helper()
	r := b.request("POST", path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a := b.do(r)
	if a.StatusCode != status {
		b.d.t.Fatalf("POST %s %s: %s\n%s", path, form, a.Status, a.body)
	}
	return a
}

// json sends a request (a string as it is) and returns the answer, decoded.
func (b *browser) json(method, path string, body any, status int) map[string]any {
	b.d.t.Helper()
	var in io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(body)
	default:
		text, err := json.Marshal(body)
		if err != nil {
			b.d.t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	a := b.do(b.request(method, path, in))
	if a.StatusCode != status {
		b.d.t.Fatalf("%s %s %v: %s\n%s", method, path, body, a.Status, a.body)
	}
	if a.body == "" {
		return nil
	}
	var answer map[string]any
	if err := json.Unmarshal([]byte(a.body), &answer); err != nil {
		b.d.t.Fatalf("%s %s: %v: %s", method, path, err, a.body)
	}
	return answer
}

// code returns the code of an error.
func code(answer map[string]any) string {
	e, _ := answer["error"].(map[string]any)
	if m, _ := e["message"].(string); m == "" {
		return "an error without a message"
	}
	c, _ := e["code"].(string)
	return c
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}
