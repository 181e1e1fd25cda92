// Package gc sets how often the garbage collector runs in the processes of
// this project. Records stand on disk, and what is alive in memory is some megabytes:
// with Go's own setting the collector runs every few megabytes of a first sync.
package gc

import (
	"os"
	"runtime/debug"
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
