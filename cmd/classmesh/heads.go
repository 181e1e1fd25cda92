package main

import (
	"context"
	"sync"
	"time"

	"github.com/classmesh/classmesh/discovery/gossip"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// How a device tells the others on its network up to where its own logs go. What
// it writes is pushed; this is for those whom a push does not reach.
const (
	// headEvery is how often it is looked whether there is something to tell.
	headEvery = 2 * time.Second
	// A hint costs each device more than a push does, since all pass it on. So a
	// device that works on and on tells one head in headPace or, among many, in
	// headShare for each other device.
	headPace  = 15 * time.Second
	headShare = 500 * time.Millisecond
	// A head is told again after headAgain, and then after twice as long each
	// time, until it was told headTimes, for who was not there or did not hear it.
	headAgain = 40 * time.Second
	headTimes = 4
	// headFor is how long a head is worth telling: links that come later compare.
	headFor = 5 * time.Minute
)

// headFormat tells a hint that is a head:
//
//	format      2
//	head      245 at most: records.Head
const headFormat = 2

// A head fits into a hint, whatever it looks like.
const _ = uint(gossip.MaxHintBytes - 1 - records.MaxHeadBytes)

// heads are those of this device's own logs that are to be told.
type heads struct {
	now func() time.Time

	mu   sync.Mutex
	logs map[identity.LogID]*toldHead
	last time.Time // when one was told
}

// toldHead is the newest head of a log.
type toldHead struct {
	head  records.Head
	since time.Time // it is the newest
	times int       // it was told
	next  time.Time // when it is to be told
}

func newHeads(now func() time.Time) *heads {
	return &heads{now: now, logs: map[identity.LogID]*toldHead{}}
}

// note takes a head that this device has signed.
func (h *heads) note(head records.Head) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	next := now
	if old := h.logs[head.Log]; old != nil && old.times == 0 {
		next = old.next // in its place
	}
	h.logs[head.Log] = &toldHead{head: head, since: now, next: next}
}

// due returns the head that is to be told now to so many other devices, if there
// is one: of those that are due, the one that is so longest.
func (h *heads) due(others int) (records.Head, bool) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	var first *toldHead
	for log, t := range h.logs {
		switch {
		case t.times == headTimes, now.Sub(t.since).Abs() > headFor:
			delete(h.logs, log)
		case t.next.After(now):
		case first == nil || t.next.Before(first.next):
			first = t
		}
	}
	if first == nil || others == 0 || now.Sub(h.last).Abs() < max(headPace, time.Duration(others)*headShare) {
		return records.Head{}, false
	}
	h.last = now
	first.next = now.Add(headAgain << first.times)
	first.times++
	return first.head, true
}

// topicHead is the topic of a log's head; a newer one takes the place of an older
// one that has not gone out yet.
func topicHead(log identity.LogID) []byte { return append([]byte("head "), log[:prefixBytes]...) }

// tell tells others of heads until ctx is done.
func (h *heads) tell(ctx context.Context, others func() int, broadcast func(topic, message []byte) error) {
	ticker := time.NewTicker(headEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if head, ok := h.due(others()); ok {
			broadcast(topicHead(head.Log), append([]byte{headFormat}, head.Encode()...)) // which fits
		}
	}
}
