package records

import "sync"

// watchers tells of commits, in their order.
type watchers struct {
	mu   sync.Mutex
	next int
	list map[int]func(Commit)
}

// Watch calls f after each commit, in order, with what became durable. f must
// not block and must not call the replica's writing methods. stop ends it;
// one call of f may still be running when stop returns.
func (r *Replica) Watch(f func(Commit)) (stop func()) {
	w := &r.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list == nil {
		w.list = map[int]func(Commit){}
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

func (w *watchers) tell(commits []Commit) {
	if len(commits) == 0 {
		return
	}
	w.mu.Lock()
	fs := make([]func(Commit), 0, len(w.list))
	for _, f := range w.list {
		fs = append(fs, f)
	}
	w.mu.Unlock()
	for _, c := range commits {
		for _, f := range fs {
			f(c)
		}
	}
}

// announce notes a commit for those who watch. entries are what is live above
// the previous head.
func (b *batch) announce(br *branch, previous *Head, entries []Entry, firsts []uint64, own bool) {
	c := Commit{Ref: BranchRef{br.Log(), br.Head.Start()}, Own: own, Head: br.Head, Lane: br.Lane}
	if !previous.IsZero() {
		c.PreviousHash = previous.Hash()
	}
	size := 0
	for i := range entries {
		size += entries[i].Size()
	}
	if len(entries) <= SmallEntries && size <= SmallBytes {
		from := int(previous.StartCount)
		c.Difference = &Difference{
			Account: Account{Certificate: br.Certificate, Lane: br.Lane, Head: br.Head, StartsFrom: from, Starts: br.starts[from:]},
			Base:    previous.Counter, Firsts: firsts, Entries: entries,
		}
	}
	b.commits = append(b.commits, c)
}
