package heap

import (
	"os"
	"runtime/debug"
	"strings"
	"syscall"
)

// hugeBytes is how much of the heap may come in huge pages: most of the first arena of
// 64 MiB, in which Go's heap is until it needs more. docs/performance.md has what it brings.
const hugeBytes = 60 << 20

// hugePage is how large they have to be. Where ordinary pages have 16 or 64 KiB, huge ones have
// 32 or 512 MiB, which is more than a device needs.
const (
	hugePage     = "2097152"
	hugePageFile = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"
)

// useHugePages asks the system to give what the heap needs next in pages of 2 MiB, if it has
// them: a process that has just been started touches thousands of small ones for the first
// time, and each takes a turn of the kernel and, in a virtual machine, of its host.
//
// What is asked about is a piece of the heap that is given back at once, untouched: until it
// is used for other things it takes no memory, and what was asked holds for its addresses.
func useHugePages() {
	size, err := os.ReadFile(hugePageFile)
	if err != nil || strings.TrimSpace(string(size)) != hugePage || strings.Contains(os.Getenv("GODEBUG"), "disablethp=1") {
		return
	}
	// An error means that there are none: the small ones will do.
	_ = syscall.Madvise(make([]byte, hugeBytes), syscall.MADV_HUGEPAGE)
	// Or the next collection would come after three times as much; and what was never used is
	// not left for the runtime to give back bit by bit.
	debug.FreeOSMemory()
}
