package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/classmesh/classmesh/discovery/gossip"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records/identity"
)

// A device that was restarted elsewhere is at two addresses as well, until the
// others have forgotten the former one: a copy is what is still at two places
// after copyAfter. Nothing is decided on this word. Who is a copy notices it at its
// first session, and goes on as a new incarnation; but people should know.
const (
	copyAfter = time.Minute
	copyFor   = 10 * time.Minute // since it was last seen
	maxCopies = 64
)

// problemCopy names the finding.
const problemCopy mesh.Problem = "copy"

// nameOf is what people call a device, or the short form of its ID.
func (d *device) nameOf(id identity.DeviceID) string {
	if known, ok := d.replica.Roster().Device(id); ok && known.Name != "" {
		return known.Name
	}
	return id.Short()
}

// copies is what the membership of the network says about devices that are at two
// places. It is safe for concurrent use.
type copies struct {
	now func() time.Time

	mu   sync.Mutex
	seen map[identity.DeviceID]*copySeen
}

type copySeen struct {
	first, last time.Time
	one, other  netip.AddrPort
}

func newCopies(now func() time.Time) *copies {
	return &copies{now: now, seen: map[identity.DeviceID]*copySeen{}}
}

// hear notes a conflict. Two starts are two processes; one start is a device that
// has moved.
func (c *copies) hear(conflict gossip.Conflict) {
	if conflict.Known.Start == conflict.Other.Start {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	c.forget(now)
	s := c.seen[conflict.Known.Device]
	if s == nil {
		if len(c.seen) == maxCopies {
			return
		}
		s = &copySeen{first: now}
		c.seen[conflict.Known.Device] = s
	}
	s.last, s.one, s.other = now, conflict.Known.Call, conflict.Other.Call
}

func (c *copies) forget(now time.Time) {
	for id, s := range c.seen {
		if now.Sub(s.last) > copyFor {
			delete(c.seen, id)
		}
	}
}

// findings says which devices there are twice; name tells what people call one.
func (c *copies) findings(name func(identity.DeviceID) string) (list []mesh.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(c.now())
	for id, s := range c.seen {
		if s.last.Sub(s.first) < copyAfter {
			continue
		}
		list = append(list, mesh.Finding{Problem: problemCopy, Detail: fmt.Sprintf("%s: %v, %v", name(id), s.one, s.other), Words: fmt.Sprintf(
			"Two devices say that they are %q, at %v and at %v: one has a copy of the other's card or data folder. Nothing is lost, both go on working; but take one of them away, and join it anew if it is to stay.",
			name(id), s.one, s.other)})
	}
	slices.SortFunc(list, func(a, b mesh.Finding) int { return strings.Compare(a.Words, b.Words) })
	return list
}
