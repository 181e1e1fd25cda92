//go:build linux || darwin

package boltstore

import "syscall"

// freeBytes returns the room that is left on the disk of a folder.
func freeBytes(dir string) (free uint64, known bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}
