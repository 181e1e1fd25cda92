// Package gossip keeps the membership of a zone's devices on one network with
// memberlist: who is there, at which address, and hints that there is something
// new.
//
//	  Join: addresses from the book          Found, Hint, Conflict
//	          │                                      ▲
//	          ▼            ┌────────────┐            │
//	every 20 s, those ──►  │ memberlist │ ──► delegate (copies, queues)
//	that are not there     └────────────┘
//	                        ▲          │
//	                  guard │          ▼
//	                     transport: UDP and TCP on one address
//
// Everything is sealed with AES-256-GCM under keys derived from the zone keys:
// the newest seals, all of them open. So who is not of the zone can neither
// read nor join. But whoever holds a key can say anything about anybody, and
// memberlist would believe it. Therefore:
//
//   - what is told here is a hint: it may start a dial and nothing else, and
//     "left" or "dead" means nothing at all;
//   - what arrives is opened and looked through before memberlist sees it (the
//     guard), so that no holder of a key can make it take memory without bounds
//     or fail: sizes, counts, nesting, versions;
//   - hints are small, complete in themselves, and harmless twice, late, or
//     never.
//
// memberlist forgets a member half a minute after it died and never looks for
// it again, so a network that was cut would stay in two halves. [Gossip.Run]
// joins everybody in the address book who is not there, again and again.
// A memberlist cannot leave and come back, nor move to another address: each
// address gets an instance of its own, which Run begins and ends.
//
// The name of a member is its device ID. Its metadata is
//
//	0  format, 1
//	1  port at which the device can be called (2)
//	3  random part of its start (8)
//	11 what later releases append, up to 128 in all
//
// and a hint travels as
//
//	0  format, 2
//	1  length of the topic, at most 32 (1)
//	2  a random number, by which it is told from the same message told before (4)
//	6  topic, message of at most 256 bytes
//
// where a newer hint on a topic takes the place of an older one that has not
// gone out yet. What messages say is the business of cmd/classmesh: to whom a
// device is linked, and the heads of its own logs, of which package mesh believes
// those that are signed. Who hears something new passes it on, so a hint costs each
// device some sendings, eight among thirty.
package gossip
