package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// ErrStopped: the coordinator is stopping, or was.
var ErrStopped = errors.New("the coordinator is stopping")

// Config is what a Coordinator is made of. Storage, Key, Now, Random and
// Logger are required.
type Config struct {
	Storage Storage // closed by the caller, after Run
	Key     identity.DeviceKey
	Now     func() time.Time
	Random  io.Reader // cryptographic; need not be safe for concurrent use
	Logger  *slog.Logger
	// Software is the version of the program, for people.
	Software string

	// MaxSessions is how many connections are served at a time: 4096 if 0.
	MaxSessions int
	// IdleZones is how many zones stay open that nobody uses: 64 if 0.
	IdleZones int
	// Timing of sessions; Timing.Greeting bounds the wait for a Hello.
	Timing exchange.Timing
}

// Coordinator is the authority of the zones in one storage. All methods are
// safe for concurrent use. The errors of those that change or look something
// up wrap ErrNotFound, ErrExists and the errors of package roster.
type Coordinator struct {
	cfg      Config
	public   identity.DevicePublic
	random   io.Reader // safe for concurrent use
	codec    *packing.Codec
	limits   *exchange.Limits
	zones    cache
	jobs     jobs
	wrong    tries
	places   places
	slots    chan struct{} // a token for each connection served
	prepared chan struct{} // closed when Run has put the storage in order
	stopped  chan struct{} // closed when no new call is let in

	tally tally

	mu sync.Mutex // guards what follows

	running  bool
	stopping bool
	serving  map[*serving]struct{}
	active   sync.WaitGroup // calls in progress; none is added when stopping
}

// New returns a coordinator over a storage, which must be its own. Nothing is
// served before [Coordinator.Run] runs.
func New(cfg Config) (*Coordinator, error) {
	if cfg.Storage == nil || cfg.Key.IsZero() || cfg.Now == nil || cfg.Random == nil || cfg.Logger == nil {
		return nil, errors.New("new coordinator: Storage, Key, Now, Random and Logger are required")
	}
	cfg.MaxSessions = cmp.Or(cfg.MaxSessions, 4096)
	cfg.IdleZones = cmp.Or(cfg.IdleZones, 64)
	cfg.Timing.Greeting = cmp.Or(cfg.Timing.Greeting, 10*time.Second)
	codec, err := packing.Shared()
	if err != nil {
		return nil, fmt.Errorf("new coordinator: %w", err)
	}
	c := &Coordinator{
		cfg:      cfg,
		public:   cfg.Key.Public(),
		random:   &lockedReader{in: cfg.Random},
		codec:    codec,
		limits:   exchange.NewLimits(0),
		wrong:    tries{now: cfg.Now},
		slots:    make(chan struct{}, cfg.MaxSessions),
		prepared: make(chan struct{}),
		stopped:  make(chan struct{}),
		serving:  map[*serving]struct{}{},
	}
	c.zones.init(c)
	c.tally.init()
	c.jobs.init()
	return c, nil
}

// Public returns the public key by which devices know the coordinator.
func (c *Coordinator) Public() identity.DevicePublic { return c.public }

// How long things are kept.
const (
	keepInvitations = 30 * 24 * time.Hour // after they expired
	keepSessions    = 400 * 24 * time.Hour
	keepSessionsOf  = 10_000 // in each zone
)

// upkeepEvery is how often Run looks after what is old and what has failed.
const upkeepEvery = time.Minute

// Run puts the storage in order after whatever ended the process before, and
// then issues receipts and looks after the storage, until ctx ends. Before it
// returns it ends every session and call, issues the receipts that are due,
// and closes all zones. It can be called once.
func (c *Coordinator) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.running || c.stopping {
		c.mu.Unlock()
		return errors.New("run coordinator: it has run before")
	}
	c.running = true
	c.mu.Unlock()
	err := c.run(ctx)
	c.stop()
	c.active.Wait()
	if err := errors.Join(err, c.zones.close()); err != nil {
		return fmt.Errorf("run coordinator: %w", err)
	}
	return nil
}

func (c *Coordinator) run(ctx context.Context) error {
	n, err := c.cfg.Storage.InterruptSessions(ctx, c.cfg.Now())
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if n > 0 {
		c.cfg.Logger.Warn("sessions were open when the coordinator ended last time", "sessions", n)
	}
	close(c.prepared)

	var group errgroup.Group
	for range max(2, runtime.GOMAXPROCS(0)) {
		group.Go(func() error { c.work(); return nil })
	}
	group.Go(func() error {
		for every := time.NewTicker(upkeepEvery); ; {
			select {
			case <-ctx.Done():
				every.Stop()
				return nil
			case <-every.C:
				c.cfg.Storage.Upkeep(ctx)
			}
		}
	})
	ticker := time.NewTicker(upkeepEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		c.upkeep(ctx)
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	c.stop()
	c.active.Wait()
	c.jobs.close() // the workers do what is waiting, and end
	return group.Wait()
}

// stop lets no new call in and ends the sessions.
func (c *Coordinator) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return
	}
	c.stopping = true
	close(c.stopped)
	for s := range c.serving {
		s.cancel(ErrStopped)
	}
}

// enter begins a call, which the coordinator waits for before it ends.
func (c *Coordinator) enter() (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return nil, ErrStopped
	}
	c.active.Add(1)
	return c.active.Done, nil
}

// upkeep deletes what is old and tries again what has failed.
func (c *Coordinator) upkeep(ctx context.Context) {
	if err := c.cfg.Storage.PruneInvitations(ctx, c.cfg.Now().Add(-keepInvitations)); err != nil && ctx.Err() == nil {
		c.cfg.Logger.Error("old invitations could not be deleted", "error", err)
	}
	c.zones.each(func(z *zone) {
		if z.due() {
			c.schedule(z)
		}
	})
}

// lockedReader makes a reader safe for concurrent use.
type lockedReader struct {
	mu sync.Mutex
	in io.Reader
}

func (r *lockedReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.in.Read(p)
}
