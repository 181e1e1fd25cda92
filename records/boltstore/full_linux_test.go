package boltstore_test

import (
	"context"
	"errors"
	"fmt"

	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/classmesh/classmesh/records/boltstore"
)

// The same as TestQuota on a disk that is full.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("needs the right to mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := open(t, filepath.Join(dir, "store"), boltstore.Options{})
	commits, err := fillUp(s)
	if err != nil || commits < 5 {
		t.Errorf("after %d commits: %v", commits, err)
	}
	mustCheck(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// The same where the system limits the size of a file; the limit is that of a
// process, so another one runs the test.
func TestFileTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	if out, err := child(t, roleFileLimit, path).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func init() {
	roles[roleFileLimit] = func(path string) error {
		signal.Ignore(syscall.SIGXFSZ) // or the process ends at the limit
		s, err := boltstore.Create(path, boltstore.Options{})
		if err != nil {
			return err
		}
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		limit.Cur = 20 << 20
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		commits, err := fillUp(s)
		if err != nil || commits < 10 {
			return fmt.Errorf("after %d commits: %w", commits, err)
		}
		var problems []error
		err = s.Check(context.Background(), func(problem error) { problems = append(problems, problem) })
		return errors.Join(err, errors.Join(problems...), s.Close())
	}
}
