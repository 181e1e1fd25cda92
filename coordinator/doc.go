// Package coordinator is the authority of zones: who belongs to one, who met
// the centre when, and what is safe there.
//
// A [Coordinator] keeps organisations, their zones, and of each zone a replica
// like that of any device. [Coordinator.Serve] runs one exchange with a device;
// the other methods are what administrators and joining devices ask for, and
// package coordinator/api carries them. [Storage] is the seam to the disk.
//
//	storage, err := boltstore.Open(dir, …)
//	c, err := coordinator.New(coordinator.Config{Storage: storage, Key: key, …})
//	go c.Run(ctx)                     // receipts, upkeep; until ctx ends
//	go c.Serve(ctx, conn)             // for each connection accepted
//
// # Rosters
//
// A change to a zone is a roster of the next epoch. It is stored, then taken by
// the zone's replica, then told: so nobody hears of an epoch that a crash could
// make the coordinator forget. A roster under the coordinator's own signature
// that its storage does not know of means that the storage came from a backup:
// the coordinator begins a new life above it, by itself.
//
// # Zone keys
//
// A zone has a key from the beginning, and another one with every device that is
// removed, and with every life. It is made here, stored by the zone's replica,
// and then named by a roster; the sessions of members carry it, and do so only
// once the roster that names it is theirs as well. A key that no roster names,
// because of a crash or because a device brought it to a coordinator that was
// restored, is followed by another.
//
// # Joining
//
// An invitation is known here by the hash of its secret only, holds for seven
// days and for one device, and a network that tries [MaxTries] wrong codes
// within an hour is not listened to for the rest of it. A device that repeats
// its code after a cut gets the same answer again.
//
// # Sessions
//
// A session is recorded from Hello to its end, with counts and outcome. There is
// one at a time for each start of a device; a new one ends the former. At Hello
// the device's incarnation is listed and its lease renewed, which makes a new
// roster only if it says something new.
//
// # Receipts
//
// What has become durable here is receipted a few milliseconds later, many heads
// under one signature, in the coordinator's present life. What a crash left
// without a receipt gets one when the zone is opened.
//
// # Zones in use
//
// A zone is opened when it is asked for and kept open while it is used; of those
// that are not, [Config.IdleZones] stay open.
package coordinator
