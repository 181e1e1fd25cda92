// Package mesh is a device at work with others: it finds its way to them, keeps
// connections open and runs a session (mesh/exchange) over each.
//
// Make a [Node] with [New] and let [Node.Run] work until the device stops:
//
//	            dials                 is dialled by
//	coordinator  ◄────────  Node  ◄────────  peers of the zone
//	              uplink            Serve
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
// # What is never decided here
//
// Who belongs to the zone is said by the roster, what may be stored by the
// replica. The node trusts an address, a name or a clock with nothing.
package mesh
