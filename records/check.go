package records

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Finding is something that [Check] found wrong.
type Finding struct {
	Log  identity.LogID // zero: about the store as a whole
	What string         // for people
}

// String returns the finding in one line.
func (f Finding) String() string {
	if f.Log == (identity.LogID{}) {
		return f.What
	}
	return fmt.Sprintf("log %s: %s", f.Log.Short(), f.What)
}

// Checked counts what [Check] went through.
type Checked struct {
	Logs, Entries, Receipts, Findings int
}

// Check goes through everything in a store that a replica was founded in and
// calls report with each thing that breaks an invariant:
//
//   - roster, zone keys, certificates, heads, receipts are signed by whom they
//     must be;
//   - start lists are those that the heads sign;
//   - every entry stands in a segment, and the account of each segment is that
//     of the entries in it that nothing stored supersedes;
//   - those of them that count at the promoted head have its fingerprint;
//   - the drop list names stored entries, and later versions of the same
//     registers;
//   - what was set aside has a note that can be read;
//   - the indexes of registers and of events find every entry, and nothing else.
//
// It reads a snapshot, each log once and in its order: writing goes on meanwhile.
// Memory is bounded by the number of learners, kinds and segments. Check returns an error only if the store
// cannot be read.
func Check(ctx context.Context, store Store, report func(Finding)) (Checked, error) {
	c := checker{ctx: ctx, report: report, kinds: map[Kind]tally{}, events: map[learnerLane]tally{}}
	err := store.View(ctx, func(tx Tx) error {
		c.tx = tx
		return c.all()
	})
	if err != nil {
		return c.done, fmt.Errorf("check store: %w", err)
	}
	return c.done, nil
}

type learnerLane struct {
	learner identity.UserID
	lane    identity.Lane
}

// tally tells two sets of entries apart: their number, and the sum of their places
// and contents.
type tally struct{ number, sum uint64 }

func (t *tally) add(s Slot, e *Entry) {
	t.number++
	content := maphash.Bytes(tallySeed, e.Envelope) + 3*maphash.Bytes(tallySeed, e.Body)
	t.sum += (e.Counter*0x9e3779b97f4a7c15 ^ uint64(s)*0xc2b2ae3d27d4eb4f) + content
}

var tallySeed = maphash.MakeSeed()

type checker struct {
	ctx    context.Context
	tx     Tx
	report func(Finding)
	done   Checked

	coordinator identity.DevicePublic
	zone        identity.ZoneID
	kinds       map[Kind]tally // newest versions of registers
	events      map[learnerLane]tally
	logs        map[identity.LogID]Slot
	aside       map[Slot]bool // set aside: neither head nor rows of their own
}

func (c *checker) found(log identity.LogID, format string, args ...any) {
	c.done.Findings++
	c.report(Finding{log, fmt.Sprintf(format, args...)})
}

func (c *checker) all() error {
	founding, err := c.tx.Value(valueFounding)
	switch {
	case isNotFound(err):
		return ErrNotFounded
	case err != nil:
		return err
	case len(founding) != 16+32+32:
		c.found(identity.LogID{}, "the founding has %d bytes", len(founding))
		return nil
	}
	copy(c.zone[:], founding)
	copy(c.coordinator[:], founding[16:])
	if encoded, err := c.tx.Value(valueRoster); err != nil {
		c.found(identity.LogID{}, "the roster cannot be read: %v", err)
	} else if _, err := roster.Accept(nil, encoded, c.coordinator, c.zone); err != nil {
		c.found(identity.LogID{}, "the roster: %v", err)
	}
	if encoded, err := c.tx.Value(valueKeys); err != nil && !isNotFound(err) {
		c.found(identity.LogID{}, "the zone keys cannot be read: %v", err)
	} else if err := checkKeys(encoded, c.coordinator, c.zone); err != nil {
		c.found(identity.LogID{}, "the zone keys: %v", err)
	}
	if encoded, err := c.tx.Value(valueIncarnation); err != nil {
		c.found(identity.LogID{}, "the incarnation cannot be read: %v", err)
	} else if in, err := decodeIncarnation(encoded); err != nil {
		c.found(identity.LogID{}, "the incarnation: %v", err)
	} else if device := in.cert.Device; !bytes.Equal(device[:], founding[48:]) || in.cert.Zone != c.zone {
		c.found(identity.LogID{}, "the incarnation is that of another device or zone")
	}
	c.logs = map[identity.LogID]Slot{}
	c.aside = map[Slot]bool{}
	asides, err := asidesOf(c.tx)
	if err != nil {
		c.found(identity.LogID{}, "what was set aside: %v", err)
	}
	for _, a := range asides {
		c.aside[a.slot] = true
	}
	var branches []Branch
	err = c.tx.Branches(func(b Branch) error {
		branches = append(branches, b)
		return nil
	})
	if err != nil {
		return err
	}
	for i := range branches {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.branch(&branches[i]); err != nil {
			return err
		}
	}
	if err := c.registers(); err != nil {
		return err
	}
	return c.learners()
}

func (c *checker) branch(b *Branch) error {
	log := b.Log()
	c.done.Logs++
	if other, twice := c.logs[log]; twice && !c.aside[b.Slot] {
		c.found(log, "it is stored twice, in slots %d and %d", other, b.Slot)
	}
	if !c.aside[b.Slot] {
		c.logs[log] = b.Slot
	}
	if err := b.Certificate.Verify(); err != nil {
		c.found(log, "certificate: %v", err)
	}
	if b.Certificate.Zone != c.zone || !b.Lane.Valid() {
		c.found(log, "it is of another zone or of no lane")
	}
	starts, err := c.tx.Starts(b.Slot)
	if err != nil {
		return err
	}
	c.head(log, b, &b.Head, starts, "head")
	c.head(log, b, &b.Target, starts, "target")
	if !b.Target.IsZero() {
		rows, err := c.tx.TargetRows(b.Slot)
		switch {
		case err != nil:
			c.found(log, "the segment list of the target cannot be read: %v", err)
		case Fingerprint(rows) != b.Target.Fingerprint:
			c.found(log, "the segment list of the target does not have its fingerprint")
		}
		if b.Target.Counter <= b.Head.Counter {
			c.found(log, "target %d is not beyond head %d", b.Target.Counter, b.Head.Counter)
		}
	}
	c.receipt(log, b)
	if err := c.segments(log, b); err != nil {
		return err
	}
	return c.drops(log, b)
}

func (c *checker) head(log identity.LogID, b *Branch, h *Head, starts StartList, name string) {
	if h.IsZero() {
		return
	}
	if err := h.Verify(b.Certificate.Author); err != nil || h.Log != log {
		c.found(log, "%s: not signed by the log's author", name)
	}
	if int(h.StartCount) > len(starts) || starts[:h.StartCount].Hash() != h.StartsHash {
		c.found(log, "%s: the list of starts is not the one that it signs", name)
	}
}

func (c *checker) receipt(log identity.LogID, b *Branch) {
	if b.Receipted == 0 {
		return
	}
	c.done.Receipts++
	encoded, err := c.tx.Receipt(b.Receipt)
	if err != nil {
		c.found(log, "the receipt for %d cannot be read: %v", b.Receipted, err)
		return
	}
	receipt, err := DecodeReceipt(encoded)
	if err == nil {
		err = receipt.Verify(c.coordinator)
	}
	if err != nil {
		c.found(log, "the receipt for %d: %v", b.Receipted, err)
		return
	}
	for _, it := range receipt.Items {
		if it.Log == log && it.Counter == b.Receipted {
			return
		}
	}
	c.found(log, "its receipt says nothing of counter %d", b.Receipted)
}

// segments recomputes the account of every segment from its entries.
func (c *checker) segments(log identity.LogID, b *Branch) error {
	var firsts []uint64
	err := c.tx.Segments(b.Slot, 0, func(s Segment) error {
		firsts = append(firsts, s.First)
		return nil
	})
	if err != nil {
		return err
	}
	last := max(b.Head.Counter, b.Target.Counter)
	if len(firsts) == 0 || firsts[0] > 1 {
		firsts = append([]uint64{0}, firsts...)
	}
	for i, first := range firsts {
		end := ^uint64(0)
		if i+1 < len(firsts) {
			end = firsts[i+1] - 1
		}
		if err := c.segment(log, b, first, end, last); err != nil {
			return err
		}
	}
	rows, err := rowsOf(c.tx, b, b.Head.Counter)
	if err != nil {
		c.found(log, "the segment list of head %d cannot be made: %v", b.Head.Counter, err)
		return nil
	}
	if !b.Head.IsZero() && Fingerprint(rows) != b.Head.Fingerprint {
		c.found(log, "what is stored is not what head %d signs", b.Head.Counter)
	}
	return nil
}

func (c *checker) segment(log identity.LogID, b *Branch, first, end, last uint64) error {
	var sum Sum
	live := uint32(0)
	dropped := map[uint64]bool{}
	err := c.tx.Drops(b.Slot, first, end, func(old, _ uint64) error {
		dropped[old] = true
		return nil
	})
	if err != nil {
		return err
	}
	err = c.tx.Entries(b.Slot, first, end, func(e Entry) error {
		c.done.Entries++
		env, err := e.check()
		if err != nil {
			c.found(log, "%v", err)
			return nil
		}
		if e.Counter > last && !c.aside[b.Slot] {
			c.found(log, "entry %d stands above every head, %d", e.Counter, last)
		}
		if e.Counter <= b.Head.Counter && env.Clock > b.Head.Clock {
			c.found(log, "entry %d has a clock above that of the head", e.Counter)
		}
		if !dropped[e.Counter] {
			sum.Add(e.Leaf(log))
			live++
		}
		return c.index(log, b, &e, &env, dropped[e.Counter])
	})
	if err != nil {
		return err
	}
	s, err := c.tx.Segment(b.Slot, first)
	switch {
	case isNotFound(err):
		if live > 0 || len(dropped) > 0 {
			c.found(log, "%d entries from %d on stand in no segment", live, first)
		}
		return nil
	case err != nil:
		return err
	case s.Live != live || s.Sum != sum || s.Checksum != sum.Checksum():
		c.found(log, "segment %d: its account says %d live entries with one checksum, stored are %d with another", first, s.Live, live)
	}
	return nil
}

// index checks that the indexes find an entry, or counts it for later.
func (c *checker) index(log identity.LogID, b *Branch, e *Entry, env *Envelope, dropped bool) error {
	counter := e.Counter
	if !env.Register {
		k := learnerLane{env.Learner, b.Lane}
		n := c.events[k]
		n.add(b.Slot, e)
		c.events[k] = n
		return nil
	}
	newest := c.kinds[env.Kind]
	defer func() { c.kinds[env.Kind] = newest }()
	versions, err := c.tx.Versions(b.Slot, env.RegisterKey())
	if err != nil {
		return err
	}
	for i, v := range versions {
		if i > 0 && v >= versions[i-1] {
			c.found(log, "the versions of the register in entry %d are out of order", counter)
		}
		if v == counter {
			if i == 0 {
				newest.add(b.Slot, e)
				if err := c.older(log, b.Slot, versions[1:]); err != nil {
					return err
				}
			}
			if i > 0 && !dropped {
				c.found(log, "entry %d is superseded by entry %d and counts nevertheless", counter, versions[0])
			}
			return nil
		}
	}
	c.found(log, "entry %d is missing from the index of registers", counter)
	return nil
}

// older checks that the versions of a register that are not the newest are stored.
func (c *checker) older(log identity.LogID, slot Slot, versions []uint64) error {
	for _, v := range versions {
		_, err := c.tx.Entry(slot, v)
		if isNotFound(err) {
			c.found(log, "the index of registers names entry %d, which is not stored", v)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) drops(log identity.LogID, b *Branch) error {
	return c.tx.Drops(b.Slot, 0, ^uint64(0), func(old, by uint64) error {
		e, err := c.tx.Entry(b.Slot, old)
		if err != nil {
			c.found(log, "entry %d is on the drop list and not stored", old)
			return nil
		}
		env, err := DecodeEnvelope(e.Envelope)
		if err != nil {
			return nil // found above
		}
		versions, err := c.tx.Versions(b.Slot, env.RegisterKey())
		if err != nil {
			return err
		}
		if by <= old || !env.Register || len(versions) == 0 || versions[0] < by {
			c.found(log, "entry %d is on the drop list for entry %d, which does not supersede it", old, by)
		}
		return nil
	})
}

// registers checks that the index of registers finds the newest versions as they
// were counted, and nothing else.
func (c *checker) registers() error {
	for kind, want := range c.kinds {
		var got tally
		err := c.tx.Registers(RegisterPrefix{Kind: kind}, func(r Register) error {
			if r.Version != r.Entry.Counter {
				c.found(identity.LogID{}, "the index of registers names counter %d and holds entry %d", r.Version, r.Entry.Counter)
			}
			got.add(r.Slot, &r.Entry)
			return nil
		})
		if err != nil {
			return err
		}
		if got != want {
			c.found(identity.LogID{}, "the index of registers finds %d of kind %v with other contents than the %d that are stored", got.number, kind, want.number)
		}
	}
	return nil
}

// learners checks that the index of events finds what was counted.
func (c *checker) learners() error {
	for k, want := range c.events {
		var got tally
		err := c.tx.Events(k.learner, k.lane, func(s Slot, e Entry) error {
			got.add(s, &e)
			return nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if got != want {
			c.found(identity.LogID{}, "the index of events finds %d of learner %v in lane %v, stored are %d", got.number, k.learner, k.lane, want.number)
		}
	}
	return nil
}
