package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// daemon is the program at work on a data folder: a coordinator, or a device that
// serves.
type daemon struct {
	url     string // where it is found, as it said itself
	cmd     *exec.Cmd
	log     warnings
	ended   chan error
	control *http.Client
}

// startDaemon starts the program and waits until it has said that it is ready.
func startDaemon(cmd *exec.Cmd, data string) (*daemon, error) {
	d := &daemon{cmd: cmd, ended: make(chan error, 1)}
	d.control = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		path := filepath.Join(data, "control.sock")
		if elsewhere, err := os.ReadFile(filepath.Join(data, "control.addr")); err == nil {
			path = strings.TrimSpace(string(elsewhere))
		}
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	cmd.Stderr = &d.log
	endsWithUs(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%v did not start: %w: %s", cmd.Args, cmd.Wait(), d.log.text())
	}
	words := strings.Fields(line)
	d.url = words[len(words)-1]
	go func() {
		io.Copy(io.Discard, said)
		d.ended <- cmd.Wait()
	}()
	return d, nil
}

// stopPatience is how long a daemon may take to end in good order.
const stopPatience = 20 * time.Second

// stop ends the daemon in good order.
func (d *daemon) stop() error {
	defer d.control.CloseIdleConnections()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		d.cmd.Process.Kill() // a system without signals, or it has ended already
	}
	select {
	case err := <-d.ended:
		if err != nil {
			return fmt.Errorf("%v: %w: %s", d.cmd.Args, err, d.log.text())
		}
		return nil
	case <-time.After(stopPatience):
		d.cmd.Process.Kill()
		<-d.ended
		return fmt.Errorf("%v did not end", d.cmd.Args)
	}
}

// pid is that of the daemon, as the files under /proc are named.
func (d *daemon) pid() string { return strconv.Itoa(d.cmd.Process.Pid) }

// standing is what is looked at of a device's status.
type standing struct {
	Device      string
	Fingerprint string
	Logs        []struct {
		Log, Device string
		Counter     uint64
	}
	Peers []struct{ State string }
}

// status asks the local socket for what "device status --json" prints, without a
// process for each time.
func (d *daemon) status(ctx context.Context) (s standing, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://local/v1/status", nil)
	if err != nil {
		return s, err
	}
	answer, err := d.control.Do(r)
	if err != nil {
		return s, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return s, fmt.Errorf("status of a device: %s", answer.Status)
	}
	return s, json.NewDecoder(answer.Body).Decode(&s)
}

// others is how far the logs that others have written are held, taken together.
func (s *standing) others() (records uint64) {
	for _, l := range s.Logs {
		if l.Device != s.Device {
			records += l.Counter
		}
	}
	return records
}

// has reports whether all is held that another device's status tells of.
func (s *standing) has(other *standing) bool {
	held := map[string]uint64{}
	for _, l := range s.Logs {
		held[l.Log] = l.Counter
	}
	for _, l := range other.Logs {
		if held[l.Log] < l.Counter {
			return false
		}
	}
	return true
}

// linked is to how many devices there is a connection.
func (s *standing) linked() (n int) {
	for _, p := range s.Peers {
		if p.State == "connected" {
			n++
		}
	}
	return n
}

// warnings are the first of what a daemon logs.
type warnings struct {
	mu sync.Mutex
	b  bytes.Buffer
}

const keptWarnings = 8 << 10

func (w *warnings) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b.Write(b[:min(len(b), max(0, keptWarnings-w.b.Len()))])
	return len(b), nil
}

func (w *warnings) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}
