// Package wire holds what the two sides of a session say to each other: the
// messages, their frames, their limits and their versions. It knows nothing
// of the order in which they are said; that is mesh/exchange.
//
// A [Reader] takes messages off a stream, [AppendFrame] puts them on one. A
// [Codec] packs entries into the runs that messages carry.
//
// # Frames
//
//	+------+----------------+--------------------------+
//	| type | uvarint length | payload: one protobuf    |
//	|  1   | 1 to 3         | 0 to MaxPayloadBytes     |
//	+------+----------------+--------------------------+
//
// The type comes first, and each type has a longest payload of its own, so a
// frame is refused before memory is taken for it. A type that a release does
// not know ends the session, unless it is 128 or above: such frames are read
// over. A field that a release does not know is dropped.
//
//	 1 Hello         2 Bye            3 Roster        4 WantRoster
//	 5 Counters      6 Vector         7 VectorReply   8 Have
//	 9 Want         10 Nothing       11 Difference   12 SegmentList
//	13 Rows         14 WantSegments  15 Segment      16 Entries
//	17 Push         18 Credit        19 Receipt      20 Key
//	21 Safe         22 Share         23 Links        24 Enough
//	25 More         26 VectorSums    27 CountersSum
//
//	128 Limit
//
// # Runs
//
// Entries travel in rows as [records.AppendRun] writes them, cut at borders of entries
// into chunks of at most MaxChunkBytes, each compressed by zstd on its own, or
// as it is if that is shorter; with FeatureColumns also in columns
// (packing.DecodeColumns), compressed:
//
//	Run { 1: uint32 size of the rows, absent if not compressed
//	      2: bytes  the rows, or one zstd frame that states the same size; or
//	                a frame of columns, which states a smaller one }
//
// Difference, Segment and Push carry the first chunk. If it says more, the
// others follow at once in Entries, the last of which does not say more;
// nothing else that carries entries comes between. Rows do the same for
// SegmentList, and Vector, VectorReply, Safe and Roster continue themselves.
//
// # Rows of a vector
//
//	flags        1   bits 0–2 lane
//	                 bit 3    the name is in full
//	                 bit 4    staged follows
//	                 bit 5    fingerprint follows
//	log          8, or 32 in full
//	start        4, or 8 in full
//	counter      uvarint
//	staged       uvarint, less counter
//	fingerprint  32
//
// Rows ascend by log and start, those cut short as if zeros followed. Logs are
// hashes: between neighbours there is no difference worth coding.
//
// # Checksums of a vector
//
// A long vector is told in two steps. VectorSums has 2ᵏ checksums of 8 bytes, 8 to
// 1024 of them; the checksum at place i is of the rows in bucket i, those of logs
// whose ID begins with the k bits of i: the first 8 bytes of the hash, labelled
// "classmesh 1 bucket of a vector", of
//
//	log 32, start 8, counter 8, staged 8 (0 unless above counter)
//
// for each row, ascending, numbers big-endian. The answer is a Vector that has, in
// its last part, a bit for each bucket, set if the checksums differ (bucket i is
// bit i mod 8 of byte i div 8), and all rows of the buckets whose bit is set.
//
// # Names cut short
//
// A log's ID is cut to 8 bytes and a start to 4 wherever the sender holds no
// other log with the same 8 bytes; otherwise the names are in full. What the
// receiver holds under the same 8 bytes it takes for the same log. By chance
// that is wrong once in 2⁶⁴/n tries for a zone of n logs. A member could
// search for a log whose ID begins like another's: some 2⁶⁴ hashes for a given
// log, 2³² for two of its own. What it would gain is small: a head names its
// log in full under its author's signature, so nothing of one log is ever
// taken for the other's; at worst one of the two logs is not asked for. And
// that shows: the zone fingerprints still differ when nothing is left to ask,
// and then the vectors are exchanged once more, names and log fingerprints in
// full.
//
// # Names that are left out
//
// An [Account] leaves out the starts that the receiver said it has, and with
// them the certificate: who has starts of a log has its certificate.
//
// # Versions
//
// Hello names the versions from MinVersion to MaxVersion that a side speaks;
// the highest that both speak holds ([Offer.Agree]). Features that are not in
// both Hellos are off. Version 1 is the only one so far.
package wire
