// Package discovery remembers where the devices of a zone may be called: the
// address book.
//
//	mdns, gossip ──► Learn ─┐                      ┌─► Next ──► the mesh dials
//	typed, coordinator,     ├──►  Book (bounded)  ─┤
//	told by peers ─► Learn ─┘      │        ▲      └─► All ──► status pages
//	                               ▼        │
//	                          Load/Save   Succeeded, Failed, Wrong, Ended
//
// An address is a hint and nothing else: whoever wrote it, only a dial that
// proves the device's key shows that the device is there, and only a dial that
// fails that it is not. So the [Book] takes in whatever it is told, within
// bounds, and learns from what the dials give: an address that answered is kept
// through anything; one at which another device answers is forgotten; one that
// fails is tried less and less often, but never given up while it is being
// announced.
//
// Make a Book with [New], let [Book.Run] save it, tell it sightings with
// [Book.Learn], ask it with [Book.Next] whom to dial, and tell it how that went.
// Packages discovery/mdns and discovery/gossip are sources of sightings.
// [Watch] tells of changes of the network interfaces.
//
// The clock may be wrong: nothing is forgotten because of its age, only because
// it failed or because something likelier needs the room.
package discovery
