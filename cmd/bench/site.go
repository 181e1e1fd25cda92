package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// site is a zone as people set it up with the program: a coordinator and devices,
// with a data folder each.
type site struct {
	program     string // its path
	dir         string
	address     string // of the coordinator, on loopback
	coordinator *daemon
}

const coordinatorName = "coordinator"

// newSite starts a coordinator with one zone.
func newSite(ctx context.Context, program, dir string) (_ *site, err error) {
	s := &site{program: program, dir: dir, address: "127.0.0.1:0"}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := s.startCoordinator(ctx); err != nil {
		return nil, err
	}
	for _, what := range []string{"org", "zone"} {
		if _, err := s.run(ctx, coordinatorName, what, "create", "--data", s.data(coordinatorName), "bench"); err != nil {
			return nil, errors.Join(err, s.stopCoordinator())
		}
	}
	return s, nil
}

// data is the folder of a device or of the coordinator.
func (s *site) data(name string) string { return filepath.Join(s.dir, name) }

// run runs a command that has to succeed, and returns what it printed.
func (s *site) run(ctx context.Context, args ...string) ([]byte, error) {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, s.program, args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("classmesh %s: %w: %s", strings.Join(args, " "), err, said.Bytes())
	}
	return out, err
}

// startCoordinator starts it where it was before.
func (s *site) startCoordinator(ctx context.Context) (err error) {
	data := s.data(coordinatorName)
	s.coordinator, err = startDaemon(exec.CommandContext(ctx, s.program, coordinatorName, "serve", "--data", data, "--listen", s.address), data)
	if err == nil {
		s.address = strings.TrimPrefix(s.coordinator.url, "http://")
	}
	return err
}

func (s *site) stopCoordinator() error {
	if s.coordinator == nil {
		return nil
	}
	d := s.coordinator
	s.coordinator = nil
	return d.stop()
}

// join makes one more device, which holds nothing.
func (s *site) join(ctx context.Context, name string) error {
	code, err := s.run(ctx, coordinatorName, "invite", "create", "--data", s.data(coordinatorName))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(code), "\n")
	_, err = s.run(ctx, "device", "join", "--data", s.data(name), "--name", name, s.address, first)
	return err
}

// status is that of a device that does not run.
func (s *site) status(ctx context.Context, name string) (st standing, err error) {
	out, err := s.run(ctx, "device", "status", "--json", "--data", s.data(name))
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(out, &st)
}

// again returns a copy of the site, of which nothing runs: so that each run
// begins with the same.
func (s *site) again(dir string) (*site, error) {
	err := filepath.WalkDir(s.dir, func(from string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to, err := filepath.Rel(s.dir, from)
		if err != nil {
			return err
		}
		to = filepath.Join(dir, to)
		if d.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		return copyFile(to, from)
	})
	return &site{program: s.program, dir: dir, address: s.address}, err
}
