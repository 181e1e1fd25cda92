package heap

import (
	"os"
	"runtime"
	"strings"
	"syscall"
)

// hugeBytes is how much of the heap may come in pages of 2 MiB: most of the first arena of
// 64 MiB, in which Go's heap is until it needs more. docs/performance.md has what it brings.
const hugeBytes = 60 << 20

// useHugePages asks the system to give what the heap needs next in pages of 2 MiB, if it has
// them: a process that has just been started touches thousands of small ones for the first
// time, and each takes a turn of the kernel and, in a virtual machine, of its host.
//
// What is asked about is a piece of the heap that is given back at once, untouched: until it
// is used for other things it takes no memory, and what was asked holds for its addresses.
func useHugePages() {
	if strings.Contains(os.Getenv("GODEBUG"), "disablethp=1") {
		return
	}
	// An error means that there are no such pages: the small ones will do.
	_ = syscall.Madvise(make([]byte, hugeBytes), syscall.MADV_HUGEPAGE)
	runtime.GC() // or the next collection would come after three times as much
}
