// Package heap sets up the heap of the processes of this project: how often the garbage
// collector runs, and how its memory is got from the system. Records stand on disk, and
// what is alive in memory is some megabytes; with Go's own settings the collector runs
// every few megabytes of a first sync, and each of them comes in pages of 4 KiB.
package heap

import (
	"os"
	"runtime/debug"
	"time"
)

// percent is how much may be allocated, in percent of what is alive, before the
// collector runs again. docs/performance.md has what 100, Go's own, and 400 come to.
const percent = 200

// SetPercent sets it for this process, unless GOGC in the environment says something else.
// A limit that GOMEMLIMIT sets is kept in any case.
func SetPercent() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// youth is how long a process that has been started gets memory in huge pages. For longer,
// the kernel would fill up by and by what the runtime has given back around what is in use.
const youth = 10 * time.Second

// StartYoung lets this process, which is to run for long or to do much, get its memory in
// huge pages while it is young, if the system has them and nothing limits its memory:
// GOMEMLIMIT, ulimit, or a system that does not overcommit. GODEBUG=disablethp=1 does
// without. It does not wait: asking takes some milliseconds, and the rest of a start as many
// anyway.
//
// What is returned is closed when the system was asked. Until then the heap looks larger by
// what it is asked about.
func StartYoung() (asked <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.AfterFunc(youth, useHugePages())
	}()
	return done
}
