package records

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Publishing again: records that stand only in a continuation that was set aside
// are written anew, byte for byte but for their origin, which says where they
// stood first. They come into logs that hold nothing else, signed by one more
// author key of the present incarnation's number. So they supersede nothing that
// is written here, whatever their kind is, and merges give them to the log where
// they stood first. That key is never stored: neither a backup nor a copy of it
// can continue those logs, and a process that is started anew goes on under
// another.

// Limits of one commit of that work.
const (
	againEntries = 1024
	againBytes   = SmallBytes / 2
	againLooked  = 4 // times as many are looked at
)

// publisher is what a process needs for that.
type publisher struct {
	running sync.Mutex
	most    int // records of one commit, published or deleted: againEntries, fewer in tests
	// authors are the keys, one for each continuation: a register may stand in
	// several of a log. The batch's owner has them.
	authors map[Slot]*incarnation
}

// author returns the key for what was set aside in a slot.
func (p *publisher) author(r *Replica, aside Slot) (*incarnation, error) {
	if in := p.authors[aside]; in != nil {
		return in, nil
	}
	in, err := newIncarnation(&r.cfg, r.zone, r.self.Load().cert.Sequence)
	if err != nil {
		return nil, err
	}
	if p.authors == nil {
		p.authors = map[Slot]*incarnation{}
	}
	p.authors[aside] = in
	return in, nil
}

// PublishAgain publishes what only a continuation has that was set aside, as far
// as that can be done now, in commits of limited size; each notes how far it has
// come. The replica does so by itself when it has accepted something; it is for
// the caller to go on with what a crash has cut off.
func (r *Replica) PublishAgain(ctx context.Context) error {
	r.again.running.Lock()
	defer r.again.running.Unlock()
	return r.publishAgain(ctx)
}

// goOnPublishing is called when something was accepted: what others hold of a log
// may be complete, or there may be room again.
func (r *Replica) goOnPublishing(ctx context.Context) {
	if r.asideDue() == nil || !r.again.running.TryLock() {
		return
	}
	defer r.again.running.Unlock()
	if err := r.publishAgain(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
		r.cfg.Logger.Error("what only this device has cannot be published now; it is tried again", "error", err)
	}
}

func (r *Replica) publishAgain(ctx context.Context) error {
	var known publications
	var of *aside // for which they were read
	for {
		a := r.asideDue()
		if a == nil {
			return nil
		}
		var err error
		if a.state < asideRemoving && (of == nil || of.slot != a.slot || of.state != a.state) {
			known, err = r.origins(ctx, a)
			of = a
		}
		if err == nil {
			err = r.doBulk(ctx, func(b *batch) error { return b.goOn(a.slot, a.state, known) })
		}
		if err != nil {
			return fmt.Errorf("publish records of %s again: %w", a.log.Short(), err)
		}
	}
}

// asideDue returns a log that was set aside and of which something can be done.
func (r *Replica) asideDue() (due *aside) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, a := range r.asides {
		if (due == nil || a.slot < due.slot) && a.due(r.branches[r.logs[a.log]], r.cfg.Now()) {
			due = a // one after the other
		}
	}
	return due
}

// publications are records that were published again, by half of the leaf that they
// had first, which says where that was: there may be very many.
type publications map[[16]byte]struct{}

func (p publications) add(o *Origin) { p[[16]byte(o.Leaf[:])] = struct{}{} }

func (p publications) has(o *Origin) bool {
	_, has := p[[16]byte(o.Leaf[:])]
	return has
}

// origins returns what other logs of this device, and of the author's, have
// published again of what was set aside: a restored device gets back what it had
// published before, and need not do it twice.
func (r *Replica) origins(ctx context.Context, a *aside) (publications, error) {
	known := publications{}
	err := r.store.View(ctx, func(tx Tx) error {
		var slots []Slot
		err := tx.Branches(func(br Branch) error {
			device := br.Certificate.Device.ID()
			if (device == r.device || device == a.device) && br.Lane == a.lane && br.Log() != a.log {
				slots = append(slots, br.Slot)
			}
			return nil
		})
		for _, slot := range slots {
			if err != nil {
				break
			}
			err = tx.Entries(slot, 0, ^uint64(0), func(e Entry) error {
				if e.Envelope[1]&flagOrigin == 0 {
					return nil
				}
				env, err := DecodeEnvelope(e.Envelope)
				if o := env.Origin; err == nil && o != nil && o.Log == a.log && o.isOf(&e, env) {
					known.add(o)
				}
				return err
			})
		}
		return err
	})
	return known, err
}

// goOn does some of what is to be done about a log that was set aside, and is in
// that state still.
func (b *batch) goOn(slot Slot, state asideState, known publications) error {
	a := b.aside(slot)
	br := b.lookup(a.log)
	if a.state != state || !a.due(br, b.r.cfg.Now()) {
		return nil
	}
	next := *a
	switch {
	case a.state == asideRemoving:
		done, err := b.remove(&next)
		if err != nil {
			return b.abort(err)
		}
		if done {
			next.state, next.at = asideOver, b.r.cfg.Now().UnixMilli()
		}
	case a.state == asideKept && a.fetched(br):
		next.state, next.next = asidePublishing, 1
	default:
		if a.state == asideKept {
			br = nil
			next.next = max(next.next, next.receipted+1)
		}
		entries, err := b.onlyAside(&next, br, known)
		if err != nil {
			return b.abort(err)
		}
		if len(entries) > 0 {
			if err := b.publish(b.branch(a.slot), entries); err != nil {
				return err
			}
			next.published += uint64(len(entries))
		}
		switch {
		case next.next <= next.head.Counter || a.state == asideKept:
		case next.skipped:
			next.state, next.held = asideKept, true
		default:
			next.state, next.next = asideRemoving, 1
		}
	}
	return b.setAside(next)
}

// onlyAside returns the next records that stand only in what was set aside, as
// they are to be published, and moves a.next behind what it has looked at. br is
// what others hold of the log, or nil if that is not known: then all counts that
// is live.
func (b *batch) onlyAside(a *aside, br *branch, known publications) (list []Entry, err error) {
	base := uint64(0)
	if br != nil {
		base = commonTo(b.branch(a.slot).starts[:a.head.StartCount], br.headStarts())
	}
	size, looked, next := 0, 0, a.head.Counter+1
	err = live(b.tx, a.slot, a.next, a.head.Counter, a.head.Counter, func(e Entry) error {
		if looked++; looked > againLooked*b.r.again.most || len(list) == b.r.again.most || size > againBytes {
			next = e.Counter
			return errEnough
		}
		env, err := DecodeEnvelope(e.Envelope)
		if err != nil || e.Stub {
			return err
		}
		origin := Origin{a.log, e.Counter, e.Leaf(a.log)}
		if br != nil {
			if held, err := b.holds(br, &origin, &env, base); held || err != nil {
				return err
			}
		}
		if env.Origin == nil { // otherwise it was published again before
			env.Origin = &origin
		}
		if known.has(env.Origin) {
			return nil
		}
		if !b.mayPublishOf(a.device, env.Kind.Class()) {
			a.skipped = true
			return nil
		}
		again := Entry{Envelope: env.Append(nil), Body: append([]byte(nil), e.Body...)}
		list = append(list, again)
		size += again.Size()
		return nil
	})
	if err == errEnough {
		err = nil
	}
	a.next = next
	return list, err
}

// mayPublishOf reports whether records of a class that a device wrote may be
// published again here. If this device may not author them, they would count for
// nothing. If the other one may not, or does not belong to the zone any more, they
// would count, and must not for having been carried by somebody else.
func (b *batch) mayPublishOf(device identity.DeviceID, class roster.Class) bool {
	if device == b.r.device {
		return true
	}
	ros := b.currentRoster()
	return ros.MayConnect(device) == nil && ros.MayAuthor(device, class) && ros.MayAuthor(b.r.device, class)
}

// holds reports whether an entry of what was set aside is, or has been, in br as
// well: by the starts only what stands above base can be missing there. Copies
// within one start are told apart by content.
func (b *batch) holds(br *branch, at *Origin, env *Envelope, base uint64) (bool, error) {
	e, err := b.tx.Entry(br.Slot, at.Counter)
	switch {
	case err == nil && e.Leaf(at.Log) == at.Leaf:
		return true, nil
	case err != nil && !isNotFound(err):
		return false, err
	case !env.Register || at.Counter > base:
		return false, nil
	}
	versions, err := b.tx.Versions(br.Slot, env.RegisterKey())
	return len(versions) > 0, err // superseded since
}

// commonTo returns up to which counter two continuations of one log are the same
// by their starts; 0 if these do not tell them apart.
func commonTo(a, b StartList) uint64 {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	first := uint64(1)
	switch {
	case n < len(a) && n < len(b):
		first = min(a[n].First, b[n].First)
	case n < len(a):
		first = a[n].First
	case n < len(b):
		first = b[n].First
	}
	return first - 1
}

// publish writes entries, whose counters are not given yet, into the log for
// what is published again of former, which was set aside.
func (b *batch) publish(former *branch, entries []Entry) error {
	in, err := b.r.again.author(b.r, former.Slot)
	if err != nil {
		return b.abort(err)
	}
	log := in.cert.Log(former.Lane)
	d := &Difference{
		Account: Account{Certificate: in.cert, Lane: former.Lane, Head: Head{Log: log}, Starts: []Start{{First: 1, ID: b.r.start}}},
		Entries: entries,
	}
	starts, slot := StartList(d.Starts), Slot(0)
	if br := b.lookup(log); br != nil {
		d.Base, d.Head.Clock, slot = br.Head.Counter, br.Head.Clock, br.Slot
		d.StartsFrom, d.Starts = len(br.starts), nil
		starts = br.starts
	}
	d.Firsts = []uint64{d.Base + 1}
	for i := range entries {
		entries[i].Counter = d.Base + 1 + uint64(i)
	}
	puts, err := verifyEntries(log, entries, d.Base, SmallBytes)
	if err != nil {
		return err
	}
	sets := partition(puts, d.Firsts)
	for i := range puts {
		d.Head.Clock = max(d.Head.Clock, puts[i].Envelope.Clock)
	}
	l, err := newLedger(b.tx, slot, log)
	if err != nil {
		return b.abort(err)
	}
	l.begin(d.Firsts[0])
	for _, s := range sets {
		if err := l.merge(s.puts[0].Entry.Counter, &s.sum, len(s.puts)); err != nil {
			return b.abort(err)
		}
	}
	rows, err := l.rows()
	if err != nil {
		return b.abort(err)
	}
	d.Head.Counter, d.Head.Fingerprint = d.Base+uint64(len(entries)), Fingerprint(rows)
	d.Head.SetStarts(starts)
	d.Head.Sign(in.key)
	return b.acceptDifference(d, puts, sets)
}

// remove deletes some of what was set aside, and reports whether nothing is left.
func (b *batch) remove(a *aside) (done bool, err error) {
	l, err := newLedger(b.tx, a.slot, a.log)
	if err != nil {
		return false, err
	}
	type place struct {
		counter uint64
		leaf    identity.Hash
	}
	var list []place
	err = b.tx.Entries(a.slot, a.next, ^uint64(0), func(e Entry) error {
		if len(list) == b.r.again.most {
			return errEnough
		}
		list = append(list, place{e.Counter, e.Leaf(a.log)})
		return nil
	})
	if err != nil && err != errEnough {
		return false, err
	}
	if len(list) == 0 {
		for _, first := range l.firsts {
			if err := b.tx.DeleteSegment(a.slot, first); err != nil {
				return false, err
			}
		}
		return true, nil
	}
	last := list[len(list)-1].counter
	dropped, err := l.dropped(a.next, last)
	if err != nil {
		return false, err
	}
	for _, p := range list {
		_, listed := dropped[p.counter]
		if listed {
			seg, err := l.segment(p.counter)
			if err != nil {
				return false, err
			}
			l.changed[seg.First] = true
		} else if err := l.take(p.counter, p.leaf); err != nil {
			return false, err
		}
		if err := deleteEntry(b.tx, a.slot, p.counter, listed); err != nil {
			return false, err
		}
	}
	a.next = last + 1
	_, err = l.flush(b.tx, 0)
	return false, err
}
