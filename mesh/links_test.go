package mesh_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records/identity"
)

func authorKey(t *testing.T, n int) identity.AuthorKey {
	key, err := identity.AuthorKeyFromSeed(seed(3, n))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func issue(z *zone, n int, author identity.AuthorKey, sequence uint64) identity.Certificate {
	return identity.IssueCertificate(z.keys[n], z.all[n].cert.Zone, author, sequence)
}

// Of two connections between two devices both keep the one that the smaller
// device ID has dialled, whichever came first.
func TestOneConnectionForEachPair(t *testing.T) {
	for _, smallerFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			z := newZone(t, 2, false)
			small, large := 1, 2
			if z.keys[1].Public().ID().Compare(z.keys[2].Public().ID()) > 0 {
				small, large = 2, 1
			}
			nodes := map[int]*mesh.Node{small: z.node(z.config(small)), large: z.node(z.config(large))}
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			connect := func(from, to int) {
				dialled, called := z.pipe(from, to)
				for n, conn := range map[int]mesh.Conn{from: dialled, to: called} {
					wg.Go(func() {
						if err := nodes[n].Serve(ctx, conn); errors.As(err, new(*exchange.EndError)) {
							t.Errorf("device %d: %v", n, err)
						}
					})
				}
				time.Sleep(time.Second)
				synctest.Wait()
			}
			if smallerFirst {
				connect(small, large)
				connect(large, small)
			} else {
				connect(large, small)
				connect(small, large)
			}
			for n, node := range nodes {
				p := node.Status().Peers
				if len(p) != 1 || p[0].Dialled != (n == small) || !p[0].Session.Equal {
					t.Errorf("device %d: %+v", n, p)
				}
			}
			// Who dials again has lost the former connection.
			before := nodes[large].Status().Peers[0].Since
			connect(small, large)
			if p := nodes[large].Status().Peers; len(p) != 1 || !p[0].Since.After(before) {
				t.Errorf("after dialling again: %+v", p)
			}
			// So has the other, if it dials when there has been one for a while.
			time.Sleep(time.Minute)
			connect(large, small)
			for n, node := range nodes {
				p := node.Status().Peers
				if len(p) != 1 || p[0].Dialled != (n == large) || !p[0].Session.Equal {
					t.Errorf("device %d, after the other has lost the connection: %+v", n, p)
				}
				if l := node.Neighbours(); len(l) != 1 || l[0].Device != p[0].Device || l[0].Address != p[0].Address {
					t.Errorf("device %d: neighbours %+v, peers %+v", n, l, p)
				}
			}
			stop()
			wg.Wait()
			for n, node := range nodes {
				if l := node.Neighbours(); len(l) != 0 {
					t.Errorf("device %d, when all has ended: neighbours %+v", n, l)
				}
			}
		})
	}
}

// There are only so many sessions, and only some of them are for strangers.
func TestBoundedConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, 4, false)
		cfg := z.config(1)
		cfg.MaxPeers = 2
		n := z.node(cfg)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 100)
		var wg sync.WaitGroup
		for from := 2; from <= 4; from++ {
			dialled, called := z.pipe(from, 1)
			wg.Go(func() { z.node(z.config(from)).Serve(ctx, dialled) })
			wg.Go(func() { ended <- n.Serve(ctx, called) })
			synctest.Wait()
		}
		if err := <-ended; err == nil || errors.As(err, new(*exchange.EndError)) {
			t.Errorf("the third connection: %v", err)
		}
		if p := n.Status().Peers; len(p) != 2 {
			t.Errorf("%d peers", len(p))
		}
		stop()
		wg.Wait()
		<-ended
		<-ended

		n = z.node(z.config(1))
		refused := 0
		for i := range 30 {
			key, err := identity.DeviceKeyFromSeed(seed(5, i))
			if err != nil {
				t.Fatal(err)
			}
			_, called := z.pipe(2, 1)
			called.peer = key.Public()
			wg.Go(func() { ended <- n.Serve(t.Context(), called) })
		}
		synctest.Wait()
		for len(ended) > 0 {
			<-ended
			refused++
		}
		if refused != 22 {
			t.Errorf("%d of 30 strangers were turned away at once, want 22", refused)
		}
		time.Sleep(time.Minute) // the others in time
		wg.Wait()
		for len(ended) > 0 {
			var end *exchange.EndError
			if err := <-ended; !errors.As(err, &end) || end.Code != wire.CodeUnknown {
				t.Errorf("a stranger's session ended with %v", err)
			}
		}
	})
}
