package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// groupVariable names, in the environment of a process that is measured, the
// control group that it is to enter.
const groupVariable = "CLASSMESH_BENCH_CGROUP"

// memoryGroup makes a control group that has so much memory, page cache
// included, or says why it cannot.
func memoryGroup(side string, bytes int64) (dir string, remove func(), err error) {
	name := fmt.Sprint("classmesh-bench-", os.Getpid(), "-", side)
	for _, kind := range []struct{ root, limit string }{
		{"/sys/fs/cgroup", "memory.max"},
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
	} {
		dir = filepath.Join(kind.root, name)
		if err = os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		remove := func() {
			for range 100 { // until the kernel has seen that its processes are gone
				if os.Remove(dir) == nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		if err = os.WriteFile(filepath.Join(dir, kind.limit), fmt.Append(nil, bytes), 0o644); err == nil {
			return dir, remove, nil
		}
		remove()
	}
	return "", nil, err
}

// enterGroup takes this process into its control group, if it is to have one.
func enterGroup() error {
	dir := os.Getenv(groupVariable)
	if dir == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, os.Getpid()), 0o644)
}
