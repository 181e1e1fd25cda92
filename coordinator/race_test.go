//go:build race

package coordinator_test

// racing says that the race detector is at work, which takes ten times as long.
const racing = true
