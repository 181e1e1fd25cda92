package records

import (
	"bytes"
	"context"
	"errors"

	"github.com/classmesh/classmesh/records/identity"
)

// Of two continuations of a log one must give way everywhere, or those who hold the
// one never take the other. Who gives way sets aside what it holds, publishes what
// only it has, and takes the other:
//
//   - the author, to whomsoever it meets, once;
//   - everybody else, to the coordinator, which itself does not give way: so what it
//     holds is what all hold in the end;
//   - a third device, where there is no coordinator, once, when records are published
//     again that stand in what it holds: its author has given way.

// giveWay is what speaks for giving way.
type giveWay struct {
	coordinator bool // it holds the other one
	held        bool // something that stands in the one held here was published again
	other       bool // something that does not was
}

// givesWay reports whether br gives way to the continuation of h.
func (b *batch) givesWay(br *branch, h *Head, w giveWay) bool {
	device := br.Certificate.Device.ID()
	switch {
	case w.coordinator && device != b.r.coordinator.ID():
		return true
	case len(b.asidesOf(h.Log)) > 0:
		return false
	case device == b.r.device:
		return true
	case b.r.device == b.r.coordinator.ID():
		return false
	}
	// If both were published again, all devices choose the same.
	mine, other := br.Head.Start(), h.Start()
	return w.held && (!w.other || bytes.Compare(other[:], mine[:]) < 0)
}

// giveWay reads what has been published again of a log.
func (r *Replica) giveWay(ctx context.Context, log identity.LogID) (w giveWay, err error) {
	r.mu.RLock()
	br := r.held(BranchRef{Log: log})
	slots := r.continuing(br)
	r.mu.RUnlock()
	if slots == nil {
		return w, nil
	}
	err = r.store.View(ctx, func(tx Tx) (err error) {
		w, err = publishedAgain(tx, br, slots)
		return err
	})
	return w, err
}

// continuing returns the slots of the other logs of a branch's device and lane, in which the
// device may have published again what stands in one, unless that is its newest.
func (r *Replica) continuing(br *branch) (slots []Slot) {
	if br == nil || br.Certificate.Author == r.self.Load().cert.Author {
		return nil
	}
	for _, slot := range r.devices[br.Certificate.Device.ID()] {
		if slot != br.Slot && r.branches[slot].Lane == br.Lane {
			slots = append(slots, slot)
		}
	}
	return slots
}

// publishedAgain reads, in these slots, what was published again of a branch.
func publishedAgain(tx Tx, br *branch, slots []Slot) (w giveWay, err error) {
	log := br.Log()
	for _, slot := range slots {
		err := tx.Entries(slot, 0, ^uint64(0), func(e Entry) error {
			if e.Envelope[1]&flagOrigin == 0 {
				return nil
			}
			env, err := DecodeEnvelope(e.Envelope)
			if err != nil || env.Origin == nil || env.Origin.Log != log || env.Origin.Counter > br.Head.Counter || !env.Origin.isOf(&e, env) {
				return err // of what stands above the head nobody knows
			}
			held, err := tx.Entry(br.Slot, env.Origin.Counter)
			switch {
			case err == nil && held.Leaf(log) == env.Origin.Leaf:
				w.held = true
			case err == nil || isNotFound(err):
				w.other = true
			default:
				return err
			}
			if w.held && w.other {
				return errEnough
			}
			return nil
		})
		if err == errEnough {
			return w, nil
		}
		if err != nil {
			return w, err
		}
	}
	return w, nil
}

// giveWayFor is called when something was accepted that may have been published
// again: logs of the same device that are in trouble for it may give way.
func (r *Replica) giveWayFor(ctx context.Context, accepted identity.LogID) {
	var troubled []identity.LogID
	r.mu.RLock()
	if br := r.held(BranchRef{Log: accepted}); br != nil {
		for _, slot := range r.devices[br.Certificate.Device.ID()] {
			if other := r.branches[slot]; other.Trouble != "" && other.Lane == br.Lane {
				troubled = append(troubled, other.Log())
			}
		}
	}
	r.mu.RUnlock()
	for _, log := range troubled {
		way, err := r.giveWay(ctx, log)
		if err == nil && way.held {
			err = r.doBulk(ctx, func(b *batch) error {
				forks, err := b.evidence(log)
				for i := 0; err == nil && i < len(forks); i++ {
					_, err = b.part(&forks[i].Other, way)
				}
				return err
			})
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			r.cfg.Logger.Error("another continuation of a log cannot be taken", "log", log.Short(), "error", err)
		}
	}
}

// evidence returns the forks of a log that were noticed.
func (b *batch) evidence(log identity.LogID) (list []Fork, err error) {
	err = b.tx.Items(tableForks, log[:], func(_, v []byte) error {
		f, err := decodeFork(v)
		list = append(list, f)
		return err
	})
	if err != nil {
		return nil, b.abort(err)
	}
	return list, nil
}
