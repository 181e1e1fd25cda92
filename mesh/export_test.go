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
