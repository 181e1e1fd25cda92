package classroom

import (
	"maps"

	"github.com/classmesh/classmesh/records/identity"
)

// Presence merges a membership by the rule "add-wins": each addition is
// tagged with its place (log, counter), a removal lists the additions that it
// saw, and the user is present while one addition is not listed. Of one log
// the newest addition stands for all before it, since who saw it saw them.
// The zero value is absent.
type Presence struct {
	added, removed map[identity.LogID]uint64 // log → highest counter
}

// Present reports whether an addition stands.
func (p Presence) Present() bool {
	for log, counter := range p.added {
		if counter > p.removed[log] {
			return true
		}
	}
	return false
}

// Additions returns the tags of all additions that p knows, for a removal to
// list.
func (p Presence) Additions() []Tag { return tagsOf(p.added) }

// Merge returns what both know together.
func (p Presence) Merge(q Presence) Presence {
	return Presence{mergeTags(p.added, q.added), mergeTags(p.removed, q.removed)}
}

func mergeTags(a, b map[identity.LogID]uint64) map[identity.LogID]uint64 {
	if len(a) == 0 {
		return b
	}
	a = maps.Clone(a)
	for log, counter := range b {
		a[log] = max(a[log], counter)
	}
	return a
}
