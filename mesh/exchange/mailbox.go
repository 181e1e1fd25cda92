package exchange

import (
	"sync"

	"github.com/classmesh/classmesh/records/identity"
)

// mailbox takes events from goroutines that must not wait: operations, timers,
// the writer and the replica's watch. What it holds is bounded: by the
// operations that a machine begins, and for changes by maxQueued and one
// commit a log.
type mailbox struct {
	wake chan struct{} // has a token when there is something to take

	mu      sync.Mutex
	events  []Event
	commits int                         // in events, with their entries
	latest  map[identity.LogID]*Changed // commits whose entries were dropped
	written int
	heard   bool
	woken   bool
	compare bool
}

// maxQueued is how many commits wait for a session with their entries. Behind
// them only the newest counter of each log is of use.
const maxQueued = 64

func newMailbox() *mailbox {
	return &mailbox{wake: make(chan struct{}, 1), latest: map[identity.LogID]*Changed{}}
}

func (b *mailbox) put(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := e.(type) {
	case Written:
		b.written += e.Cost
	case Heard:
		b.heard = true
	case Woken:
		b.woken = true
	case Compare:
		b.compare = true
	case Changed:
		b.putChange(e)
	default:
		b.events = append(b.events, e)
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// putChange keeps the order of one log's commits: once entries are dropped,
// later commits of any log lose theirs too, until the session has caught up.
func (b *mailbox) putChange(e Changed) {
	if e.Commit == nil {
		b.events = append(b.events, e)
		return
	}
	if b.commits < maxQueued && len(b.latest) == 0 {
		b.commits++
		b.events = append(b.events, e)
		return
	}
	c := *e.Commit
	c.Difference = nil
	b.latest[c.Ref.Log] = &Changed{Change{Commit: &c}}
}

// take returns what has come since the last call, in order.
func (b *mailbox) take() []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	events := b.events
	if b.heard {
		events = append(events, Heard{})
	}
	if b.woken {
		events = append(events, Woken{})
	}
	if b.compare {
		events = append(events, Compare{})
	}
	if b.written > 0 {
		events = append(events, Written{Cost: b.written})
	}
	for _, c := range b.latest {
		events = append(events, *c)
	}
	b.events, b.commits, b.written, b.heard, b.woken, b.compare = nil, 0, 0, false, false, false
	clear(b.latest)
	return events
}

// outbox is what waits to be written.
type outbox struct {
	wake chan struct{}

	mu     sync.Mutex
	queue  []Send
	closed bool
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

func (o *outbox) put(s Send) {
	o.mu.Lock()
	o.queue = append(o.queue, s)
	o.mu.Unlock()
	o.signal()
}

// close says that nothing follows.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take returns what waits, and whether nothing will follow it.
func (o *outbox) take() (queue []Send, last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue, o.queue = o.queue, nil
	return queue, o.closed
}
