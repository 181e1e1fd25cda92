package heap

import (
	"bufio"
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestUseHugePages: a piece of the heap may come in huge pages where the system has them, the
// heap is as small afterwards as before, and the next collection not far.
func TestUseHugePages(t *testing.T) {
	t.Setenv("GODEBUG", "")
	useHugePages()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 4<<20 || m.NextGC > 12<<20 || m.HeapSys-m.HeapReleased > 8<<20 {
		t.Errorf("%d bytes are in use, the collector runs at %d, and %d are held", m.HeapAlloc, m.NextGC, m.HeapSys-m.HeapReleased)
	}
	size, err := os.ReadFile(hugePageFile)
	advised := 0
	maps, _ := os.Open("/proc/self/smaps")
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if flags, ok := strings.CutPrefix(lines.Text(), "VmFlags:"); ok && strings.Contains(flags, " hg") {
			advised++
		}
	}
	if want := err == nil && strings.TrimSpace(string(size)) == hugePage; want != (advised > 0) {
		t.Errorf("huge pages of %q bytes (%v): %d pieces of memory may have them", size, err, advised)
	}
}
