package classroom_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/roster"
)

// sample is a body of a kind with a value in every field.
type sample struct {
	kind  records.Kind
	body  message.Message
	empty func() message.Message
}

func said(s string) classroom.Setting[string] { return classroom.Setting[string]{Clock: 3, Value: s} }

func yes() classroom.Setting[classroom.Flag] {
	return classroom.Setting[classroom.Flag]{Clock: 4, Value: classroom.Yes}
}

var (
	salt   = classroom.Salt{15: 7}
	done   = &classroom.Completion{At: 1000, Attempts: 9}
	logID  = identity.LogID{31: 1}
	before = []classroom.Former{{Log: logID, Body: []byte{8, 1}}}
)

func samples() []sample {
	return []sample{
		{classroom.KindUser, &classroom.User{Salt: salt, Name: said("Ada"), Username: said("ada"), Language: said("en"), Notes: said("x")},
			func() message.Message { return new(classroom.User) }},
		{classroom.KindLearnerSecret, &classroom.Secret{Salt: salt, Password: classroom.Setting[classroom.PasswordHash]{Clock: 2, Value: "$h"}},
			func() message.Message { return new(classroom.Secret) }},
		{classroom.KindStaffSecret, &classroom.Secret{Salt: salt, Password: classroom.Setting[classroom.PasswordHash]{Clock: 2, Value: "$h"}},
			func() message.Message { return new(classroom.Secret) }},
		{classroom.KindGroup, &classroom.Group{Salt: salt, Name: said("3A"), Description: said("y")},
			func() message.Message { return new(classroom.Group) }},
		{classroom.KindMembership, &classroom.Membership{Addition: true, Added: []classroom.Tag{{Log: logID, Counter: 5}}, Removed: []classroom.Tag{{Log: logID, Counter: 4}}},
			func() message.Message { return new(classroom.Membership) }},
		{classroom.KindRole, &classroom.RoleGrant{Role: classroom.Setting[classroom.Role]{Clock: 6, Value: classroom.RoleTeacher}},
			func() message.Message { return new(classroom.RoleGrant) }},
		{classroom.KindAssignment, &classroom.Assignment{
			Salt: salt, Title: said("T"), Visible: yes(), Due: classroom.Setting[uint64]{Clock: 1, Value: 9},
			Recipients: []classroom.Recipient{{ID: [16]byte{1}, IsGroup: true, Present: yes()}},
			Items:      []classroom.AssignmentItem{{Content: "c", Position: classroom.Setting[uint32]{Clock: 1, Value: 2}}},
		}, func() message.Message { return new(classroom.Assignment) }},
		{classroom.KindAlias, &classroom.Alias{Salt: salt, Revoked: yes(), Why: said("w")},
			func() message.Message { return new(classroom.Alias) }},
		{classroom.KindTombstone, &classroom.Tombstone{Salt: salt, Hidden: yes(), Reason: said("r")},
			func() message.Message { return new(classroom.Tombstone) }},
		{classroom.KindErasure, &classroom.Erasure{Learners: []identity.UserID{{1}, {2}}},
			func() message.Message { return new(classroom.Erasure) }},
		{classroom.KindVideoProgress, &classroom.VideoProgress{
			SpanSteps: []uint64{0, 30, 10, 20}, PlayedS: 60, Completions: 1, Position: classroom.Setting[uint32]{Clock: 8, Value: 60},
			Language: said("en"), Completion: done, LastCompletion: 1000, DurationS: 60, Worth: 750, Former: before,
		}, func() message.Message { return new(classroom.VideoProgress) }},
		{classroom.KindExerciseProgress, &classroom.ExerciseProgress{
			Attempts: 9, Right: 8, ActiveMS: 40000, Points: 104, Limit: 104, ClockSteps: []uint64{300, 1, 2}, RightBits: 5,
			Completion: done, Former: before,
		}, func() message.Message { return new(classroom.ExerciseProgress) }},
		{classroom.KindActivityDay, &classroom.ActivityDay{Count: 3, ActiveMS: 4000, LastActive: 1000, Former: before},
			func() message.Message { return new(classroom.ActivityDay) }},
		{classroom.KindAward, &classroom.Award{Item: "ex", Reason: classroom.ReasonCompletion, Run: []byte{1}, Amount: -5, Rule: 1},
			func() message.Message { return new(classroom.Award) }},
		{classroom.KindAttempt, &classroom.Attempt{
			Salt: salt, Exercise: "ex", Item: "it", Seed: 77, Answer: "half", Correct: true, Hinted: true, TakenMS: 5000, Language: "en",
			Context: []byte{1}, Run: []byte{2}, Steps: []classroom.Step{{Hint: true, AfterMS: 9}, {Answer: "b"}},
		}, func() message.Message { return new(classroom.Attempt) }},
		{classroom.KindViewing, &classroom.Viewing{Video: "v", FromS: 1, ToS: 31, SpeedPercent: 150, Language: "en", Context: []byte{1}},
			func() message.Message { return new(classroom.Viewing) }},
	}
}

func decode(t testing.TB, s sample, b []byte) message.Message {
	t.Helper()
	m := s.empty()
	if err := message.Decode(b, m, records.MaxBodyBytes); err != nil {
		t.Fatalf("%v: %v", s.kind, err)
	}
	return m
}

// later is a field that only a later release knows.
var later = protowire.AppendString(protowire.AppendTag(nil, 99, protowire.BytesType), "later")

func TestBodies(t *testing.T) {
	kinds := map[uint16]bool{}
	for _, s := range samples() {
		name, ok := classroom.KindName(s.kind)
		t.Run(name, func(t *testing.T) {
			if kinds[s.kind.Number()] || !ok {
				t.Errorf("kind %v is there twice or has no name", s.kind)
			}
			kinds[s.kind.Number()] = true
			b := message.Append(nil, s.body)
			if want := golden[name]; want.bytes != hex.EncodeToString(b) {
				t.Errorf("bytes %x, want %s", b, want.bytes)
			}
			if d := cmp.Diff(s.body, decode(t, s, b), everything); d != "" {
				t.Errorf("round trip: %s", d)
			}
			withLater := append(bytes.Clone(b), later...)
			if again := message.Append(nil, decode(t, s, withLater)); !bytes.Equal(again, withLater) {
				t.Errorf("unknown field: %x became %x", withLater, again)
			}
			v, ok := classroom.Describe(s.kind, b)
			shown, err := json.Marshal(v)
			if !ok || err != nil {
				t.Fatalf("describe: %v, %v", ok, err)
			}
			if want := golden[name]; want.json != string(shown) {
				t.Errorf("described as %s, want %s", shown, want.json)
			}
			if strings.Contains(string(shown), "$h") {
				t.Errorf("%s gives a hash away", shown)
			}
		})
	}
}

func TestWhoMayAuthor(t *testing.T) {
	want := map[roster.Class]string{
		roster.ClassAdministrates: "role staff_secret",
		roster.ClassClassroom:     "alias assignment group learner_secret membership tombstone user",
		roster.ClassCoordinator:   "erasure",
		roster.ClassAny:           "activity_day attempt award exercise_progress video_progress viewing",
	}
	for _, s := range samples() {
		name, _ := classroom.KindName(s.kind)
		if !strings.Contains(" "+want[s.kind.Class()]+" ", " "+name+" ") {
			t.Errorf("%s is of class %v", name, s.kind.Class())
		}
	}
}

func TestDescribeRefuses(t *testing.T) {
	unknown := records.NewKind(identity.LaneZone, roster.ClassAny, 4000)
	if _, ok := classroom.Describe(unknown, nil); ok {
		t.Error("an unknown kind is described")
	}
	if _, ok := classroom.Describe(classroom.KindUser, []byte{0xff}); ok {
		t.Error("garbage is described")
	}
}

func FuzzBody(f *testing.F) {
	all := samples()
	for _, s := range all {
		f.Add(uint16(s.kind.Number()), message.Append(nil, s.body))
		f.Add(uint16(s.kind.Number()), later)
	}
	f.Fuzz(func(t *testing.T, number uint16, b []byte) {
		s := all[int(number)%len(all)]
		m := s.empty()
		if message.Decode(b, m, records.MaxBodyBytes) != nil {
			return
		}
		// Unknown fields within messages of a body are not kept; see the
		// package comment. What is left is spelled in one way.
		once := message.Append(nil, m)
		if twice := message.Append(nil, decode(t, s, once)); !bytes.Equal(once, twice) {
			t.Errorf("%v: %x became %x", s.kind, once, twice)
		}
		v, ok := classroom.Describe(s.kind, b)
		if _, err := json.Marshal(v); !ok || err != nil {
			t.Errorf("%v: %x is not described: %v", s.kind, b, err)
		}
		switch m := m.(type) { // whatever decodes can be merged
		case *classroom.ExerciseProgress:
			mergeExercise(classroom.Version[classroom.ExerciseProgress]{Body: *m}).Summary("x")
		case *classroom.VideoProgress:
			mergeVideo(classroom.Version[classroom.VideoProgress]{Body: *m}).Summary("x")
		case *classroom.Membership:
			classroom.MergeMembership(classroom.Version[classroom.Membership]{Body: *m}).Present()
		}
	})
}
