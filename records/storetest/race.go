//go:build race

package storetest

// modelRounds is how much testModel does. It has one goroutine, and the race detector
// makes it several times slower.
const modelRounds = 40
