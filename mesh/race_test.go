//go:build race

package mesh_test

// raceDetector makes everything several times slower: the simulator, which has
// one goroutine for each seed, plays the rest of its seeds without it.
const raceDetector = true
