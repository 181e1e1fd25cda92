//go:build linux || darwin

package main

import "syscall"

// diskFree returns how many bytes are free for this program where dir is, and
// whether that is known.
func diskFree(dir string) (uint64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return uint64(s.Bavail) * uint64(s.Bsize), true
}
