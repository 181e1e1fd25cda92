// Package exchange is one session between two replicas of a zone: peer to
// peer, or device to coordinator, which is a peer that is also an authority.
//
// [Machine] is the protocol and nothing else: [Machine.Step] is told an
// [Event] and answers with [Effect]s, without I/O, clock or goroutine.
// [Session] runs a machine over a stream and a [Replica]: make one with
// [NewSession], then [Session.Run]. All sessions of a process share one
// [Limits] and one packing.Codec.
//
// # A session
//
//	both      Hello, Counters            who I am; what I hold, in 32 bytes
//	          Roster                     from the higher epoch to the lower
//	          Key                        to a member with an older zone key
//	leader    Vector                     if the fingerprints differ; a long
//	                                     one begins with VectorSums
//	follower  VectorReply                only the rows that differ
//	both      Want … Difference          what I lack, lane by lane
//	          Want … SegmentList         if it is large,
//	          WantSegments … Segment     newest segment first
//	both      Counters                   when all is there
//	both      Safe                       if they differ in what is safe
//	a device  Share                      what it leaves to others, see [Sharing]
//	both      Push, Have, Receipt, …     from then on, as things happen
//	either    CountersSum                now and then; no answer if all is the same
//	          Bye
//
// The leader is the side with the smaller device ID. Everything else goes both
// ways at once; whoever asks keeps the numbers of its requests.
//
// A peer that the roster does not list hears one of three things: WantRoster,
// if it claims a later roster, which must then list it; unknown; or revoked.
//
// # What is promised
//
//   - Credit is given back, a record is counted and news of it is passed on
//     only when it is on disk.
//   - Memory is bounded whatever the peer does: by the window of credit for
//     what comes, by what is read ahead for what goes, by limits on requests
//     and rows. Who breaks one is sent away.
//   - What does not match is fetched in another way (segment by segment, whole)
//     before the peer is blamed. Blame ends the session and is in its
//     [Report]; nothing that did not verify is kept.
//   - A push is sent to a peer that stands right before it, forwarded to those
//     that do not have it, never back to where it came from, and dropped
//     without harm.
//   - A zone key goes to a member that may receive, never to anybody else, and
//     not before the roster that names it is at hand.
//   - No state about a peer outlives the session.
//
// In the code, machine.go says what is allowed when; greeting, key, compare,
// sums, quiet, fetch, staging, accept, serve, tell, safe and share are its parts.
package exchange
