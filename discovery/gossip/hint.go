package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/hashicorp/memberlist"
)

// Sizes of a hint.
const (
	MaxTopicBytes = 32
	MaxHintBytes  = 256

	hintFormat = 2
	hintFixed  = 1 + 1 + 4 // before the topic
)

// Bounds of hints that are kept or passed on.
const (
	maxQueued  = 256  // not gone out yet
	maxSeen    = 1024 // recognised when they come again
	hintBurst  = 256  // of others, at once
	hintPerSec = 32   // and then
)

// ErrHint is wrapped by errors about hints that cannot be sent.
var ErrHint = errors.New("not a hint that can be sent")

// hint is one message to everybody. The number tells it from the same message
// broadcast earlier, which is passed on no more.
type hint struct {
	number         uint32
	topic, message []byte
}

func (h hint) encode() []byte {
	b := append(make([]byte, 0, hintFixed+len(h.topic)+len(h.message)), hintFormat, byte(len(h.topic)))
	b = binary.BigEndian.AppendUint32(b, h.number)
	return append(append(b, h.topic...), h.message...)
}

// parseHint reads a hint; its parts lie in b. One of a format that is not known
// has no topic.
func parseHint(b []byte) (hint, error) {
	if len(b) < 2 || len(b) > hintFixed+MaxTopicBytes+MaxHintBytes {
		return hint{}, errGuard
	}
	if b[0] != hintFormat {
		return hint{message: b}, nil
	}
	size := int(b[1])
	if size > MaxTopicBytes || len(b) < hintFixed+size || len(b) > hintFixed+size+MaxHintBytes {
		return hint{}, errGuard
	}
	return hint{binary.BigEndian.Uint32(b[2:]), b[hintFixed : hintFixed+size], b[hintFixed+size:]}, nil
}

// queued is a hint in the queue of what goes out.
type queued struct {
	name string // of the topic
	data []byte
}

func (q queued) Name() string                          { return q.name }
func (q queued) Message() []byte                       { return q.data }
func (q queued) Finished()                             {}
func (q queued) Invalidates(memberlist.Broadcast) bool { return false } // names do that

// recent recognises the hints that came lately, and bounds how many are taken.
type recent struct {
	seed  maphash.Seed
	known map[uint64]bool
	order [maxSeen]uint64 // a ring
	next  int

	allowed float64
	since   time.Time
}

func newRecent(now time.Time) *recent {
	return &recent{seed: maphash.MakeSeed(), known: map[uint64]bool{}, allowed: hintBurst, since: now}
}

// add reports whether b is new.
func (r *recent) add(b []byte) bool {
	sum := maphash.Bytes(r.seed, b)
	if r.known[sum] {
		return false
	}
	delete(r.known, r.order[r.next])
	r.order[r.next] = sum
	r.known[sum] = true
	r.next = (r.next + 1) % maxSeen
	return true
}

// take reports whether one more may be taken in at now.
func (r *recent) take(now time.Time) bool {
	if passed := now.Sub(r.since).Seconds(); passed > 0 {
		r.allowed = min(r.allowed+passed*hintPerSec, hintBurst)
	}
	r.since = now
	if r.allowed < 1 {
		return false
	}
	r.allowed--
	return true
}

// check returns an error for a hint that is too large.
func (h hint) check() error {
	if len(h.topic) == 0 || len(h.topic) > MaxTopicBytes || len(h.message) > MaxHintBytes {
		return fmt.Errorf("broadcast hint: %w: a topic of %d bytes (1 to %d), a message of %d (at most %d)",
			ErrHint, len(h.topic), MaxTopicBytes, len(h.message), MaxHintBytes)
	}
	return nil
}
