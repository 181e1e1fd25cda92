//go:build !race

package coordinator_test

const racing = false
