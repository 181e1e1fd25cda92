package classroom_test

import (
	"fmt"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// Four logs have a learner's register: as many as devices that one meets.
const benchLogs = 4

func sourceOf(log int) classroom.Source {
	return classroom.Source{Log: identity.LogID{byte(log + 1)}, Learner: identity.UserID{1}}
}

func BenchmarkMergeExercise(b *testing.B) {
	var versions []classroom.Version[classroom.ExerciseProgress]
	for log := range benchLogs {
		p := classroom.ExerciseProgress{Attempts: 20, Right: 15, ActiveMS: 90_000, Points: 130, Limit: 200, RightBits: 0b1011}
		for i := range classroom.Window {
			p.ClockSteps = append(p.ClockSteps, uint64(1+i+log))
		}
		versions = append(versions, classroom.Version[classroom.ExerciseProgress]{Source: sourceOf(log), Counter: 1, Body: p})
	}
	b.ReportAllocs()
	for b.Loop() {
		classroom.MergeExercise(created, versions...)
	}
}

func BenchmarkMergeVideo(b *testing.B) {
	var versions []classroom.Version[classroom.VideoProgress]
	for log := range benchLogs {
		p := classroom.VideoProgress{PlayedS: 100, DurationS: 300, Worth: 750}
		for i := range 10 {
			p.SpanSteps = append(p.SpanSteps, uint64(10+i+log))
		}
		versions = append(versions, classroom.Version[classroom.VideoProgress]{Source: sourceOf(log), Counter: 1, Body: p})
	}
	b.ReportAllocs()
	for b.Loop() {
		classroom.MergeVideo(created, versions...)
	}
}

func BenchmarkMergeUser(b *testing.B) {
	var versions []classroom.Version[classroom.User]
	for log := range benchLogs {
		set := func(value string) classroom.Setting[string] {
			return classroom.Setting[string]{Clock: records.Clock(log), Value: value}
		}
		versions = append(versions, classroom.Version[classroom.User]{
			Source: sourceOf(log), Counter: 1, Body: classroom.User{Name: set("Ana Castro"), Username: set("ana.castro"), Language: set("es")},
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		classroom.MergeUser(versions...)
	}
}

// BenchmarkAttempt records an answer: three records and the state that follows
// from all others.
func BenchmarkAttempt(b *testing.B) {
	z := newZone(b, roster.RoleClassroom)
	learner := z.add(0, "ana", classroom.RoleLearner)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		z.answer(0, learner, fmt.Sprint("exercise ", n/20), n%3 > 0)
	}
}
