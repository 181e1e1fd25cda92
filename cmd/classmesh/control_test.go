package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const goodCSV = "full name,username,password,class,role\nAna Silva,ana,secret1,3A,\nBen Okafor,ben,secret2,3A,teacher\n"

// TestCommandsWhetherOrNotItRuns gives the same commands to a device that runs
// and to one that does not, at paths of all lengths.
func TestCommandsWhetherOrNotItRuns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.csv")
	if err := os.WriteFile(file, []byte(goodCSV), 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("a-long-name-", 12), "device")
	for _, dir := range []string{filepath.Join(t.TempDir(), "device"), long} {
		newTestDevice(t, dir)
		mustCommand(t, "generate", "--data", dir, "--learners", "5", "--days", "7", "--seed", "4")
		stopped := mustCommand(t, "dump", "--data", dir)
		if len(stopped) < 1000 {
			t.Fatalf("the dump has %d bytes", len(stopped))
		}
		d := openTestDevice(t, dir)
		stop := serveTestControl(t, d)
		if d := cmp.Diff(stopped, mustCommand(t, "dump", "--data", dir)); d != "" {
			t.Errorf("the dump of a device that runs is another: %s", d)
		}
		if out := mustCommand(t, "fsck", "--data", dir); out != "clean\n" {
			t.Errorf("fsck: %s", out)
		}
		if out := mustCommand(t, "device", "users", "import", "--data", dir, file); !strings.Contains(out, "2 added") {
			t.Errorf("import: %s", out)
		}
		mustCommand(t, "generate", "--data", dir, "--learners", "2", "--days", "0", "--seed", "5")
		running := mustCommand(t, "dump", "--data", dir)
		status := mustCommand(t, "device", "status", "--data", dir, "--json")
		stop()
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(running, mustCommand(t, "dump", "--data", dir)); d != "" {
			t.Errorf("the dump of the stopped device is another: %s", d)
		}
		if d := cmp.Diff(status, mustCommand(t, "device", "status", "--data", dir, "--json")); d != "" {
			t.Errorf("the status of the stopped device is another: %s", d)
		}
		if entries, err := filepath.Glob(filepath.Join(dir, "control.*")); err != nil || len(entries) > 0 {
			t.Errorf("left behind: %v", entries)
		}
	}
}

// TestSocketOfAKilledProcess leaves a socket that nobody listens at.
func TestSocketOfAKilledProcess(t *testing.T) {
	for _, dir := range []string{filepath.Join(t.TempDir(), "d"), filepath.Join(t.TempDir(), strings.Repeat("x", 120))} {
		newTestDevice(t, dir)
		d := openTestDevice(t, dir)
		s, err := listenLocal(d.folder)
		if err != nil {
			t.Fatal(err)
		}
		s.remove = nil
		s.Listener.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
		old, err := socketPath(dir)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if _, err := os.Stat(old); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		mustCommand(t, "dump", "--data", dir)
		d = openTestDevice(t, dir)
		stop := serveTestControl(t, d)
		if info, err := os.Stat(socketMust(t, dir)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("socket: %v, %v", info, err)
		}
		mustCommand(t, "dump", "--data", dir)
		stop()
		if _, err := os.Stat(old); err == nil {
			t.Error("the old socket is still there")
		}
	}
}

func socketMust(t *testing.T, dir string) string {
	path, err := socketPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestErrorsThroughTheSocket: words and exit codes are those that the command
// would have given itself.
func TestErrorsThroughTheSocket(t *testing.T) {
	dir := newTestDevice(t, filepath.Join(t.TempDir(), "device"))
	file := filepath.Join(t.TempDir(), "users.csv")
	if err := os.WriteFile(file, []byte(goodCSV+"Eve,,pw,3A,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"device", "users", "import", "--data", dir, file}
	code, _, words := command(t, args...)
	if code != exitInput || !strings.Contains(words, "line 4") {
		t.Errorf("exit code %d: %s", code, words)
	}
	d := openTestDevice(t, dir)
	defer serveTestControl(t, d)()
	codeRunning, _, wordsRunning := command(t, args...)
	if codeRunning != code || wordsRunning != words {
		t.Errorf("exit code %d: %s\nwant %d: %s", codeRunning, wordsRunning, code, words)
	}
	if dump := mustCommand(t, "dump", "--data", dir); dump != "" {
		t.Errorf("something was imported: %s", dump)
	}
	code, out, words := command(t, append(args, "--partial", "--json")...)
	if code != exitFailed || !strings.Contains(words, "line 4") {
		t.Errorf("partial: exit code %d: %s", code, words)
	}
	var res importReport
	if err := json.Unmarshal([]byte(out), &res); err != nil || res.Added != 2 || len(res.Refused) != 1 {
		t.Errorf("partial: %s, %v", out, err)
	}
}

// TestDamage changes a name in the file, as a bad disk does: fsck names the log.
func TestDamage(t *testing.T) {
	dir := newTestDevice(t, filepath.Join(t.TempDir(), "device"))
	file := filepath.Join(t.TempDir(), "users.csv")
	if err := os.WriteFile(file, []byte(goodCSV), 0o600); err != nil {
		t.Fatal(err)
	}
	mustCommand(t, "device", "users", "import", "--data", dir, file)
	store := filepath.Join(dir, recordsName)
	b, err := os.ReadFile(store)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.ReplaceAll(b, []byte("Ana Silva"), []byte("Ana Silvo"))
	if bytes.Equal(b, damaged) {
		t.Fatal("the name is not in the file")
	}
	if err := os.WriteFile(store, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, words := command(t, "fsck", "--data", dir)
	if code != exitFailed || !strings.Contains(out, "log-") || !strings.Contains(words, "findings") {
		t.Errorf("exit code %d: %s%s", code, out, words)
	}
	code, outJSON, _ := command(t, "fsck", "--data", dir, "--json")
	var f finding
	if err := json.NewDecoder(strings.NewReader(outJSON)).Decode(&f); err != nil || code != exitFailed || f.What == "" {
		t.Errorf("exit code %d: %s: %v", code, outJSON, err)
	}
	d := openTestDevice(t, dir)
	defer serveTestControl(t, d)()
	if codeRunning, outRunning, _ := command(t, "fsck", "--data", dir); codeRunning != exitFailed || outRunning != out {
		t.Errorf("while it runs: exit code %d: %s", codeRunning, outRunning)
	}
}

type brokenPipe struct{ after int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.after -= len(p); b.after < 0 {
		return 0, os.ErrClosed
	}
	return len(p), nil
}

// TestDumpIntoAClosedPipe is a failure, whether or not the device runs.
func TestDumpIntoAClosedPipe(t *testing.T) {
	dir := newTestDevice(t, filepath.Join(t.TempDir(), "device"))
	mustCommand(t, "generate", "--data", dir, "--learners", "5", "--days", "7")
	dump := func() error {
		o, err := reach(t.Context(), testProgram(t), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		return o.dump(t.Context(), &brokenPipe{500})
	}
	if err := dump(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
	d := openTestDevice(t, dir)
	defer serveTestControl(t, d)()
	if err := dump(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("while it runs: %v", err)
	}
}

// failing is operations that fail after they have streamed something.
type failing struct{ operations }

func (failing) dump(_ context.Context, w io.Writer) error {
	w.Write([]byte("{}\n"))
	return errInUse
}

// TestStreamThatFails: an error after the first bytes reaches the command.
func TestStreamThatFails(t *testing.T) {
	dir := newTestDevice(t, filepath.Join(t.TempDir(), "device"))
	d := openTestDevice(t, dir)
	s, err := listenLocal(d.folder)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	server := d.server(controlHandler(failing{d}))
	go server.Serve(s)
	defer server.Close()
	c, err := dialControl(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out bytes.Buffer
	err = c.dump(t.Context(), &out)
	if code, _ := outcome(err); code != exitInUse || out.String() != "{}\n" {
		t.Errorf("exit code %d, %q: %v", code, out.String(), err)
	}
}
