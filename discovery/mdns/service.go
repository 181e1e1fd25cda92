package mdns

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/discovery"
)

// Config is what a [Service] is made of. Port, Keys and Found are required.
type Config struct {
	// Port is where this device can be called, over UDP and TCP.
	Port uint16
	// Keys returns the zone keys that this device holds, in any order. While
	// there are none, nothing is announced and nobody found. It is asked often
	// and must return soon; see also [Service.KeysChanged].
	Keys func() []discovery.ZoneKey
	// Found is told where another device of the zone may be, again at each
	// browse. It must return soon.
	Found func(discovery.Sighting)

	// ProtocolMin and ProtocolMax are the versions of the exchange that this
	// device speaks; 0 is 1. Devices without a version in common are not found.
	ProtocolMin, ProtocolMax uint16
	// Interfaces lists where to announce and browse; nil:
	// discovery.SystemInterfaces.
	Interfaces func() ([]discovery.Interface, error)
	// Browse is how long the first browse on an interface lasts at least, and half
	// of how long at most; 0: half a minute. Later ones last up to eight times as long.
	Browse time.Duration
	// Look is how often the interfaces are looked at; 0: discovery.DefaultLook.
	Look time.Duration

	Random io.Reader    // nil: the system's
	Logger *slog.Logger // nil: nothing is logged
}

// Service announces this device and finds others.
type Service struct {
	cfg    Config
	random [randomBytes]byte // r of this start, by which our own announcements are known
	found  atomic.Bool       // somebody, ever
	warned atomic.Bool       // that nobody was found

	mu      sync.Mutex
	changed chan struct{} // closed when the keys changed
}

// New checks the configuration and draws what is random. It opens nothing.
func New(cfg Config) (*Service, error) {
	switch {
	case cfg.Port == 0:
		return nil, errors.New("announce device: no port to announce")
	case cfg.Keys == nil || cfg.Found == nil:
		return nil, errors.New("announce device: Keys and Found are required")
	}
	cfg.ProtocolMin = max(cfg.ProtocolMin, 1)
	cfg.ProtocolMax = max(cfg.ProtocolMax, cfg.ProtocolMin)
	if cfg.Browse <= 0 {
		cfg.Browse = 30 * time.Second
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg, changed: make(chan struct{})}
	if _, err := io.ReadFull(cfg.Random, s.random[:]); err != nil {
		return nil, fmt.Errorf("announce device: draw random bytes: %w", err)
	}
	return s, nil
}

// KeysChanged tells that Keys returns something else now: this device is
// announced anew.
func (s *Service) KeysChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// keysChanged returns a channel that is closed at the next KeysChanged.
func (s *Service) keysChanged() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Run announces and browses on every interface until ctx ends, and then says
// goodbye. Networks where that does not work are logged and tried again. It
// returns nil. Goroutines of the library that are about to send an announcement
// end up to four seconds later.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	changes := make(chan []discovery.Interface)
	group.Go(func() error {
		return discovery.Watch{
			Interfaces: s.cfg.Interfaces,
			Every:      s.cfg.Look,
			Logger:     s.cfg.Logger,
			Changed: func(list []discovery.Interface) {
				select {
				case changes <- list:
				case <-ctx.Done():
				}
			},
		}.Run(ctx)
	})
	group.Go(func() error {
		s.follow(ctx, changes)
		return nil
	})
	return group.Wait()
}

// follow keeps one goroutine at work on each interface that there is.
func (s *Service) follow(ctx context.Context, changes <-chan []discovery.Interface) {
	type worker struct {
		on   discovery.Interface
		stop context.CancelFunc
	}
	var workers []worker
	var group errgroup.Group
	defer group.Wait()
	for {
		select {
		case <-ctx.Done():
			for _, w := range workers {
				w.stop()
			}
			return
		case list := <-changes:
			// Who did not change goes on undisturbed.
			workers = slices.DeleteFunc(workers, func(w worker) bool {
				gone := !slices.ContainsFunc(list, w.on.Equal)
				if gone {
					w.stop()
				}
				return gone
			})
			for _, i := range list {
				if slices.ContainsFunc(workers, func(w worker) bool { return w.on.Equal(i) }) {
					continue
				}
				work, stop := context.WithCancel(ctx)
				workers = append(workers, worker{i, stop})
				group.Go(func() error {
					defer stop()
					s.serve(work, i)
					return nil
				})
			}
		}
	}
}
