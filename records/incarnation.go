package records

import (
	"context"
	"fmt"

	"github.com/classmesh/classmesh/records/identity"
)

// incarnation is one life of the database.
type incarnation struct {
	key  identity.AuthorKey
	cert identity.Certificate
}

func newIncarnation(cfg *Config, zone identity.ZoneID, sequence uint64) (*incarnation, error) {
	key, err := identity.GenerateAuthorKey(cfg.Random)
	if err != nil {
		return nil, err
	}
	return &incarnation{key, identity.IssueCertificate(cfg.Identity, zone, key, sequence)}, nil
}

func (in *incarnation) encode() []byte { return append(in.key.Seed(), in.cert.Encode()...) }

func decodeIncarnation(b []byte) (*incarnation, error) {
	if len(b) < identity.SeedBytes {
		return nil, fmt.Errorf("incarnation of %d bytes: %w", len(b), ErrDamaged)
	}
	var in incarnation
	var err error
	if in.key, err = identity.AuthorKeyFromSeed(b[:identity.SeedBytes]); err != nil {
		return nil, err
	}
	if in.cert, err = identity.DecodeCertificate(b[identity.SeedBytes:]); err != nil {
		return nil, err
	}
	if in.cert.Author != in.key.Public() {
		return nil, fmt.Errorf("author key and certificate do not belong together: %w", ErrDamaged)
	}
	return &in, nil
}

// renew ends the incarnation with the running batch: what this store knows of
// its own logs is not all that there is, because it is a copy or an old
// backup, so no counter may be given out again. The operations that follow
// wait for the next batch; there the former logs are those of somebody else.
func (b *batch) renew(why string) {
	if !b.renewing {
		b.renewing = true
		b.r.cfg.Logger.Warn("this store is a copy or an old backup: beginning a new incarnation", "because", why)
	}
}

// sealIncarnation mints the new incarnation of a batch that renews.
func (b *batch) sealIncarnation() error {
	next, err := newIncarnation(&b.r.cfg, b.r.zone, b.r.self.Load().cert.Sequence+1)
	if err != nil {
		return err
	}
	b.incarnation = next
	return b.tx.SetValue(valueIncarnation, next.encode())
}

// Behind is told a head of one of this device's own logs that holder holds.
// If its author signed it and this store does not continue it, the store is a
// copy or an old backup, and a new incarnation begins before anything more is
// written. If the head also shows that the two have written different things,
// in this or a former incarnation, what is here is set aside ([Replica.Asides]).
// Behind then returns true, and sessions must begin anew. The same follows from a
// head of another device's log that does not go with what is held of it, if that is
// to give way. The zero head stands for
// having met another process of this very incarnation: one of the two is a copy,
// so that a new one begins in any case.
func (r *Replica) Behind(ctx context.Context, h *Head, holder identity.DeviceID) (changed bool, err error) {
	var renewed, parted bool
	err = r.doReceived(ctx, func(b *batch) error {
		if h.IsZero() {
			b.renew("another process runs the same incarnation")
			renewed = true
			return nil
		}
		self := b.r.self.Load().cert
		for _, lane := range identity.Lanes {
			if self.Log(lane) != h.Log {
				continue
			}
			if err := h.Verify(self.Author); err != nil {
				return err
			}
			if br := b.lookup(h.Log); br != nil && !br.Head.IsZero() {
				if rel := br.relation(h); rel == Same || rel == Behind {
					return nil
				}
			}
			b.renew("a peer holds counter " + fmt.Sprint(h.Counter) + " of its own log")
			renewed = true
			return nil
		}
		return nil
	})
	if c, ok := r.AuthorOf(h.Log); err == nil && ok && !renewed && h.Verify(c.Author) != nil {
		return false, nil // a lie, for which nothing needs to be read
	}
	var way giveWay
	if err == nil && !h.IsZero() {
		way, err = r.giveWay(ctx, h.Log)
		way.coordinator = holder == r.coordinator.ID()
	}
	if err == nil && !h.IsZero() {
		err = r.doReceived(ctx, func(b *batch) (err error) {
			parted, err = b.part(h, way)
			if err == nil && !parted && way.other && !way.held {
				err = b.reconciled(h.Log)
			}
			return err
		})
	}
	if err != nil {
		return false, fmt.Errorf("compare own log with a peer's: %w", err)
	}
	return renewed || parted, nil
}
