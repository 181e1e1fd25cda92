package mesh_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

// center is a coordinator on loopback, as far as devices see one: it holds what
// it is given, and signs receipts for it.
type center struct {
	t       *testing.T
	zone    *zone
	replica *records.Replica
	node    *mesh.Node
	address string
	stop    func()
}

func (z *zone) replica(t *testing.T, n int) *records.Replica {
	r, err := records.Found(t.Context(), records.Config{
		Store: storetest.NewMemory(), Identity: z.keys[n], Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler),
	}, records.Founding{Zone: z.roster.Zone, Coordinator: z.roster.Coordinator, Roster: z.roster.Encode()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func newCenter(t *testing.T, z *zone) *center {
	c := &center{t: t, zone: z, replica: z.replica(t, 0), address: "127.0.0.1:0"}
	cfg := z.config(0)
	cfg.Replica = c.replica
	c.node = z.node(cfg)
	return c
}

// start listens and serves until stop is called.
func (c *center) start() {
	l, err := link.Listen(link.Config{Key: c.zone.keys[0], Address: c.address, Protocols: []string{link.ProtocolExchange}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.address = l.Addr().String()
	cfg := c.zone.config(0)
	cfg.Replica, cfg.Listener = c.replica, l
	c.node = c.zone.node(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	commits := make(chan records.Commit, 1000)
	stopWatching := c.replica.Watch(func(ch records.Change) {
		if ch.Commit != nil {
			commits <- *ch.Commit
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(context.WithoutCancel(ctx)) })
	wg.Go(func() { c.node.Run(ctx) })
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case k := <-commits:
				r := records.IssueReceipt(c.zone.keys[0], c.zone.roster.Zone, 1, 1, []records.ReceiptItem{
					{Log: k.Ref.Log, Start: k.Ref.Start, Counter: k.Head.Counter, Fingerprint: k.Head.Fingerprint},
				})
				if err := c.replica.AcceptReceipt(ctx, r.Encode()); err != nil && ctx.Err() == nil {
					c.t.Error(err)
				}
			}
		}
	})
	c.stop = func() {
		cancel()
		stopWatching()
		l.Close()
		wg.Wait()
	}
}

// until waits for a condition that a change of the replica, or time, brings.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		case <-tick.C:
		}
	}
}

var event = records.NewKind(identity.LaneDetail, roster.ClassAny, 2)

func write(t *testing.T, r *records.Replica, n int) {
	t.Helper()
	err := r.Write(t.Context(), func(d *records.Draft) error {
		for i := range n {
			if _, err := d.Put(records.Record{Kind: event, Learner: identity.UserID{7}, Body: fmt.Appendf(nil, "answer %d", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Two devices and a coordinator, over QUIC on loopback: what one writes is on
// the other and safe, large and small; when the coordinator comes back after a
// while, so does everything that was written meanwhile.
func TestLoopback(t *testing.T) {
	z := newZone(t, 2, false)
	c := newCenter(t, z)
	c.start()
	var replicas []*records.Replica
	var nodes []*mesh.Node
	config := func(n int, r *records.Replica) mesh.Config {
		cfg := z.config(n)
		cfg.Replica, cfg.Dial, cfg.Random = r, nil, nil
		cfg.Uplink.Addresses = []string{c.address}
		return cfg
	}
	for n := 1; n <= 2; n++ {
		r := z.replica(t, n)
		write(t, r, 9000*(n-1)+3) // the second's needs staging
		replicas = append(replicas, r)
		nodes = append(nodes, z.node(config(n, r)))
	}
	for _, n := range nodes {
		defer z.run(n)()
	}
	safe := func() bool {
		for i, r := range replicas {
			if r.State().Fingerprint != c.replica.State().Fingerprint {
				return false
			}
			for _, h := range r.HeadsOf(z.keys[i+1].Public().ID()) {
				if r.Receipted(h.Log) < h.Counter {
					return false
				}
			}
		}
		return len(c.replica.State().Rows) >= 2
	}
	until(t, "all hold the same, and it is safe", safe)
	for _, n := range nodes {
		if u := n.Status().Uplink; u.State != mesh.Connected || u.Transport != link.QUIC || u.Address != c.address {
			t.Errorf("status: %+v", u)
		}
	}
	before := c.replica.State().Fingerprint
	write(t, replicas[0], 1)
	until(t, "a commit is passed on", func() bool { return safe() && c.replica.State().Fingerprint != before })

	c.stop()
	until(t, "the devices notice", func() bool {
		return nodes[0].Status().Uplink.State == mesh.Offline && nodes[1].Status().Uplink.State == mesh.Offline
	})
	write(t, replicas[0], 10)
	write(t, replicas[1], 10)
	if _, err := mesh.Sync(t.Context(), config(1, replicas[0])); !errors.Is(err, link.ErrUnreachable) && !errors.Is(err, link.ErrTimeout) {
		t.Errorf("sync without a coordinator: %v", err)
	}
	before = c.replica.State().Fingerprint
	c.start()
	for _, n := range nodes {
		n.Poke()
	}
	until(t, "what was written meanwhile is safe", func() bool { return safe() && c.replica.State().Fingerprint != before })
	c.stop()
}

// One exchange from the command line brings everything and knows that it is
// safe; a coordinator with another key gets nothing.
func TestSyncOverLoopback(t *testing.T) {
	z := newZone(t, 1, false)
	c := newCenter(t, z)
	c.start()
	defer func() { c.stop() }()
	r := z.replica(t, 1)
	write(t, r, 5000)
	cfg := z.config(1)
	cfg.Replica, cfg.Dial = r, nil
	cfg.Uplink.Addresses = []string{"quic://" + c.address}
	report, err := mesh.Sync(t.Context(), cfg)
	if err != nil || !report.Equal || report.RecordsSent < 5000 || report.Code != 0 {
		t.Errorf("%v, %+v", err, report)
	}
	cfg.Uplink.Coordinator = z.keys[1].Public()
	if _, err := mesh.Sync(t.Context(), cfg); !errors.Is(err, link.ErrWrongPeer) {
		t.Errorf("another key: %v", err)
	}
}

var _ exchange.Replica = (*records.Replica)(nil)
