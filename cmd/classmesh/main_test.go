package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"classmesh": main})
}

// TestInterrupted interrupts an exchange with a coordinator that accepts and
// says nothing. The data folder is free afterwards.
func TestInterrupted(t *testing.T) {
	silent, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dir := newTestDevice(t, filepath.Join(t.TempDir(), "device"))
	d := openTestDevice(t, dir)
	d.settings.Addresses = []string{"ws://" + silent.Addr().String()}
	if err := d.folder.setSettings(d.settings); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("classmesh", "device", "sync", "--data", dir)
	var words bytes.Buffer
	cmd.Stderr = &words
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, &words)
	}
	mustCommand(t, "fsck", "--data", dir)
}

// TestOutcomes: what scripts get for errors, however deep they are wrapped.
func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		word string
	}{
		{nil, exitOK, ""},
		{errors.New("something"), exitFailed, "something"},
		{usagef("name it"), exitUsage, "--help"},
		{&classroom.ImportError{Rows: []classroom.RowError{{Line: 3, Err: classroom.ErrNotAdministrates}}}, exitInput, "line 3"},
		{records.ErrFull, exitFull, "free some space"},
		{&os.PathError{Op: "write", Path: "/dev/full", Err: syscall.ENOSPC}, exitFull, "free some space"},
		{records.ErrNewerStore, exitNewer, "update the program"},
		{&exchange.EndError{Code: wire.CodeRevoked}, exitRefused, "administrator"},
		{&exchange.EndError{Code: wire.CodeVersion}, exitNewer, "update"},
		{&exchange.EndError{Code: wire.CodeFault}, exitFailed, ""},
		{remote(errInUse), exitInUse, "in use"},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("do something: %w", err)
		}
		if code, words := outcome(err); code != c.code || !strings.Contains(words, c.word) {
			t.Errorf("%v: exit code %d, %q", c.err, code, words)
		}
	}
	for _, o := range outcomes {
		if !strings.Contains(exitCodes, fmt.Sprintf("%3d  ", o.code)) {
			t.Errorf("exit code %d of %q is not documented", o.code, o.err)
		}
	}
}
