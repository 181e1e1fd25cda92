package classroom_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
)

// everything compares unexported fields too; nothing and an empty list are
// the same.
var everything = cmp.Options{cmpopts.EquateEmpty(), cmp.Exporter(func(reflect.Type) bool { return true })}

// Few values, so that versions meet.
var (
	logs     = rapid.Map(rapid.IntRange(1, 3), func(n int) identity.LogID { return identity.LogID{byte(n)} })
	learners = rapid.Map(rapid.IntRange(1, 2), func(n int) identity.UserID { return identity.UserID{byte(n)} })
	small    = rapid.Uint64Range(0, 5)
	clocks   = rapid.Map(small, func(n uint64) records.Clock { return records.Clock(n) })
)

func versions[B any](body func(*rapid.T) B) *rapid.Generator[[]classroom.Version[B]] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) classroom.Version[B] {
		return classroom.Version[B]{
			Source:  classroom.Source{Log: logs.Draw(t, "log"), Learner: learners.Draw(t, "learner")},
			Counter: 1 + small.Draw(t, "counter"), Body: body(t),
		}
	}), 0, 6)
}

func text(t *rapid.T, name string) classroom.Setting[string] {
	return classroom.Setting[string]{Clock: clocks.Draw(t, name), Value: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, name)}
}

func flag(t *rapid.T, name string) classroom.Setting[classroom.Flag] {
	return classroom.Setting[classroom.Flag]{Clock: clocks.Draw(t, name), Value: rapid.SampledFrom([]classroom.Flag{classroom.No, classroom.Yes}).Draw(t, name)}
}

func completion(t *rapid.T) *classroom.Completion {
	if !rapid.Bool().Draw(t, "complete") {
		return nil
	}
	return &classroom.Completion{At: rapid.Int64Range(created-2, created+2).Draw(t, "at"), Attempts: small.Draw(t, "attempts")}
}

func former[B message.Message](t *rapid.T, body func(*rapid.T) B) (list []classroom.Former) {
	for range rapid.IntRange(0, 2).Draw(t, "formers") {
		list = append(list, classroom.Former{Log: logs.Draw(t, "former log"), Body: message.Append(nil, body(t))})
	}
	return list
}

func user(t *rapid.T) classroom.User {
	return classroom.User{Name: text(t, "name"), Username: text(t, "username"), Language: text(t, "language"), Notes: text(t, "notes")}
}

func exerciseAlone(t *rapid.T) *classroom.ExerciseProgress {
	steps := rapid.SliceOfN(small, 0, classroom.Window).Draw(t, "steps")
	return &classroom.ExerciseProgress{
		Attempts: uint64(len(steps)) + small.Draw(t, "more"), Right: small.Draw(t, "right"), ActiveMS: small.Draw(t, "ms"),
		Points: 13 * small.Draw(t, "points"), Limit: 13 * small.Draw(t, "limit"),
		ClockSteps: steps, RightBits: rapid.Uint32Range(0, 1<<len(steps)-1).Draw(t, "bits"), Completion: completion(t),
	}
}

func exercise(t *rapid.T) classroom.ExerciseProgress {
	b := exerciseAlone(t)
	b.Former = former(t, exerciseAlone)
	return *b
}

func videoAlone(t *rapid.T) *classroom.VideoProgress {
	return &classroom.VideoProgress{
		SpanSteps: rapid.SliceOfN(rapid.Uint64Range(0, 30), 0, 6).Draw(t, "steps"),
		PlayedS:   small.Draw(t, "played"), Completions: small.Draw(t, "completions"),
		Position: classroom.Setting[uint32]{Clock: clocks.Draw(t, "clock"), Value: rapid.Uint32Range(0, 9).Draw(t, "position")},
		Language: text(t, "language"), Completion: completion(t), LastCompletion: rapid.Int64Range(0, 9).Draw(t, "last"),
		DurationS: rapid.Uint32Range(0, 40).Draw(t, "duration"), Worth: rapid.Uint32Range(0, 750).Draw(t, "worth"),
	}
}

func video(t *rapid.T) classroom.VideoProgress {
	b := videoAlone(t)
	b.Former = former(t, videoAlone)
	return *b
}

func dayAlone(t *rapid.T) *classroom.ActivityDay {
	return &classroom.ActivityDay{Count: small.Draw(t, "count"), ActiveMS: small.Draw(t, "ms"), LastActive: rapid.Int64Range(0, 9).Draw(t, "last")}
}

func day(t *rapid.T) classroom.ActivityDay {
	b := dayAlone(t)
	b.Former = former(t, dayAlone)
	return *b
}

func tags(t *rapid.T, name string) (list []classroom.Tag) {
	for range rapid.IntRange(0, 3).Draw(t, name) {
		list = append(list, classroom.Tag{Log: logs.Draw(t, name), Counter: 1 + small.Draw(t, name)})
	}
	return list
}

func membership(t *rapid.T) classroom.Membership {
	return classroom.Membership{Addition: rapid.Bool().Draw(t, "addition"), Added: tags(t, "added"), Removed: tags(t, "removed")}
}

func assignment(t *rapid.T) classroom.Assignment {
	b := classroom.Assignment{Title: text(t, "title"), Visible: flag(t, "visible")}
	for range rapid.IntRange(0, 3).Draw(t, "recipients") {
		b.Recipients = append(b.Recipients, classroom.Recipient{ID: [16]byte{byte(1 + small.Draw(t, "id")%2)}, Present: flag(t, "present")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "items") {
		b.Items = append(b.Items, classroom.AssignmentItem{
			Content:  rapid.SampledFrom([]string{"x", "y"}).Draw(t, "content"),
			Position: classroom.Setting[uint32]{Clock: clocks.Draw(t, "clock"), Value: rapid.Uint32Range(0, 3).Draw(t, "position")},
		})
	}
	return b
}

// laws checks that a merge is one: whatever the order, the grouping and the
// number of times in which versions arrive, the result is the same.
func laws[B, S any](t *testing.T, body func(*rapid.T) B, of func(...classroom.Version[B]) S, merge func(S, S) S) {
	gen := versions(body)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
		same := func(law string, x, y S) {
			if reflect.DeepEqual(x, y) {
				return // far quicker, and nearly always so
			}
			if d := cmp.Diff(x, y, everything); d != "" {
				t.Fatalf("%s:\n%s", law, d)
			}
		}
		same("commutative", merge(of(a...), of(b...)), merge(of(b...), of(a...)))
		same("associative", merge(merge(of(a...), of(b...)), of(c...)), merge(of(a...), merge(of(b...), of(c...))))
		same("idempotent", merge(of(a...), of(a...)), of(a...))
		all := slices.Concat(a, b, c)
		same("merging states is merging versions", merge(merge(of(a...), of(b...)), of(c...)), of(all...))
		seed := rapid.Uint64().Draw(t, "shuffle")
		shuffled := slices.Concat(all, a)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		same("order and repetition do not matter", of(shuffled...), of(all...))
	})
}

func TestMergeLaws(t *testing.T) {
	t.Run("user", func(t *testing.T) { laws(t, user, classroom.MergeUser, classroom.UserState.Merge) })
	t.Run("secret", func(t *testing.T) {
		laws(t, func(t *rapid.T) classroom.Secret {
			s := text(t, "password")
			return classroom.Secret{Password: classroom.Setting[classroom.PasswordHash]{Clock: s.Clock, Value: classroom.PasswordHash(s.Value)}}
		}, classroom.MergeSecret, classroom.SecretState.Merge)
	})
	t.Run("group", func(t *testing.T) {
		laws(t, func(t *rapid.T) classroom.Group {
			return classroom.Group{Name: text(t, "name"), Description: text(t, "description")}
		}, classroom.MergeGroup, classroom.GroupState.Merge)
	})
	t.Run("membership", func(t *testing.T) {
		laws(t, membership, classroom.MergeMembership, classroom.Presence.Merge)
	})
	t.Run("role", func(t *testing.T) {
		laws(t, func(t *rapid.T) classroom.RoleGrant {
			return classroom.RoleGrant{Role: classroom.Setting[classroom.Role]{Clock: clocks.Draw(t, "clock"), Value: classroom.Role(small.Draw(t, "role"))}}
		}, classroom.MergeRole, classroom.Latest[classroom.Role].Merge)
	})
	t.Run("assignment", func(t *testing.T) {
		laws(t, assignment, classroom.MergeAssignment, classroom.AssignmentState.Merge)
	})
	t.Run("alias", func(t *testing.T) {
		laws(t, func(t *rapid.T) classroom.Alias { return classroom.Alias{Revoked: flag(t, "revoked")} },
			classroom.MergeAlias, classroom.Latest[classroom.Flag].Merge)
	})
	t.Run("tombstone", func(t *testing.T) {
		laws(t, func(t *rapid.T) classroom.Tombstone { return classroom.Tombstone{Hidden: flag(t, "hidden")} },
			classroom.MergeTombstone, classroom.Latest[classroom.Flag].Merge)
	})
	t.Run("exercise", func(t *testing.T) { laws(t, exercise, mergeExercise, classroom.ExerciseState.Merge) })
	t.Run("video", func(t *testing.T) { laws(t, video, mergeVideo, classroom.VideoState.Merge) })
	t.Run("day", func(t *testing.T) { laws(t, day, classroom.MergeDay, classroom.DayState.Merge) })
	t.Run("award", func(t *testing.T) {
		laws(t, award, func(v ...classroom.Version[classroom.Award]) classroom.Awards {
			list := make([]classroom.Award, len(v))
			for i := range v {
				list[i] = v[i].Body
			}
			return classroom.MergeAwards(list...)
		}, classroom.Awards.Merge)
	})
}

func award(t *rapid.T) classroom.Award {
	return classroom.Award{
		Item: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "item"), Reason: classroom.Reason(small.Draw(t, "reason") % 2),
		Run: rapid.SliceOfN(rapid.ByteRange(0, 1), 0, 1).Draw(t, "run"), Amount: rapid.Int64Range(-3, 3).Draw(t, "amount"),
	}
}

func mergeExercise(v ...classroom.Version[classroom.ExerciseProgress]) classroom.ExerciseState {
	return classroom.MergeExercise(created, v...)
}

func mergeVideo(v ...classroom.Version[classroom.VideoProgress]) classroom.VideoState {
	return classroom.MergeVideo(created, v...)
}

// TestNothingFalls: what arrives later can only add.
func TestNothingFalls(t *testing.T) {
	exercises, videos := versions(exercise), versions(video)
	rapid.Check(t, func(t *rapid.T) {
		e, f := mergeExercise(exercises.Draw(t, "e")...), mergeExercise(exercises.Draw(t, "f")...)
		both := e.Merge(f)
		if both.Points() < e.Points() || both.Attempts.Total() < e.Attempts.Total() || both.Right.Total() < e.Right.Total() ||
			both.ActiveMS.Total() < e.ActiveMS.Total() || e.Complete() && !both.Complete() {
			t.Fatalf("%+v fell to %+v", e, both)
		}
		v, w := mergeVideo(videos.Draw(t, "v")...), mergeVideo(videos.Draw(t, "w")...)
		union := v.Merge(w)
		if union.Points() < v.Points() || union.Coverage() < v.Coverage() || union.PlayedS.Total() < v.PlayedS.Total() ||
			union.Watched.Seconds() < v.Watched.Seconds() || v.Complete() && !union.Complete() {
			t.Fatalf("%+v fell to %+v", v, union)
		}
	})
}

// TestLatestKeepsHistory: no setting disappears, and the greatest holds.
func TestLatestKeepsHistory(t *testing.T) {
	gen := versions(user)
	rapid.Check(t, func(t *rapid.T) {
		list := gen.Draw(t, "versions")
		s := classroom.MergeUser(list...)
		for _, v := range list {
			if v.Body.Name.Clock == 0 {
				continue
			}
			w := classroom.Written[string]{Setting: v.Body.Name, Source: v.Source}
			if !slices.Contains(s.Name, w) {
				t.Fatalf("%+v is not in the history %+v", w, s.Name)
			}
			if s.Name[0].Clock < w.Clock {
				t.Fatalf("%+v holds over %+v", s.Name[0], w)
			}
		}
	})
}

// TestBranchesOfOneLog: of two branches of a log the larger count counts.
func TestBranchesOfOneLog(t *testing.T) {
	at := func(log byte, attempts uint64) classroom.Version[classroom.ExerciseProgress] {
		return classroom.Version[classroom.ExerciseProgress]{
			Source: classroom.Source{Log: identity.LogID{log}}, Body: classroom.ExerciseProgress{Attempts: attempts},
		}
	}
	if got := mergeExercise(at(1, 5), at(1, 7), at(2, 3)).Attempts.Total(); got != 10 {
		t.Errorf("5 and 7 in branches of one log, 3 in another: %d attempts, want 10", got)
	}
	old := classroom.ExerciseProgress{Attempts: 5}
	again := at(2, 3) // a later incarnation, which had published the register again
	again.Body.Former = []classroom.Former{{Log: identity.LogID{1}, Body: message.Append(nil, &old)}}
	if got := mergeExercise(at(1, 4), again).Attempts.Total(); got != 8 {
		t.Errorf("4 of the 5 former attempts and 3 new ones: %d attempts, want 8", got)
	}
}

func TestFirstTrustedCompletion(t *testing.T) {
	at := func(log byte, ms int64) classroom.Version[classroom.ExerciseProgress] {
		return classroom.Version[classroom.ExerciseProgress]{
			Source: classroom.Source{Log: identity.LogID{log}},
			Body:   classroom.ExerciseProgress{Completion: &classroom.Completion{At: ms}},
		}
	}
	for _, c := range []struct {
		versions []classroom.Version[classroom.ExerciseProgress]
		log      byte
	}{
		{[]classroom.Version[classroom.ExerciseProgress]{at(1, created+9), at(2, created+5)}, 2},
		{[]classroom.Version[classroom.ExerciseProgress]{at(1, 0), at(2, created+5)}, 2}, // 1970 is not trusted
		{[]classroom.Version[classroom.ExerciseProgress]{at(1, 7), at(2, 3)}, 2},         // unless there is no other
		{[]classroom.Version[classroom.ExerciseProgress]{at(2, created), at(1, created)}, 1},
	} {
		if got := mergeExercise(c.versions...).Completion; got.Source.Log[0] != c.log {
			t.Errorf("%+v: first in log %d, want %d", c.versions, got.Source.Log[0], c.log)
		}
	}
}

func TestAddWins(t *testing.T) {
	at := func(log byte, counter uint64, b classroom.Membership) classroom.Version[classroom.Membership] {
		return classroom.Version[classroom.Membership]{Source: classroom.Source{Log: identity.LogID{log}}, Counter: counter, Body: b}
	}
	added := at(1, 4, classroom.Membership{Addition: true})
	removed := at(2, 9, classroom.Membership{Removed: classroom.MergeMembership(added).Additions()})
	if classroom.MergeMembership(added, removed).Present() {
		t.Error("present after a removal that saw the addition")
	}
	again := at(1, 6, classroom.Membership{Addition: true})
	if !classroom.MergeMembership(again, removed).Present() {
		t.Error("absent after an addition that the removal did not see")
	}
	elsewhere := at(3, 1, classroom.Membership{Addition: true})
	if !classroom.MergeMembership(added, removed, elsewhere).Present() {
		t.Error("absent although another log adds")
	}
}
