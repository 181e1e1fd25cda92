//go:build !linux && !darwin

package boltstore

// freeBytes does not know here.
func freeBytes(string) (free uint64, known bool) { return 0, false }
