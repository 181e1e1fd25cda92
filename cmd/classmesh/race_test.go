//go:build race

package main

// raceDetector makes processes start and work several times slower.
const raceDetector = true
