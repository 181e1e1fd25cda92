package exchange_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

const day = 24 * 60 * 60 * 1000

// keyed is a machine and what it says about zone keys.
type keyed struct {
	t     *testing.T
	m     *exchange.Machine
	local *replica
	now   int64    // of those who judge leases
	sent  []uint32 // numbers of keys
}

// step tells the machine an event and notes the keys that it sends.
func (k *keyed) step(e exchange.Event) {
	k.t.Helper()
	for _, effect := range k.m.Step(e) {
		if s, ok := effect.(exchange.Send); ok {
			if msg, ok := s.Message.(*wire.Key); ok {
				key, err := roster.DecodeZoneKey(msg.Encoded)
				if err != nil || !slices.Contains(k.local.zoneKeys, key) {
					k.t.Errorf("sends a key that is not held: %v", err)
				}
				k.sent = append(k.sent, key.Number)
			}
		}
	}
}

// greetKeyed begins a session with a peer that says it has a key of that number.
func greetKeyed(t *testing.T, local *replica, peer identity.DeviceKey, cert identity.Certificate, has uint32) *keyed {
	k := &keyed{t: t, local: local, now: 1}
	k.m = exchange.New(exchange.Config{
		Local: local, Peer: peer.Public(), Codec: newCodec(t), Window: wire.MinWindow,
		Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(local.roster, p, k.now) },
	})
	k.step(exchange.Started{})
	k.step(exchange.Received{Message: &wire.Hello{
		Offer: wire.OurOffer(), Zone: local.zone, Certificate: cert, Start: identity.StartID{7}, Window: wire.MinWindow,
		Epoch: local.roster.Epoch, RosterHash: local.roster.Hash(), KeyNumber: has,
	}})
	local.Watch(func(c exchange.Change) { k.step(exchange.Changed{Change: c}) })
	return k
}

func raise(number uint32) func(*roster.Roster) (*roster.Roster, error) {
	return func(r *roster.Roster) (*roster.Roster, error) { return r.RaiseKeyNumber(number) }
}

// keyedDevice is a device with some zone keys, of which the roster names the
// second. Of its peers the third was removed and the fourth is not listed.
func keyedDevice(t *testing.T, keys ...uint32) *replica {
	w := newWorld(t, 5, 4)
	w.nextRoster(raise(2))
	local := newReplica(w, 0, w.nextRoster(func(r *roster.Roster) (*roster.Roster, error) {
		return r.Revoke(w.keys[3].Public().ID())
	}))
	for _, n := range keys {
		local.zoneKeys = append([]roster.ZoneKey{w.key(n)}, local.zoneKeys...)
	}
	return local
}

func TestWhoIsGivenAZoneKey(t *testing.T) {
	for _, test := range []struct {
		name string
		keys []uint32 // held
		peer int      // -1: the coordinator
		has  uint32
		want []uint32
	}{
		{"member without a key", []uint32{1, 2}, 1, 0, []uint32{2}},
		{"member with an older key", []uint32{1, 2}, 1, 1, []uint32{2}},
		{"member with the same key", []uint32{1, 2}, 1, 2, nil},
		{"member with a newer key", []uint32{1, 2}, 1, 3, nil},
		{"from a device without a key", nil, 1, 0, nil},
		{"member, the newest is not named yet", []uint32{1, 2, 3, 4}, 1, 1, []uint32{2}},
		{"member, none is named yet", []uint32{3, 4}, 1, 0, nil},
		{"member, the roster is ahead", []uint32{1}, 1, 0, []uint32{1}},
		{"removed device", []uint32{1, 2}, 3, 0, nil},
		{"device that is not listed", []uint32{1, 2}, 4, 0, nil},
		{"the coordinator", []uint32{1, 2, 9}, -1, 2, []uint32{9}},
	} {
		t.Run(test.name, func(t *testing.T) {
			local := keyedDevice(t, test.keys...)
			peer, cert := local.world.coordinator, identity.IssueCertificate(local.world.coordinator, local.zone, local.authors[4], 1)
			if test.peer >= 0 {
				peer, cert = local.world.keys[test.peer], local.certs[test.peer]
			}
			if k := greetKeyed(t, local, peer, cert, test.has); !slices.Equal(k.sent, test.want) {
				t.Errorf("is given %v, want %v", k.sent, test.want)
			}
		})
	}
}

// In an open session a key is told once, when the roster that names it is at
// hand, and to nobody whom that roster removes.
func TestNextZoneKey(t *testing.T) {
	local := keyedDevice(t, 2)
	k := greetKeyed(t, local, local.world.keys[1], local.certs[1], 2)
	expect := func(what string, do func(), want ...uint32) {
		t.Helper()
		k.sent = nil
		do()
		if !slices.Equal(k.sent, want) {
			t.Errorf("%s: is given %v, want %v", what, k.sent, want)
		}
	}
	accept := func(n uint32) func() {
		return func() {
			if err := local.AcceptKey(t.Context(), local.key(n).Encode()); err != nil {
				t.Fatal(err)
			}
		}
	}
	roster3 := func(edit func(*roster.Roster) (*roster.Roster, error)) func() {
		return func() { local.setRoster(local.nextRoster(edit)) }
	}
	expect("a key before its roster", accept(3))
	expect("its roster", roster3(raise(3)), 3)
	expect("another roster", roster3(func(r *roster.Roster) (*roster.Roster, error) { return r.RaiseEra() }))
	expect("a roster before its key", roster3(raise(4)))
	expect("its key", accept(4), 4)
	expect("the peer has a newer one", func() {
		k.step(exchange.Received{Message: &wire.Key{Encoded: local.key(6).Encode()}})
	})
	expect("an older key than the peer has", func() { roster3(raise(5))(); accept(5)() })
	expect("the peer is removed, with the next key", func() {
		accept(7)()
		roster3(func(r *roster.Roster) (*roster.Roster, error) {
			next, err := r.Revoke(local.world.keys[1].Public().ID())
			if err != nil {
				return nil, err
			}
			return next.RaiseKeyNumber(7)
		})()
	})
	if r := k.m.Report(); !r.Over || r.Code != wire.CodeRevoked {
		t.Errorf("%+v", r)
	}
}

// Who may not receive is given no key, until its lease is renewed.
func TestNoZoneKeyWithoutLease(t *testing.T) {
	local := keyedDevice(t, 1)
	k := greetKeyed(t, local, local.world.keys[1], local.certs[1], 1)
	k.now = 190 * day // later than the lease that began with the zone
	if err := local.AcceptKey(t.Context(), local.key(2).Encode()); err != nil {
		t.Fatal(err)
	}
	if len(k.sent) != 0 || k.m.Report().Standing != exchange.LeaseEnded || !k.m.Open() {
		t.Errorf("without a lease: %v is given, %+v", k.sent, k.m.Report())
	}
	local.setRoster(local.nextRoster(func(r *roster.Roster) (*roster.Roster, error) {
		return r.RenewLease(local.world.keys[1].Public().ID(), 190*day)
	}))
	if !slices.Equal(k.sent, []uint32{2}) {
		t.Errorf("with a new lease: %v is given", k.sent)
	}
}

// What is wrong with a key that the coordinator did sign is nobody's fault, and
// a full disk is tried again.
func TestZoneKeysThatCannotBeTaken(t *testing.T) {
	local := keyedDevice(t, 2)
	k := greetKeyed(t, local, local.world.keys[1], local.certs[1], 2)
	worker := exchange.NewWorker(local, newCodec(t), exchange.NewLimits(0))
	hear := func(e exchange.Event) (alarms []exchange.AlarmKind, retry bool) {
		for effects := slices.Clone(k.m.Step(e)); len(effects) > 0; effects = effects[1:] {
			switch effect := effects[0].(type) {
			case exchange.AcceptKey:
				done, _ := worker.Do(t.Context(), effect)
				effects = append(effects, slices.Clone(k.m.Step(done))...)
			case exchange.Raise:
				alarms = append(alarms, effect.Alarm.Kind)
			case exchange.SetTimer:
				retry = retry || effect.Timer == exchange.TimerRetry
			}
		}
		return alarms, retry
	}
	later := local.key(3).Encode()
	later[0] = 2
	third := local.key(3).Encode()
	if alarms, _ := hear(exchange.Received{Message: &wire.Key{Encoded: local.key(2).Encode()}}); !slices.Equal(alarms, []exchange.AlarmKind{exchange.AlarmKey}) {
		t.Errorf("another with its number: %v", alarms)
	}
	if alarms, _ := hear(exchange.Received{Message: &wire.Key{Encoded: later}}); !slices.Equal(alarms, []exchange.AlarmKind{exchange.AlarmKey}) {
		t.Errorf("of a later release: %v", alarms)
	}
	local.full = true
	if alarms, retry := hear(exchange.Received{Message: &wire.Key{Encoded: third}}); !slices.Equal(alarms, []exchange.AlarmKind{exchange.AlarmFull}) || !retry {
		t.Errorf("on a full disk: %v, %t", alarms, retry)
	}
	local.full = false
	if alarms, _ := hear(exchange.Fired{Timer: exchange.TimerRetry}); len(alarms) > 0 || local.newest() != 3 {
		t.Errorf("with room again: %v, key %d", alarms, local.newest())
	}
	if r := k.m.Report(); r.Over || r.Blame != "" {
		t.Errorf("%+v", r)
	}
}

// A session that ends by itself does not end before the key that the other
// side has.
func TestZoneKeyComesInOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, 2)
		r := w.nextRoster(raise(5))
		var mu sync.Mutex
		a, b := locked{&mu, newReplica(w, 0, r)}, locked{&mu, newReplica(w, 1, r)}
		for _, n := range []uint32{4, 5} {
			if err := b.AcceptKey(context.Background(), w.key(n).Encode()); err != nil {
				t.Fatal(err)
			}
		}
		left, right := net.Pipe()
		start := time.Now()
		var wg sync.WaitGroup
		for _, s := range []*exchange.Session{session(t, a, 1, left, true), session(t, b, 0, right, false)} {
			wg.Go(func() {
				if err := s.Run(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if a.newest() != 5 || len(a.zoneKeys) != 1 {
			t.Errorf("has %v", a.Keys())
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("the session took %v", took)
		}
	})
}
