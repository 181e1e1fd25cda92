package main

import (
	"net/http"
	"os"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/records/identity"
)

// The metrics of a device.
var (
	metricPeers = newGauge("peers", "Other devices of the zone, by how things stand with them and by transport (none: not connected).", "state", "transport")
	metricLacks = newGauge("peer_lacks_records", "Records that are here and, as far as is known, not at a peer.", "peer")
	metricRTT   = newGauge("peer_round_trip_seconds", "How long a connected peer takes to answer.", "peer")

	metricSessions = newCounter("sessions_total", "Sessions that the other side has accepted.", "peer_kind")
	metricReceived = newCounter("records_received_total", "Records of others that came to be on disk.", "lane", "peer_kind")
	metricSent     = newCounter("records_sent_total", "Records sent.", "lane", "peer_kind")
	metricBytesIn  = newCounter("bytes_received_total", "Bytes of frames received in sessions.", "peer_kind")
	metricBytesOut = newCounter("bytes_sent_total", "Bytes of frames sent in sessions.", "peer_kind")
	metricPushes   = newCounter("pushes_sent_total", "Commits that were pushed as they happened.", "peer_kind")
	metricIgnored  = newCounter("pushes_ignored_total", "Pushes received that did not fit: their records were here already, or had to be asked for.", "peer_kind")
	metricMismatch = newCounter("mismatches_total", "Times that what a peer sent did not match and was asked for in another way.", "peer_kind")
	metricBlamed   = newCounter("sessions_blamed_total", "Sessions whose other side broke a rule.", "peer_kind")

	metricHead    = newGauge("head_counter", "How much of a device's log is held: its counter.", "device", "lane")
	metricReceipt = newGauge("receipt_counter", "How much of a device's log is known to be safe with the coordinator.", "device", "lane")
	metricUnsafe  = newGauge("unsafe_records", "Records held here that the coordinator has not confirmed.")
	metricTrouble = newGauge("troubled_logs", "Logs of which nothing more is taken, because of a fork or damage.")

	metricEpochLife   = newGauge("roster_epoch_life", "Life of the coordinator in the roster's epoch.")
	metricEpochNumber = newGauge("roster_epoch_number", "Number in the roster's epoch.")
	metricMembers     = newGauge("roster_devices", "Devices in the roster.", "state")

	metricUplink      = newGauge("uplink_state", "1 for the state of the connection to the coordinator, 0 for the others.", "state")
	metricLastContact = newGauge("uplink_last_contact_timestamp_seconds", "When the coordinator was last connected; absent: not known.")

	metricDiskFree  = newGauge("disk_free_bytes", "Bytes that are free for the device's data.")
	metricStoreSize = newGauge("store_bytes", "Size of the file of records.")
)

// uplinkStates are the values of the label state of metricUplink.
var uplinkStates = []mesh.State{mesh.Connecting, mesh.Connected, mesh.Offline, mesh.Refused}

// metrics serves what there is to measure of a device that serves.
func (d *device) metrics() http.Handler {
	r := newRegistry("device")
	d.commits.register(r)
	r.MustRegister(&collector{
		families: []family{
			metricPeers, metricLacks, metricRTT, metricSessions, metricReceived, metricSent, metricBytesIn, metricBytesOut,
			metricPushes, metricIgnored, metricMismatch, metricBlamed, metricHead, metricReceipt, metricUnsafe, metricTrouble,
			metricEpochLife, metricEpochNumber, metricMembers, metricUplink, metricLastContact, metricDiskFree, metricStoreSize,
		},
		collect: d.measure,
	})
	return metricsHandler(r, d.logger())
}

// measure puts all metrics of the device.
func (d *device) measure(put func(f family, value float64, labels ...string)) {
	m := d.node.Status()
	type kind struct{ state, transport string }
	peers := map[kind]int{}
	for _, p := range m.Peers {
		k := kind{string(p.State), string(p.Transport)}
		if k.transport == "" {
			k.transport = "none"
		}
		peers[k]++
		if p.Told {
			put(metricLacks, float64(p.Lacks), p.Device.Short())
		}
		if p.RTT > 0 {
			put(metricRTT, p.RTT.Seconds(), p.Device.Short())
		}
	}
	for k, n := range peers {
		put(metricPeers, float64(n), k.state, k.transport)
	}

	traffic := d.node.Traffic()
	for kind, moved := range map[string]mesh.Moved{"coordinator": traffic.Coordinator, "device": traffic.Peers} {
		put(metricSessions, float64(moved.Sessions), kind)
		putLanes(put, metricReceived, moved.Received, kind)
		putLanes(put, metricSent, moved.Sent, kind)
		put(metricBytesIn, float64(moved.BytesReceived), kind)
		put(metricBytesOut, float64(moved.BytesSent), kind)
		put(metricPushes, float64(moved.PushesSent), kind)
		put(metricIgnored, float64(moved.PushesIgnored), kind)
		put(metricMismatch, float64(moved.Mismatches), kind)
		put(metricBlamed, float64(moved.Blamed), kind)
	}

	d.measureRecords(put)

	for _, state := range uplinkStates {
		value := 0.0
		if m.Uplink.State == state {
			value = 1
		}
		put(metricUplink, value, string(state))
	}
	last := m.Uplink.LastOK
	if before := d.lastOK(); last.IsZero() && before != nil {
		last = *before
	}
	if !last.IsZero() {
		put(metricLastContact, float64(last.UnixMilli())/1000)
	}
	if free, ok := diskFree(d.folder.dir); ok {
		put(metricDiskFree, float64(free))
	}
	if info, err := os.Stat(d.folder.path(recordsName)); err == nil {
		put(metricStoreSize, float64(info.Size()))
	}
}

// measureRecords puts what there is to tell of records and roster.
func (d *device) measureRecords(put func(f family, value float64, labels ...string)) {
	type log struct {
		device identity.DeviceID
		lane   identity.Lane
	}
	heads, receipts := map[log]uint64{}, map[log]uint64{}
	unsafe, troubled := uint64(0), 0
	for _, l := range d.replica.Logs() { // of all incarnations
		k := log{l.Device, l.Lane}
		heads[k] += l.Counter
		receipts[k] += min(l.Counter, l.Receipted)
		unsafe += l.Unsafe()
		if l.Trouble != "" {
			troubled++
		}
	}
	for k, counter := range heads {
		put(metricHead, float64(counter), k.device.Short(), k.lane.String())
		put(metricReceipt, float64(receipts[k]), k.device.Short(), k.lane.String())
	}
	put(metricUnsafe, float64(unsafe))
	put(metricTrouble, float64(troubled))

	roster := d.replica.Roster()
	put(metricEpochLife, float64(roster.Epoch.Life))
	put(metricEpochNumber, float64(roster.Epoch.Number))
	members := map[string]int{}
	for _, member := range roster.Devices {
		members[member.State.String()]++
	}
	for state, n := range members {
		put(metricMembers, float64(n), state)
	}
}
