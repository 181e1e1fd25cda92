package records

import (
	"slices"
	"sync"
	"time"
)

// pins are the segment lists that peers were given lately. While a peer fetches
// the segments of a list, what was live at that list's head is not deleted, so
// that the transfer ends even if the author writes all the time.
type pins struct {
	mu     sync.Mutex
	bySlot map[Slot][]*pin
	now    func() time.Time
}

type pin struct {
	head uint64
	rows []Row // nil while the list is being read
	used time.Time
}

const (
	maxPins  = 32              // of a branch: a class that begins at once; those of one head count once
	pinTime  = 2 * time.Minute // without a request
	pinReach = 1 << 16         // counters that the author may write meanwhile, whatever the clock says
)

// add pins what is live at a counter.
func (p *pins) add(s Slot, head uint64) *pin {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bySlot == nil {
		p.bySlot = map[Slot][]*pin{}
	}
	list := p.bySlot[s]
	if len(list) == maxPins { // the one that was asked for longest ago
		i := 0
		for j, m := range list {
			if m.used.Before(list[i].used) {
				i = j
			}
		}
		list = slices.Delete(list, i, i+1)
	}
	n := &pin{head: head, used: p.now()}
	p.bySlot[s] = append(list, n)
	return n
}

// set says what a pin holds, after the list was read. Another pin of the same
// list is not needed any more.
func (p *pins) set(s Slot, n *pin, head uint64, rows []Row) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bySlot[s] = slices.DeleteFunc(p.bySlot[s], func(m *pin) bool { return m != n && m.head == head && m.rows != nil })
	n.head, n.rows, n.used = head, rows, p.now()
}

func (p *pins) remove(s Slot, n *pin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bySlot[s] = slices.DeleteFunc(p.bySlot[s], func(m *pin) bool { return m == n })
}

// rows returns the list that was given at a head, or nil.
func (p *pins) rows(s Slot, head uint64) []Row {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.bySlot[s] {
		if n.head == head && n.rows != nil {
			n.used = p.now()
			return n.rows
		}
	}
	return nil
}

// floor returns the lowest counter that is pinned, where the branch stands at
// head, or the highest counter that there is.
func (p *pins) floor(s Slot, head uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	lowest := ^uint64(0)
	list := p.bySlot[s]
	if len(list) == 0 {
		return lowest
	}
	kept := list[:0]
	now := p.now()
	for _, n := range list {
		if now.Sub(n.used) > pinTime || n.head+pinReach < head {
			continue
		}
		kept = append(kept, n)
		lowest = min(lowest, n.head)
	}
	if len(kept) == 0 {
		delete(p.bySlot, s)
	} else {
		p.bySlot[s] = kept
	}
	return lowest
}
