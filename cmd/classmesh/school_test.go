package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// school is a coordinator and devices as processes, each with a data folder
// below dir.
type school struct {
	lan         string // for --lan; empty: off
	t           testing.TB
	dir         string
	coordinator *process
	address     string // of the coordinator
	rooms       []*room
}

type room struct {
	school *school
	data   string
	p      *process
	url    string
}

// newSchool starts a coordinator and joins n devices, which do not run yet.
func newSchool(t testing.TB, n int) *school {
	t.Helper()
	s := &school{t: t, dir: t.TempDir(), address: anyPort}
	s.startCoordinator()
	s.run("coordinator", "org", "create", "--data", s.center(), "Schools")
	s.run("coordinator", "zone", "create", "--data", s.center(), "Hillside")
	for i := range n {
		r := &room{school: s, data: filepath.Join(s.dir, fmt.Sprintf("room%d", i+1))}
		s.run("device", "join", "--data", r.data, "--name", fmt.Sprintf("Room %d", i+1), s.address, s.invite())
		s.rooms = append(s.rooms, r)
	}
	t.Cleanup(func() {
		for _, r := range s.rooms {
			s.bury(r.data, r.p)
		}
		s.bury("center", s.coordinator)
	})
	return s
}

func (s *school) center() string { return filepath.Join(s.dir, "center") }

// bury kills a process that is left over, and shows what it logged if the test
// has failed.
func (s *school) bury(name string, p *process) {
	if p == nil {
		return
	}
	p.signal(os.Kill)
	if s.t.Failed() {
		s.t.Logf("%s:\n%s", name, &p.stderr)
	}
}

func (s *school) invite() string {
	code, _, _ := strings.Cut(s.run("coordinator", "invite", "create", "--data", s.center()), "\n")
	return code
}

// run runs a command that has to succeed and returns its output.
func (s *school) run(args ...string) string {
	s.t.Helper()
	return mustCommand(s.t, args...)
}

func (s *school) startCoordinator() {
	s.t.Helper()
	var err error
	if s.coordinator, err = startProcess("", nil, "--log", "info", "coordinator", "serve", "--data", s.center(), "--listen", s.address); err != nil {
		s.t.Fatal(err)
	}
	words := strings.Fields(s.coordinator.first)
	s.address = strings.TrimPrefix(words[len(words)-1], "http://")
}

func (s *school) end(p **process, signal os.Signal) {
	s.t.Helper()
	if err := (*p).signal(signal); err != nil && signal != os.Kill {
		s.t.Fatalf("%v: %s", err, &(*p).stderr)
	}
	*p = nil
}

func (r *room) start() {
	r.school.t.Helper()
	var err error
	if r.p, err = startProcess("", nil, "--log", "info", "device", "serve", "--data", r.data, "--web", anyPort, "--lan", cmp.Or(r.school.lan, noLAN)); err != nil {
		r.school.t.Fatal(err)
	}
	words := strings.Fields(r.p.first)
	r.url = words[len(words)-1]
}

func (r *room) status() (st statusReport) {
	r.school.t.Helper()
	if err := json.Unmarshal([]byte(r.school.run("device", "status", "--json", "--data", r.data)), &st); err != nil {
		r.school.t.Fatal(err)
	}
	return st
}

// await waits until what is asked for is so, and returns how long it took.
func (s *school) await(what string, f func() bool) time.Duration {
	s.t.Helper()
	began := time.Now()
	for !f() {
		if time.Since(began) > patience {
			s.t.Fatalf("not within %v: %s", patience, what)
		}
	}
	return time.Since(began)
}

// agree waits until all rooms hold the same, and it is safe.
func (s *school) agree() {
	s.t.Helper()
	var last []statusReport
	defer func() {
		if s.t.Failed() {
			for _, st := range last {
				s.t.Logf("%+v", st)
			}
		}
	}()
	s.await("all rooms hold the same, and it is safe", func() bool {
		prints, unsafe := map[string]bool{}, uint64(0)
		last = last[:0]
		for _, r := range s.rooms {
			st := r.status()
			last = append(last, st)
			prints[st.Fingerprint] = true
			unsafe += st.Uplink.NotYetSafe
		}
		return len(prints) == 1 && unsafe == 0
	})
}

// sameDumps compares what all rooms have, and checks their stores.
func (s *school) sameDumps() {
	s.t.Helper()
	want := s.run("dump", "--data", s.rooms[0].data)
	for _, r := range s.rooms {
		if got := s.run("dump", "--data", r.data); got != want {
			s.t.Errorf("%s dumps otherwise than %s", r.data, s.rooms[0].data)
		}
		s.run("fsck", "--data", r.data)
	}
}

// browser is somebody who uses the pages of a room.
type browser struct {
	room *room
	http *http.Client
}

func (r *room) open() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.school.t.Fatal(err)
	}
	return &browser{r, &http.Client{Jar: jar, Timeout: patience}}
}

// ask sends a request of the JSON interface and decodes the answer.
func (b *browser) ask(method, path string, in, out any) (status int, err error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, b.room.url+path, body)
	if err != nil {
		return 0, err
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return resp.StatusCode, json.Unmarshal(text, out)
}

func (b *browser) must(method, path string, in, out any) {
	b.room.school.t.Helper()
	if _, err := b.ask(method, path, in, out); err != nil {
		b.room.school.t.Fatal(err)
	}
}

// signIn signs in, as soon as the device has heard of the account.
func (b *browser) signIn(username, password string) {
	b.room.school.t.Helper()
	b.room.school.await(username+" signs in at "+b.room.data, func() bool {
		status, err := b.ask("POST", "/api/v1/session", map[string]string{"username": username, "password": password}, &struct{}{})
		if err != nil && status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
			b.room.school.t.Fatal(err)
		}
		return err == nil
	})
}

// answer answers the next question of an exercise, rightly or not.
func (b *browser) answer(exercise string) error {
	var q struct {
		Item    string
		Seed    uint64
		Kind    string
		Options []struct{ ID string }
	}
	if _, err := b.ask("GET", "/api/v1/exercises/"+exercise+"/question", nil, &q); err != nil {
		return err
	}
	answer := "1"
	if len(q.Options) > 0 {
		answer = q.Options[0].ID
	}
	_, err := b.ask("POST", "/api/v1/attempts", map[string]any{
		"exercise": exercise, "item": q.Item, "seed": q.Seed, "answer": answer, "hinted": false, "ms_taken": 1500,
	}, &struct{}{})
	return err
}

// progress is what the JSON interface says about a learner.
type progress struct {
	Learner string
	Totals  struct {
		Attempts        uint64
		Videos_complete int
	}
}

func (b *browser) progress() (p progress) {
	b.room.school.t.Helper()
	b.must("GET", "/api/v1/progress", nil, &p)
	return p
}

const (
	testExercise = "fractions-practice"
	testVideo    = "fractions-meaning"
)

const schoolCSV = "full name,username,password,class,role\nAna Silva,ana,open sesame,3A,\nBen Okafor,ben,open sesame,3A,teacher\n"

func (s *school) importPeople() {
	s.t.Helper()
	file := filepath.Join(s.dir, "people.csv")
	if err := os.WriteFile(file, []byte(schoolCSV), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.run("device", "users", "import", "--data", s.rooms[0].data, file)
}

// TestSchoolDay is what the program is for: work on one device is on the
// others within two seconds, goes on while the coordinator is away, and arrives
// everywhere when it is back.
func TestSchoolDay(t *testing.T) {
	s := newSchool(t, 3)
	for _, r := range s.rooms {
		r.start()
	}
	s.importPeople()
	ana1, ana2, ben := s.rooms[0].open(), s.rooms[1].open(), s.rooms[2].open()
	ana1.signIn("ana", "open sesame")
	ana2.signIn("ana", "open sesame")
	ben.signIn("ben", "open sesame")

	for range 10 {
		if err := ana1.answer(testExercise); err != nil {
			t.Fatal(err)
		}
	}
	ana1.must("POST", "/api/v1/viewings", map[string]any{"video": testVideo, "from_s": 0, "to_s": 42}, &struct{}{})
	took := s.await("the work is on the second device", func() bool {
		p := ana2.progress()
		return p.Totals.Attempts == 10 && p.Totals.Videos_complete == 1
	})
	t.Logf("on the second device after %v", took)
	if took > 2*time.Second {
		t.Logf("that is more than the two seconds that people are promised")
	}
	s.await("the work is in the teacher's table", func() bool { return ben.attemptsOf("Ana Silva") == 10 })

	// The coordinator goes away; work goes on at both devices.
	s.end(&s.coordinator, os.Interrupt)
	for _, b := range []*browser{ana1, ana2} {
		for range 3 {
			if err := b.answer(testExercise); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := s.rooms[0].status().Uplink.NotYetSafe; n == 0 {
		t.Error("without the coordinator, everything is said to be safe")
	}
	if n := ana2.progress().Totals.Attempts; n != 13 {
		t.Errorf("the second device knows of %d answers", n)
	}
	s.startCoordinator()
	s.await("all of the work is in the teacher's table", func() bool { return ben.attemptsOf("Ana Silva") == 16 })
	s.agree()
	s.sameDumps()
	for _, r := range s.rooms {
		s.end(&r.p, os.Interrupt)
	}
	s.sameDumps()
	s.end(&s.coordinator, os.Interrupt)
}

// TestSchoolDayOnLAN is the same without the coordinator: devices on one network
// find each other and pass on everything, and when there is an uplink again, all
// of them know that it is safe.
func TestSchoolDayOnLAN(t *testing.T) {
	s := newSchool(t, 3)
	s.lan = anyPort
	for _, r := range s.rooms {
		r.start()
	}
	s.importPeople()
	s.agree() // they have the zone's key by now
	s.end(&s.coordinator, os.Interrupt)
	ana, ben := s.rooms[0].open(), s.rooms[2].open()
	ana.signIn("ana", "open sesame")
	ben.signIn("ben", "open sesame")
	// One device is started anew: it finds the others without any help.
	s.end(&s.rooms[1].p, os.Kill)
	s.rooms[1].start()
	for n := range 10 {
		if err := ana.answer(testExercise); err != nil {
			t.Fatal(err)
		}
		took := s.await("an answer is in the teacher's table", func() bool { return ben.attemptsOf("Ana Silva") == uint64(n+1) })
		t.Logf("answer %d after %v", n+1, took)
	}
	s.await("all hold the same, and nothing of it is safe", func() bool {
		want := s.rooms[0].status()
		for _, r := range s.rooms {
			if st := r.status(); st.Fingerprint != want.Fingerprint || st.Uplink.NotYetSafe == 0 {
				return false
			}
		}
		return true
	})
	s.sameDumps()
	s.startCoordinator()
	s.agree()
	s.sameDumps()
}

// attemptsOf is what the class table says of a learner.
func (b *browser) attemptsOf(name string) uint64 {
	b.room.school.t.Helper()
	var table struct {
		Rows []struct {
			Learner struct{ Name string }
			Totals  struct{ Attempts uint64 }
		}
	}
	b.must("GET", "/api/v1/class", nil, &table)
	for _, row := range table.Rows {
		if row.Learner.Name == name {
			return row.Totals.Attempts
		}
	}
	return 0
}
