package mesh

import (
	"slices"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// How many links there are to peers on the LAN.
const (
	// fullMesh is up to how many other devices are all linked to.
	fullMesh = 10
	// Where there are more, a device opens links until it has fewLinks, and
	// takes those that others open until it has manyLinks.
	fewLinks  = 6
	manyLinks = 8
	// replaceEvery is about how often one link gives way to another, so that
	// no group of devices keeps to itself for long.
	replaceEvery = 5 * time.Minute
	// probeEvery is about how often some devices are tried that did not answer,
	// or were not heard of for long: a LAN that was cut heals even if nobody
	// announces anything, and who has gone is not counted for ever.
	probeEvery = 20 * time.Second
	// restAfter is how long a device is left alone that has links enough.
	restAfter = time.Minute
)

// candidate is a device of the zone that may be linked to.
type candidate struct {
	device identity.DeviceID
	likely bool // to be there: it answered when it was last tried, or was heard of since
	stale  bool // that was long ago
	uplink bool // it says that it reaches the coordinator
}

// choice decides to which peers this device has links. It does no I/O and has
// no clock: what is known comes in, and what is to be done comes out.
//
// Up to fullMesh other devices, everybody is linked to everybody. Above, each
// device is linked to the next in either direction on the ring of device IDs,
// which alone joins all that know of each other; to one with an uplink; and to
// some that chance picks, which joins those that do not know of each other yet
// and keeps the ways short.
type choice struct {
	self identity.DeviceID
	draw func(n int) int // a number from 0 up to n

	resting map[identity.DeviceID]time.Time // not to be dialled before
	picked  map[identity.DeviceID]bool      // by chance, and not linked yet
	replace time.Time                       // when a link is to give way
	probe   time.Time                       // when to try those that did not answer
}

// plan is what a choice wants done.
type plan struct {
	dial   map[identity.DeviceID]bool
	shut   []identity.DeviceID        // links that are to end
	probes map[identity.DeviceID]bool // to be tried, a few of them
	// unknown: addresses are worth a dial of which it is not known whose they
	// are. Now and then they are among the probes.
	unknown, probeUnknown bool
	again                 time.Time // when to ask again, if nothing changes before
}

func newChoice(self identity.DeviceID, draw func(n int) int) *choice {
	return &choice{self: self, draw: draw, resting: map[identity.DeviceID]time.Time{}, picked: map[identity.DeviceID]bool{}}
}

// step decides at now, from all devices that are known and those that are
// linked. all does not hold this device; links may hold devices that all does
// not.
func (c *choice) step(now time.Time, all []candidate, links []identity.DeviceID) plan {
	p := plan{dial: map[identity.DeviceID]bool{}, probes: map[identity.DeviceID]bool{}}
	for d, until := range c.resting {
		if !until.After(now) {
			delete(c.resting, d)
		} else {
			p.again = sooner(p.again, until)
		}
	}
	linked := setOf(links)
	uplinks := map[identity.DeviceID]bool{}
	here := slices.Clone(links)    // those that are there
	var absent []identity.DeviceID // or perhaps
	for _, k := range all {
		if k.uplink {
			uplinks[k.device] = true
		}
		switch {
		case linked[k.device] || !c.resting[k.device].IsZero():
		case k.likely:
			here = append(here, k.device)
			if k.stale {
				absent = append(absent, k.device)
			}
		default:
			absent = append(absent, k.device)
		}
	}
	slices.SortFunc(here, identity.DeviceID.Compare)

	if len(here) <= fullMesh {
		c.full(&p, here, linked)
	} else {
		c.partial(now, &p, here, links, linked, uplinks)
	}
	c.try(now, &p, len(all)+len(links), absent)
	return p
}

// full wants a link to every device.
func (c *choice) full(p *plan, here []identity.DeviceID, linked map[identity.DeviceID]bool) {
	clear(c.picked)
	c.replace = time.Time{}
	p.unknown = true
	for _, d := range here {
		if !linked[d] {
			p.dial[d] = true
		}
	}
}

// partial wants some links.
func (c *choice) partial(now time.Time, p *plan, here, links []identity.DeviceID, linked, uplinks map[identity.DeviceID]bool) {
	kept := map[identity.DeviceID]bool{} // not given up
	for _, d := range c.neighbours(here) {
		kept[d] = true
	}
	if d, ok := c.carrier(here, linked, uplinks); ok {
		kept[d] = true
	}
	for d := range kept {
		if !linked[d] {
			p.dial[d] = true
		}
	}
	loose := slices.DeleteFunc(slices.Clone(links), func(d identity.DeviceID) bool { return kept[d] })
	slices.SortFunc(loose, identity.DeviceID.Compare)
	end := func() {
		i := c.draw(len(loose))
		p.shut = append(p.shut, loose[i])
		c.resting[loose[i]] = now.Add(c.about(replaceEvery))
		loose = slices.Delete(loose, i, i+1)
	}
	for len(links)-len(p.shut) > manyLinks && len(loose) > 0 {
		end()
	}
	want := fewLinks
	switch {
	case c.replace.IsZero():
		c.replace = now.Add(c.about(replaceEvery))
	case !c.replace.After(now):
		c.replace = now.Add(c.about(replaceEvery))
		if len(p.shut) == 0 && len(links) >= fewLinks && len(here) > len(links) && len(loose) > 0 {
			want = len(links) // another one in its place
			end()
		}
	}
	p.again = sooner(p.again, c.replace)

	possible := setOf(here)
	for d := range c.picked {
		if possible[d] && !linked[d] {
			p.dial[d] = true
		} else {
			delete(c.picked, d)
		}
	}
	free := slices.DeleteFunc(slices.Clone(here), func(d identity.DeviceID) bool { return linked[d] || p.dial[d] })
	have := len(links) - len(p.shut) + len(p.dial)
	for ; have < want && len(free) > 0; have++ {
		i := c.draw(len(free))
		c.picked[free[i]], p.dial[free[i]] = true, true
		free = slices.Delete(free, i, i+1)
	}
	p.unknown = have < want
}

// try picks what is dialled although it will hardly answer. Where few devices
// are known, that is all of them: how often is up to who keeps the addresses.
func (c *choice) try(now time.Time, p *plan, known int, absent []identity.DeviceID) {
	if known <= fullMesh {
		for _, d := range absent {
			p.dial[d] = true
		}
		return
	}
	if c.probe.After(now) {
		p.again = sooner(p.again, c.probe)
		return
	}
	c.probe = now.Add(c.about(probeEvery))
	p.again = sooner(p.again, c.probe)
	p.probes, p.probeUnknown = setOf(absent), true
}

// neighbours returns the device that follows this one on the ring of IDs, and
// the one that precedes it. here is ascending.
func (c *choice) neighbours(here []identity.DeviceID) []identity.DeviceID {
	if len(here) < 2 {
		return here
	}
	i, _ := slices.BinarySearchFunc(here, c.self, identity.DeviceID.Compare)
	return []identity.DeviceID{here[i%len(here)], here[(i+len(here)-1)%len(here)]}
}

// carrier returns a device with an uplink: one that is linked, if there is one.
func (c *choice) carrier(here []identity.DeviceID, linked, uplinks map[identity.DeviceID]bool) (identity.DeviceID, bool) {
	var near, far []identity.DeviceID
	for _, d := range here {
		switch {
		case !uplinks[d]:
		case linked[d]:
			near = append(near, d)
		case c.picked[d]:
			return d, true
		default:
			far = append(far, d)
		}
	}
	switch {
	case len(near) > 0:
		return near[0], true
	case len(far) > 0:
		d := far[c.draw(len(far))]
		c.picked[d] = true // also the next time
		return d, true
	}
	return identity.DeviceID{}, false
}

// admits reports whether a device may have a link that it asks for.
func (c *choice) admits(all []candidate, links []identity.DeviceID, d identity.DeviceID) bool {
	return c.welcomes(all, links, d, manyLinks)
}

// wants reports whether a device that was found by chance is to have a link.
func (c *choice) wants(all []candidate, links []identity.DeviceID, d identity.DeviceID) bool {
	return c.welcomes(all, links, d, fewLinks)
}

func (c *choice) welcomes(all []candidate, links []identity.DeviceID, d identity.DeviceID, most int) bool {
	if len(links) < most {
		return true
	}
	linked := setOf(links)
	here := slices.Clone(links)
	for _, k := range all {
		if k.likely && !linked[k.device] {
			here = append(here, k.device)
		}
	}
	if !slices.Contains(here, d) {
		here = append(here, d)
	}
	slices.SortFunc(here, identity.DeviceID.Compare)
	return len(here) <= fullMesh || slices.Contains(c.neighbours(here), d)
}

// rest leaves a device alone for a while: it has links enough, or a link to it
// came to nothing.
func (c *choice) rest(d identity.DeviceID, until time.Time) {
	c.resting[d] = until
	delete(c.picked, d)
}

// seek picks a device, as chance might have: it, or those around it, may have no
// links to those that this device has links to.
func (c *choice) seek(d identity.DeviceID) { c.picked[d] = true }

// failed notes that a device did not answer: chance may pick another.
func (c *choice) failed(d identity.DeviceID) { delete(c.picked, d) }

// about returns a time near d, so that devices do not act as one.
func (c *choice) about(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(c.draw(1000))*d/2000
}

// sooner returns the earlier of two times of which either may be zero, for
// never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func setOf(list []identity.DeviceID) map[identity.DeviceID]bool {
	set := make(map[identity.DeviceID]bool, len(list))
	for _, d := range list {
		set[d] = true
	}
	return set
}
