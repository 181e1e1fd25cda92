//go:build race

package main

// underTest is what is measured once: passwords take long with the race detector,
// so of the small machines with a class one is enough.
const underTest = "first,memory,nothing,changed,live,open,nats,worst,small/fsync,growth,page,limit"
