//go:build !linux

package main

import "time"

// peakMemory is not known here.
func peakMemory(string) float64 { return 0 }

// processorTime is not known here.
func processorTime() time.Duration { return 0 }

// loadAverage is not known here.
func loadAverage() string { return "" }

// firstTouch is not known here.
func firstTouch() (time.Duration, error) { return 0, nil }
