package exchange_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records/identity"
)

// What was pushed over an open session is compared now and then. As long as the
// two sides hold the same, that takes an announcement each way and nothing else,
// whichever side begins.
func TestComparisonOfAnOpenSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, left, right := pair(t)
		ctx, stop := context.WithCancel(t.Context())
		one, two := session(t, a, 1, left, false), session(t, b, 0, right, false)
		var wg sync.WaitGroup
		for _, s := range []*exchange.Session{one, two} {
			wg.Go(func() {
				if err := s.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		sent := func() uint64 {
			synctest.Wait()
			return one.Report().BytesSent + two.Report().BytesSent
		}
		if sent() == 0 {
			t.Error("nothing was said")
		}
		for n := range 20 {
			author := a
			if n%3 == 0 {
				author = b
			}
			author.add(identity.LaneDetail, 1)
			before := sent()
			time.Sleep(40 * time.Second) // of the bubble: the comparison is due after 30
			if bytes := sent() - before; bytes == 0 || bytes > 90 {
				t.Errorf("comparison %d took %d bytes", n, bytes)
			}
			if !one.Report().Equal || !two.Report().Equal {
				t.Errorf("comparison %d found a difference", n)
			}
		}
		stop()
		wg.Wait()
	})
}
