package exchange

import "time"

// Clock is where a session takes time from.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f after d, on a goroutine of its own, unless stop is
	// called before.
	AfterFunc(d time.Duration, f func()) (stop func())
}

// SystemClock is the clock of package time.
type SystemClock struct{}

// Now is time.Now.
func (SystemClock) Now() time.Time { return time.Now() }

// AfterFunc is time.AfterFunc.
func (SystemClock) AfterFunc(d time.Duration, f func()) (stop func()) {
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}
