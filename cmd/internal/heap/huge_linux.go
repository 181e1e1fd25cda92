package heap

import (
	"math"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"unsafe"
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

// useHugePages asks the system to give what the heap needs next in pages of 2 MiB: a process
// that has just been started touches thousands of small ones for the first time, and each
// takes a turn of the kernel and, in a virtual machine, of its host. What it returns takes
// that back; what is in huge pages then stays there.
//
// What is asked about is a piece of the heap that is given back at once, untouched: until it
// is used for other things it takes no memory, and what was asked holds for its addresses.
func useHugePages() (noMore func()) {
	if !mayUseHugePages() {
		return func() {}
	}
	piece := make([]byte, hugeBytes)
	address := uintptr(unsafe.Pointer(unsafe.SliceData(piece)))
	// An error means that there are none: the small ones will do.
	_ = syscall.Madvise(piece, syscall.MADV_HUGEPAGE)
	// Or the next collection would come after three times as much; and what was never used is
	// not left for the runtime to give back bit by bit.
	piece = nil
	debug.FreeOSMemory()
	return func() {
		// The piece is not there any more, so that nothing but its address can be named.
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, address, hugeBytes, syscall.MADV_NOHUGEPAGE)
	}
}

// mayUseHugePages reports whether the system has huge pages of the right size, and the
// process as much memory as it likes.
func mayUseHugePages() bool {
	if is(hugePageFile, hugePage) && !is("/proc/sys/vm/overcommit_memory", "2") &&
		!strings.Contains(os.Getenv("GODEBUG"), "disablethp=1") && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		var data, all syscall.Rlimit
		return syscall.Getrlimit(syscall.RLIMIT_DATA, &data) == nil && data.Cur == math.MaxUint64 &&
			syscall.Getrlimit(syscall.RLIMIT_AS, &all) == nil && all.Cur == math.MaxUint64
	}
	return false
}

// is reports whether a file of the system has a certain content.
func is(file, content string) bool {
	b, err := os.ReadFile(file)
	return err == nil && strings.TrimSpace(string(b)) == content
}
