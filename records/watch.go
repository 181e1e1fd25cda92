package records

import "sync"

// watchers tells of changes, in their order.
type watchers struct {
	mu   sync.Mutex
	next int
	list map[int]func(Change)
}

// Watch calls f after each change, in order, when it is on disk. f must not
// block and must not call the replica's writing methods. stop ends it;
// one call of f may still be running when stop returns.
func (r *Replica) Watch(f func(Change)) (stop func()) {
	w := &r.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list == nil {
		w.list = map[int]func(Change){}
	}
	id := w.next
	w.next++
	w.list[id] = f
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.list, id)
	}
}

func (w *watchers) tell(changes []Change) {
	if len(changes) == 0 {
		return
	}
	w.mu.Lock()
	fs := make([]func(Change), 0, len(w.list))
	for _, f := range w.list {
		fs = append(fs, f)
	}
	w.mu.Unlock()
	for _, c := range changes {
		for _, f := range fs {
			f(c)
		}
	}
}

// announce notes a commit for those who watch. d says what is live above the
// previous head; nil if that is too much to push. Its account is filled in
// here.
func (b *batch) announce(br *branch, previous *Head, d *Difference) {
	c := &Commit{
		Ref: br.ref(), Head: br.Head, Lane: br.Lane,
		Own: br.Certificate.Author == b.r.self.Load().cert.Author,
	}
	if !previous.IsZero() {
		c.PreviousHash = previous.Hash()
	}
	if d != nil && d.small() {
		from := int(previous.StartCount)
		d.Account = Account{Certificate: br.Certificate, Lane: br.Lane, Head: br.Head, StartsFrom: from, Starts: br.headStarts()[from:]}
		c.Difference = d
	}
	b.changes = append(b.changes, Change{Commit: c})
}

// small reports whether a difference keeps the limits of a small one.
func (d *Difference) small() bool {
	size := 0
	for i := range d.Entries {
		size += d.Entries[i].Size()
	}
	return len(d.Entries) <= SmallEntries && size <= SmallBytes
}
