//go:build !linux

package main

import "errors"

const groupVariable = "CLASSMESH_BENCH_CGROUP"

func memoryGroup(string, int64) (dir string, remove func(), err error) {
	return "", nil, errors.New("there are no control groups here")
}

func enterGroup() error { return nil }
