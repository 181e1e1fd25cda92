package main

import "fmt"

// rows lists all rows of the table for zones of the given sizes, with what is
// asked of each.
func rows(sizes []int) []*figure {
	var all []*figure
	row := func(id, what, unit string, b bound) {
		all = append(all, &figure{id: id, what: what, unit: unit, bound: b})
	}
	none := bound{}
	for _, n := range sizes {
		size := sizeName(n)
		at := func(family, name string) string { return fmt.Sprint(family, "/", size, "/", name) }
		row(at("first", "records"), "records in the zone", "", none)
		row(at("first", "time"), "first sync over QUIC", "ms", bySize(n, atMost(100, 40), none, none))
		row(at("first", "rate"), "first sync", "rec/s", bySize(n, none, atLeast(150_000, 400_000), atLeast(150_000, 350_000)))
		row(at("first", "share"), "first sync, of bbolt's ascending insert rate", "%", bySize(n, none, atLeast(25, 65), none))
		row(at("first", "bytes"), "first sync: bytes on the wire a record", "B", atMost(45, 25))
		row(at("memory", "holder"), "first sync: peak memory of the holder", "MB", bySize(n, atMost(64, 0), atMost(128, 0), atMost(384, 0)))
		row(at("memory", "receiver"), "first sync: peak memory of the receiver", "MB", bySize(n, atMost(64, 0), atMost(128, 0), atMost(384, 0)))
		row(at("memory", "holder-heap"), "first sync: Go heap of the holder", "MB", atMost(0, 48))
		row(at("memory", "receiver-heap"), "first sync: Go heap of the receiver", "MB", atMost(0, 48))
		row(at("nothing", "time"), "nothing new, new session", "ms", atMost(10, 4))
		row(at("nothing", "connections"), "  times a bare connection", "", none)
		row(at("nothing", "bytes"), "nothing new: bytes on the wire", "B", atMost(8000, 7000))
		row(at("changed", "time"), "100 changed, new session", "ms", atMost(10, 5))
		row(at("changed", "bytes"), "100 changed: bytes on the wire", "B", atMost(10_000, 6000))
		row(at("live", "p50"), "one record, live, on disk at both ends, p50", "ms", atMost(2.5, 1))
		row(at("live", "limits"), "  p50, times two commits and a datagram to another process and back", "", none)
		row(at("live", "p99"), "one record, live, p99", "ms", atMost(8, 0))
		row(at("open", "bytes"), "nothing new, open session: bytes of a comparison", "B", atMost(200, 100))
		row(at("open", "messages"), "nothing new, open session: of these, messages", "B", none)
	}
	for _, n := range sizes {
		at := func(name string) string { return fmt.Sprint("nats/", sizeName(n), "/", name) }
		row(at("time"), "NATS: the same records mirrored, unsigned, not on disk", "ms", none)
		row(at("rate"), "NATS: rate", "rec/s", none)
		row(at("times"), "first sync, times the rate of NATS", "", atLeast(1, 0))
		row(at("bytes"), "NATS: bytes on the wire a record", "B", none)
		row(at("receiver"), "NATS: peak memory of the receiver", "MB", none)
		row(at("changed-time"), "NATS: 100 new over an open link, not on disk", "ms", none)
		row(at("changed-bytes"), "NATS: 100 new: bytes on the wire", "B", none)
		row(at("live-p50"), "NATS: one record over an open link, not on disk, p50", "ms", none)
	}
	for _, c := range worstCases {
		at := func(name string) string { return fmt.Sprint("worst/", c.name, "/", name) }
		row(at("rate"), c.what, "rec/s", bySize(c.records(middle(sizes)), perRecord(10_000, 100, 40), atLeast(150_000, 400_000), atLeast(150_000, 350_000)))
		row(at("bytes"), c.what+": bytes on the wire a record", "B", atMost(45, 25))
		row(at("receiver"), c.what+": peak memory of the receiver", "MB", atMost(128, 0))
	}
	for _, m := range smallMachines {
		at := func(name string) string { return fmt.Sprint("small/", m.name, "/", name) }
		row(at("rate"), m.what+": first sync", "rec/s", none)
		row(at("receiver"), m.what+": peak memory of the receiver", "MB", atMost(128, 0))
		row(at("quiet-p95"), m.what+": 40 answer at once, p95", "ms", none)
		row(at("class-p95"), m.what+": 40 answer at once while the first sync runs, p95", "ms", atMost(150, 0))
		row(at("class-worst"), m.what+": the longest wait of these", "ms", none)
		row(at("class-rate"), m.what+": that first sync", "rec/s", none)
		if m.memory > 0 && len(sizes) > 1 {
			large := sizes[len(sizes)-1]
			at := func(name string) string { return fmt.Sprint("small/", m.name, "-", sizeName(large), "/", name) }
			row(at("rate"), fmt.Sprintf("%s: first sync of %s records", m.what, sizeName(large)), "rec/s", none)
			row(at("receiver"), m.what+": its peak memory", "MB", atMost(smallMemory/1e6, 0))
			row(at("receiver-heap"), m.what+": its Go heap", "MB", atMost(0, 48))
		}
	}
	for _, n := range lanSizes {
		at := func(name string) string { return fmt.Sprint("lan/", n, "/", name) }
		row(at("p50"), fmt.Sprintf("one record, on the disks of all of %d devices of a LAN, p50", n), "ms", atMost(20, 0))
		row(at("p99"), "  p99", "ms", atMost(200, 0))
		row(at("copies"), "  how often it crosses the LAN, for each device that gets it", "", atMost(1.3, 0))
		row(at("messages"), "  bytes of messages for each device, comparisons included", "B", none)
		row(at("bytes"), "  bytes on the wire for each device, acknowledgements included", "B", none)
		row(at("idle-cpu"), fmt.Sprintf("processor time of one of %d devices with nothing to do, of a core", n), "%", atMost(1, 0))
		row(at("idle-bytes"), "  bytes on the wire a second that it sends to each peer", "B/s", atMost(200, 0))
	}
	row("lan/heal/time", fmt.Sprintf("two halves of %d devices, %d new records in each, come together", healDevices, healRecords), "ms", atMost(10_000, 0))
	row("lan/heal/bytes", "  bytes on the wire for each record and device", "B", none)
	for _, n := range uplinkSizes(sizes) {
		size := sizeName(n)
		at := func(name string) string { return fmt.Sprint("program/upload/", size, "/", name) }
		row(at("time"), "classmesh device sync: all records to the coordinator, start of the process included", "ms", none)
		row(at("rate"), "  rate", "rec/s", none)
		row(at("bytes"), "  bytes on the wire a record", "B", atMost(45, 25))
		row(at("sender"), "  peak memory of the device", "MB", bySize(n, atMost(64, 0), atMost(128, 0), none))
		row(at("coordinator"), "  peak memory of the coordinator", "MB", bySize(n, atMost(64, 0), atMost(128, 0), none))
		at = func(name string) string { return fmt.Sprint("program/first/", size, "/", name) }
		row(at("records"), "classmesh device serve, from the coordinator: records", "", none)
		row(at("start"), "  until pages answer", "ms", none)
		row(at("time"), "  until all is there, and on the page of a class", "ms", bySize(n, atMost(100, 40), none, none))
		row(at("rate"), "  rate, start of the process included", "rec/s", bySize(n, none, atLeast(150_000, 400_000), none))
		row(at("bytes"), "  bytes on the wire a record", "B", atMost(45, 25))
		row(at("device"), "  peak memory of the device", "MB", bySize(n, atMost(64, 0), atMost(128, 0), none))
		row(at("coordinator"), "  peak memory of the coordinator", "MB", bySize(n, atMost(64, 0), atMost(128, 0), none))
	}
	contact := func(name string) string { return fmt.Sprint("program/contact/", contactDevices, "/", name) }
	row(contact("time"), fmt.Sprintf("%d devices started together on a LAN: until the last has a record of another", contactDevices), "ms", atMost(3000, 0))
	row(contact("each"), "  until each has, from the start of its process", "ms", none)
	row(contact("all"), "  until all hold the same", "ms", none)
	idle := func(name string) string { return fmt.Sprint("program/idle/", idleDevices, "/", name) }
	row(idle("cpu"), fmt.Sprintf("processor time of each of %d processes with nothing to do, of a core", idleDevices), "%", atMost(1, 0))
	row(idle("cpu-worst"), "  of the one that takes most", "%", atMost(1, 0))
	row(idle("bytes"), "  bytes on the wire a second that it sends, for each of the others", "B/s", atMost(200, 0))
	row(idle("sent"), "  bytes a second that it sends in all, announcements included", "B/s", none)
	row(idle("received"), "  bytes a second that it receives, announcements of all included", "B/s", none)
	row(idle("memory"), "  peak memory of a device", "MB", none)
	if small, large := sizeName(sizes[0]), sizeName(sizes[len(sizes)-1]); small != large {
		row("growth/rate", fmt.Sprintf("first sync: rate at %s of that at %s", large, sizeName(middle(sizes))), "%", atLeast(60, 90))
		row("growth/changed/time", fmt.Sprintf("100 changed: time at %s, times that at %s", large, small), "", atMost(1.5, 0))
		row("growth/changed/bytes", "100 changed: bytes, likewise", "", atMost(1.5, 0))
	}
	large := sizes[len(sizes)-1]
	grown := func(family, name string) string { return fmt.Sprint(family, "/", sizeName(large), "/", name) }
	row(grown("growth/open", "time"), "opening the store", "ms", atMost(1000, 0))
	for _, command := range []string{"status", "dump", "fsck"} {
		row(grown("growth/"+command, "time"), "classmesh "+command, "ms", none)
		row(grown("growth/"+command, "memory"), "classmesh "+command+": peak memory", "MB", atMost(384, 0))
	}
	row(grown("growth/file", "synced"), "the file after a first sync, times the compressed entries", "", none)
	row(grown("growth/file", "compacted"), "the file after compaction, likewise", "", atMost(1.5, 0))
	row(grown("growth/file", "each"), "the file after compaction, a record", "B", none)
	row(grown("growth/file", "compact"), "compaction", "ms", none)
	row(grown("page", "first"), "page of a class, 40 × 100 contents, the first time", "ms", none)
	row(grown("page", "changed"), "page of a class after something was written", "ms", atMost(50, 10))
	row(grown("page", "again"), "page of a class once more", "ms", atMost(50, 10))
	row(grown("page", "json"), "page of a class as JSON", "ms", none)
	row(grown("page", "packed-first"), "page of a class after compaction, the first time", "ms", atMost(50, 0))
	row(grown("page", "packed-changed"), "page of a class after compaction and after something was written", "ms", atMost(50, 10))
	for _, n := range sizes {
		size := sizeName(n)
		row("limit/bbolt/"+size, "limit: bbolt, ascending insert", "rec/s", none)
		row("limit/zstd/"+size, "limit: zstd of the entries, one core", "rec/s", none)
		row("limit/zstd-bytes/"+size, "limit: zstd of the entries, what is left of one", "B", none)
	}
	row("limit/quic", "limit: a stream over the same link", "MB/s", none)
	row("limit/connect", "limit: a connection over the same link, a byte each way", "ms", none)
	row("limit/fsync", "limit: fsync after 4 KiB", "ms", none)
	row("limit/commit", "limit: bbolt, commit of one value", "ms", none)
	row("limit/datagram", "limit: a datagram to another process that waits, and back", "ms", none)
	row("limit/page", "limit: a page of memory that is used for the first time", "µs", none)
	row("limit/lthash", "limit: entries hashed into a fingerprint, one core", "rec/s", none)
	return all
}

// perRecord is the rate at which so many records take so many milliseconds: a rate of few
// has in it what a session takes anyway.
func perRecord(records int, must, moonshot float64) bound {
	return atLeast(1e3*float64(records)/must, 1e3*float64(records)/moonshot)
}

// middle is the size at which what needs no growth is measured.
func middle(sizes []int) int { return sizes[len(sizes)/2] }

// shortRows are those that stand in the README.
var shortRows = []string{
	"first/10k/time", "first/100k/rate", "first/100k/share", "first/100k/bytes", "first/1M/rate",
	"memory/1M/receiver", "nothing/100k/time", "nothing/100k/bytes", "changed/100k/time", "changed/100k/bytes",
	"live/100k/p50", "growth/open/1M/time", "page/1M/changed", "small/fsync/class-p95", "nats/100k/rate",
}
