package discovery

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// DefaultLook is how often a [Watch] looks at the interfaces.
const DefaultLook = 2 * time.Second

// Watch notices changes of the network interfaces: a cable, another network,
// another address. It looks again and again, which costs some microseconds and
// works on every system. The zero Watch with Changed set is ready.
type Watch struct {
	// Interfaces lists them; nil: SystemInterfaces.
	Interfaces func() ([]Interface, error)
	// Every is the time between two looks; 0: DefaultLook.
	Every time.Duration
	// Changed is called with what there is now: once at the start, and when a
	// change has stood for two looks, so that an interface that flaps does not
	// make everybody start over at each beat. Run waits for it.
	Changed func([]Interface)
	// Logger may be nil.
	Logger *slog.Logger
}

// Run watches until ctx ends.
func (w Watch) Run(ctx context.Context) error {
	list, every := w.Interfaces, w.Every
	if list == nil {
		list = SystemInterfaces
	}
	if every <= 0 {
		every = DefaultLook
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()

	var told, last []Interface
	begun, failed := false, false
	for {
		now, err := list()
		switch {
		case err != nil:
			if !failed && w.Logger != nil {
				w.Logger.Warn("network interfaces cannot be listed", "error", err)
			}
			failed = true
		case !begun || !same(now, told) && same(now, last):
			begun, failed, told = true, false, now
			w.Changed(now)
		default:
			failed = false
		}
		last = now
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func same(a, b []Interface) bool { return slices.EqualFunc(a, b, Interface.Equal) }
