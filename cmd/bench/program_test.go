package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"testing"

	"github.com/classmesh/classmesh/discovery/netns"
)

// TestProgram measures the program itself once with little, but for the minute in
// which nothing is done.
func TestProgram(t *testing.T) {
	// A former result is not one of a program that has changed since.
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(name) == ".go" {
			_, err = os.Stat(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(t.TempDir(), "classmesh")
	build := exec.Command("go", "build", "-o", built, "../classmesh")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make builds it
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	t.Setenv(programVariable, built)
	b, err := newBench(2000, 1, "program/upload,program/first,program/contact")
	if err != nil {
		t.Fatal(err)
	}
	b.dir = t.TempDir()
	if err := b.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, f := range b.table.figures {
		if !b.table.wants(f.id) || len(f.values) > 0 {
			continue
		}
		switch {
		case path.Base(f.id) == "bytes": // this process has no network of its own
		case path.Dir(f.id) == "program/contact/8" && netns.Possible() != nil:
		default:
			t.Errorf("row %s has no value", f.id)
		}
	}
	if got := b.table.figure("program/first/2k/records").median(); got < 1500 || got > 2500 {
		t.Errorf("of 2,000 records that were wished for the program made %v", got)
	}
	left, err := os.ReadDir(b.dir)
	if err != nil || len(left) > 0 {
		t.Errorf("there are left %v %v", left, err)
	}
}
