// Package records keeps the learning records of one zone on one device: it
// writes them, accepts those of others, proves that they are what their
// authors wrote, and answers what pages ask.
//
// A [Replica] is everything that a device (or the coordinator) holds of a
// zone. [Found] sets one up in an empty [Store]; [Open] continues it. Then
// [Replica.Write] writes records: what it returns nil for is on disk and
// signed. [Replica.Read] answers questions, over what counts. [Replica.State]
// and [Replica.Difference] say and serve what is held,
// [Replica.AcceptDifference] takes what another replica holds, and
// [Replica.Watch] tells of each commit. What is too large for one difference
// is fetched segment by segment: [Replica.AcceptSegmentList] says what is
// needed, [Replica.AcceptSegmentData] stages it, and [Replica.Promote] makes it
// count once nothing is lacking.
//
// Beneath stand the formats, which can hardly be changed later: [Envelope],
// [Entry] and its leaf, [Sum] (the fingerprint's arithmetic), [Row] and
// [Fingerprint], [Head] with its [StartList], [Receipt], and the run in which
// entries travel. [Store] is the seam to the disk, and [Difference],
// [SegmentList] and [SegmentData] are what replicas give each other.
//
// # Logs
//
// Every record stands in a log, which is written by one incarnation of one
// device, in one lane, with counters 1, 2, 3 … A record is an event, which
// stays for ever, or a register, of which a log keeps the newest version
// only. Counters take the place of time: clocks are never trusted for sync.
//
//	log    = (incarnation, lane)
//	entry  = (counter, envelope, body)       bytes as the author wrote them
//	leaf   = hash(log, counter, envelope, hash(body))
//	sum    = LtHash16 over the leaves of live entries, segment by segment
//	head   = author's signature over (log, counter, fingerprint of the sums)
//
// So one signature covers any number of entries; superseded versions leave
// nothing behind; and two replicas with equal fingerprints hold the same.
//
// A device that was copied or restored goes on in a new incarnation
// ([Replica.Behind]); what only it has in its former logs it sets aside and
// publishes again ([Replica.Asides], [Replica.PublishAgain]).
package records
