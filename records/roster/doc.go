// Package roster says who belongs to a zone and what each may do there.
//
// A [Roster] is the coordinator's signed statement of a zone: its devices with
// their roles and incarnations, the logs that are closed, and a little policy.
// It holds no secret and travels like data. Rosters are numbered by [Epoch];
// [Accept] decides which of two a replica follows: the higher one, from
// whomever it came.
//
// The questions that the rest of classmesh asks are pure functions of a
// roster, so that every replica with the same roster gives the same answers,
// whatever order things arrived in:
//
//	Admits       may anything that this incarnation wrote count?
//	MayContinue  may this log still grow?
//	Closed       if not: which set of entries does it end with?
//	MayAuthor    may this device author records of this class?
//	MayConnect   may this device be talked to?
//	MayReceive   may it be given records now?
//
// The coordinator makes a first roster with [New] and each following one with
// an edit ([Roster.AddDevice], [Roster.Revoke] and so on), which leaves the
// roster it starts from as it is, and signs it with [Roster.Sign]. A *Roster is
// not changed once it is made, so it may be used by many goroutines.
//
// An [Invitation] is the code by which a device that knows nobody finds the
// right coordinator and is let in. A [ZoneKey] is the secret that members share,
// which a roster names by its number.
//
// # What never goes back
//
// Within a chain of edits epochs, eras and key numbers rise, listed incarnations and closed
// logs stay, closures are replaced by ones with higher numbers only, and a
// revoked device stays revoked, in the role that it had: what its closed logs
// hold counts as it did before.
package roster
