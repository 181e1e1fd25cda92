// Package lantest runs parts of tests on the hosts of a small network (package
// discovery/netns), each in a process of its own.
//
// It needs root and the command ip, and skips the test where there is neither;
// with CI=true in the environment it fails instead. The part of a test that is
// to run on a host is a test of its own, run in another process with
// [LAN.Start] and recognised there by [Role].
package lantest

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/classmesh/classmesh/discovery/netns"
)

// roleVariable tells a process of the test which part it plays.
const roleVariable = "CLASSMESH_LANTEST_ROLE"

// Role returns what [LAN.Start] gave this process to do; empty in the process
// that go test started.
func Role() string { return os.Getenv(roleVariable) }

// LAN is some hosts on a switch.
type LAN struct {
	*netns.LAN
	t testing.TB
}

// New makes hosts 1 to n. They are gone when the test ends.
func New(t testing.TB, n int) *LAN {
	t.Helper()
	if err := netns.Possible(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	l, err := netns.New(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &LAN{l, t}
}

// Namespace makes one more namespace, which is gone when the test ends, and
// returns its name for the command ip.
func (l *LAN) Namespace(name string) string {
	l.t.Helper()
	name, err := l.LAN.Namespace(name)
	if err != nil {
		l.t.Fatal(err)
	}
	return name
}

// Port returns the name of the interface of the switch to which host i is
// connected.
func Port(i int) string { return netns.Port(i) }

// IP runs the command ip.
func (l *LAN) IP(args ...string) {
	l.t.Helper()
	if err := netns.IP(args...); err != nil {
		l.t.Fatal(err)
	}
}

// Plug pulls the cable of host i out of the switch, or puts it in.
func (l *LAN) Plug(i int, in bool) {
	l.t.Helper()
	state := "down"
	if in {
		state = "up"
	}
	l.IP("-n", l.Switch(), "link", "set", Port(i), state)
}

// Process is a part of a test that runs on a host.
type Process struct {
	t     testing.TB
	lines chan string
	stdin io.WriteCloser
	cmd   *exec.Cmd
	done  chan struct{}
}

// Start runs the test of the given name on host i, with the given Role, in a
// process of its own. It ends when Stop is called or the test ends.
func (l *LAN) Start(i int, test, role string, environment ...string) *Process {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := l.Command(context.Background(), i, self, "-test.run=^"+test+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(append(os.Environ(), roleVariable+"="+role), environment...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	p := &Process{t: l.t, lines: make(chan string, 4096), stdin: stdin, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer close(p.lines)
		scanner := bufio.NewScanner(stdout)
		for scanner.Scan() {
			select {
			case p.lines <- scanner.Text():
			default: // nobody reads: only so much is kept
			}
		}
	}()
	l.t.Cleanup(func() { p.cmd.Process.Kill(); <-p.done; p.cmd.Wait() })
	return p
}

// Expect waits until the process prints a line that holds want, and returns all
// lines since the last one that was expected; that line is the last of them.
func (p *Process) Expect(within time.Duration, want string) []string {
	p.t.Helper()
	deadline := time.After(within)
	var seen []string
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("ended without saying %q; it said:\n%s", want, strings.Join(seen, "\n"))
			}
			seen = append(seen, line)
			if strings.Contains(line, want) {
				return seen
			}
		case <-deadline:
			p.t.Fatalf("did not say %q within %v; it said:\n%s", want, within, strings.Join(seen, "\n"))
		}
	}
}

// Stop closes the process's standard input, which tells it to end, and fails
// the test if its own part failed or it does not end.
func (p *Process) Stop(within time.Duration) {
	p.t.Helper()
	p.stdin.Close()
	p.Expect(within, "PASS")
	<-p.done
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the part on a host failed: %v", err)
	}
}

// Kill ends the process at once, as a power cut does.
func (p *Process) Kill() {
	p.t.Helper()
	p.cmd.Process.Kill()
	<-p.done
}

// Stopped returns a channel that is closed when standard input ends: in the
// process that runs on a host, the sign to end.
func Stopped() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(done)
	}()
	return done
}
