package heap

import (
	"bufio"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// advised counts the pieces of this process's memory that may have huge pages.
func advised(t *testing.T) (n int) {
	t.Helper()
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if flags, ok := strings.CutPrefix(lines.Text(), "VmFlags:"); ok && strings.Contains(flags, " hg") {
			n++
		}
	}
	return n
}

// TestUseHugePages: a piece of the heap may come in huge pages where the system has them, and
// no more afterwards; the heap is as small as before, and the next collection not far. With
// a limit of memory nothing is asked for.
func TestUseHugePages(t *testing.T) {
	t.Setenv("GODEBUG", "")
	limit := debug.SetMemoryLimit(200 << 20)
	defer debug.SetMemoryLimit(limit)
	before := advised(t) // by the runtime, for itself
	useHugePages()()
	if n := advised(t); n != before {
		t.Errorf("in spite of a limit %d pieces of memory may have huge pages", n-before)
	}
	debug.SetMemoryLimit(math.MaxInt64)

	noMore := useHugePages()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 4<<20 || m.NextGC > 12<<20 || m.HeapSys-m.HeapReleased > 8<<20 {
		t.Errorf("%d bytes are in use, the collector runs at %d, and %d are held", m.HeapAlloc, m.NextGC, m.HeapSys-m.HeapReleased)
	}
	if n := advised(t); mayUseHugePages() != (n > before) {
		t.Errorf("%d pieces of memory may have huge pages", n-before)
	}
	noMore()
	if n := advised(t); n != before {
		t.Errorf("%d pieces of memory may have huge pages in the end", n-before)
	}
}
