package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// An hour without a coordinator costs few attempts, spread out; when it is back
// the device is connected within the longest wait.
func TestUnreachable(t *testing.T) {
	var first []time.Duration
	for seed := range byte(3) {
		synctest.Test(t, func(t *testing.T) {
			z := newZone(t, 1, false)
			z.random = rand.NewChaCha8([32]byte{seed})
			n := z.node(z.config(1))
			start := time.Now()
			stop := z.run(n)
			time.Sleep(time.Hour)
			synctest.Wait()
			dials := z.dialled()
			shortest, longest := gaps(dials)
			if len(dials) < 90 || len(dials) > 170 || shortest < 100*time.Millisecond || longest > time.Minute {
				t.Errorf("%d dials in an hour, %v to %v apart", len(dials), shortest, longest)
			}
			first = append(first, dials[5].Sub(start))
			u := n.Status().Uplink
			if u.State != mesh.Offline || u.Words == "" || !strings.Contains(u.LastError, "cannot be reached") || !u.LastOK.IsZero() {
				t.Errorf("status: %+v", u)
			}
			if since := u.Since.Sub(start); since > time.Second {
				t.Errorf("offline since %v after the start", since)
			}

			c := z.node(z.config(0))
			z.setAnswer(z.serve(c))
			time.Sleep(time.Minute)
			synctest.Wait()
			if u := n.Status().Uplink; u.State != mesh.Connected || !u.Equal || u.LastError != "" || !u.LastOK.Equal(time.Now()) {
				t.Errorf("after the coordinator is back: %+v", u)
			}
			if l := n.Neighbours(); len(l) != 0 {
				t.Errorf("the coordinator is among the neighbours: %+v", l)
			}
			if p := c.Status().Peers; len(p) != 1 || p[0].Name != "room 1" || p[0].Dialled {
				t.Errorf("the coordinator's peers: %+v", p)
			}
			z.dialled()
			time.Sleep(time.Hour)
			if d := z.dialled(); len(d) != 0 {
				t.Errorf("%d dials while connected", len(d))
			}
			stop()
			z.served.Wait()
		})
	}
	slices.Sort(first)
	if len(slices.Compact(first)) != 3 {
		t.Errorf("three devices dial at the same times: %v", first)
	}
}

// Whatever the coordinator does with those who call, it is not called in a
// busy loop.
func TestNoBusyLoop(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(z *zone, c *mesh.Node) func(context.Context, *pipeEnd) error
		most   int
		state  mesh.State
	}{
		"hangs up at once": {func(*zone, *mesh.Node) func(context.Context, *pipeEnd) error {
			return func(_ context.Context, called *pipeEnd) error { return called.Close() }
		}, 170, mesh.Offline},
		"says goodbye at once": {func(z *zone, _ *mesh.Node) func(context.Context, *pipeEnd) error {
			return func(_ context.Context, called *pipeEnd) error {
				z.served.Go(func() {
					called.Write(wire.AppendFrame(nil, wire.NewBye(wire.CodeDone, "")))
					called.Close()
				})
				return nil
			}
		}, 170, mesh.Offline},
		"accepts, then stops": {func(z *zone, c *mesh.Node) func(context.Context, *pipeEnd) error {
			return func(_ context.Context, called *pipeEnd) error {
				z.served.Go(func() {
					ctx, cancel := context.WithTimeout(z.ctx, time.Second)
					defer cancel()
					c.Serve(ctx, called)
				})
				return nil
			}
		}, 170, mesh.Offline},
		"says nothing": {func(z *zone, _ *mesh.Node) func(context.Context, *pipeEnd) error {
			return func(_ context.Context, called *pipeEnd) error {
				z.served.Go(func() {
					var b [100]byte
					for {
						if _, err := called.Read(b[:]); err != nil {
							return
						}
					}
				})
				return nil
			}
		}, 170, mesh.Offline},
		"never reads": {func(z *zone, _ *mesh.Node) func(context.Context, *pipeEnd) error {
			return func(context.Context, *pipeEnd) error { return nil }
		}, 170, mesh.Offline},
		"of another version": {func(z *zone, _ *mesh.Node) func(context.Context, *pipeEnd) error {
			return func(_ context.Context, called *pipeEnd) error {
				z.served.Go(func() {
					called.Write(wire.AppendFrame(nil, wire.NewBye(wire.CodeVersion, "")))
					called.Close()
				})
				return nil
			}
		}, 40, mesh.Refused},
		"with another key": {func(z *zone, _ *mesh.Node) func(context.Context, *pipeEnd) error {
			return func(context.Context, *pipeEnd) error { return fmt.Errorf("dial: %w", link.ErrWrongPeer) }
		}, 40, mesh.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := newZone(t, 1, false)
				z.setAnswer(test.answer(z, z.node(z.config(0))))
				n := z.node(z.config(1))
				stop := z.run(n)
				time.Sleep(time.Hour)
				synctest.Wait()
				if d := len(z.dialled()); d < 10 || d > test.most {
					t.Errorf("%d dials in an hour, want at most %d", d, test.most)
				}
				if u := n.Status().Uplink; u.State != test.state && u.State != mesh.Connecting || u.State != mesh.Connected && u.Words == "" {
					t.Errorf("status: %+v", u)
				}
				before := time.Now()
				stop()
				if took := time.Since(before); took > 5*time.Second {
					t.Errorf("stopping took %v", took)
				}
				z.served.Wait()
			})
		})
	}
}

// jumpy is a clock whose time of day jumps by years.
type jumpy struct {
	exchange.SystemClock
	mu     sync.Mutex
	random *rand.Rand
}

func (j *jumpy) Now() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.UnixMilli(j.random.Int64N(4e12) - 1e12)
}

// A time of day that jumps neither stops the attempts nor makes them a loop,
// and does not end a session.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 1, false)
		cfg := z.config(1)
		cfg.Clock = &jumpy{random: rand.New(rand.NewPCG(1, 2))}
		n := z.node(cfg)
		stop := z.run(n)
		time.Sleep(time.Hour)
		shortest, longest := gaps(z.dialled())
		if shortest < 100*time.Millisecond || longest > time.Minute {
			t.Errorf("dials are %v to %v apart", shortest, longest)
		}
		z.setAnswer(z.serve(z.node(z.config(0))))
		time.Sleep(time.Hour)
		synctest.Wait()
		if d := len(z.dialled()); d != 1 || n.Status().Uplink.State != mesh.Connected {
			t.Errorf("%d dials, %v", d, n.Status().Uplink.State)
		}
		stop()
		z.served.Wait()
	})
}

// Poke dials at once; a thousand calls do not dial a thousand times.
func TestPoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 1, false)
		n := z.node(z.config(1))
		stop := z.run(n)
		time.Sleep(time.Hour)
		synctest.Wait()
		z.dialled()
		z.setAnswer(z.serve(z.node(z.config(0))))
		n.Poke()
		synctest.Wait()
		if d := len(z.dialled()); d != 1 || n.Status().Uplink.State != mesh.Connected {
			t.Errorf("after Poke: %d dials, %v", d, n.Status().Uplink.State)
		}
		n.Poke() // has no effect, also not later
		stop()

		z.setAnswer(z.unreachable)
		n = z.node(z.config(1))
		stop = z.run(n)
		for range 3600 {
			n.Poke()
			time.Sleep(time.Second)
		}
		if d := len(z.dialled()); d < 290 || d > 500 {
			t.Errorf("%d dials in an hour with a call of Poke each second", d)
		}
		stop()
		z.served.Wait()
	})
}

// A device that the coordinator does not know is told what to do, and connects
// when it is admitted.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 1, true)
		z.setAnswer(z.serve(z.node(z.config(0))))
		n := z.node(z.config(1))
		stop := z.run(n)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		_, longest := gaps(z.dialled())
		u := n.Status().Uplink
		if longest < 2*time.Minute || longest > 10*time.Minute || u.State != mesh.Refused || !strings.Contains(u.Words, "invitation") {
			t.Errorf("gaps of up to %v, status %+v", longest, u)
		}
		z.admitLast()
		n.Poke()
		synctest.Wait()
		if u := n.Status().Uplink; u.State != mesh.Connected {
			t.Errorf("after it was admitted: %+v", u)
		}
		stop()
		z.served.Wait()
	})
}

// A revoked device is refused as such.
func TestRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 1, false)
		z.setAnswer(z.serve(z.node(z.config(0))))
		n := z.node(z.config(1))
		stop := z.run(n)
		synctest.Wait()
		if u := n.Status().Uplink; u.State != mesh.Connected {
			t.Fatalf("status %+v", u)
		}
		r, err := z.roster.Revoke(z.keys[1].Public().ID())
		if err != nil {
			t.Fatal(err)
		}
		z.all[0].setRoster(r.Sign(z.keys[0], 2))
		time.Sleep(time.Minute)
		synctest.Wait()
		if u := n.Status().Uplink; u.State != mesh.Refused || !strings.Contains(u.Words, "removed") || u.LastOK.IsZero() {
			t.Errorf("status %+v", u)
		}
		stop()
		z.served.Wait()
	})
}

// What the coordinator holds of this device, and it does not, is told once per
// session to the replica and once in ten minutes to people.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 1, false)
		head := z.head(1, 12)
		z.all[0].heads[z.keys[1].Public().ID()] = []records.Head{head}
		sessions := 0
		c := z.node(z.config(0))
		z.setAnswer(func(_ context.Context, called *pipeEnd) error {
			sessions++
			z.served.Go(func() {
				ctx, cancel := context.WithTimeout(z.ctx, time.Second)
				defer cancel()
				c.Serve(ctx, called)
			})
			return nil
		})
		cfg := z.config(1)
		var told []records.Head
		var alarms []exchange.Alarm
		cfg.Behind = func(_ context.Context, h records.Head, _ identity.DeviceID) (bool, error) {
			told = append(told, h)
			return false, errors.New("not now")
		}
		cfg.Alarm = func(a exchange.Alarm) { alarms = append(alarms, a) }
		stop := z.run(z.node(cfg))
		time.Sleep(9 * time.Minute)
		stop()
		z.served.Wait()
		if sessions < 5 || len(told) != sessions || !told[0].Equal(&head) || len(alarms) != 1 || alarms[0].Kind != exchange.AlarmBehind {
			t.Errorf("%d sessions, %d heads, alarms %+v", sessions, len(told), alarms)
		}
	})
}

// After a new incarnation was begun, a session of it takes the place of the
// former one's.
func TestNewIncarnation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 1, false)
		z.all[0].heads[z.keys[1].Public().ID()] = []records.Head{z.head(1, 12)}
		c := z.node(z.config(0))
		z.setAnswer(z.serve(c))
		cfg := z.config(1)
		next := authorKey(t, 9)
		cfg.Behind = func(context.Context, records.Head, identity.DeviceID) (bool, error) {
			s := z.all[1]
			s.mu.Lock()
			defer s.mu.Unlock()
			s.cert = issue(z, 1, next, 2)
			return true, nil
		}
		stop := z.run(z.node(cfg))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if p := c.Status().Peers; len(p) != 1 || p[0].Session.Certificate.Sequence != 2 || len(z.dialled()) != 2 {
			t.Errorf("the coordinator's peers: %+v", p)
		}
		stop()
		z.served.Wait()
	})
}

// Sync ends by itself, and says whether everything is safe.
func TestSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 1, false)
		if _, err := mesh.Sync(t.Context(), z.config(1)); !errors.Is(err, link.ErrUnreachable) {
			t.Errorf("without a coordinator: %v", err)
		}
		z.setAnswer(z.serve(z.node(z.config(0))))
		if r, err := mesh.Sync(t.Context(), z.config(1)); err != nil || !r.Equal {
			t.Errorf("%v, %+v", err, r)
		}
		head := z.head(1, 3)
		own := z.all[1]
		own.heads[z.keys[1].Public().ID()] = []records.Head{head}
		if _, err := mesh.Sync(t.Context(), z.config(1)); !errors.Is(err, mesh.ErrIncomplete) {
			t.Errorf("without a receipt: %v", err)
		}
		time.AfterFunc(time.Second, func() {
			own.mu.Lock()
			own.receipted[head.Log] = 3
			own.mu.Unlock()
			own.setRoster(own.Roster()) // something has changed
		})
		if _, err := mesh.Sync(t.Context(), z.config(1)); err != nil {
			t.Errorf("with a receipt: %v", err)
		}
		z.served.Wait()
	})
}
