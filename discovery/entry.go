package discovery

import (
	"cmp"
	"slices"
	"time"

	"github.com/classmesh/classmesh/records/identity"
)

// Entry is what the book holds of one device at one address.
type Entry struct {
	Device  identity.DeviceID // zero: not known yet
	Address Address
	// Heard is when each source last told of it; zero: never.
	Heard [sources]time.Time

	FirstSeen, LastSeen time.Time // told of, by whatever source
	LastSuccess         time.Time // the device answered there; zero: never
	LastFailure         time.Time // in this run; zero: none
	Failures            int       // in a row
	NextTry             time.Time // not to be dialled before
	InUse               bool      // a connection to it is open
}

// Sources lists who told of the address, the most trusted first.
func (e Entry) Sources() []Source {
	var list []Source
	for s := range sources {
		if e.from(s) {
			list = append(list, s)
		}
	}
	return list
}

func (e *Entry) from(s Source) bool { return !e.Heard[s].IsZero() }

func (e *Entry) proven() bool { return !e.LastSuccess.IsZero() }

// failing reports whether the last thing that happened was a failure: nobody
// has told of the address since.
func (e *Entry) failing() bool {
	return e.Failures > 0 && !e.LastSeen.After(e.LastFailure)
}

// live returns when the address was last seen by something that happens now,
// in this run: an announcement, membership, or a connection.
func (e *Entry) live() time.Time {
	latest := e.LastSuccess
	for _, s := range []Source{MDNS, Gossip} {
		if e.Heard[s].After(latest) {
			latest = e.Heard[s]
		}
	}
	return latest
}

// freshFor is how long a sighting or a success says something about now.
const freshFor = 10 * time.Minute

// likelier orders entries by how likely the device answers there at now.
func likelier(now time.Time) func(a, b *Entry) int {
	fresh := func(e *Entry) bool { return within(now, e.live()) }
	return func(a, b *Entry) int {
		return cmp.Or(
			compareBool(b.InUse, a.InUse),
			compareBool(a.failing(), b.failing()),
			compareBool(fresh(b), fresh(a)),
			cmp.Compare(min(a.Failures, 3), min(b.Failures, 3)),
			b.LastSuccess.Compare(a.LastSuccess),
			compareBool(a.Address.linkLocal(), b.Address.linkLocal()),
			cmp.Compare(a.bestSource(), b.bestSource()),
			b.LastSeen.Compare(a.LastSeen),
			a.Address.compare(b.Address),
			a.Device.Compare(b.Device),
		)
	}
}

func (e *Entry) bestSource() Source {
	for s := range sources {
		if e.from(s) {
			return s
		}
	}
	return sources
}

// worth orders entries by what is given up first when there is no room.
func worth(a, b *Entry) int {
	return cmp.Or(
		compareBool(a.InUse, b.InUse),
		compareBool(a.from(Typed), b.from(Typed)),
		compareBool(a.proven(), b.proven()),
		a.LastSuccess.Compare(b.LastSuccess),
		cmp.Compare(b.Failures, a.Failures),
		a.LastSeen.Compare(b.LastSeen),
		b.Address.compare(a.Address),
		a.Device.Compare(b.Device),
	)
}

// kept reports whether e stays although hearsay needs its room.
func (e *Entry) kept(now time.Time) bool {
	return e.InUse || e.from(Typed) || e.proven() || e.Failures == 0 && within(now, e.LastSeen)
}

// within reports whether t was a short while before now.
func within(now, t time.Time) bool {
	age := now.Sub(t)
	return !t.IsZero() && age >= 0 && age < freshFor
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// sorted returns copies of the entries in the given order.
func sorted(list []*Entry, order func(a, b *Entry) int) []Entry {
	slices.SortFunc(list, order)
	out := make([]Entry, len(list))
	for i, e := range list {
		out[i] = *e
	}
	return out
}
