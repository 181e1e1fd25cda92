package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/classmesh/classmesh/records"
)

// ErrInjected is wrapped by what a [Faulty] store fails with.
var ErrInjected = errors.New("injected fault")

// Fault is how an Update fails.
type Fault int

// The faults. After Crash and After the store refuses everything with
// records.ErrUncertain, as a disk that failed within a commit makes it do,
// until Reopen.
const (
	None   Fault = iota
	Before       // f runs, nothing is applied, the store goes on
	Full         // as Before, with records.ErrFull
	Crash        // nothing is applied, and nobody can know
	After        // everything is applied, but the answer is lost
)

// String returns the fault's name.
func (f Fault) String() string {
	names := [...]string{"none", "before", "full", "crash", "after"}
	if f < 0 || int(f) >= len(names) {
		return fmt.Sprintf("fault %d", int(f))
	}
	return names[f]
}

// Nth returns a script for [Faulty.Next]: the nth Update from now on fails
// with fault, counted from 1; the others don't.
func Nth(n int, fault Fault) func() Fault {
	return func() Fault {
		if n--; n == 0 {
			return fault
		}
		return None
	}
}

// Faulty is a store whose Updates fail when Next says so, and that counts
// transactions. Set the fields before it is used. All methods are safe for
// concurrent use.
type Faulty struct {
	records.Store
	// Next says how the coming Update fails; nil: it doesn't. One call at a
	// time.
	Next func() Fault
	// Sync, if set, is called where a disk is waited for: once an Update has
	// done everything and before any of it shows. If it returns an error, the
	// Update fails with that and nothing is applied.
	Sync func(context.Context) error

	mu     sync.Mutex
	broken bool
	counts Counts
}

// Counts is how many transactions a [Faulty] store has seen.
type Counts struct {
	Views   int
	Updates int // begun
	Commits int // applied, whatever was answered
}

// Counts returns the counts up to now.
func (s *Faulty) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Reopen makes the store usable again after Crash or After, as if it had been
// closed and opened.
func (s *Faulty) Reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = false
}

// begin counts a transaction and decides on its fault.
func (s *Faulty) begin(write bool) (Fault, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return None, fmt.Errorf("%w: %w", ErrInjected, records.ErrUncertain)
	}
	if !write {
		s.counts.Views++
		return None, nil
	}
	s.counts.Updates++
	if s.Next == nil {
		return None, nil
	}
	return s.Next(), nil
}

// View runs f, unless the store is broken.
func (s *Faulty) View(ctx context.Context, f func(records.Tx) error) error {
	if _, err := s.begin(false); err != nil {
		return err
	}
	return s.Store.View(ctx, f)
}

// Update runs f, and fails as Next says. If f fails by itself, that is what
// is returned.
func (s *Faulty) Update(ctx context.Context, f func(records.WriteTx) error) error {
	fault, err := s.begin(true)
	if err != nil {
		return err
	}
	var own error // f's
	err = s.Store.Update(ctx, func(tx records.WriteTx) error {
		if own = f(tx); own != nil {
			return own
		}
		switch fault {
		case Before:
			return ErrInjected
		case Full:
			return fmt.Errorf("%w: %w", ErrInjected, records.ErrFull)
		case Crash:
			return s.fail()
		}
		if s.Sync != nil {
			return s.Sync(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.counts.Commits++
	s.mu.Unlock()
	if fault == After {
		return s.fail()
	}
	return nil
}

// fail breaks the store.
func (s *Faulty) fail() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
	return fmt.Errorf("%w: %w", ErrInjected, records.ErrUncertain)
}
