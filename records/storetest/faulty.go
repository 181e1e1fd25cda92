package storetest

import (
	"context"
	"errors"

	"github.com/classmesh/classmesh/records"
)

// ErrInjected is what a [Faulty] store fails with.
var ErrInjected = errors.New("injected fault")

// Fault is how an Update fails.
type Fault int

// The faults.
const (
	None   Fault = iota
	Before       // nothing is applied
	After        // applied, but the answer is lost
)

// Faulty is a store whose Updates fail when Next says so. It is for one
// goroutine that updates.
type Faulty struct {
	records.Store
	Next func() Fault
}

// Update runs f, and fails as Next says.
func (s *Faulty) Update(ctx context.Context, f func(records.WriteTx) error) error {
	fault := s.Next()
	err := s.Store.Update(ctx, func(tx records.WriteTx) error {
		if err := f(tx); err != nil {
			return err
		}
		if fault == Before {
			return ErrInjected
		}
		return nil
	})
	if err == nil && fault == After {
		return ErrInjected
	}
	return err
}
