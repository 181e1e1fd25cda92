package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// receiptDelay is how long heads are gathered for one receipt.
const receiptDelay = 5 * time.Millisecond

// receipts is what a zone still has to give receipts for.
type receipts struct {
	mu  sync.Mutex // guards due
	due map[records.BranchRef]struct{}

	// life is that of the receipts; guarded by issuing, which is held while
	// receipts are made.
	issuing sync.Mutex
	life    uint32
}

func (r *receipts) add(refs ...records.BranchRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.due == nil {
		r.due = map[records.BranchRef]struct{}{}
	}
	for _, ref := range refs {
		r.due[ref] = struct{}{}
	}
}

func (r *receipts) take() map[records.BranchRef]struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	due := r.due
	r.due = nil
	return due
}

// due reports whether the zone has work for schedule.
func (z *zone) due() bool {
	z.receipts.mu.Lock()
	defer z.receipts.mu.Unlock()
	return len(z.receipts.due) > 0 || z.conflict.Load() || z.unsettled.Load() || z.behind.Load() != nil ||
		z.keyNumber() != z.replica.Roster().KeyNumber
}

// findUnreceipted notes every head that is held and has no receipt of the
// present life: a crash came between the two, or the life is new.
func (z *zone) findUnreceipted(ctx context.Context) error {
	z.receipts.issuing.Lock()
	defer z.receipts.issuing.Unlock()
	life := z.replica.Roster().Epoch.Life
	rows := z.replica.State().Rows
	receipted := map[records.ReceiptItem]bool{}
	for len(rows) > 0 {
		n := min(len(rows), records.MaxReceiptItems)
		marks := make([]records.Mark, 0, n)
		for _, row := range rows[:n] {
			marks = append(marks, records.Mark{Log: row.Log})
		}
		list, err := z.replica.Receipts(ctx, marks)
		if err != nil {
			return fmt.Errorf("read receipts: %w", err)
		}
		for _, encoded := range list {
			r, err := records.DecodeReceipt(encoded)
			if err != nil {
				return fmt.Errorf("read receipts: %w (%v)", records.ErrDamaged, err)
			}
			for _, item := range r.Items {
				if r.Life == life {
					receipted[item] = true
				}
			}
		}
		for _, row := range rows[:n] {
			if head, ok := z.replica.Head(row.BranchRef); ok && !receipted[itemOf(&head)] {
				z.receipts.add(row.BranchRef)
			}
		}
		rows = rows[n:]
	}
	z.receipts.life = life
	return nil
}

func itemOf(h *records.Head) records.ReceiptItem {
	return records.ReceiptItem{Log: h.Log, Start: h.Start(), Counter: h.Counter, Fingerprint: h.Fingerprint}
}

// issue gives receipts for all that is due: the heads that are held by then.
func (z *zone) issue(ctx context.Context) error {
	z.receipts.issuing.Lock()
	defer z.receipts.issuing.Unlock()
	life := z.replica.Roster().Epoch.Life
	if life != z.receipts.life {
		for _, row := range z.replica.State().Rows {
			z.receipts.add(row.BranchRef)
		}
		z.receipts.life = life
	}
	due := z.receipts.take()
	items := make(map[records.ReceiptItem]records.BranchRef, len(due))
	for ref := range due {
		if head, ok := z.replica.Head(ref); ok {
			items[itemOf(&head)] = ref
		}
	}
	for len(items) > 0 {
		batch := make([]records.ReceiptItem, 0, min(len(items), records.MaxReceiptItems))
		for item := range items {
			if batch = append(batch, item); len(batch) == cap(batch) {
				break
			}
		}
		receipt := records.IssueReceipt(z.c.cfg.Key, z.id, life, z.c.cfg.Now().UnixMilli(), batch)
		if err := z.replica.AcceptReceipt(ctx, receipt.Encode()); err != nil && !errors.Is(err, records.ErrStale) {
			for _, ref := range items {
				z.receipts.add(ref)
			}
			return fmt.Errorf("give receipts: %w", err)
		}
		z.c.tally.signed(len(batch))
		for _, item := range batch {
			delete(items, item)
		}
	}
	return nil
}

// jobs is the zones that have something to settle or to receipt, each once.
type jobs struct {
	mu     sync.Mutex
	wake   sync.Cond // something waits, or closed
	list   []job
	queued map[identity.ZoneID]bool
	closed bool
	hurry  chan struct{} // closed with the rest
}

type job struct {
	zone *zone // in use
	at   time.Time
}

func (j *jobs) init() {
	j.wake.L = &j.mu
	j.queued = map[identity.ZoneID]bool{}
	j.hurry = make(chan struct{})
}

// close lets the workers end when nothing waits any more.
func (j *jobs) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	close(j.hurry)
	j.wake.Broadcast()
}

// schedule has a worker look after a zone that is in use.
func (c *Coordinator) schedule(z *zone) {
	j := &c.jobs
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.queued[z.id] || j.closed {
		return // what comes when all has ended is found at the next start
	}
	j.queued[z.id] = true
	c.zones.share(z)
	j.list = append(j.list, job{z, time.Now().Add(receiptDelay)})
	j.wake.Signal()
}

// next waits for a job until there are none any more.
func (j *jobs) next() (job, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.list) == 0 {
		if j.closed {
			return job{}, false
		}
		j.wake.Wait()
	}
	next := j.list[0]
	j.list = j.list[1:]
	return next, true
}

// work does jobs until there are none any more.
func (c *Coordinator) work() {
	for {
		job, ok := c.jobs.next()
		if !ok {
			return
		}
		if wait := time.Until(job.at); wait > 0 {
			select {
			case <-time.After(wait):
			case <-c.jobs.hurry:
			}
		}
		z := job.zone
		c.jobs.mu.Lock()
		delete(c.jobs.queued, z.id) // what comes from here on is a job of its own
		c.jobs.mu.Unlock()
		ctx := context.Background() // short, and wanted when stopping as well
		if err := errors.Join(z.renew(ctx), z.settle(ctx), z.issue(ctx)); err != nil && !z.broken.Load() {
			z.logger.Error("receipts could not be given; tried again within a minute", "error", err)
		}
		c.zones.release(z)
	}
}
