package exchange

import (
	"slices"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// peerVector is what the peer says it holds.
type peerVector struct {
	branches map[prefix][]*branch
	all      []*branch        // in the order in which they were told, and some forgotten ones
	dropped  int              // of all, forgotten
	parts    []wire.VectorRow // of a vector that is not complete
}

// maxNamesakes is how many branches under one prefix are kept track of: more
// than a log may have. maxBranches is how many in all, and maxDropped how many
// that are forgotten may wait to be taken off the list.
const (
	maxNamesakes = 32
	maxDropped   = 1024
	maxBranches  = 2*wire.MaxVectorRows - maxDropped
)

// branch is one branch of a log as the peer tells of it, and how far this side
// is in taking what it lacks of it.
type branch struct {
	name    wire.Name         // as the peer calls it
	ref     records.BranchRef // as it is called here; zero while nothing is held of it
	lane    identity.Lane
	counter uint64 // what the peer holds
	staged  uint64 // the head of which it has segments, or 0
	news    int    // how often it told of that by itself

	stage     stage
	suspect   bool           // at the same counter as here, but not the same
	blocked   bool           // nothing more is taken until there is another roster
	forgotten bool           // is not kept track of any more
	patient   bool           // another peer may be about to push it
	claimed   bool           // no other session is to work on it
	waited    bool           // another one did
	parked    bool           // nothing more is asked for until there is news of it
	list      bool           // the list is wanted: a difference did not do
	restart   bool           // all starts are wanted
	retries   int            // that brought nothing
	spent     uint64         // the staged head of which the peer has nothing more to give
	wrong     map[uint64]int // how often a segment did not match; 0 stands for the whole
	staging   staging
	pushes    []*inbound // that follow one another, the first of them being stored
}

// answeredWith notes that the peer has answered with a head, what it really holds. What
// it has told of since it was asked may be more, and is still to be asked for.
func (b *branch) answeredWith(counter uint64, r *request) {
	if b.news != r.news {
		counter = max(counter, b.counter)
	}
	b.counter = counter
}

// stage is what is being done about a branch.
type stage uint8

const (
	resting stage = iota
	queued        // to be asked for
	asked         // a Want is out
	storing       // a difference, a push or a list is with the replica
	taking        // segments are asked for or stored
)

// told takes note of a row of the peer's, and queues the branch if something
// of it is lacking here. It returns nil for more rows than there can be.
func (m *Machine) told(row *wire.VectorRow) *branch {
	b := m.peerBranch(row.Name, row.Lane)
	if b != nil {
		b.counter, b.staged, b.parked, b.retries, b.patient = row.Counter, row.Staged, false, 0, false
		b.news++
		if b.ref != (records.BranchRef{}) {
			m.brought(b.ref.Log, b.counter)
		}
		m.consider(b)
	}
	return b
}

// peerBranch returns what is known of the branch that the peer calls name.
func (m *Machine) peerBranch(name wire.Name, lane identity.Lane) *branch {
	p := prefixOf(name.Log)
	for _, b := range m.peer.branches[p] {
		if b.name == name {
			return b
		}
	}
	if len(m.peer.branches[p]) == maxNamesakes || len(m.peer.all)-m.peer.dropped == maxBranches {
		if !m.forget(p) {
			return nil
		}
	}
	b := &branch{name: name, lane: lane}
	b.ref, _ = m.resolve(name)
	m.peer.branches[p] = append(m.peer.branches[p], b)
	m.peer.all = append(m.peer.all, b)
	return b
}

// forget makes room by dropping a branch that rests, such as one that is called
// otherwise by now.
func (m *Machine) forget(p prefix) bool {
	near := m.peer.branches[p]
	i := slices.IndexFunc(near, func(b *branch) bool { return b.stage == resting && !b.blocked })
	if i < 0 {
		return false
	}
	old := near[i]
	old.forgotten = true
	m.peer.branches[p] = slices.Delete(near, i, i+1)
	m.tell.position.set(old.name.Log, 0)
	if m.peer.dropped++; m.peer.dropped == maxDropped {
		m.peer.all = slices.DeleteFunc(m.peer.all, func(b *branch) bool { return b.forgotten })
		m.peer.dropped = 0
	}
	return true
}

// brought notes that the peer holds a log up to a counter.
func (m *Machine) brought(log identity.LogID, counter uint64) {
	if counter > m.tell.position.at(log) {
		m.tell.position.set(log, counter)
	}
}

// holds reports whether the peer is known to hold a branch up to a counter.
func (m *Machine) holds(ref records.BranchRef, counter uint64) bool {
	for _, b := range m.peer.branches[prefixOf(ref.Log)] {
		if b.name.Is(ref) && b.counter >= counter {
			return true
		}
	}
	return m.tell.position.at(ref.Log) >= counter
}

// working reports whether another branch under b's prefix is being worked on:
// they may be one log under two names, so one has to wait.
func (m *Machine) working(b *branch) bool {
	for _, other := range m.peer.branches[prefixOf(b.name.Log)] {
		if other != b && other.stage > queued {
			return true
		}
	}
	return false
}

// frontier returns how far a branch is held here.
func (m *Machine) frontier(b *branch) (counter uint64, starts int) {
	if b.ref == (records.BranchRef{}) {
		return 0, 0
	}
	return m.cfg.Local.Frontier(b.ref)
}

// learn takes note that something more of a log is held here now.
func (m *Machine) learn(ref records.BranchRef) {
	for _, b := range m.peer.branches[prefixOf(ref.Log)] {
		if b.ref == (records.BranchRef{}) && b.name.IsLog(ref.Log) {
			b.ref = ref
		}
		if b.ref.Log == ref.Log {
			b.parked = false
			m.consider(b)
		}
	}
}

// lacks reports whether the peer has something of a branch that is not here.
func (m *Machine) lacks(b *branch) bool {
	if m.leaves(b) && !m.share.late[prefixOf(b.name.Log)] || m.withheld(b.lane) {
		return false
	}
	counter, _ := m.frontier(b)
	return !b.blocked && !b.parked && (b.counter > counter || b.suspect || b.staged > counter && b.staged != b.spent)
}

// unblock tries again what the former roster did not allow.
func (m *Machine) unblock() {
	m.fetch.refused = false
	for _, b := range m.peer.all {
		if b.blocked = false; !b.forgotten {
			m.consider(b)
		}
	}
}
