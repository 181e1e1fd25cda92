//go:build !race

package main

// underTest is what is measured once: everything.
const underTest = ""
