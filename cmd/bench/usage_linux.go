package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// peakMemory is the most memory that a process has had, in bytes, mapped pages of
// files included; self is this process.
func peakMemory(process string) float64 {
	status, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kib float64
			fmt.Sscan(value, &kib)
			return kib * 1024
		}
	}
	return 0
}

// processorTime is what this process has used of all processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loadAverage says how much else the machine does.
func loadAverage() string {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(load))[:3], ", ")
}

// firstTouch returns how long a page of memory takes that is used for the first time.
func firstTouch() (time.Duration, error) {
	const size = 16 << 20
	room, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return 0, fmt.Errorf("get %d bytes of memory: %w", size, err)
	}
	defer syscall.Munmap(room)
	began := time.Now()
	for i := 0; i < size; i += os.Getpagesize() {
		room[i] = 1
	}
	return time.Since(began) / time.Duration(size/os.Getpagesize()), nil
}
