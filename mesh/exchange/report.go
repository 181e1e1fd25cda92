package exchange

import (
	"fmt"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Report is what there is to say about a session, for its record.
type Report struct {
	Peer        identity.DeviceID
	Certificate identity.Certificate // of the peer's incarnation; zero before its Hello
	Start       identity.StartID     // of the peer's process
	Software    string
	Version     uint32 // of the protocol
	Features    wire.Features
	Epoch       roster.Epoch // of the peer's roster, the last that it told
	Wall        int64        // the peer's clock at its Hello, milliseconds; a hint
	Standing    Standing

	RecordsSent     uint64 // entries answered with or pushed
	RecordsReceived uint64 // entries of others that came to be on disk
	SentIn          ByLane // RecordsSent, lane by lane
	ReceivedIn      ByLane // RecordsReceived, lane by lane
	BytesSent       uint64 // of frames; counted by Session
	BytesReceived   uint64 // of frames; counted by Session

	// LaneBytes are the bytes of entries that went over the line, both ways, by
	// lane; Withheld has a bit for each lane of which nothing is given or taken,
	// because the allowance is used up.
	LaneBytes [Lanes]uint64
	Withheld  uint32

	PushesSent, PushesIgnored uint64 // ignored: received, but not from where this side stood
	SegmentsTaken             uint64
	PartialLists              uint64 // lists of which the peer had only some segments
	Mismatches                uint64 // what the peer sent did not match and was asked for in another way
	LogsRefused               uint64 // not admitted, or forked

	// Equal says that at the last comparison both sides held the same.
	Equal bool
	// Blame says in words what the peer did wrong, or is empty.
	Blame string
	// Over says that the session has ended; Code, Words and Remote say how.
	Over   bool
	Code   wire.Code
	Words  string
	Remote bool
}

// ByLane counts records in the order of identity.Lanes.
type ByLane [maxLanes]uint64

// sent counts records that were sent in a lane.
func (r *Report) sent(lane int, n int) {
	r.RecordsSent += uint64(n)
	r.SentIn[lane] += uint64(n)
}

// received counts records of others that came to be on disk.
func (r *Report) received(lane identity.Lane, n int) {
	r.RecordsReceived += uint64(n)
	r.ReceivedIn[laneIndex(lane)] += uint64(n)
}

// AlarmKind says what an alarm is about.
type AlarmKind uint8

// The kinds.
const (
	// AlarmCopy: the peer has this device's key, but is another process: one
	// of the two is a copy.
	AlarmCopy AlarmKind = 1 + iota
	// AlarmBehind: the peer holds a head of this incarnation's own log that
	// this replica does not continue, or another continuation of a log of a
	// former one: the store is a copy or an old backup. The signature of the
	// first kind was verified.
	AlarmBehind
	// AlarmForked: the peer holds a log in another continuation.
	AlarmForked
	// AlarmRoster: the coordinator signed two rosters with one epoch, or the
	// roster is of a format that this release cannot read.
	AlarmRoster
	// AlarmFull: there is no room for what the peer has.
	AlarmFull
	// AlarmKey: the coordinator signed two zone keys with one number, or the
	// key is of a format that this release cannot read.
	AlarmKey
)

// String returns the kind in words.
func (k AlarmKind) String() string {
	switch k {
	case AlarmCopy:
		return "copy of this device"
	case AlarmBehind:
		return "own log is ahead elsewhere"
	case AlarmForked:
		return "forked log"
	case AlarmRoster:
		return "roster"
	case AlarmFull:
		return "no room"
	case AlarmKey:
		return "zone key"
	}
	return fmt.Sprintf("alarm %d", uint8(k))
}

// Alarm is something that those who look after the device must know. It never
// ends the session by itself.
type Alarm struct {
	Kind AlarmKind
	Log  identity.LogID // AlarmForked
	Head *records.Head  // AlarmBehind; AlarmForked, unless the peer is a copy of this device
	Err  error          // AlarmForked, AlarmRoster, AlarmFull, AlarmKey
}
