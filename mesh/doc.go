// Package mesh is a device at work with others: it finds its way to them, keeps
// connections open and runs a session (mesh/exchange) over each.
//
// Make a [Node] with [New] and let [Node.Run] work until the device stops:
//
//	            dials                 is dialled by
//	coordinator  ◄────────  Node  ◄────────  peers of the zone
//	              uplink            Serve, and the other way round
//
// Whatever way a connection came about, it is treated alike: one for each
// device, a session on it, what the session finds out about this device told to
// those who look after it. [Sync] does one exchange with the coordinator and
// returns.
//
// # Trying again
//
// While the coordinator cannot be reached the node waits between attempts: a
// random time, of which the longest doubles from half a second to a minute, so
// that devices that lost the same coordinator do not come back as one. A
// coordinator that refuses this device is asked less and less often, at most
// every ten minutes in the end: only people can change that. The waits begin
// anew after a session that has lasted a while. [Node.Poke] tries at once, but
// a few times in a row only. Waits are measured by the steady clock, never by
// the time of day.
//
// # Links on the LAN
//
// Whom to call is told by an address book (package discovery). Up to ten other
// devices are all linked to; above, each device has six to eight links: to its
// neighbours on the ring of device IDs, to one with an uplink, to some by
// chance, one of which gives way every five minutes. A device that has links
// enough turns callers away, but no neighbour. Devices that did not answer, or
// were not heard of for long, are tried now and then, so that a LAN heals
// without announcements too.
//
// # Hints
//
// Authors tell the heads of their logs by gossip. [Node.HearHead] takes them: if
// what such a head covers does not come by itself within some seconds, the device
// compares with its peers, and looks for others, long before that would be due. A
// head that its author did not sign, or whose author is not known, is dropped; and
// what nobody can deliver is asked for less and less often.
//
// # Sharing the uplink
//
// Devices that say that they reach the coordinator share that way
// ([exchange.Sharing]): each brings what it has written, and of each log of
// others one takes what comes. If word that a log is safe stays away for a
// minute or so, a device exchanges it itself, for a minute at first, ten in the
// end, whoever should. A device may say what it likes about its uplink: the
// others lose a minute, and no record.
//
// # What is never decided here
//
// Who belongs to the zone is said by the roster, what may be stored by the
// replica. The node trusts an address, a name or a clock with nothing.
package mesh
