package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What is built to be measured is named, in the environment, by its path; or, if
// it could not be built, there stands why, after "no: ".
const (
	natsVariable    = "CLASSMESH_BENCH_NATS"    // the program in cmd/bench/nats
	programVariable = "CLASSMESH_BENCH_PROGRAM" // classmesh itself
)

// buildPrograms builds what some rows need. It is called where there is a network:
// what the benchmark compares with is a module of its own, which is fetched once.
func (b *bench) buildPrograms(ctx context.Context) (remove func(), err error) {
	dir, err := os.MkdirTemp("", "classmesh-bench-")
	if err != nil {
		return nil, err
	}
	for _, p := range []struct {
		families         []string
		variable, source string
	}{
		{[]string{"nats"}, natsVariable, "cmd/bench/nats"},
		{[]string{"growth", "program"}, programVariable, "cmd/classmesh"},
	} {
		if !b.wantsAny(p.families) || os.Getenv(p.variable) != "" {
			continue
		}
		path := filepath.Join(dir, filepath.Base(p.source))
		cmd := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
		cmd.Dir = filepath.FromSlash(p.source)
		if said, err := cmd.CombinedOutput(); err != nil {
			first, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
			path = fmt.Sprintf("no: %v %s", err, first)
		}
		if err := os.Setenv(p.variable, path); err != nil {
			return nil, err
		}
	}
	return func() { os.RemoveAll(dir) }, nil
}

// program returns the path of what was built, or why it could not be.
func program(variable string) (path, why string) {
	path = os.Getenv(variable)
	if why, no := strings.CutPrefix(path, "no: "); no || path == "" {
		return "", "could not be built: " + why
	}
	return path, ""
}
