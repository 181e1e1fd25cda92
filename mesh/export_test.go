package mesh

import (
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// The choice of links, for the simulator.

const (
	FullMesh  = fullMesh
	FewLinks  = fewLinks
	ManyLinks = manyLinks
	RestAfter = restAfter
)

type Candidate struct {
	Device                identity.DeviceID
	Likely, Stale, Uplink bool
}

type Choice struct{ c *choice }

func NewChoice(self identity.DeviceID, draw func(n int) int) Choice {
	return Choice{newChoice(self, draw)}
}

func (c Choice) Step(now time.Time, all []Candidate, links []identity.DeviceID) (dial, shut, probes []identity.DeviceID, again time.Time) {
	p := c.c.step(now, candidates(all), links)
	return listOf(p.dial), p.shut, listOf(p.probes), p.again
}

func (c Choice) Admits(all []Candidate, links []identity.DeviceID, d identity.DeviceID) bool {
	return c.c.admits(candidates(all), links, d)
}

func (c Choice) Wants(all []Candidate, links []identity.DeviceID, d identity.DeviceID) bool {
	return c.c.wants(candidates(all), links, d)
}

func (c Choice) Rest(d identity.DeviceID, until time.Time) { c.c.rest(d, until) }

func (c Choice) Failed(d identity.DeviceID) { c.c.failed(d) }

func (c Choice) Seek(d identity.DeviceID) { c.c.seek(d) }

func candidates(all []Candidate) []candidate {
	list := make([]candidate, len(all))
	for i, k := range all {
		list[i] = candidate{k.Device, k.Likely, k.Stale, k.Uplink}
	}
	return list
}

func listOf(set map[identity.DeviceID]bool) (list []identity.DeviceID) {
	for d := range set {
		list = append(list, d)
	}
	return list
}

// What authors have told of, for tests of their bounds.

const (
	Grace        = grace
	AskAgain     = askAgain
	LongestAsk   = longestAsk
	AskEvery     = askEvery
	MaxAwaited   = maxAwaited
	MaxOfOne     = maxOfOne
	ChecksAtOnce = checksAtOnce
	ChecksPerSec = checksPerSec
)

type Awaiting struct{ a *awaiting }

func NewAwaiting(draw func(n int) int) Awaiting { return Awaiting{newAwaiting(draw)} }

func (a Awaiting) News(now time.Time, log identity.LogID, author identity.DeviceID, counter, held uint64) bool {
	return a.a.news(now, log, author, counter, held)
}

func (a Awaiting) Add(now time.Time, log identity.LogID, author identity.DeviceID, counter uint64) {
	a.a.add(now, log, author, counter)
}

func (a Awaiting) Step(now time.Time, held func(identity.LogID) (uint64, bool)) (ask bool, vain []identity.DeviceID, again time.Time) {
	return a.a.step(now, held)
}

func (a Awaiting) Late(held func(identity.LogID) (uint64, bool)) map[identity.DeviceID]bool {
	return a.a.late(held)
}

func (a Awaiting) Len() int { return len(a.a.logs) }

// Awaited is how many logs there is more of than is here, as far as hints told.
func (n *Node) Awaited() int {
	n.hints.mu.Lock()
	defer n.hints.mu.Unlock()
	return len(n.hints.awaiting.logs)
}
