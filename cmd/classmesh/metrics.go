package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Metrics are for those who run devices and coordinators, never on the pages of
// learners: on an address of their own (--metrics), and at the local socket.
// They hold no names of people, schools or devices; a device is called by the
// beginning of its ID.

const (
	pathMetrics = "/metrics"
	namespace   = "classmesh"
)

// family is the metrics of one name, filled in when they are asked for.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func newGauge(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(namespace+"_"+name, help, labels, nil), prometheus.GaugeValue}
}

func newCounter(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(namespace+"_"+name, help, labels, nil), prometheus.CounterValue}
}

// collector asks for metrics when they are wanted.
type collector struct {
	families []family
	collect  func(put func(f family, value float64, labels ...string))
}

func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, f := range c.families {
		to <- f.desc
	}
}

func (c *collector) Collect(to chan<- prometheus.Metric) {
	c.collect(func(f family, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
	})
}

// newRegistry returns a registry with what every process of the program tells.
func newRegistry(kind string) *prometheus.Registry {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "info", Help: "1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": software(), "kind": kind},
	})
	info.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// metricsHandler serves a registry.
func metricsHandler(r *prometheus.Registry, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError,
		// Somebody who asks over and over shall not keep the device from its work.
		MaxRequestsInFlight: 4,
		Timeout:             30 * time.Second,
	})
}

// listenMetrics returns a listener for metrics, nil if address is empty.
func listenMetrics(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics at %s: %w: name another address with --metrics", address, err)
	}
	return l, nil
}

// serveMetrics serves metrics at l, if there is one, until ctx is done.
func serveMetrics(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	if l == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+pathMetrics, h)
	return serveHTTP(ctx, &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}, l)
}

// commitTimes tells how long commits take, from the end of the transaction's
// work until it is on disk.
type commitTimes struct {
	took   prometheus.Histogram
	failed prometheus.Counter
}

func newCommitTimes() *commitTimes {
	return &commitTimes{
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "commit_duration_seconds",
			Help:    "How long a commit took, from the end of the transaction's work until it was on disk.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15), // up to 8 s: cards stall
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "commit_failures_total", Help: "Commits that failed: a full or failing disk.",
		}),
	}
}

func (t *commitTimes) register(r *prometheus.Registry) { r.MustRegister(t.took, t.failed) }

// timedStore is a store whose commits are timed.
type timedStore struct {
	records.Store
	times *commitTimes
}

func (s *timedStore) Update(ctx context.Context, f func(records.WriteTx) error) error {
	var began time.Time
	err := s.Store.Update(ctx, func(tx records.WriteTx) error {
		err := f(tx)
		if err == nil {
			began = time.Now()
		}
		return err
	})
	switch {
	case began.IsZero(): // nothing was to be committed
	case err == nil:
		s.times.took.Observe(time.Since(began).Seconds())
	case !errors.Is(err, context.Canceled):
		s.times.failed.Inc()
	}
	return err
}

// putLanes puts one metric for each lane.
func putLanes(put func(family, float64, ...string), f family, counts exchange.ByLane, labels ...string) {
	for i, lane := range identity.Lanes {
		put(f, float64(counts[i]), append([]string{lane.String()}, labels...)...)
	}
}
