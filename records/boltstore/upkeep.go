package boltstore

import (
	"context"
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/classmesh/classmesh/records"
)

// Upkeep goes on beside everything else, so it takes a small part of the time and
// comes seldom.
const (
	upkeepEvery = 30 * time.Second
	shrinkEvery = time.Hour
	// tidyRest is how long Upkeep rests for each moment that it has worked.
	tidyRest = 4
	// wasteBytes is the least unused space that is worth writing a file anew.
	wasteBytes = 8 << 20
)

// Upkeep keeps the file small until ctx is done: it packs what has come to stand
// one by one ([Store.Tidy]), and writes the file anew when more than half of it is
// unused ([Store.Shrink]). What fails is logged and tried again later; a store that
// must be opened anew first is left alone.
func (s *Store) Upkeep(ctx context.Context) {
	for wait(ctx, upkeepEvery) {
		err := s.UpkeepRound(ctx)
		if errors.Is(err, os.ErrClosed) || errors.Is(err, records.ErrUncertain) {
			return
		}
	}
}

// UpkeepRound does once what [Store.Upkeep] does again and again, for those who
// look after many stores. An error was logged.
func (s *Store) UpkeepRound(ctx context.Context) error {
	err := s.tidyAll(ctx)
	if last := s.shrunk.Load(); err == nil && s.wasteful() && (last == nil || time.Since(*last) > shrinkEvery) {
		now := time.Now()
		s.shrunk.Store(&now)
		err = s.Shrink(ctx)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, os.ErrClosed) {
		s.logger.Warn("the file of records could not be made smaller, it will be tried again", "error", err)
	}
	return err
}

func (s *Store) tidyAll(ctx context.Context) error {
	for {
		began := time.Now()
		more, err := s.Tidy(ctx)
		if err != nil || !more || !wait(ctx, tidyRest*time.Since(began)) {
			return err
		}
	}
}

// wasteful reports whether more than half of the file is unused, where that can be
// helped.
func (s *Store) wasteful() bool {
	if runtime.GOOS == "windows" {
		return false
	}
	st, err := s.Stats()
	return err == nil && st.FreeBytes > wasteBytes && st.FreeBytes > st.Bytes/2
}

// wait reports whether ctx was not done in that time.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
