package main

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/web"
)

// labelSessions derives the key of the pages' sessions from the identity key.
var labelSessions = identity.NewLabel("classmesh 1 sessions of pages")

// pages are the pages of the device.
func (d *device) pages() (http.Handler, error) {
	library, err := shippedLibrary()
	if err != nil {
		return nil, err
	}
	key := d.key.Derive(&labelSessions)
	server, err := web.New(web.Config{
		Replica: d.replica, Gate: d.gate, Library: library, SessionKey: key[:],
		Name: d.settings.Name, ZoneName: func() string { return d.replica.Roster().Name },
		Sync: d.pageSync, Mesh: d.pageMesh, SyncNow: d.node.Poke,
		Now: d.now, Random: d.random, Logger: d.logger(),
	})
	if err != nil {
		return nil, err
	}
	return server.Handler(), nil
}

// pageSync tells pages how far the exchange is.
func (d *device) pageSync() web.Sync {
	m := d.node.Status()
	s := web.Sync{
		State: web.SyncState(m.Uplink.State), Reason: string(m.Uplink.Reason), Words: m.Uplink.Words, Address: m.Uplink.Address,
		Transport: string(m.Uplink.Transport), Since: m.Uplink.Since, LastOK: m.Uplink.LastOK, LastError: m.Uplink.LastError,
	}
	if len(d.settings.Addresses) == 0 {
		s.State = web.StateNone
	}
	s.Again.Records, s.Again.Going = d.again()
	for _, l := range d.replica.Logs() {
		if l.Aside { // it is another half of a log that is listed as well
			l.Counter, l.Receipted = l.Unsafe(), 0
		}
		s.Logs = append(s.Logs, web.SyncLog{Log: l.Log, Device: l.Device, Lane: l.Lane, Counter: l.Counter, Receipt: min(l.Counter, l.Receipted), Trouble: l.Trouble})
		s.NotYetSafe += l.Unsafe()
	}
	for _, p := range m.Peers {
		if p.State != mesh.PeerConnected {
			continue
		}
		s.Peers = append(s.Peers, web.SyncPeer{
			Device: p.Device, Name: p.Name, Address: p.Address, Transport: string(p.Transport),
			Since: p.Since, Equal: p.Session.Equal,
		})
	}
	slices.SortFunc(s.Peers, func(a, b web.SyncPeer) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.Device.Compare(b.Device))
	})
	return s
}

// pageMesh tells pages how the devices hang together.
func (d *device) pageMesh() web.Mesh {
	m := web.Mesh{Off: d.lan == nil}
	for _, f := range d.findings() {
		m.Problems = append(m.Problems, web.MeshProblem{Name: string(f.Problem), Words: f.Words, Detail: f.Detail})
	}
	var members []identity.DeviceID
	for _, member := range d.replica.Roster().Devices {
		members = append(members, member.ID())
	}
	for _, p := range d.node.Status().Peers {
		peer := web.MeshPeer{
			Device: p.Device, State: web.PeerState(p.State), Address: p.Address, Via: viaWords(&p),
			Transport: string(p.Transport), Equal: p.Session.Equal, Lacks: lacks(&p), Missing: p.Missing, Late: p.Late,
			RTT: p.RTT, LastExchange: p.LastExchange, Uplink: p.Uplink,
		}
		if d.lan != nil {
			peer.Links = d.lan.neighbours.of(p.Device, members)
		}
		m.Peers = append(m.Peers, peer)
	}
	return m
}
