// Package netns makes small networks of this machine alone: hosts in network
// namespaces, joined by a bridge that stands in a namespace of its own, so that
// nothing is ever sent on a real interface.
//
//	h1 ─ eth0 ─┐
//	h2 ─ eth0 ─┼─ bridge      10.77.0.1, 10.77.0.2, … and IPv6 link-local
//	h3 ─ eth0 ─┘
//
// It needs root and the command ip. Package discovery/lantest is the same for
// tests; cmd/bench measures on such networks.
package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
)

// Possible returns nil if this process can make networks, and otherwise why it
// cannot and what to do.
func Possible() error {
	if os.Getuid() != 0 {
		return errors.New("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("network namespaces need the command ip: install iproute2")
	}
	return nil
}

// LAN is some hosts on a switch. Whoever made it closes it.
type LAN struct {
	prefix string
	made   []string // namespaces
}

var networks atomic.Int32 // made by this process

// New makes hosts 1 to n. What it has made of them is gone if it fails.
func New(n int) (_ *LAN, err error) {
	if err := Possible(); err != nil {
		return nil, err
	}
	sweep()
	l := &LAN{prefix: fmt.Sprintf("cm%d-%d-", os.Getpid(), networks.Add(1))}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	sw, err := l.Namespace("sw")
	if err != nil {
		return nil, err
	}
	commands := [][]string{
		{"-n", sw, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"},
		{"-n", sw, "link", "set", "br0", "up"},
	}
	for i := 1; i <= n; i++ {
		h, err := l.Namespace(fmt.Sprintf("h%d", i))
		if err != nil {
			return nil, err
		}
		port := Port(i)
		commands = append(commands,
			[]string{"-n", h, "link", "set", "lo", "up"},
			[]string{"-n", sw, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", h},
			[]string{"-n", sw, "link", "set", port, "master", "br0"},
			[]string{"-n", sw, "link", "set", port, "up"},
			[]string{"-n", h, "addr", "add", fmt.Sprintf("10.77.0.%d/24", i), "dev", "eth0"},
			[]string{"-n", h, "link", "set", "eth0", "up"})
	}
	for _, args := range commands {
		if err := IP(args...); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// sweep removes the namespaces of processes that were killed.
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
			exec.Command("ip", "netns", "delete", name).Run() // another process may sweep too
		}
	}
})

// Namespace makes one more namespace and returns its name for the command ip.
func (l *LAN) Namespace(name string) (string, error) {
	name = l.prefix + name
	if err := IP("netns", "add", name); err != nil {
		return "", err
	}
	l.made = append(l.made, name)
	return name, nil
}

// Host returns the name of the namespace of host i, for the command ip.
func (l *LAN) Host(i int) string { return fmt.Sprintf("%sh%d", l.prefix, i) }

// Switch returns the name of the namespace of the switch. Its bridge is br0.
func (l *LAN) Switch() string { return l.prefix + "sw" }

// Port returns the name of the interface of the switch to which host i is
// connected.
func Port(i int) string { return fmt.Sprintf("p%d", i) }

// Command returns a command to be run on host i. The process is that of the
// command itself.
func (l *LAN) Command(ctx context.Context, i int, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", l.Host(i), name}, args...)...)
}

// Close removes all namespaces. Processes in them must have ended.
func (l *LAN) Close() (err error) {
	for _, name := range l.made {
		err = errors.Join(err, IP("netns", "delete", name))
	}
	l.made = nil
	return err
}

// IP runs the command ip.
func IP(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
