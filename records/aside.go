package records

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// A device that was copied, or restored from a backup, and worked before it met
// anybody, has continued a log that others have continued as well. When it
// learns of that, and has begun a new incarnation, it sets its own continuation
// aside:
//
//	kept        stored as it was, and shown on pages; not in the vector, not
//	            served, not in a dump. What others have of the log comes as any
//	            log does, into a branch of its own.
//	publishing  that branch is here: what only the one that was set aside has
//	            is published again; see again.go.
//	removing    nothing is only there any more: its entries are deleted.
//	over        nothing is left of it but this note.
//
// The note is kept for good: of itself a device sets a log aside once, so that two
// copies that meet different halves of the zone do not change sides for ever. To
// what the coordinator holds it gives way always; and third devices, which have taken
// one continuation or the other, give way as well. See giveway.go.

// asideState is how far that is.
type asideState byte

const (
	asideKept asideState = 1 + iota
	asidePublishing
	asideRemoving
	asideOver
)

// aside is a continuation of a log that was set aside. Values are replaced,
// never changed.
type aside struct {
	log       identity.LogID
	slot      Slot
	device    identity.DeviceID // the author's
	lane      identity.Lane
	state     asideState
	next      uint64 // the least counter that was not dealt with in this state
	published uint64 // records, so far
	receipted uint64 // up to here the coordinator has it
	at        int64  // when it was set aside or, at the end, over: milliseconds since 1970
	head      Head   // what is set aside
	other     Head   // of those who hold another continuation

	// skipped: it is of another device, and has something that this one may not
	// author; held: all else is published. The process looks at it again when it is
	// started anew.
	skipped, held bool
}

const (
	tableAside = "aside" // log (32), slot (4): see aside.encode
	asideFixed = 1 + 4 + 1 + 32 + 4*8 + 2

	// asidePatience is how long others may take to give what they hold of the log.
	// Perhaps it never comes, so then all that the coordinator is not known to have
	// is published without it. That is more than need be, and merges count it once.
	asidePatience = 24 * time.Hour
)

func (a *aside) encode() []byte {
	head := a.head.Encode()
	b := make([]byte, 0, asideFixed+2*MaxHeadBytes)
	b = append(b, byte(a.state))
	b = binary.BigEndian.AppendUint32(b, uint32(a.slot))
	b = append(b, byte(a.lane))
	b = append(b, a.device[:]...)
	for _, n := range []uint64{a.next, a.published, a.receipted, uint64(a.at)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(head)))
	return append(append(b, head...), a.other.Encode()...)
}

func decodeAside(b []byte) (*aside, error) {
	if len(b) < asideFixed {
		return nil, fmt.Errorf("note of %d bytes about a log that was set aside: %w", len(b), ErrDamaged)
	}
	a := &aside{
		state: asideState(b[0]), slot: Slot(binary.BigEndian.Uint32(b[1:])),
		lane: identity.Lane(b[5]), next: binary.BigEndian.Uint64(b[38:]), published: binary.BigEndian.Uint64(b[46:]),
		receipted: binary.BigEndian.Uint64(b[54:]), at: int64(binary.BigEndian.Uint64(b[62:])),
	}
	copy(a.device[:], b[6:])
	n := int(binary.BigEndian.Uint16(b[70:]))
	b = b[asideFixed:]
	if a.state < asideKept || a.state > asideOver || len(b) < n {
		return nil, fmt.Errorf("note about a log that was set aside: %w", ErrDamaged)
	}
	var err error
	if a.head, err = DecodeHead(b[:n]); err != nil {
		return nil, err
	}
	if a.other, err = DecodeHead(b[n:]); err != nil {
		return nil, err
	}
	a.log = a.head.Log
	return a, nil
}

// asidesOf reads what was set aside, by slot.
func asidesOf(tx Tx) (map[Slot]*aside, error) {
	list := map[Slot]*aside{}
	err := tx.Items(tableAside, nil, func(_, v []byte) error {
		a, err := decodeAside(v)
		if err == nil {
			list[a.slot] = a
		}
		return err
	})
	return list, err
}

// due reports whether something can be done about what was set aside, where br is
// what is held of the log, or nil.
func (a *aside) due(br *branch, now time.Time) bool {
	switch a.state {
	case asideKept:
		late := now.Sub(time.UnixMilli(a.at)) > asidePatience
		return !a.held && (a.fetched(br) || late && a.next <= a.head.Counter)
	case asideOver:
		return false
	}
	return true
}

// fetched reports whether a branch, or none, is what others have of the log.
func (a *aside) fetched(br *branch) bool {
	if br == nil || br.Head.IsZero() {
		return false
	}
	rel := Relate(&br.Head, br.headStarts(), &a.other, nil)
	return rel == Same || rel == Continues
}

// admits reports whether a head, whose start list is known, is of the
// continuation that others hold.
func (a *aside) admits(h *Head, starts StartList) bool {
	if a.state == asideOver {
		return true
	}
	switch Relate(h, starts, &a.other, nil) {
	case Same, Continues, Behind:
		return true
	}
	return false
}

// asidesOf returns what was set aside of a log, as this batch sees it.
func (b *batch) asidesOf(log identity.LogID) (list []*aside) {
	for slot, a := range b.r.asides {
		if b.asides[slot] == nil && a.log == log {
			list = append(list, a)
		}
	}
	for _, a := range b.asides {
		if a.log == log {
			list = append(list, a)
		}
	}
	return list
}

// aside returns what was set aside in a slot, as this batch sees it, or nil.
func (b *batch) aside(s Slot) *aside {
	if a := b.asides[s]; a != nil {
		return a
	}
	return b.r.asides[s]
}

func (b *batch) setAside(a aside) error {
	key := binary.BigEndian.AppendUint32(slices.Clone(a.log[:]), uint32(a.slot))
	if err := b.tx.SetItem(tableAside, key, a.encode()); err != nil {
		return b.abort(err)
	}
	b.asides[a.slot] = &a
	return nil
}

// part sets aside what is held of a log that is not of this incarnation, if h is a
// head of another continuation of it and that one has the way, and reports whether
// it has done so.
func (b *batch) part(h *Head, way giveWay) (parted bool, err error) {
	br, self := b.lookup(h.Log), b.r.self.Load().cert
	switch {
	case br == nil:
		return b.redirect(h, way)
	case br.Head.IsZero() || br.Certificate.Author == self.Author || !b.givesWay(br, h, way):
		return false, nil
	}
	if h.Verify(br.Certificate.Author) != nil {
		return false, nil // a lie
	}
	switch br.relation(h) {
	case Forked:
		// Copies within one start are told apart by content alone: what others
		// hold could not be known from what was written here.
		parted = h.StartsHash != br.Head.StartsHash
	case Unrelated: // unless all of its starts were seen, and it was refused then
		err := b.tx.Items(tableForks, (&Fork{Other: *h}).key(), func(_, _ []byte) error {
			parted = true
			return nil
		})
		if err != nil {
			return false, b.abort(err)
		}
	}
	if !parted {
		return false, nil
	}
	b.r.cfg.Logger.Warn("others hold another continuation of a log that was copied or restored: what only this device has will be published again",
		"log", h.Log.Short(), "device", br.Certificate.Device.ID(), "held", br.Head.Counter, "other", h.Counter)
	b.changes = append(b.changes, Change{Aside: true})
	if err := b.waitFor(h); err != nil {
		return false, err
	}
	receipted, err := b.confirmed(br)
	if err != nil {
		return false, err
	}
	err = b.setAside(aside{
		log: h.Log, slot: br.Slot, lane: br.Lane, device: br.Certificate.Device.ID(), state: asideKept, next: 1,
		receipted: receipted, at: b.r.cfg.Now().UnixMilli(), head: br.Head, other: *h,
	})
	if err != nil {
		return false, err
	}
	next := *br
	next.aside = true
	next.Head, next.Target, next.targets, next.Trouble = Head{}, Head{}, nil, ""
	next.Receipted, next.Receipt = 0, identity.Hash{}
	if !br.Target.IsZero() {
		if err := b.tx.SetTargetRows(br.Slot, nil); err != nil {
			return false, b.abort(err)
		}
	}
	if err := b.setBranch(next); err != nil {
		return false, err
	}
	b.unswept[br.Slot] = sweeping{} // it stays as it is until all of it goes
	return true, b.forget(map[identity.Hash]bool{br.Receipt: true})
}

// waitFor has all that was set aside of a log wait for another continuation than
// before.
func (b *batch) waitFor(h *Head) error {
	for _, a := range b.asidesOf(h.Log) {
		if next := *a; a.state < asideRemoving {
			next.state, next.next, next.other = asideKept, 1, *h
			if err := b.setAside(next); err != nil {
				return err
			}
		}
	}
	return nil
}

// redirect is part for a log of which nothing is held, because it was set aside for
// another continuation than the coordinator's. It reports whether that has changed.
func (b *batch) redirect(h *Head, way giveWay) (changed bool, err error) {
	for _, a := range b.asidesOf(h.Log) {
		if a.state >= asideRemoving || !way.coordinator || b.branch(a.slot).Certificate.Device == b.r.coordinator {
			continue
		}
		if h.Verify(b.branch(a.slot).Certificate.Author) != nil {
			return false, nil // a lie
		}
		switch Relate(h, nil, &a.other, nil) {
		case Forked, Unrelated:
			changed = true
		}
	}
	if !changed {
		return false, nil
	}
	return true, b.waitFor(h)
}

// unindex hides the branch that was set aside from all that serves and accepts.
// r.mu is held.
func (r *Replica) unindex(br *branch) {
	log := br.Log()
	if r.logs[log] != br.Slot {
		return
	}
	delete(r.logs, log)
	r.order, r.state = nil, nil
	device := br.Certificate.Device.ID()
	r.devices[device] = slices.DeleteFunc(r.devices[device], func(s Slot) bool { return s == br.Slot })
}

// Aside is a log of which others hold another continuation, because the device that
// wrote it was copied, or restored from a backup: mostly this one, or a device that
// has given its continuation to this one. What only this device has of it is
// published again.
type Aside struct {
	Log       identity.LogID
	Start     identity.StartID  // the newest of the continuation that was set aside
	Device    identity.DeviceID // that wrote it
	Lane      identity.Lane
	Published uint64 // records, so far
	// Left is how many counters may hold records that only this device has.
	Left  uint64
	Ended int64 // when that was over, milliseconds since 1970; 0: not yet
}

// Asides returns the logs that were set aside, sorted by log, in the order in which
// that was done.
func (r *Replica) Asides() []Aside {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]Aside, 0, len(r.asides))
	for _, slot := range slices.Sorted(maps.Keys(r.asides)) {
		a := r.asides[slot]
		one := Aside{Log: a.log, Start: a.head.Start(), Device: a.device, Published: a.published, Left: a.left(), Lane: a.lane}
		if a.state == asideOver {
			one.Ended = max(1, a.at)
		}
		list = append(list, one)
	}
	slices.SortStableFunc(list, func(a, b Aside) int { return a.Log.Compare(b.Log) })
	return list
}

// left is how many counters may hold what is nowhere else.
func (a *aside) left() uint64 {
	from := a.next
	switch a.state {
	case asideKept:
		from = max(from, a.receipted+1)
	case asidePublishing:
	default:
		return 0
	}
	return a.head.Counter + 1 - min(from, a.head.Counter+1)
}
