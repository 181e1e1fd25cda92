// Package classroom gives the records of a zone their meaning: what a user, a
// membership, an answer is, how what several devices say of one thing becomes
// one, what pages write, and what they show.
//
// It has four layers, from the bottom:
//
//   - Bodies ([User], [ExerciseProgress], [Attempt] …) are the protobuf of
//     records, one type a kind; the kinds are listed in kind.go. [Describe]
//     shows any of them.
//   - States ([UserState], [ExerciseState], [Presence] …) are what all versions
//     of a register say together. The functions Merge… make them, by the rules
//     below, without I/O.
//   - Commands ([RecordAttempt], [RecordViewing], [AddUser], [ImportUsers] …)
//     are each one [records.Replica.Write]: atomic, and on disk when they
//     return. What this device may not author they refuse.
//   - Views ([Progress], [ReadStanding], [People], [Attempts]) answer pages. They
//     read the lanes zone and progress only, except Attempts, so that a device
//     without the lane detail shows the same numbers.
//
// # Merging
//
// A register holds only what was set or done in its own log. States merge by
// one rule a field:
//
//	[Latest]    the greatest (clock, source) holds, the others stay as history
//	[Sum]       each source counts its own; all are added
//	[Spans]     union
//	[Recent]    the newest ten of the union
//	[First]     the least trusted time
//	[Presence]  add-wins
//	[Awards]    the largest amount for each (item, reason, run)
//
// All of them are commutative, associative and idempotent: replicas that hold
// the same records show the same, whatever the order of arrival. All but
// Latest only grow, so points never fall and what is complete stays complete.
//
// # Points
//
// What an exercise gives is the sum of what right answers earned in each log,
// limited to what the exercise is worth. A video gives its worth times the
// part of it that was watched. When a content is completed, an [Award] keeps
// what it gave, for ever.
//
// # Other releases
//
// Whoever writes a register again starts from the version in its own log and
// keeps the fields that it does not know. Messages within bodies never get new
// fields; what is new gets a new number in the body itself. A body that this
// release cannot read is passed over by views.
//
// All functions are safe for concurrent use; a [records.View] is for one
// goroutine.
package classroom
