package mesh

import (
	"sync"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records/identity"
)

// Of one thing people are told once in alarmEvery. Of more than maxSubjects at
// a time nobody can take note.
const (
	alarmEvery  = 10 * time.Minute
	maxSubjects = 64
)

// alarmLog remembers what was told.
type alarmLog struct {
	clock exchange.Clock

	mu   sync.Mutex
	told map[subject]func() // stops the timer that forgets it
	over bool
}

// subject is what an alarm is about.
type subject struct {
	kind exchange.AlarmKind
	log  identity.LogID
}

func newAlarmLog(clock exchange.Clock) *alarmLog {
	return &alarmLog{clock: clock, told: map[subject]func(){}}
}

// first reports whether an alarm is to be told.
func (a *alarmLog) first(alarm exchange.Alarm) bool {
	about := subject{alarm.Kind, alarm.Log}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || a.told[about] != nil || len(a.told) == maxSubjects {
		return false
	}
	a.told[about] = a.clock.AfterFunc(alarmEvery, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.told, about)
	})
	return true
}

// stop forgets everything, for good.
func (a *alarmLog) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, stop := range a.told {
		stop()
	}
	a.told, a.over = nil, true
}
