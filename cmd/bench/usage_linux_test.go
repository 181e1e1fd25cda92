package main

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// TestProcessorTimeOf: what is read of another process is what that process would
// say of itself.
func TestProcessorTimeOf(t *testing.T) {
	for began := time.Now(); processorTime() < 100*time.Millisecond && time.Since(began) < time.Minute; {
	}
	before := processorTime()
	got, err := processorTimeOf(strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	if after := processorTime(); got < before-20*time.Millisecond || got > after+20*time.Millisecond {
		t.Errorf("%v, want %v to %v", got, before, after)
	}
}

func TestInterfaceBytes(t *testing.T) {
	if _, _, err := interfaceBytes("self", "lo"); err != nil {
		t.Error(err)
	}
	if _, _, err := interfaceBytes("self", "none0"); err == nil {
		t.Error("an interface that is not there was counted")
	}
}
