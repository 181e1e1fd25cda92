//go:build race

package main

// underTest is what is measured once: with the race detector the sessions, between
// processes of this program alone. Without it everything is.
const underTest = "first,memory,nothing,changed,live,open,nats,small/fsync"
