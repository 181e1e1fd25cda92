package heap

import (
	"runtime"
	"testing"
)

// TestUseHugePages: the heap is as small afterwards as before, and the next collection not
// far.
func TestUseHugePages(t *testing.T) {
	useHugePages()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 4<<20 || m.NextGC > 12<<20 {
		t.Errorf("%d bytes are in use, and the collector runs at %d", m.HeapAlloc, m.NextGC)
	}
}
