package coordinator

import (
	"context"
	"math"

	"github.com/classmesh/classmesh/records/roster"
)

// keysOfALife is how many numbers of zone keys a new life leaves out: more than
// can have been given out since the backup from which the coordinator was
// restored, and of which it does not know.
const keysOfALife = 1024

// rekey makes a zone key whose number lies step above every one that is known,
// stores it, and returns r with that number. The replica does not pass it on
// before it has the roster; so what r removes from the zone does not get it.
// The authority is held.
func (z *zone) rekey(ctx context.Context, r *roster.Roster, known, step uint32) (*roster.Roster, error) {
	number := max(r.KeyNumber, known, z.keyNumber())
	key, err := roster.NewZoneKey(z.c.random, z.c.cfg.Key, z.id, number+min(step, math.MaxUint32-number))
	if err != nil {
		return nil, err
	}
	next, err := r.RaiseKeyNumber(key.Number)
	if err != nil {
		return nil, err
	}
	return next, z.replica.AcceptKey(ctx, key.Encode())
}

// keyNumber is the number of the newest zone key that the replica holds; 0: it
// has none.
func (z *zone) keyNumber() uint32 {
	if keys := z.replica.Keys(); len(keys) > 0 {
		return keys[0].Number
	}
	return 0
}

// settleKey makes another zone key unless the roster names the newest: the zone
// has none, or a crash came between a key and its roster, or a device has
// brought one of a former life. The authority is held.
func (z *zone) settleKey(ctx context.Context) error {
	if number := z.keyNumber(); number > 0 && number == z.current.KeyNumber {
		return nil
	}
	z.logger.Info("the zone gets a new key", "held", z.keyNumber(), "named", z.current.KeyNumber)
	return z.editLocked(ctx, func(r *roster.Roster) (*roster.Roster, error) { return z.rekey(ctx, r, 0, 1) })
}
