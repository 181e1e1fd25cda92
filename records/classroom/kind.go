package classroom

import (
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/roster"
)

// The kinds. Numbers are given out once and never reused. Each comment says
// what is in the envelope: whom the record is about (learner) and, for
// registers, the key.
var (
	// Lane zone.

	KindUser          = records.NewKind(identity.LaneZone, roster.ClassClassroom, 1)     // register: the user, ""
	KindLearnerSecret = records.NewKind(identity.LaneZone, roster.ClassClassroom, 2)     // register: the user, ""
	KindStaffSecret   = records.NewKind(identity.LaneZone, roster.ClassAdministrates, 3) // register: the user, ""
	KindGroup         = records.NewKind(identity.LaneZone, roster.ClassClassroom, 4)     // register: nobody, group ID
	KindMembership    = records.NewKind(identity.LaneZone, roster.ClassClassroom, 5)     // register: the user, group ID
	KindRole          = records.NewKind(identity.LaneZone, roster.ClassAdministrates, 6) // register: the user, "" for the whole zone or a group ID
	KindAssignment    = records.NewKind(identity.LaneZone, roster.ClassClassroom, 7)     // register: nobody, assignment ID
	KindAlias         = records.NewKind(identity.LaneZone, roster.ClassClassroom, 8)     // register: the smaller user ID, the larger
	KindTombstone     = records.NewKind(identity.LaneZone, roster.ClassClassroom, 9)     // register: see Target
	KindErasure       = records.NewKind(identity.LaneZone, roster.ClassCoordinator, 10)  // event: nobody

	// Lane progress.

	KindVideoProgress    = records.NewKind(identity.LaneProgress, roster.ClassAny, 11) // register: the learner, video ID
	KindExerciseProgress = records.NewKind(identity.LaneProgress, roster.ClassAny, 12) // register: the learner, exercise ID
	KindActivityDay      = records.NewKind(identity.LaneProgress, roster.ClassAny, 13) // register: the learner, day and activity
	KindAward            = records.NewKind(identity.LaneProgress, roster.ClassAny, 14) // event: the learner

	// Lane detail.

	KindAttempt = records.NewKind(identity.LaneDetail, roster.ClassAny, 15) // event: the learner
	KindViewing = records.NewKind(identity.LaneDetail, roster.ClassAny, 16) // event: the learner
)

// kindInfo is what is to be known of a kind.
type kindInfo struct {
	kind     records.Kind
	name     string
	register bool
	// salted bodies begin with 16 random bytes, because they hold names,
	// secrets, or words that a person typed: what is left of them after an
	// erasure, their hash, can then not be tried against guesses.
	//
	// Attempts are the great mass of all records, and 16 bytes that do not
	// compress would be a third of what one costs on the wire. So an attempt
	// is salted only if the answer is worded by the learner. A number or the
	// ID of an option tells nothing about the person, not even to somebody who
	// guesses all of the body right.
	salted bool
	body   func() message.Message
}

// kinds lists the kinds by ascending number.
var kinds = [...]kindInfo{
	{KindUser, "user", true, true, func() message.Message { return new(User) }},
	{KindLearnerSecret, "learner_secret", true, true, func() message.Message { return new(Secret) }},
	{KindStaffSecret, "staff_secret", true, true, func() message.Message { return new(Secret) }},
	{KindGroup, "group", true, true, func() message.Message { return new(Group) }},
	{KindMembership, "membership", true, false, func() message.Message { return new(Membership) }},
	{KindRole, "role", true, false, func() message.Message { return new(RoleGrant) }},
	{KindAssignment, "assignment", true, true, func() message.Message { return new(Assignment) }},
	{KindAlias, "alias", true, true, func() message.Message { return new(Alias) }},
	{KindTombstone, "tombstone", true, true, func() message.Message { return new(Tombstone) }},
	{KindErasure, "erasure", false, false, func() message.Message { return new(Erasure) }},
	{KindVideoProgress, "video_progress", true, false, func() message.Message { return new(VideoProgress) }},
	{KindExerciseProgress, "exercise_progress", true, false, func() message.Message { return new(ExerciseProgress) }},
	{KindActivityDay, "activity_day", true, false, func() message.Message { return new(ActivityDay) }},
	{KindAward, "award", false, false, func() message.Message { return new(Award) }},
	{KindAttempt, "attempt", false, true, func() message.Message { return new(Attempt) }},
	{KindViewing, "viewing", false, false, func() message.Message { return new(Viewing) }},
}

func infoOf(k records.Kind) (kindInfo, bool) {
	if n := int(k.Number()); n >= 1 && n <= len(kinds) && kinds[n-1].kind == k {
		return kinds[n-1], true
	}
	return kindInfo{}, false
}

// KindName returns the name of a kind, and whether this release knows it.
func KindName(k records.Kind) (string, bool) {
	info, ok := infoOf(k)
	return info.name, ok
}

// Describe returns a record's body as a value for JSON, the same for equal
// bodies: fields in a fixed order, identifiers as text, of secrets only that
// they are set. It reports false if this release does not know the kind or
// cannot read the body. It is what [records.Replica.Dump] asks for.
func Describe(k records.Kind, body []byte) (any, bool) {
	info, ok := infoOf(k)
	if !ok {
		return nil, false
	}
	b := info.body()
	if message.Decode(body, b, records.MaxBodyBytes) != nil {
		return nil, false
	}
	return b, true
}
