package link

import (
	"os"
	"sync"
	"time"
)

// deadline interrupts one direction of a WebSocket, which by itself knows only
// contexts. An operation that it interrupts has broken the WebSocket.
type deadline struct {
	hangUp func()

	mu     sync.Mutex
	at     time.Time // zero: none
	timer  *time.Timer
	busy   bool // an operation is in progress
	passed bool // and was interrupted
}

// set sets the time, also for an operation in progress.
func (d *deadline) set(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
	if d.timer != nil {
		d.timer.Stop()
	}
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), func() { d.fire(at) })
	}
}

// fire interrupts the operation in progress, unless the deadline has been
// moved since.
func (d *deadline) fire(at time.Time) {
	d.mu.Lock()
	interrupt := d.busy && d.at.Equal(at)
	d.passed = d.passed || interrupt
	d.mu.Unlock()
	if interrupt {
		d.hangUp()
	}
}

// begin begins an operation, unless it is too late for one.
func (d *deadline) begin() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.at.IsZero() && !time.Now().Before(d.at) {
		return os.ErrDeadlineExceeded
	}
	d.busy = true
	return nil
}

// done ends an operation and returns its error, or that it was interrupted.
func (d *deadline) done(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = false
	if err != nil && d.passed {
		return os.ErrDeadlineExceeded
	}
	return err
}
