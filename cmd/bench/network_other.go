//go:build !linux

package main

import (
	"context"
	"os/exec"
)

// inOwnNetwork does nothing here: bytes are counted by the link.
func inOwnNetwork(context.Context) (done bool, err error) { return false, nil }

func loopbackBytes() (uint64, bool) { return 0, false }

// endsWithUs does nothing here: what was started goes on if this process is killed.
func endsWithUs(*exec.Cmd) {}
