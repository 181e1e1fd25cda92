// Package lantest makes small networks for tests: hosts in network namespaces
// of this machine, joined by a bridge that stands in a namespace of its own, so
// that nothing is ever sent on a real interface.
//
//	h1 ─ eth0 ─┐
//	h2 ─ eth0 ─┼─ bridge      10.77.0.1, 10.77.0.2, … and IPv6 link-local
//	h3 ─ eth0 ─┘
//
// It needs root and the command ip, and skips the test where there is neither;
// with CI=true in the environment it fails instead. The part of a test that is
// to run on a host is a test of its own, run in another process with
// [LAN.Start] and recognised there by [Role].
package lantest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// roleVariable tells a process of the test which part it plays.
const roleVariable = "CLASSMESH_LANTEST_ROLE"

// Role returns what [LAN.Start] gave this process to do; empty in the process
// that go test started.
func Role() string { return os.Getenv(roleVariable) }

var networks atomic.Int32

// LAN is some hosts on a switch.
type LAN struct {
	t      testing.TB
	prefix string
}

// New makes hosts 1 to n. They are gone when the test ends.
func New(t testing.TB, n int) *LAN {
	t.Helper()
	if err := possible(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	sweep()
	l := &LAN{t: t, prefix: fmt.Sprintf("cm%d-%d-", os.Getpid(), networks.Add(1))}
	sw := l.Namespace("sw")
	l.IP("-n", sw, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	l.IP("-n", sw, "link", "set", "br0", "up")
	for i := 1; i <= n; i++ {
		h, port := l.Namespace(fmt.Sprintf("h%d", i)), Port(i)
		l.IP("-n", h, "link", "set", "lo", "up")
		l.IP("-n", sw, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", h)
		l.IP("-n", sw, "link", "set", port, "master", "br0")
		l.IP("-n", sw, "link", "set", port, "up")
		l.IP("-n", h, "addr", "add", fmt.Sprintf("10.77.0.%d/24", i), "dev", "eth0")
		l.IP("-n", h, "link", "set", "eth0", "up")
	}
	return l
}

func possible() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("network namespaces need root: run this test as root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("network namespaces need the command ip: install iproute2")
	}
	return nil
}

// sweep removes the namespaces of tests that were killed.
var sweep = sync.OnceFunc(func() {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		var pid, n int
		if _, err := fmt.Sscanf(name, "cm%d-%d-", &pid, &n); err != nil {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); os.IsNotExist(err) {
			exec.Command("ip", "netns", "delete", name).Run() // another test may sweep too
		}
	}
})

// Namespace makes one more namespace, which is gone when the test ends, and
// returns its name for the command ip.
func (l *LAN) Namespace(name string) string {
	l.t.Helper()
	name = l.prefix + name
	l.IP("netns", "add", name)
	l.t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
			l.t.Errorf("delete network namespace: %v: %s", err, out)
		}
	})
	return name
}

// Host returns the name of the namespace of host i, for the command ip.
func (l *LAN) Host(i int) string { return fmt.Sprintf("%sh%d", l.prefix, i) }

// Switch returns the name of the namespace of the switch. Its bridge is br0.
func (l *LAN) Switch() string { return l.prefix + "sw" }

// Port returns the name of the interface of the switch to which host i is
// connected.
func Port(i int) string { return fmt.Sprintf("p%d", i) }

// IP runs the command ip.
func (l *LAN) IP(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
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
	cmd := exec.Command("ip", "netns", "exec", l.Host(i), self, "-test.run=^"+test+"$", "-test.v", "-test.timeout=5m")
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
