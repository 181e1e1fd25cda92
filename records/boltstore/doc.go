// Package boltstore keeps a replica's logs in one bbolt file: records.Store
// for a device, and for one zone at a coordinator.
//
// [Create] makes a new file and refuses one that exists; [Open] opens one that
// exists and never makes one, so that a store that has gone is noticed and not
// quietly begun anew. Commits are synced to disk; there is no other mode.
//
// Buckets and keys (integers big-endian):
//
//	meta       "schema"                              version of this layout
//	values     name
//	branches   slot(4)                               branch, see branch.go
//	starts     slot(4) index(4)                      start (16)
//	segments   slot(4) first(8)                      live(4) bytes(4) staged(1) checksum(32)
//	sums       slot(4) first(8)                      LtHash (2048)
//	targets    slot(4)                               rows (44 each)
//	entries    slot(4) counter(8)                    stub(1) length(2) envelope, body
//	registers  kind(2) learner(16) length(1) key slot(4)  stored counters, newest first (8 each)
//	events     learner(16) lane(1) slot(4) counter/128 (8)  nothing: this block has such events
//	drops      slot(4) old(8)                        by(8)
//	receipts   hash(32)
//	items      length of table(1) table key
//
// Entries stand in the order in which they come, which is what a B+tree takes
// fastest; the index of events is coarse for the same reason.
package boltstore
