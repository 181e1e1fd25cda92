//go:build !race

package records_test

const racing = false
