//go:build !race

package storetest

const modelRounds = 120
