package discovery

import (
	"slices"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// Limits of the book. Whoever can announce can fill no more than its source may
// take, and what has answered or was typed is not pushed out by it.
const (
	MaxEntries   = 2048 // in all
	maxPerFamily = 8    // of one device, in one family
	maxProven    = 4    // of those, how many that answered once are safe
	maxUnknown   = 256  // without a device
	maxSelf      = 64   // addresses of this device that are passed over
)

// maxHearsay is how many entries each source may have that neither were typed
// nor ever answered.
var maxHearsay = [sources]int{Typed: 64, MDNS: 512, Gossip: 512, Peer: 512, Coordinator: 256, Remembered: MaxEntries}

// maxTyped is how many addresses people may type.
const maxTyped = 64

// Waits between attempts at one address.
const (
	firstWait   = time.Second
	longestWait = 5 * time.Minute
	// renewedWait is the longest wait at an address that is being announced.
	renewedWait = 15 * time.Second
	// handedOut is how long an address is not given out again while nobody has
	// said how the dial went.
	handedOut = 30 * time.Second
)

// maxDialled is how many addresses of one device are tried at once.
const maxDialled = 4

type entryKey struct {
	device  identity.DeviceID
	address Address
}

// table is the address book as a pure state: what happens comes in with the
// time at which it happens, and chance as a function.
type table struct {
	own     identity.DeviceID
	chance  func() float64 // from 0 up to 1
	entries map[entryKey]*Entry
	self    map[Address]bool // where this device itself answered
}

func newTable(own identity.DeviceID, chance func() float64) *table {
	return &table{own: own, chance: chance, entries: map[entryKey]*Entry{}, self: map[Address]bool{}}
}

// outcome says what a step changed: what others see, and what is to be saved.
type outcome struct {
	changed bool
	save    bool
}

// learn takes a sighting in. It reports false if there is no room for it.
func (t *table) learn(now time.Time, s Sighting) (out outcome, ok bool) {
	if s.Source >= sources {
		return outcome{}, false
	}
	if s.Device == t.own && !t.own.IsZero() || t.self[s.Address] && s.Source != Typed {
		return outcome{}, true // that is us
	}
	known := false
	if s.Device.IsZero() {
		for _, e := range t.at(s.Address) {
			if e.Device.IsZero() {
				continue
			}
			if t.hear(now, e, s.Source) {
				out.changed = true
			}
			if e.InUse || within(now, e.LastSuccess) || !e.failing() && !t.inUse(e.Device) {
				known = true // it is connected or about to be dialled there
			}
		}
		if known {
			return out, true
		}
	}
	key := entryKey{s.Device, s.Address}
	e := t.entries[key]
	if e == nil {
		e = &Entry{Device: s.Device, Address: s.Address, FirstSeen: now}
		t.hear(now, e, s.Source)
		if !t.room(now, e, s.Source) {
			return outcome{}, false
		}
		t.entries[key] = e
		return outcome{changed: true, save: true}, true
	}
	if s.Source == Typed && !e.from(Typed) && t.count(func(o *Entry) bool { return o.from(Typed) }) >= maxTyped {
		return outcome{}, false
	}
	news := t.hear(now, e, s.Source)
	return outcome{changed: news, save: news && s.Source == Typed}, true
}

// hear notes that a source told of the address, and reports whether that is
// news. What is announced is tried again soon.
func (t *table) hear(now time.Time, e *Entry, s Source) (news bool) {
	news = !e.from(s) || e.failing()
	e.Heard[s] = now
	e.LastSeen = now
	if s == MDNS || s == Gossip || s == Typed {
		if soon := e.LastFailure.Add(renewedWait); !e.LastFailure.IsZero() && e.NextTry.After(soon) {
			e.NextTry = soon
		}
	}
	return news
}

// at returns the entries of whatever device at an address, in a fixed order.
func (t *table) at(a Address) []*Entry {
	var list []*Entry
	for key, e := range t.entries {
		if key.address == a {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *Entry) int { return a.Device.Compare(b.Device) })
	return list
}

func (t *table) of(d identity.DeviceID) []*Entry {
	var list []*Entry
	for key, e := range t.entries {
		if key.device == d {
			list = append(list, e)
		}
	}
	return list
}

func (t *table) inUse(d identity.DeviceID) bool {
	return slices.ContainsFunc(t.of(d), func(e *Entry) bool { return e.InUse })
}

func (t *table) count(has func(*Entry) bool) (n int) {
	for _, e := range t.entries {
		if has(e) {
			n++
		}
	}
	return n
}

// room makes room for an entry that source s told of, and reports whether there
// is some.
func (t *table) room(now time.Time, e *Entry, s Source) bool {
	must := s == Typed
	if must && t.count(func(o *Entry) bool { return o.from(Typed) }) >= maxTyped {
		return false
	}
	if !must && !t.bound(maxHearsay[s], now, must, func(o *Entry) bool {
		return o.from(s) && !o.from(Typed) && !o.proven()
	}) {
		return false
	}
	return t.roomFor(now, e, must)
}

// roomFor makes room whatever the source; must: by giving up what had answered
// once, if need be.
func (t *table) roomFor(now time.Time, e *Entry, must bool) bool {
	if e.Device.IsZero() {
		if !t.bound(maxUnknown, now, must, func(o *Entry) bool { return o.Device.IsZero() }) {
			return false
		}
	} else {
		family := e.Address.Family()
		group := t.of(e.Device)
		group = slices.DeleteFunc(group, func(o *Entry) bool { return o.Address.Family() != family })
		if len(group) >= maxPerFamily {
			slices.SortFunc(group, worth)
			proven := 0
			for _, o := range group {
				if o.proven() {
					proven++
				}
			}
			victim := group[0]
			if !must && victim.kept(now) {
				// Of many addresses that answered once, the oldest goes.
				i := slices.IndexFunc(group, func(o *Entry) bool { return o.proven() && !o.InUse && !o.from(Typed) })
				if proven <= maxProven || i < 0 {
					return false
				}
				victim = group[i]
			}
			if victim.InUse {
				return false
			}
			t.remove(victim)
		}
	}
	return t.bound(MaxEntries, now, must, func(*Entry) bool { return true })
}

// bound makes room for one more in a group that may have limit members, and
// reports whether there is some.
func (t *table) bound(limit int, now time.Time, must bool, in func(*Entry) bool) bool {
	n := 0
	var victim *Entry
	for _, e := range t.entries {
		if !in(e) {
			continue
		}
		n++
		if victim == nil || worth(e, victim) < 0 {
			victim = e
		}
	}
	if n < limit {
		return true
	}
	if victim.InUse || victim.kept(now) && !must {
		return false
	}
	t.remove(victim)
	return true
}

func (t *table) remove(e *Entry) { delete(t.entries, entryKey{e.Device, e.Address}) }

// succeeded notes that a device answered at an address and is connected there.
func (t *table) succeeded(now time.Time, d identity.DeviceID, a Address) outcome {
	if d == t.own {
		return t.ownAt(a)
	}
	key := entryKey{d, a}
	e := t.entries[key]
	out := outcome{changed: true}
	if e == nil {
		e = &Entry{Device: d, Address: a, FirstSeen: now, LastSeen: now}
		e.Heard[Peer] = now // it said so itself
		if !t.roomFor(now, e, true) {
			return outcome{}
		}
		t.entries[key] = e
		out.save = true
	}
	// Others that were thought to be there are not, but what people typed, and
	// what was heard without a name, was this.
	for _, o := range t.at(a) {
		if o == e {
			continue
		}
		for s := range sources {
			if (o.Device.IsZero() || s == Typed) && o.Heard[s].After(e.Heard[s]) {
				e.Heard[s] = o.Heard[s]
			}
		}
		t.remove(o)
		out.save = true
	}
	if !e.proven() || now.Sub(e.LastSuccess) >= time.Hour || now.Before(e.LastSuccess) {
		out.save = true // but not for each: cards wear out
	}
	e.LastSeen, e.LastSuccess = now, now
	e.LastFailure, e.NextTry = time.Time{}, time.Time{}
	e.Failures = 0
	e.InUse = true
	return out
}

// ownAt notes that this device itself answered at an address.
func (t *table) ownAt(a Address) outcome {
	for _, e := range t.at(a) {
		t.remove(e)
	}
	if len(t.self) < maxSelf {
		t.self[a] = true
	}
	return outcome{changed: true, save: true}
}

// ended notes that a connection is closed. The next dial may come at once.
func (t *table) ended(d identity.DeviceID, a Address) outcome {
	e := t.entries[entryKey{d, a}]
	if e == nil || !e.InUse {
		return outcome{}
	}
	e.InUse = false
	e.NextTry = time.Time{}
	return outcome{changed: true}
}

// failed notes that nobody answered.
func (t *table) failed(now time.Time, d identity.DeviceID, a Address) outcome {
	e := t.entries[entryKey{d, a}]
	if e == nil || e.InUse {
		return outcome{}
	}
	e.Failures = min(e.Failures+1, 255)
	e.LastFailure = now
	wait := longestWait
	if e.Failures < 10 {
		wait = min(firstWait<<(e.Failures-1), longestWait)
	}
	e.NextTry = now.Add(wait/2 + time.Duration(t.chance()*float64(wait/2)))
	return outcome{changed: true}
}

// wrong notes that somebody else answered than was expected: a device that has
// proved to be actual, or, if that is zero, one that does not belong here.
func (t *table) wrong(now time.Time, expected identity.DeviceID, a Address, actual identity.DeviceID) outcome {
	e := t.entries[entryKey{expected, a}]
	switch {
	case !actual.IsZero() && actual == expected:
		return t.succeeded(now, actual, a)
	case !actual.IsZero():
		out := t.succeeded(now, actual, a) // removes e
		t.ended(actual, a)
		return out
	case e == nil:
		return outcome{}
	case expected.IsZero() || e.from(Typed):
		return t.failed(now, expected, a) // people said so: it may come true
	default:
		t.remove(e)
		return outcome{changed: true, save: true}
	}
}

// networkChanged forgets all waits: what did not answer may do so now.
func (t *table) networkChanged(now time.Time) outcome {
	for _, e := range t.entries {
		if !e.NextTry.IsZero() && !e.InUse {
			// Not all in the same moment, and not sooner than the first wait.
			e.NextTry = now.Add(time.Duration(t.chance() * float64(firstWait)))
		}
	}
	clear(t.self)
	return outcome{changed: true}
}

// next returns whom to dial at now, likeliest first, at most limit of them, and
// when to ask again; zero: when something changes. What it returns is not
// returned again until somebody says how the dial went, or a while has passed.
func (t *table) next(now time.Time, limit int, want func(identity.DeviceID) bool) (targets []Target, again time.Time) {
	connected := map[identity.DeviceID]bool{}
	taken := map[Address]bool{} // by a device that is connected there
	for _, e := range t.entries {
		if e.InUse {
			connected[e.Device] = true
			taken[e.Address] = true
		}
	}
	named := map[Address]bool{} // due for a device that is known
	var due []*Entry
	for _, e := range t.entries {
		switch {
		case taken[e.Address] || connected[e.Device] || !want(e.Device):
		case e.NextTry.After(now):
			if again.IsZero() || e.NextTry.Before(again) {
				again = e.NextTry
			}
		default:
			due = append(due, e)
			named[e.Address] = named[e.Address] || !e.Device.IsZero()
		}
	}
	slices.SortFunc(due, likelier(now))
	index := map[identity.DeviceID]int{}
	for _, e := range due {
		if e.Device.IsZero() && named[e.Address] {
			continue // the dial for the device will tell
		}
		i, begun := index[e.Device]
		switch {
		case e.Device.IsZero() || !begun:
			if len(targets) == limit {
				again = now
				continue
			}
			index[e.Device] = len(targets)
			targets = append(targets, Target{Device: e.Device, Addresses: []Address{e.Address}})
		case len(targets[i].Addresses) < maxDialled:
			targets[i].Addresses = append(targets[i].Addresses, e.Address)
		default:
			again = now
			continue
		}
		e.NextTry = now.Add(handedOut)
		if again.IsZero() || e.NextTry.Before(again) {
			again = e.NextTry
		}
	}
	return targets, again
}
