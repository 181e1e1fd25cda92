// Package heap sets up the heap of the processes of this project: how often the garbage
// collector runs, and how its memory is got from the system. Records stand on disk, and
// what is alive in memory is some megabytes; with Go's own settings the collector runs
// every few megabytes of a first sync, and each of them comes in pages of 4 KiB.
package heap

import (
	"os"
	"runtime/debug"
)

// percent is how much may be allocated, in percent of what is alive, before the
// collector runs again. docs/performance.md has what 100, Go's own, and 400 come to.
const percent = 200

// SetUp sets up the heap of this process, once, when it begins, and does not wait for all of
// it. What GOGC in the environment
// says goes for the collector; a limit that GOMEMLIMIT sets is kept in any case; with
// GODEBUG=disablethp=1 memory comes in small pages.
//
// What is returned is closed when all of it is done: for who measures. Until then the
// heap looks larger by what is asked about.
func SetUp() (done <-chan struct{}) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	asked := make(chan struct{})
	go func() { // it takes some milliseconds, and the rest of the start as many anyway
		defer close(asked)
		useHugePages()
	}()
	return asked
}
