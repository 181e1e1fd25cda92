package classroom

import (
	"encoding/binary"
	"time"

	"github.com/classmesh/classmesh/records/message"
)

// Day is a calendar day where the learner is, counted from 1 January 1970.
type Day int32

const dayFormat = "2006-01-02"

// DayOf returns the day of t, in t's own time zone.
func DayOf(t time.Time) Day {
	y, m, d := t.Date()
	return Day(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay)
}

const secondsPerDay = 24 * 60 * 60

// String returns the day as 2006-01-02.
func (d Day) String() string {
	return time.Unix(int64(d)*secondsPerDay, 0).UTC().Format(dayFormat)
}

// MarshalText is String.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Activity is what somebody did on a day.
type Activity uint8

// The activities.
const (
	ActivityExercise Activity = 1 + iota
	ActivityVideo
)

// ActivityDay is the register of how active a learner was on one day in one
// activity, as far as it was in this log. The register's key is the day,
// big-endian two's complement (4), and the activity (1).
type ActivityDay struct {
	Count      uint64   `json:"count"`       // answers, or spans watched
	ActiveMS   uint64   `json:"active_ms"`   // by a monotonic clock
	LastActive int64    `json:"last_active"` // milliseconds since 1970
	Former     []Former `json:"former,omitempty"`
	Unknown    []byte   `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *ActivityDay) Fields(v *message.Visitor) {
	v.Uint64(1, &b.Count)
	v.Uint64(2, &b.ActiveMS)
	v.Int64(3, &b.LastActive)
	message.List(v, 15, &b.Former, maxFormers)
	v.Unknown(&b.Unknown)
}

func (b *ActivityDay) formers() *[]Former { return &b.Former }

func dayKey(d Day, a Activity) string {
	return string(append(binary.BigEndian.AppendUint32(nil, uint32(d)), byte(a)))
}

func dayOfKey(key string) (Day, Activity, bool) {
	if len(key) != 5 {
		return 0, 0, false
	}
	return Day(binary.BigEndian.Uint32([]byte(key))), Activity(key[4]), true
}

// DayState is an activity on a day as all logs together say.
type DayState struct {
	Count, ActiveMS Sum
	LastActive      int64 // milliseconds since 1970
}

// MergeDay merges versions of one learner's register for one day and activity.
func MergeDay(versions ...Version[ActivityDay]) (s DayState) {
	for _, v := range versions {
		s.add(v)
	}
	return s
}

func (s *DayState) add(v Version[ActivityDay]) {
	expand(v, func(v Version[ActivityDay]) {
		s.Count = s.Count.with(v.Source, v.Body.Count)
		s.ActiveMS = s.ActiveMS.with(v.Source, v.Body.ActiveMS)
		s.LastActive = max(s.LastActive, v.Body.LastActive)
	})
}

// Merge returns what both know together.
func (s DayState) Merge(t DayState) DayState {
	return DayState{s.Count.Merge(t.Count), s.ActiveMS.Merge(t.ActiveMS), max(s.LastActive, t.LastActive)}
}
