package records

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
)

// Record is what a caller writes; log, counter, clock and time are added.
type Record struct {
	Kind     Kind
	Register bool
	Key      []byte          // of a register, within kind and learner
	Learner  identity.UserID // whom it is about, or zero
	Actor    identity.UserID // who did it, or zero
	Body     []byte          // protobuf, at most MaxBodyBytes
	Origin   *Origin         // of a record published again, or nil
}

// Ref is the place of an entry.
type Ref struct {
	Log     identity.LogID
	Counter uint64
}

// OwnRegister is this incarnation's own newest version of a register.
type OwnRegister struct {
	Counter  uint64
	Envelope Envelope
	Body     []byte // a copy
}

// Draft is one request's share of a commit. It reads what is committed and
// what this and earlier drafts of the same commit have put. Clock and Now are
// the same for all its records.
type Draft struct {
	View
	b       *batch
	clock   Clock
	now     int64
	quality TimeQuality
	puts    []freshEntry
	before  [len(identity.Lanes)]*ownLog // as they were before the first put
	failed  error
}

// freshEntry is an entry of the running batch.
type freshEntry struct {
	lane  identity.Lane
	entry Entry
	env   Envelope
}

// ownLog is the writer's view of one of this incarnation's logs.
type ownLog struct {
	slot   Slot // 0 before the first write
	lane   identity.Lane
	log    identity.LogID
	next   uint64       // counter of the next entry
	first  uint64       // of the open segment
	bytes  int          // written into the open segment
	clock  Clock        // largest in the log
	starts bool         // this process's start is in the list
	fresh  []freshEntry // written in the running batch
	firsts []uint64     // segments begun in the running batch
}

// Write runs f and commits what it puts: when Write returns nil, all of it is
// on disk, signed and visible. Concurrent Writes share a transaction. f runs
// at most once and must not block; if it returns an error, nothing of it is
// kept and Write returns that error.
func (r *Replica) Write(ctx context.Context, f func(*Draft) error) error {
	return r.do(ctx, func(b *batch) error {
		d := &Draft{
			View:  b.view(),
			b:     b,
			clock: b.clock + 1,
			now:   r.cfg.Now().UnixMilli(),
		}
		switch era := b.currentRoster().Era; {
		case d.clock.Era() < era:
			d.clock = NewClock(era, 1)
		case d.clock.Era() != b.clock.Era(): // the count is exhausted; only a new era helps
			d.clock = b.clock
		}
		if r.cfg.TimeQuality != nil {
			d.quality = r.cfg.TimeQuality()
		}
		if err := errors.Join(f(d), d.failed); err != nil {
			return d.undo(err)
		}
		if len(d.puts) > 0 {
			b.clock = d.clock
		}
		return nil
	})
}

// Clock returns the clock of every record of this draft.
func (d *Draft) Clock() Clock { return d.clock }

// Now returns the wall time of every record of this draft, in milliseconds
// since 1970.
func (d *Draft) Now() int64 { return d.now }

// Random fills p with random bytes.
func (d *Draft) Random(p []byte) error {
	_, err := io.ReadFull(d.b.r.cfg.Random, p)
	return err
}

// Put writes a record. It is an error to go on after an error.
func (d *Draft) Put(rec Record) (Ref, error) {
	ref, err := d.put(rec)
	if err != nil && d.failed == nil {
		d.failed = err
	}
	return ref, err
}

func (d *Draft) put(rec Record) (Ref, error) {
	lane := rec.Kind.Lane()
	switch {
	case !lane.Valid():
		return Ref{}, fmt.Errorf("write record of kind %v: no such lane: %w", rec.Kind, ErrEntry)
	case len(rec.Body) > MaxBodyBytes:
		return Ref{}, fmt.Errorf("write record of kind %v: body of %d bytes, at most %d: %w", rec.Kind, len(rec.Body), MaxBodyBytes, ErrEntry)
	case len(rec.Key) > MaxKeyBytes || !rec.Register && rec.Key != nil:
		return Ref{}, fmt.Errorf("write record of kind %v: key of %d bytes: %w", rec.Kind, len(rec.Key), ErrEntry)
	}
	env := Envelope{
		Kind: rec.Kind, Register: rec.Register, Key: slices.Clone(rec.Key), Learner: rec.Learner, Actor: rec.Actor,
		Clock: d.clock, Wall: d.now, Quality: d.quality, Origin: rec.Origin,
	}
	o, err := d.b.ownLog(lane)
	if err != nil {
		return Ref{}, err
	}
	if d.before[lane] == nil {
		before := *o
		d.before[lane] = &before
	}
	e := Entry{Counter: o.next, Envelope: env.Append(nil), Body: slices.Clone(rec.Body)}
	if o.next-o.first >= d.b.r.segmentCounters || o.bytes >= SegmentBytes {
		o.first, o.bytes = o.next, 0
		o.firsts = append(o.firsts, o.first)
	}
	if err := d.b.tx.Put(o.slot, e, &env); err != nil {
		return Ref{}, d.b.abort(err)
	}
	o.next++
	o.bytes += e.Size()
	o.clock = max(o.clock, d.clock)
	f := freshEntry{lane, e, env}
	o.fresh = append(o.fresh, f)
	d.puts = append(d.puts, f)
	return Ref{o.log, e.Counter}, nil
}

// Own returns this incarnation's own newest version of a register, and
// whether there is one.
func (d *Draft) Own(k RegisterKey) (OwnRegister, bool, error) {
	lane := k.Kind.Lane()
	if !lane.Valid() {
		return OwnRegister{}, false, nil
	}
	slot := Slot(0)
	if o := d.b.own[lane]; o != nil {
		slot = o.slot
	} else if br := d.b.lookup(d.b.r.self.Load().cert.Log(lane)); br != nil {
		slot = br.Slot
	}
	if slot == 0 {
		return OwnRegister{}, false, nil
	}
	versions, err := d.b.tx.Versions(slot, k)
	if err != nil || len(versions) == 0 {
		return OwnRegister{}, false, err
	}
	e, err := d.b.tx.Entry(slot, versions[0])
	if err != nil {
		return OwnRegister{}, false, fmt.Errorf("read own register: %w", err)
	}
	e = e.Clone()
	env, err := DecodeEnvelope(e.Envelope)
	if err != nil {
		return OwnRegister{}, false, fmt.Errorf("read own register: %w", err)
	}
	return OwnRegister{e.Counter, env, e.Body}, true, nil
}

// undo takes back what the draft has put; the counters it used are given
// again, since nothing of them has left the process.
func (d *Draft) undo(cause error) error {
	for _, p := range slices.Backward(d.puts) {
		if err := d.b.tx.Delete(d.b.own[p.lane].slot, p.entry.Counter, &p.env); err != nil {
			return d.b.abort(err)
		}
	}
	for lane, before := range d.before {
		if before != nil {
			*d.b.own[lane] = *before
		}
	}
	return cause
}

// ownLog returns the writer's view of one of this incarnation's logs, private
// to this batch.
func (b *batch) ownLog(lane identity.Lane) (*ownLog, error) {
	if o := b.own[lane]; o != nil {
		if o == b.r.own[lane] {
			c := *o
			c.firsts = slices.Clone(c.firsts) // begun by a draft that failed, and not sealed yet
			b.own[lane] = &c
		}
		return b.own[lane], nil
	}
	cert := b.r.self.Load().cert
	o := &ownLog{lane: lane, log: cert.Log(lane), next: 1}
	br := b.lookup(o.log)
	if br == nil {
		var err error
		if br, err = b.createBranch(cert, lane); err != nil {
			return nil, err
		}
	}
	o.slot = br.Slot
	o.next = br.Head.Counter + 1
	o.clock = br.Head.Clock
	if br.Head.IsZero() {
		o.first, o.firsts = 1, []uint64{1}
	} else {
		seg, err := b.tx.SegmentAt(o.slot, br.Head.Counter)
		if err != nil {
			return nil, b.abort(fmt.Errorf("open segment of own log: %w", err))
		}
		o.first, o.bytes = seg.First, int(seg.Bytes)
	}
	b.own[lane] = o
	return o, nil
}

// sealOwn supersedes, sums and signs what the batch wrote into one own log.
func (b *batch) sealOwn(o *ownLog) error {
	br := *b.branch(o.slot)
	l, err := newLedger(b.tx, br.Slot, o.log)
	if err != nil {
		return b.abort(err)
	}
	for _, first := range o.firsts {
		l.begin(first)
	}
	kept := make([]Entry, 0, len(o.fresh))
	for i := range o.fresh {
		f := &o.fresh[i]
		live, err := l.supersede(b.tx, f)
		if err != nil {
			return b.abort(err)
		}
		if live {
			kept = append(kept, f.entry)
		}
	}
	l.open(o.first, o.bytes)
	if !o.starts {
		start := Start{First: o.fresh[0].entry.Counter, ID: b.r.start}
		if err := b.tx.AppendStarts(o.slot, []Start{start}); err != nil {
			return b.abort(err)
		}
		br.starts = append(slices.Clone(br.starts), start)
		o.starts = true
	}
	previous := br.Head
	rows, err := l.rows()
	if err != nil {
		return b.abort(err)
	}
	br.Head = Head{Log: o.log, Counter: o.next - 1, Fingerprint: Fingerprint(rows), Clock: o.clock}
	br.Head.SetStarts(br.starts)
	br.Head.Sign(b.r.self.Load().key)
	listed, err := l.flush(b.tx, b.r.pins.floor(br.Slot, previous.Counter))
	if err != nil {
		return b.abort(err)
	}
	if listed {
		b.litter(br.Slot)
	}
	if err := b.setBranch(br); err != nil {
		return err
	}
	b.announce(&br, &previous, &Difference{
		Base: previous.Counter, Firsts: l.firstsBetween(previous.Counter, br.Head.Counter), Entries: kept,
	})
	o.fresh, o.firsts = nil, nil
	return nil
}
