package exchange_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records/packing"
)

// However much waits to be stored, what somebody has just written is unpacked at
// once; and neither is without a bound.
func TestSmallAnswersDoNotWaitForLargeOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := exchange.NewLimits(2)
		take := func(size int) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := l.Acquire(ctx, size)
			return err
		}
		for range 2 {
			if err := take(packing.MaxBytes); err != nil {
				t.Fatal(err)
			}
		}
		if err := take(packing.MaxBytes); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one too many is unpacked: %v", err)
		}
		n := 0
		for ; n < 10_000 && take(100) == nil; n++ {
		}
		if n < 100 || n == 10_000 {
			t.Errorf("%d small ones are unpacked beside", n)
		}
	})
}
