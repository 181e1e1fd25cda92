package main

import (
	"context"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// heapWatch watches how large the Go heap of this process becomes: the pages in use,
// with what is dead and not yet swept.
type heapWatch struct{ peak atomic.Uint64 }

func watchHeap(ctx context.Context) *heapWatch {
	h := new(heapWatch)
	go func() {
		samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			metrics.Read(samples)
			if now := samples[0].Value.Uint64() + samples[1].Value.Uint64(); now > h.peak.Load() {
				h.peak.Store(now)
			}
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	return h
}

// memory is the most that this process has had so far.
func (h *heapWatch) memory() memory { return memory{peakMemory("self"), float64(h.peak.Load())} }
