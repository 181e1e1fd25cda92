//go:build race

package boltstore_test

// raceDetector makes everything several times slower: then some tests do less.
const raceDetector = true
