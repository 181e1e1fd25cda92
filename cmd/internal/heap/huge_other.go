//go:build !linux

package heap

// useHugePages does nothing: only Linux is asked.
func useHugePages() (noMore func()) { return func() {} }
