package records

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
)

// branch is a Branch with what the replica keeps of it in memory. Values are
// replaced, never changed.
type branch struct {
	Branch
	// starts is the start list of Target or, without one, of Head; that of
	// Head is its beginning.
	starts StartList
	// targets are the heads of which segments are staged: Target first, if
	// there is one, then perhaps another below it that somebody offers
	// meanwhile. That one is known only here: after a restart it is offered
	// again.
	targets []*target
	// aside: it was set aside; see aside.go.
	aside bool
}

// headStarts is the start list of the promoted head.
func (br *branch) headStarts() StartList { return br.starts[:br.Head.StartCount] }

// ref names the branch: by its promoted head, or by its target if there is
// none.
func (br *branch) ref() BranchRef {
	if br.Head.IsZero() {
		return BranchRef{br.Log(), br.Target.Start()}
	}
	return BranchRef{br.Head.Log, br.Head.Start()}
}

// index lets a branch be found by its log and its device. r.mu is held, or nobody
// else has r yet.
func (r *Replica) index(br *branch) {
	log := br.Log()
	if _, known := r.logs[log]; !known {
		device := br.Certificate.Device.ID()
		r.devices[device] = append(r.devices[device], br.Slot)
	}
	r.logs[log] = br.Slot
}

// held returns the branch that a name stands for, or nil: the one branch of
// the log. r.mu is held.
func (r *Replica) held(ref BranchRef) *branch { return r.branches[r.logs[ref.Log]] }

// Frontier returns how far a branch is held completely and how many of its
// starts; 0, 0 if nothing is.
func (r *Replica) Frontier(ref BranchRef) (counter uint64, starts int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if br := r.held(ref); br != nil {
		return br.Head.Counter, int(br.Head.StartCount)
	}
	return 0, 0
}

// Head returns the promoted head of a branch, and whether there is one. It
// must not be changed.
func (r *Replica) Head(ref BranchRef) (Head, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if br := r.held(ref); br != nil && !br.Head.IsZero() {
		return br.Head, true
	}
	return Head{}, false
}

// Relation says how a head stands to the one that is held of its log, by all the
// starts that are known here. [Unrelated] is a head with many starts that are not:
// it is later, or of another continuation. Where nothing is held, all heads
// continue that.
func (r *Replica) Relation(h *Head) Relation {
	r.mu.RLock()
	defer r.mu.RUnlock()
	br := r.held(BranchRef{Log: h.Log})
	if br == nil || br.Head.IsZero() {
		return Continues
	}
	return br.relation(h)
}

// Passed reports whether what is held of a log may once have been the state with
// that counter, and a newest start whose ID begins so, by the starts that it has.
func (r *Replica) Passed(log identity.LogID, start []byte, counter uint64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	br := r.held(BranchRef{Log: log})
	return br != nil && br.passed(start, counter)
}

func (br *branch) passed(start []byte, counter uint64) bool {
	starts := br.headStarts()
	for i, s := range starts {
		if !bytes.HasPrefix(s.ID[:], start) {
			continue
		}
		end := br.Head.Counter
		if i+1 < len(starts) {
			end = starts[i+1].First - 1
		}
		return s.First <= counter && counter <= end
	}
	return false
}

// relation is how h stands to the promoted head. What has more starts, but is not
// later, does not continue that, whichever they are.
func (br *branch) relation(h *Head) Relation {
	rel := Relate(h, nil, &br.Head, br.headStarts())
	if rel == Unrelated && h.Counter <= br.Head.Counter {
		return Forked
	}
	return rel
}

// AuthorOf returns the certificate under which a log is held, and whether
// anything of it is, if only set aside.
func (r *Replica) AuthorOf(log identity.LogID) (identity.Certificate, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if br := r.held(BranchRef{Log: log}); br != nil {
		return br.Certificate, true
	}
	for slot, a := range r.asides {
		if br := r.branches[slot]; a.log == log && br != nil {
			return br.Certificate, true
		}
	}
	return identity.Certificate{}, false
}

// HeadsOf returns the promoted heads of all logs of a device, sorted by log.
func (r *Replica) HeadsOf(d identity.DeviceID) []Head {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var heads []Head
	for _, slot := range r.devices[d] {
		if br := r.branches[slot]; !br.Head.IsZero() {
			heads = append(heads, br.Head)
		}
	}
	slices.SortFunc(heads, func(a, b Head) int { return a.Log.Compare(b.Log) })
	return heads
}

// Receipted returns the counter up to which the coordinator, in its highest
// known life, gave a receipt for a log.
func (r *Replica) Receipted(log identity.LogID) uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if br := r.held(BranchRef{Log: log}); br != nil {
		return br.Receipted
	}
	return 0
}

// LogState is what a replica knows of one log, for people.
type LogState struct {
	BranchRef
	Device    identity.DeviceID
	Lane      identity.Lane
	Counter   uint64 // held completely
	Target    uint64 // counter of the head that is being staged, or 0
	Receipted uint64 // safe at the coordinator; may be above Counter
	Own       bool   // of the current incarnation
	Trouble   string // why nothing more is taken of it, or empty
	// Aside: it is a continuation that was set aside ([Replica.Asides]). What
	// others hold of the log is listed as well, once some of that is here.
	Aside bool
}

// Unsafe is how many counters of what is held the coordinator has not
// confirmed.
func (s *LogState) Unsafe() uint64 { return s.Counter - min(s.Counter, s.Receipted) }

// Logs returns the state of every log, sorted by log.
func (r *Replica) Logs() []LogState {
	self := r.Certificate()
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]LogState, 0, len(r.branches))
	for _, br := range r.branches {
		if br.aside {
			continue
		}
		list = append(list, LogState{
			BranchRef: br.ref(), Device: br.Certificate.Device.ID(), Lane: br.Lane,
			Counter: br.Head.Counter, Target: br.Target.Counter, Receipted: br.Receipted,
			Own: br.Certificate.Author == self.Author, Trouble: br.Trouble,
		})
	}
	for _, a := range r.asides {
		br := r.branches[a.slot]
		if a.state == asideOver || br == nil {
			continue
		}
		list = append(list, LogState{
			BranchRef: BranchRef{a.log, a.head.Start()}, Device: br.Certificate.Device.ID(), Lane: br.Lane,
			Counter: a.head.Counter, Receipted: a.head.Counter - a.left(), Aside: true,
		})
	}
	slices.SortFunc(list, func(a, b LogState) int {
		return cmp.Or(a.Log.Compare(b.Log), slices.Compare(a.Start[:], b.Start[:]))
	})
	return list
}
