//go:build linux

package lantest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/classmesh/classmesh/discovery/lantest"
)

// network is a LAN with hosts, of which each has an uplink to the host of the
// coordinator as well, which is off in the beginning.
type network struct {
	*lantest.LAN
	t              testing.TB
	hosts          int
	center, uplink string // namespaces: of the coordinator, and of what leads to it
}

// centerIP is where the coordinator is.
const centerIP = "10.99.0.254"

func newNetwork(t testing.TB, hosts int) *network {
	t.Helper()
	for command, install := range map[string]string{"nft": "nftables", "tc": "iproute2"} {
		if _, err := exec.LookPath(command); err != nil {
			words := fmt.Sprintf("networks with faults need the command %s: install %s", command, install)
			if os.Getenv("CI") == "true" {
				t.Fatal(words)
			}
			t.Skip(words)
		}
	}
	n := &network{LAN: lantest.New(t, hosts), t: t, hosts: hosts}
	n.center, n.uplink = n.Namespace("c"), n.Namespace("up")
	n.IP("-n", n.center, "link", "set", "lo", "up")
	n.IP("-n", n.uplink, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	n.IP("-n", n.uplink, "link", "set", "br0", "up")
	n.cable(n.uplink, "c", n.center, "eth0", centerIP+"/16")
	for i := 1; i <= hosts; i++ {
		n.cable(n.uplink, lantest.Port(i), n.Host(i), "eth1", fmt.Sprintf("10.99.1.%d/16", i))
		// On the Internet devices do not see each other.
		n.IP("-n", n.uplink, "link", "set", lantest.Port(i), "type", "bridge_slave", "isolated", "on")
		n.Uplink(i, false)
	}
	return n
}

// cable connects a host with a switch.
func (n *network) cable(sw, port, host, name, addr string) {
	n.t.Helper()
	n.IP("-n", sw, "link", "add", port, "type", "veth", "peer", "name", name, "netns", host)
	n.IP("-n", sw, "link", "set", port, "master", "br0")
	n.IP("-n", sw, "link", "set", port, "up")
	n.IP("-n", host, "addr", "add", addr, "dev", name)
	n.IP("-n", host, "link", "set", name, "up")
}

// Uplink gives a host the Internet, or takes it away.
func (n *network) Uplink(i int, on bool) {
	n.t.Helper()
	state := "down"
	if on {
		state = "up"
	}
	n.IP("-n", n.uplink, "link", "set", lantest.Port(i), state)
}

// LoseInternet cuts a host from the coordinator without its noticing.
func (n *network) LoseInternet(i int) {
	n.t.Helper()
	n.filter(n.uplink, fmt.Sprintf("iifname %[1]s drop; oifname %[1]s drop;", lantest.Port(i)))
}

// Isolate forbids a host to exchange anything with other isolated hosts, as
// access points do, or allows it again.
func (n *network) Isolate(i int, on bool) {
	n.t.Helper()
	state := "off"
	if on {
		state = "on"
	}
	n.IP("-n", n.Switch(), "link", "set", lantest.Port(i), "type", "bridge_slave", "isolated", state)
}

// Address gives a host another address on the LAN, as DHCP does.
func (n *network) Address(i int, addr string) {
	n.t.Helper()
	n.IP("-n", n.Host(i), "-4", "addr", "flush", "dev", "eth0")
	n.IP("-n", n.Host(i), "addr", "add", addr, "dev", "eth0")
}

// Rate bounds what each host of the LAN sends, such as to 64kbit.
func (n *network) Rate(rate string) {
	n.t.Helper()
	for i := 1; i <= n.hosts; i++ {
		n.in(n.Host(i), "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "4k", "latency", "400ms")
	}
}

// Rules of the switch of the LAN.
const (
	noMulticast = "ip daddr 224.0.0.0/4 drop; ip6 daddr ff02::fb drop;"
	noUDP       = "ip protocol udp drop; ip6 nexthdr udp drop;"
	noLinks     = "tcp sport 7701 drop; tcp dport 7701 drop; udp sport 7701 drop; udp dport 7701 drop;"
	loss20      = "ether type { ip, ip6 } numgen random mod 100 < 20 counter drop;"
)

// Filter makes the switch of the LAN follow these rules and no others.
func (n *network) Filter(rules string) {
	n.t.Helper()
	n.filter(n.Switch(), rules)
}

func (n *network) filter(sw, rules string) {
	n.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", sw, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader("table bridge lan {}\ndelete table bridge lan\n" +
		"table bridge lan { chain forward { type filter hook forward priority 0\n" + strings.ReplaceAll(rules, ";", "\n") + "\n}\n}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("nft: %v: %s", err, out)
	}
}

// Dropped is how many packets the rules with a counter have dropped.
func (n *network) Dropped() (packets int) {
	n.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", n.Switch(), "nft", "list", "table", "bridge", "lan").CombinedOutput()
	if err != nil {
		n.t.Fatalf("nft: %v: %s", err, out)
	}
	if _, counted, ok := strings.Cut(string(out), "counter packets "); ok {
		fmt.Sscan(counted, &packets)
	}
	return packets
}

// Halve separates the hosts up to number last from those after it.
func (n *network) Halve(last int) {
	n.t.Helper()
	var left, right []string
	for i := 1; i <= n.hosts; i++ {
		if i <= last {
			left = append(left, lantest.Port(i))
		} else {
			right = append(right, lantest.Port(i))
		}
	}
	l, r := "{ "+strings.Join(left, ", ")+" }", "{ "+strings.Join(right, ", ")+" }"
	n.Filter(fmt.Sprintf("iifname %s oifname %s drop; iifname %s oifname %s drop;", l, r, r, l))
}

// in runs a command on a host.
func (n *network) in(host string, command ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", append([]string{"netns", "exec", host}, command...)...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, out)
	}
}

// dial connects to an address as if from a host. A socket belongs to the
// namespace in which it was made.
func dial(ctx context.Context, host, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		conn, back, err := dialFrom(ctx, host, network, address)
		if back {
			runtime.UnlockOSThread()
		} // else the thread ends with this goroutine
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// dialFrom visits a host with this thread. back: the thread is where it was.
func dialFrom(ctx context.Context, host, network, address string) (conn net.Conn, back bool, err error) {
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		return nil, true, err
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + host)
	if err != nil {
		return nil, true, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, true, fmt.Errorf("enter %s: %w", host, err)
	}
	conn, err = new(net.Dialer).DialContext(ctx, network, address)
	return conn, unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil, err
}
