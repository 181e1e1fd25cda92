package main

import (
	"context"
	"net/http"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// The metrics of a coordinator. Of zones and devices it tells numbers only.
var (
	metricReady       = newGauge("coordinator_ready", "1 if the coordinator can do its work, as /readyz says.")
	metricConnections = newGauge("coordinator_connections", "Connections of devices that are open.")
	metricZones       = newGauge("coordinator_zones", "Zones, and how many of them are open in memory.", "state")
	metricEnded       = newCounter("coordinator_sessions_ended_total", "Sessions that have ended, by outcome.", "outcome")
	metricTaken       = newCounter("coordinator_records_received_total", "Records of devices that came to be on disk.", "lane")
	metricGiven       = newCounter("coordinator_records_sent_total", "Records sent to devices.", "lane")
	metricTakenBytes  = newCounter("coordinator_bytes_received_total", "Bytes of frames received in sessions.")
	metricGivenBytes  = newCounter("coordinator_bytes_sent_total", "Bytes of frames sent in sessions.")
	metricReceipts    = newCounter("coordinator_receipts_total", "Receipts signed.")
	metricHeads       = newCounter("coordinator_receipted_heads_total", "Heads that the receipts are about.")
	metricCenterDisk  = newGauge("coordinator_disk_free_bytes", "Bytes that are free for the coordinator's data.")
)

// measurePatience bounds how long metrics wait for the storage.
const measurePatience = 5 * time.Second

// metrics serves what there is to measure of a coordinator.
func (d *coordinatorData) metrics(c *coordinator.Coordinator, times *commitTimes) http.Handler {
	r := newRegistry("coordinator")
	times.register(r)
	r.MustRegister(&collector{
		families: []family{
			metricReady, metricConnections, metricZones, metricEnded, metricTaken, metricGiven,
			metricTakenBytes, metricGivenBytes, metricReceipts, metricHeads, metricCenterDisk,
		},
		collect: func(put func(f family, value float64, labels ...string)) {
			ctx, cancel := context.WithTimeout(context.Background(), measurePatience)
			defer cancel()
			ready := 0.0
			if c.Ready(ctx) == nil {
				ready = 1
			}
			put(metricReady, ready)
			s := c.Stats()
			put(metricConnections, float64(s.Connections))
			put(metricZones, float64(s.ZonesOpen), "open")
			if zones, err := d.storage.Zones(ctx); err == nil {
				put(metricZones, float64(len(zones)), "all")
			}
			for outcome, n := range s.Ended {
				put(metricEnded, float64(n), string(outcome))
			}
			putLanes(put, metricTaken, s.Received)
			putLanes(put, metricGiven, s.Sent)
			put(metricTakenBytes, float64(s.BytesReceived))
			put(metricGivenBytes, float64(s.BytesSent))
			put(metricReceipts, float64(s.Receipts))
			put(metricHeads, float64(s.Heads))
			if free, ok := diskFree(d.folder.dir); ok {
				put(metricCenterDisk, float64(free))
			}
		},
	})
	return metricsHandler(r, d.log)
}

// timedStorage is a coordinator's storage in which commits of records are timed.
type timedStorage struct {
	coordinator.Storage
	times *commitTimes
}

func (s *timedStorage) OpenRecords(ctx context.Context, id identity.ZoneID) (records.Store, error) {
	store, err := s.Storage.OpenRecords(ctx, id)
	if err != nil {
		return nil, err
	}
	return &timedStore{store, s.times}, nil
}
