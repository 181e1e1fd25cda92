package main

import (
	"net/netip"
	"slices"

	"github.com/classmesh/classmesh/discovery"
)

// networkChanged returns what is to be called when there is another network: at
// once it is tried again whom it leads to.
func (d *device) networkChanged() func([]discovery.Interface) {
	begun := false
	var had []discovery.Interface
	return func(has []discovery.Interface) {
		if d.lan != nil {
			d.lan.book.NetworkChanged()
		}
		switch {
		case !begun: // the first attempt is under way
		case addressLost(had, has):
			d.node.AddressLost()
		case interfaceLost(had, has):
			d.node.RenewUplink()
		default:
			d.node.Poke()
		}
		begun, had = true, has
	}
}

// addressLost reports whether an interface that is still there has lost one of
// its addresses. One that is gone may come back with it.
func addressLost(had, has []discovery.Interface) bool {
	for _, before := range had {
		i := indexOf(has, before)
		if i >= 0 && slices.ContainsFunc(before.Prefixes, func(p netip.Prefix) bool { return !slices.Contains(has[i].Prefixes, p) }) {
			return true
		}
	}
	return false
}

// interfaceLost reports whether an interface is gone.
func interfaceLost(had, has []discovery.Interface) bool {
	return slices.ContainsFunc(had, func(before discovery.Interface) bool { return indexOf(has, before) < 0 })
}

func indexOf(list []discovery.Interface, i discovery.Interface) int {
	return slices.IndexFunc(list, func(other discovery.Interface) bool { return other.Index == i.Index })
}
