// Package records keeps the learning records of one zone on one device: it
// writes them, accepts those of others, proves that they are what their
// authors wrote, and answers what pages ask.
//
// A [Replica] is everything that a device (or the coordinator) holds of a
// zone. [Found] sets one up in an empty [Store]; [Open] continues it. Then
//
//   - [Replica.Write] writes records: what it returns nil for is on disk,
//     signed, and visible to [Replica.Read];
//   - [Replica.Read] answers questions, over what counts;
//   - [Replica.State], Difference, SegmentList and SegmentData say and serve
//     what is held, and the Accept methods take what another replica holds;
//   - [Replica.Watch] tells of each commit.
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
// # The vector is true
//
// For each branch of a log a replica has a frontier: a head of which it holds
// exactly the live entries, verified. A small difference moves the frontier
// in one transaction. A large one is staged: verified segment by segment,
// stored and visible at once, and promoted when everything below the target
// head is there. Nothing is ever counted, shown to peers or acknowledged
// before the commit that holds it is on disk.
package records
