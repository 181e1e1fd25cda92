package main

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/classmesh/classmesh/discovery/gossip"
	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records/identity"
)

// How often devices tell each other whom they are linked to, for the drawing
// of the mesh.
const (
	// tellEvery is how often it is looked whether there is something to tell.
	tellEvery = 2 * time.Second
	// tellAgain is how often the same is told again: a hint may be lost, and
	// somebody may be new. Among many it is tellShare for each other device,
	// because all pass all of it on.
	tellAgain = 40 * time.Second
	tellShare = 4 * time.Second
	// toldFor is how long what somebody has told counts; among many likewise.
	toldFor   = 150 * time.Second
	toldShare = 4 * tellShare
)

// Bounds of what is told.
const (
	neighboursFormat = 1
	prefixBytes      = 8 // enough to tell the devices of a zone apart
	// maxNeighbours is how many links are told of: what a hint has room for.
	maxNeighbours = (gossip.MaxHintBytes - 1 - identity.HashBytes) / prefixBytes
	// maxTellers bounds the memory for what others tell.
	maxTellers = 1024
)

// devicePrefix stands for a device among those of a zone.
type devicePrefix [prefixBytes]byte

// neighbours is what devices of the network say about their links. It is a
// hint that nobody signs: a drawing may rely on it, nothing else.
//
//	format      1
//	teller     32   device ID
//	links     8 n   the beginnings of device IDs, ascending
type neighbours struct {
	now func() time.Time

	mu   sync.Mutex
	told map[identity.DeviceID]told
}

// told is what a device has said.
type told struct {
	at    time.Time
	links []devicePrefix
}

func newNeighbours(now func() time.Time) *neighbours {
	return &neighbours{now: now, told: map[identity.DeviceID]told{}}
}

func prefixOf(d identity.DeviceID) devicePrefix { return devicePrefix(d[:prefixBytes]) }

// encodeNeighbours returns what a device tells about itself. The links are by device.
func encodeNeighbours(own identity.DeviceID, links []mesh.Neighbour) []byte {
	b := append([]byte{neighboursFormat}, own[:]...)
	for _, l := range links[:min(len(links), maxNeighbours)] {
		b = append(b, l.Device[:prefixBytes]...)
	}
	return b
}

// hear notes what somebody tells; what is not understood is dropped.
func (n *neighbours) hear(b []byte) {
	const fixed = 1 + identity.HashBytes
	if len(b) < fixed || b[0] != neighboursFormat || (len(b)-fixed)%prefixBytes != 0 || len(b) > gossip.MaxHintBytes {
		return
	}
	t := told{at: n.now()}
	for rest := range slices.Chunk(b[fixed:], prefixBytes) {
		t.links = append(t.links, devicePrefix(rest))
	}
	teller := identity.DeviceID(b[1:fixed])
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.told[teller]; !known && len(n.told) >= maxTellers {
		for d, t := range n.told {
			if n.now().Sub(t.at).Abs() > toldFor {
				delete(n.told, d)
			}
		}
		if len(n.told) >= maxTellers {
			return
		}
	}
	n.told[teller] = t
}

// of returns the members to which, as it has told lately, a device is linked.
func (n *neighbours) of(d identity.DeviceID, members []identity.DeviceID) (links []identity.DeviceID) {
	n.mu.Lock()
	t, ok := n.told[d]
	n.mu.Unlock()
	if !ok || n.now().Sub(t.at).Abs() > max(toldFor, time.Duration(len(members))*toldShare) {
		return nil
	}
	for _, m := range members {
		if slices.Contains(t.links, prefixOf(m)) {
			links = append(links, m)
		}
	}
	return links
}

// topicNeighbours is the topic of a device's hints; a newer one takes the place
// of an older one that has not gone out yet.
func topicNeighbours(own identity.DeviceID) []byte {
	return append([]byte("links "), own[:prefixBytes]...)
}

// tell tells others, of whom so many are there, whom this device is linked to until
// ctx is done.
func (n *neighbours) tell(ctx context.Context, own identity.DeviceID, links func() []mesh.Neighbour, others func() int, broadcast func(topic, message []byte) error) {
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	var last []byte
	var at time.Time
	for {
		message := encodeNeighbours(own, links())
		if now := n.now(); !bytes.Equal(message, last) || now.Sub(at).Abs() >= max(tellAgain, time.Duration(others())*tellShare) {
			if broadcast(topicNeighbours(own), message) == nil {
				last, at = message, now
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
