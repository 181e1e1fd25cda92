package boltstore

import (
	"context"
	"os"
	"sync"

	"github.com/classmesh/classmesh/records"
)

// committer puts changes that are asked for at the same time into one
// transaction.
type committer struct {
	store records.Store

	mu      sync.Mutex // guards what follows
	waiting []*change
	running bool // a leader is at work
	closed  bool
}

// change is one caller's share of a transaction. Its function looks first and
// writes then: a verdict concerns this change alone and says that nothing was
// written for it; err is the store's and fails the whole transaction.
type change struct {
	f       func(records.WriteTx) (verdict, err error)
	verdict error
	err     error
	done    chan struct{}
}

// maxShared is how many changes one transaction takes.
const maxShared = 512

// do runs f in a transaction and returns when that is on disk.
func (c *committer) do(ctx context.Context, f func(records.WriteTx) (verdict, err error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ch := &change{f: f, done: make(chan struct{})}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return os.ErrClosed
	}
	c.waiting = append(c.waiting, ch)
	lead := !c.running
	c.running = true
	c.mu.Unlock()
	if lead {
		c.lead()
	}
	<-ch.done
	if ch.err != nil {
		return ch.err
	}
	return ch.verdict
}

// lead commits until nobody waits.
func (c *committer) lead() {
	for {
		c.mu.Lock()
		n := min(len(c.waiting), maxShared)
		if n == 0 {
			c.running = false
			c.mu.Unlock()
			return
		}
		batch := c.waiting[:n:n]
		c.waiting = c.waiting[n:]
		c.mu.Unlock()
		// A caller who goes away must not fail the others' changes.
		err := c.store.Update(context.Background(), func(tx records.WriteTx) error {
			for _, ch := range batch {
				var err error
				if ch.verdict, err = ch.f(tx); err != nil {
					return err
				}
			}
			return nil
		})
		for _, ch := range batch {
			ch.err = err
			close(ch.done)
		}
	}
}

// close refuses further changes; those that were taken are finished.
func (c *committer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}
