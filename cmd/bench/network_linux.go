package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// inOwnNetwork runs this program once more in a network namespace of its own, if
// it may make one, and reports whether it did: then everything is done. In such
// a namespace there is nothing but a loopback interface, whose counters count
// what the benchmark sends and nothing else.
func inOwnNetwork(ctx context.Context) (done bool, err error) {
	if os.Getenv(apartVariable) != "" {
		return false, loopbackUp()
	}
	if os.Geteuid() != 0 {
		return false, nil
	}
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	runtime.LockOSThread() // with which the other process ends
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), apartVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return false, nil // not allowed here: without
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) {
		return true, errSaid
	} else if err != nil {
		return false, err
	}
	return true, nil
}

// endsWithUs has a process be killed when this one is.
func endsWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// loopbackUp sets the loopback interface up, and has it carry packets of the
// size that they would have on a wire: not several in one, which would count the
// headers once.
func loopbackUp() error {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(s)
	type request struct {
		name [syscall.IFNAMSIZ]byte
		data [24]byte
	}
	r := request{}
	copy(r.name[:], "lo")
	r.data[0] = syscall.IFF_UP | syscall.IFF_RUNNING
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("set the loopback interface up: %w", errno)
	}
	const (
		siocEthtool = 0x8946
		setGSO      = 0x24
	)
	off := struct{ command, value uint32 }{setGSO, 0}
	g := struct {
		name [syscall.IFNAMSIZ]byte
		data unsafe.Pointer
		rest [16]byte
	}{name: r.name, data: unsafe.Pointer(&off)}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), siocEthtool, uintptr(unsafe.Pointer(&g))); errno != 0 {
		return fmt.Errorf("have the loopback interface carry single packets: %w", errno)
	}
	return nil
}

// loopbackBytes returns how many bytes went over the benchmark's own loopback
// interface, with the headers of IP and UDP, or false if it has none.
func loopbackBytes() (uint64, bool) {
	if os.Getenv(apartVariable) == "" {
		return 0, false
	}
	devices, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(devices)) {
		name, counts, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "lo" {
			continue
		}
		var received uint64
		_, err := fmt.Sscan(counts, &received)
		return received, err == nil
	}
	return 0, false
}
