package coordinator

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/classmesh/classmesh/records/identity"
)

// cache keeps the zones that are in use, and some that are not, open.
type cache struct {
	c *Coordinator

	mu   sync.Mutex // guards what follows
	open map[identity.ZoneID]*entry
	idle []*entry // of open, those without uses; the one used last at the end
}

// entry is a zone that is open, or being opened or closed.
type entry struct {
	id      identity.ZoneID
	uses    int           // guarded by cache.mu
	closing bool          // guarded by cache.mu
	broken  bool          // guarded by cache.mu: not to be used anew
	gone    chan struct{} // closed when the zone is closed

	ready chan struct{} // closed when zone and err are set
	zone  *zone
	err   error
}

func (k *cache) init(c *Coordinator) { k.c, k.open = c, map[identity.ZoneID]*entry{} }

// acquire opens a zone, or shares it. Who got it calls release.
func (k *cache) acquire(ctx context.Context, id identity.ZoneID) (*zone, error) {
	for {
		k.mu.Lock()
		e := k.open[id]
		switch {
		case e == nil:
			e = &entry{id: id, uses: 1, ready: make(chan struct{}), gone: make(chan struct{})}
			k.open[id] = e
			k.mu.Unlock()
			// Whoever else waits for the zone must not fail with this caller.
			e.zone, e.err = k.c.openZone(context.WithoutCancel(ctx), e)
			if e.err != nil {
				k.mu.Lock()
				delete(k.open, id)
				k.mu.Unlock()
				close(e.gone)
			}
			close(e.ready)
		case e.closing || e.broken:
			k.mu.Unlock()
			select {
			case <-e.gone:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		default:
			k.use(e)
			k.mu.Unlock()
			<-e.ready
		}
		return e.zone, e.err
	}
}

// use counts one use more; mu is held.
func (k *cache) use(e *entry) {
	e.uses++
	k.idle = slices.DeleteFunc(k.idle, func(i *entry) bool { return i == e })
}

// share takes one use more of a zone that is in use.
func (k *cache) share(z *zone) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.use(z.entry)
}

// release gives one use back.
func (k *cache) release(z *zone) {
	k.mu.Lock()
	e := z.entry
	e.uses--
	var victim *entry
	switch {
	case e.uses > 0:
	case e.broken:
		victim = e
	default:
		k.idle = append(k.idle, e)
		if len(k.idle) > k.c.cfg.IdleZones {
			victim, k.idle = k.idle[0], slices.Clone(k.idle[1:])
		}
	}
	if victim != nil {
		victim.closing = true
	}
	k.mu.Unlock()
	if victim != nil {
		if err := k.finish(victim); err != nil {
			k.c.cfg.Logger.Error("a zone could not be closed", "zone", victim.id, "error", err)
		}
	}
}

// finish closes the zone of an entry that is marked as closing.
func (k *cache) finish(e *entry) error {
	err := e.zone.close()
	k.mu.Lock()
	delete(k.open, e.id)
	k.mu.Unlock()
	close(e.gone)
	return err
}

// abandon lets nobody begin to use the zone of an entry until it was closed
// and opened again.
func (k *cache) abandon(e *entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e.broken = true
}

// each calls f with every zone that is open, which stays so meanwhile.
func (k *cache) each(f func(*zone)) {
	k.mu.Lock()
	var list []*entry
	for _, e := range k.open {
		if !e.closing && !e.broken {
			k.use(e)
			list = append(list, e)
		}
	}
	k.mu.Unlock()
	for _, e := range list {
		if <-e.ready; e.err == nil {
			f(e.zone)
			k.release(e.zone)
		}
	}
}

// close closes every zone. None may be in use.
func (k *cache) close() error {
	k.mu.Lock()
	var list []*entry
	for _, e := range k.open {
		if !e.closing {
			e.closing = true
			list = append(list, e)
		}
	}
	k.idle = nil
	k.mu.Unlock()
	var err error
	for _, e := range list {
		err = errors.Join(err, k.finish(e))
	}
	return err
}
