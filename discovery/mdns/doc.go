// Package mdns finds the devices of a zone on the same network by multicast
// DNS, and lets them find this one.
//
// Each device announces an instance of _classmesh._udp on each interface, with
// the addresses of that interface, and browses for others again and again. What
// it finds goes as a sighting to the address book (package discovery), without
// a device: an announcement names nobody. Its TXT record is
//
//	p=1-2        the lowest and the highest protocol version
//	r=…          16 random bytes, new at each start, as 32 hexadecimal digits
//	t=…          16 bytes as 32 hexadecimal digits: r, hashed under a zone key;
//	             one for each of the newest three keys, the newest first
//
// Only who holds a zone key can tell that an announcement is of the zone, and
// nobody can tell a device from one start to the next. The names of instance
// and host are random too. Fields that are not known are passed over, so that
// later releases can add some.
//
// Announcements are hints that anybody on the network can forge, replay or
// flood: all that comes in is bounded, and nothing follows from it but a dial.
//
// The library underneath reports each instance once and nothing when it goes,
// and may end or stall when a socket fails. So each browse ends and another one is
// begun, its channel is always read until it closes, and announcements are
// renewed now and then. It also asks about once a minute, and eagerly in the
// beginning, and all devices answer to all, over both families. So only the first
// browse on an interface lasts less than a minute and asks over both; later ones
// last up to eight minutes and take turns.
package mdns
