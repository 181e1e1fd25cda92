//go:build linux

package lantest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program, built once.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	// Scenarios mostly wait.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		f.Value.Set("16")
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getuid() != 0 {
		return m.Run() // each test says what is missing
	}
	if err := readSources("../../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "classmesh-lantest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "classmesh")
	build := exec.Command("go", "build", "-o", binary, "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make builds it
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// readSources looks at all that the program is made of, so that go test does
// not take a former result for one of a program that has changed since.
func readSources(root string) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(name) == ".go" {
			_, err = os.Stat(name)
		}
		return err
	})
}

// school is a coordinator and rooms with a device each, on a network.
type school struct {
	*network
	dir     string
	center  *process
	rooms   []*room
	answers int // that were answered with success
}

// newSchool starts a coordinator and makes n devices that have met it, so that
// they hold the zone's key and know all people. They do not run yet.
func newSchool(t *testing.T, n int) *school {
	t.Helper()
	t.Parallel()
	s := &school{network: newNetwork(t, n), dir: t.TempDir()}
	s.startCoordinator()
	s.command("coordinator", "org", "create", "--data", s.centerData(), "Schools")
	s.command("coordinator", "zone", "create", "--data", s.centerData(), "Hillside")
	people := filepath.Join(s.dir, "people.csv")
	if err := os.WriteFile(people, []byte("full name,username,password,class,role\nAna Silva,ana,open sesame,3A,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= n; i++ {
		r := &room{s: s, number: i, name: fmt.Sprintf("Room %d", i), data: filepath.Join(s.dir, fmt.Sprintf("room%d", i))}
		s.rooms = append(s.rooms, r)
		code, _, _ := strings.Cut(s.command("coordinator", "invite", "create", "--data", s.centerData()), "\n")
		// Where devices are made ready, the Internet is there.
		s.in(s.network.center, binary, "device", "join", "--data", r.data, "--name", r.name, centerIP+":8440", code)
		if i == 1 {
			s.command("device", "users", "import", "--data", r.data, people)
		}
	}
	for _, r := range append(s.rooms, s.rooms[0]) {
		s.in(s.network.center, binary, "device", "sync", "--data", r.data)
	}
	return s
}

func (s *school) centerData() string { return filepath.Join(s.dir, "center") }

func (s *school) startCoordinator() {
	s.t.Helper()
	s.center = s.start(s.network.center, "center", "coordinator", "serve", "--data", s.centerData(), "--listen", ":8440")
}

// command runs a command of the program that has to succeed, and returns its
// output. Where it runs does not matter: it talks to data folders.
func (s *school) command(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *school) try(args ...string) (string, error) {
	var out, errOut bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("classmesh %s: %w: %s", strings.Join(args, " "), err, &errOut)
	}
	return out.String(), nil
}

// process is the program at work on a host.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// start starts the program on a host and waits until it has said that it is
// ready. It is killed when the test ends, and shows its log if that has failed.
func (s *school) start(host, name string, args ...string) *process {
	s.t.Helper()
	level := cmp.Or(os.Getenv("CLASSMESH_LAN_LOG"), "info")
	p := &process{
		cmd:   exec.Command("ip", append([]string{"netns", "exec", host, binary, "--log", level}, args...)...),
		ended: make(chan struct{}),
	}
	var log logged
	p.cmd.Stderr = &log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		p.end(os.Kill)
		if s.t.Failed() {
			s.t.Logf("%s:\n%s", name, log.text())
		}
	})
	ready := make(chan string, 1)
	go func() {
		defer close(p.ended)
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		ready <- line
		io.Copy(io.Discard, r)
		p.cmd.Wait()
	}()
	select {
	case line := <-ready:
		if line == "" {
			s.t.Fatalf("%s did not start: %s", name, log.text())
		}
	case <-time.After(patience):
		s.t.Fatalf("%s did not start within %v", name, patience)
	}
	return p
}

func (p *process) end(signal os.Signal) {
	p.cmd.Process.Signal(signal)
	<-p.ended
}

// logged is the log of a process; of much only the end is kept.
type logged struct {
	mu sync.Mutex
	b  []byte
}

const keptLog = 64 << 10

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, b...)
	if len(l.b) > 2*keptLog {
		l.b = append([]byte(nil), l.b[len(l.b)-keptLog:]...)
	}
	return len(b), nil
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

// room is a device and the browser of a child who works on it.
type room struct {
	s       *school
	number  int // of the host
	name    string
	data    string
	p       *process // nil: it does not run
	browser *http.Client
}

// start is one command: device serve.
func (r *room) start(options ...string) {
	r.s.t.Helper()
	args := append([]string{"device", "serve", "--data", r.data, "--web", "127.0.0.1:8080"}, options...)
	r.p = r.s.start(r.s.Host(r.number), r.name, args...)
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.s.t.Fatal(err)
	}
	r.browser = &http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, r.s.Host(r.number), network, address)
		},
	}}
	r.s.t.Cleanup(r.browser.CloseIdleConnections)
	r.must("POST", "/api/v1/session", map[string]string{"username": "ana", "password": "open sesame"}, &struct{}{})
}

// addresses is the file of what the device remembers of others.
func (r *room) addresses() string { return filepath.Join(r.data, "addresses") }

// stop ends the device in good order, kill as a power cut does.
func (r *room) stop() { r.p.end(os.Interrupt); r.p = nil }
func (r *room) kill() { r.p.end(os.Kill); r.p = nil }

// ask sends a request of the JSON interface and decodes the answer.
func (r *room) ask(method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, "http://127.0.0.1:8080"+path, body)
	if err != nil {
		return err
	}
	resp, err := r.browser.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %s: %s: %s", r.name, method, path, resp.Status, text)
	}
	return json.Unmarshal(text, out)
}

func (r *room) must(method, path string, in, out any) {
	r.s.t.Helper()
	if err := r.ask(method, path, in, out); err != nil {
		r.s.t.Fatal(err)
	}
}

const exercise = "fractions-practice"

// work answers some questions.
func (r *room) work(questions int) {
	r.s.t.Helper()
	for range questions {
		var q struct {
			Item    string
			Seed    uint64
			Options []struct{ ID string }
		}
		r.must("GET", "/api/v1/exercises/"+exercise+"/question", nil, &q)
		answer := "1"
		if len(q.Options) > 0 {
			answer = q.Options[0].ID
		}
		r.must("POST", "/api/v1/attempts", map[string]any{
			"exercise": exercise, "item": q.Item, "seed": q.Seed, "answer": answer, "hinted": false, "ms_taken": 1500,
		}, &struct{}{})
		r.s.answers++
	}
}

// lesson has rooms work in turn, for as long as it lasts.
func (s *school) lesson(lasts time.Duration, rooms ...*room) {
	s.t.Helper()
	next := time.NewTicker(time.Second)
	defer next.Stop()
	for began, i := time.Now(), 0; time.Since(began) < lasts; i++ {
		rooms[i%len(rooms)].work(1)
		<-next.C
	}
}

// seen is how many answers the device knows of.
func (r *room) seen() int {
	r.s.t.Helper()
	var p struct{ Totals struct{ Attempts int } }
	r.must("GET", "/api/v1/progress", nil, &p)
	return p.Totals.Attempts
}

// counters is how far the logs that the device holds go, taken together.
func (r *room) counters() (n int) {
	for _, l := range r.status().Logs {
		n += l.Counter
	}
	return n
}

type peer struct {
	Name, State, Address, Transport string
	Via                             []string
	Late                            bool
}

// status is what device status --json says.
type status struct {
	Fingerprint string
	Logs        []struct{ Counter int }
	Peers       []peer
	Uplink      struct {
		State, Words string
		NotYetSafe   int `json:"not_yet_safe"`
	}
	LAN struct{ Findings []string }
}

func (r *room) status() (st status) {
	r.s.t.Helper()
	if err := json.Unmarshal([]byte(r.s.command("device", "status", "--json", "--data", r.data)), &st); err != nil {
		r.s.t.Fatal(err)
	}
	return st
}

// doctor is what device doctor says, which is no success if it finds something.
func (r *room) doctor() string {
	out, _ := r.s.try("device", "doctor", "--data", r.data)
	return out
}

// linked is to how many devices there is a connection.
func (st status) linked() (n int) {
	for _, p := range st.Peers {
		if p.State == "connected" {
			n++
		}
	}
	return n
}

// patience is how long tests wait for what should happen soon: the machine may
// be busy.
const patience = 90 * time.Second

// await waits until something is so, and returns how long it took.
func (s *school) await(within time.Duration, what string, f func() bool) time.Duration {
	s.t.Helper()
	began := time.Now()
	next := time.NewTicker(50 * time.Millisecond)
	defer next.Stop()
	for !f() {
		if time.Since(began) > within {
			for _, r := range s.rooms {
				if r.p != nil {
					s.t.Logf("%s: %+v", r.name, r.status())
				}
			}
			s.t.Fatalf("not within %v: %s", within, what)
		}
		<-next.C
	}
	return time.Since(began)
}

// all waits until something holds for each of some rooms.
func (s *school) all(rooms []*room, within time.Duration, what string, f func(*room) bool) time.Duration {
	s.t.Helper()
	return s.await(within, what, func() bool {
		for _, r := range rooms {
			if !f(r) {
				return false
			}
		}
		return true
	})
}

// mesh waits until each of some rooms is connected with all the others.
func (s *school) mesh(rooms ...*room) time.Duration {
	s.t.Helper()
	return s.all(rooms, patience, "all are connected", func(r *room) bool { return r.status().linked() == len(rooms)-1 })
}

// agree waits until all work is on some rooms, and they hold the same.
func (s *school) agree(rooms ...*room) time.Duration {
	s.t.Helper()
	began := time.Now()
	s.all(rooms, patience, fmt.Sprintf("all %d answers are everywhere", s.answers), func(r *room) bool { return r.seen() == s.answers })
	s.await(patience, "all hold the same", func() bool {
		prints := map[string]bool{}
		for _, r := range rooms {
			prints[r.status().Fingerprint] = true
		}
		return len(prints) == 1
	})
	return time.Since(began)
}

// finish is how every scenario ends: all agree, dumps are equal byte for byte,
// stores are clean.
func (s *school) finish() {
	s.t.Helper()
	s.agree(s.rooms...)
	want := s.command("dump", "--data", s.rooms[0].data)
	for _, r := range s.rooms {
		if got := s.command("dump", "--data", r.data); got != want {
			s.t.Errorf("%s dumps otherwise than %s", r.name, s.rooms[0].name)
		}
		if out := s.command("fsck", "--data", r.data); !strings.Contains(out, "clean") {
			s.t.Errorf("%s: %s", r.name, out)
		}
	}
}

// startAll starts devices with the same options.
func (s *school) startAll(options ...string) {
	s.t.Helper()
	for _, r := range s.rooms {
		r.start(options...)
	}
}
