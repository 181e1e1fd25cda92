package coordinator_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/coordinator/boltstore"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

// patience bounds everything that a test waits for.
const patience = 20 * time.Second

var kind = records.NewKind(identity.LaneDetail, roster.ClassAny, 4000)

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func newKey(t testing.TB) identity.DeviceKey {
	t.Helper()
	k, err := identity.GenerateDeviceKey(rand.Reader)
	must(t, err)
	return k
}

// centre is a coordinator that can be stopped and started again.
type centre struct {
	*coordinator.Coordinator
	t       testing.TB
	key     identity.DeviceKey
	storage coordinator.Storage
	address string
	config  func(*coordinator.Config)

	mu  sync.Mutex // guards now
	now time.Time

	stop func() // set while it runs
}

func (c *centre) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *centre) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newCentre starts a coordinator with files of its own in folder.
func newCentre(t testing.TB, folder string) *centre {
	t.Helper()
	s, err := boltstore.Create(folder, boltstore.Options{})
	must(t, err)
	c := &centre{t: t, key: newKey(t), storage: s, now: time.Now()}
	c.start()
	return c
}

// start runs a coordinator over the storage.
func (c *centre) start() {
	c.t.Helper()
	cfg := coordinator.Config{
		Storage: c.storage, Key: c.key, Now: c.clock, Random: rand.Reader, Software: "test",
		Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil)),
	}
	if c.config != nil {
		c.config(&cfg)
	}
	var err error
	c.Coordinator, err = coordinator.New(cfg)
	must(c.t, err)
	l, err := link.Listen(link.Config{Key: c.key, Address: "127.0.0.1:0", Protocols: []string{link.ProtocolExchange}})
	must(c.t, err)
	c.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	running := c.Coordinator
	wg.Go(func() {
		if err := running.Run(ctx); err != nil {
			c.t.Error(err)
		}
	})
	wg.Go(func() {
		if err := l.Run(ctx); err != nil {
			c.t.Error(err)
		}
	})
	wg.Go(func() {
		for {
			conn, err := l.Accept(ctx)
			if err != nil {
				return
			}
			wg.Go(func() { running.Serve(ctx, conn) })
		}
	})
	c.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := c.storage.Close(); err != nil {
			c.t.Error(err)
		}
	})
	c.t.Cleanup(c.stop)
}

// restart stops the coordinator and starts one over the files in folder.
func (c *centre) restart(folder string) {
	c.t.Helper()
	c.stop()
	var err error
	c.storage, err = boltstore.Open(folder, boltstore.Options{})
	must(c.t, err)
	c.start()
}

// zone creates a zone.
func (c *centre) zone(name string) identity.ZoneID {
	c.t.Helper()
	ctx := within(c.t)
	o, err := c.CreateOrg(ctx, "Org of "+name)
	must(c.t, err)
	z, err := c.CreateZone(ctx, o.ID, name)
	must(c.t, err)
	return z.ID
}

func (c *centre) invite(zone identity.ZoneID) roster.Secret {
	c.t.Helper()
	i, _, err := c.CreateInvitation(within(c.t), coordinator.Invite{Zone: zone})
	must(c.t, err)
	return i.Secret()
}

func application(key identity.DeviceKey, secret roster.Secret) coordinator.Application {
	return coordinator.Application{Secret: secret, Key: key.Public(), Name: "Device " + key.Public().ID().Short(), From: netip.MustParseAddr("192.0.2.1")}
}

// device is a device of a zone.
type device struct {
	*records.Replica
	t   testing.TB
	c   *centre
	key identity.DeviceKey
	id  identity.DeviceID
}

// join registers a new device.
func (c *centre) join(zone identity.ZoneID) *device {
	c.t.Helper()
	key := newKey(c.t)
	r, err := c.Register(within(c.t), application(key, c.invite(zone)))
	must(c.t, err)
	return c.found(key, zone, r.Roster)
}

// found sets up a device that has some roster, rightly or not.
func (c *centre) found(key identity.DeviceKey, zone identity.ZoneID, encoded []byte) *device {
	c.t.Helper()
	replica, err := records.Found(within(c.t), records.Config{
		Store: storetest.NewMemory(), Identity: key, Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler),
	}, records.Founding{Zone: zone, Coordinator: c.key.Public(), Roster: encoded})
	must(c.t, err)
	return &device{replica, c.t, c, key, key.Public().ID()}
}

func (d *device) write(n int) {
	d.t.Helper()
	must(d.t, d.Write(within(d.t), func(draft *records.Draft) error {
		for i := range n {
			if _, err := draft.Put(records.Record{Kind: kind, Body: fmt.Append(nil, "record ", i)}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// log is the device's own log.
func (d *device) log() identity.LogID { return d.Certificate().Log(identity.LaneDetail) }

// connect opens a connection to the coordinator.
func (d *device) connect() *link.Conn {
	d.t.Helper()
	conn, err := link.Dial(within(d.t), link.DialConfig{
		Key: d.key, Addresses: []string{d.c.address}, Protocol: link.ProtocolExchange,
		Expect: link.ExpectDevice(d.c.key.Public().ID()),
	})
	must(d.t, err)
	return conn
}

// session runs a session with the coordinator.
type session struct {
	*exchange.Session
	stop func()
	over chan error
}

func (d *device) session() *session {
	d.t.Helper()
	codec, err := packing.NewCodec(1)
	must(d.t, err)
	conn := d.connect()
	s, err := exchange.NewSession(exchange.SessionConfig{
		Config: exchange.Config{
			Peer: conn.Peer(), Codec: codec, Software: "device 1",
			Admission: func(p identity.DevicePublic) exchange.Standing {
				if p == d.Coordinator() {
					return exchange.Member
				}
				return exchange.Unknown
			},
		},
		Replica: d.Replica, Stream: conn, Limits: exchange.NewLimits(0),
	})
	must(d.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	running := &session{s, cancel, make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		running.over <- s.Run(ctx)
	}()
	d.t.Cleanup(func() { cancel(); <-ended })
	return running
}

// wait waits for the session to end.
func (s *session) wait(t testing.TB) error {
	t.Helper()
	select {
	case err := <-s.over:
		return err
	case <-time.After(patience):
		t.Fatal("the session does not end")
		return nil
	}
}

func endedWith(t testing.TB, err error, code wire.Code) {
	t.Helper()
	if end, ok := errors.AsType[*exchange.EndError](err); !ok || end.Code != code || !end.Remote {
		t.Errorf("ended with %v; want the coordinator to say %v", err, code)
	}
}

func holds(d *device, log identity.LogID, n uint64) func() bool {
	return func() bool { counter, _ := d.Frontier(records.BranchRef{Log: log}); return counter == n }
}

func receipted(d *device, log identity.LogID, n uint64) func() bool {
	return func() bool { return d.Receipted(log) == n }
}

func (c *centre) sessions(zone identity.ZoneID) []coordinator.Session {
	c.t.Helper()
	list, err := c.Sessions(within(c.t), zone, 0, 0)
	must(c.t, err)
	return list
}
