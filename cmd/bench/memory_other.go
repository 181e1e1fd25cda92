//go:build !linux

package main

// peakMemory is not known here.
func peakMemory(string) float64 { return 0 }

// loadAverage is not known here.
func loadAverage() string { return "" }
