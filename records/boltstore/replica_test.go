package boltstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

// config is that of a device whose keys are always the same.
func config(s records.Store) (records.Config, records.Founding) {
	fixed := mathrand.NewChaCha8([32]byte{5})
	device, _ := identity.GenerateDeviceKey(fixed)
	coordinator, _ := identity.GenerateDeviceKey(fixed)
	zone := identity.ZoneID{1}
	r, err := roster.New(zone, "zone", coordinator.Public(), 1)
	if err == nil {
		r, err = r.AddDevice(device.Public(), "device", roster.RoleClassroom, 1)
	}
	if err != nil {
		panic(err)
	}
	return records.Config{Store: s, Identity: device, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler), Now: time.Now},
		records.Founding{Zone: zone, Coordinator: coordinator.Public(), Roster: r.Sign(coordinator, 2).Encode()}
}

// answer is a kind that any device may author.
var answer = records.NewKind(identity.LaneDetail, roster.ClassAny, 2)

// replica writes records without end.
func replica(path string) error {
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	c, _ := config(s)
	r, err := records.Open(context.Background(), c)
	for err == nil {
		var ref records.Ref
		err = r.Write(context.Background(), func(d *records.Draft) (err error) {
			ref, err = d.Put(records.Record{Kind: answer, Learner: identity.UserID{1}, Body: []byte("answer")})
			return err
		})
		if err == nil {
			fmt.Println(ref.Counter)
		}
	}
	return err
}

// Whenever a device is killed, what it had acknowledged is there, and another
// replica can verify all of it against the signed head.
func TestReplicaKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path, boltstore.Options{})
	c, f := config(s)
	if _, err := records.Found(t.Context(), c, f); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	random := mathrand.New(mathrand.NewPCG(1, 2))
	rounds := 200
	if testing.Short() || raceDetector {
		rounds = 20
	}
	for round := range rounds {
		acknowledged := killed(t, roleReplica, path, 1+random.IntN(30))
		s := open(t, path, boltstore.Options{})
		c, f := config(s)
		r, err := records.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		log := r.Certificate().Log(identity.LaneDetail)
		held, _ := r.Frontier(records.BranchRef{Log: log})
		if held < acknowledged {
			t.Fatalf("round %d: %d acknowledged, %d held", round, acknowledged, held)
		}
		d, err := r.Difference(t.Context(), records.BranchRef{Log: log}, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		c.Store = storetest.NewMemory()
		fresh, err := records.Found(t.Context(), c, f)
		if err != nil {
			t.Fatal(err)
		}
		if err := fresh.AcceptDifference(t.Context(), d); err != nil || len(d.Entries) != int(held) {
			t.Fatalf("round %d: %d entries of %d: %v", round, len(d.Entries), held, err)
		}
		mustCheck(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A device whose disk is full refuses to write, keeps what it has, and its
// frontier stays where its store is.
func TestReplicaFull(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"), boltstore.Options{MaxSize: 17 << 20})
	defer s.Close()
	c, f := config(s)
	r, err := records.Found(t.Context(), c, f)
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for err == nil {
		if last > 5000 {
			t.Fatal("never full")
		}
		err = r.Write(t.Context(), func(d *records.Draft) error {
			for range 100 {
				if _, err := d.Put(records.Record{Kind: answer, Body: make([]byte, records.MaxBodyBytes)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			last += 100
		}
	}
	if !errors.Is(err, records.ErrFull) {
		t.Fatal(err)
	}
	if c, _ := r.Frontier(records.BranchRef{Log: r.Certificate().Log(identity.LaneDetail)}); c != last || last == 0 {
		t.Errorf("frontier %d after %d acknowledged", c, last)
	}
	mustCheck(t, s)
}

// watched counts the packed entries that are read for others.
type watched struct {
	*boltstore.Store
	entries int
}

func (w *watched) View(ctx context.Context, f func(records.Tx) error) error {
	return w.Store.View(ctx, func(tx records.Tx) error { return f(watchedTx{tx, w}) })
}

type watchedTx struct {
	records.Tx
	in *watched
}

func (t watchedTx) Packed(s records.Slot, from, to uint64, fn func(records.PackedRun) error) (bool, error) {
	return t.Tx.Packed(s, from, to, func(p records.PackedRun) error {
		t.in.entries += p.Count
		return fn(p)
	})
}

// That a packed log is more than a small difference is found without reading any
// of it: whoever asks may ask for the largest.
func TestLargeDifferenceIsRefusedEarly(t *testing.T) {
	s := &watched{Store: open(t, filepath.Join(t.TempDir(), "store"), boltstore.Options{})}
	defer s.Close()
	c, f := config(s)
	r, err := records.Found(t.Context(), c, f)
	if err != nil {
		t.Fatal(err)
	}
	const n = 4 * records.SmallEntries
	for range n / 1024 {
		err := r.Write(t.Context(), func(d *records.Draft) error {
			for range 1024 {
				if _, err := d.Put(records.Record{Kind: answer}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for more := true; more; {
		if more, err = s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ref := records.BranchRef{Log: r.Certificate().Log(identity.LaneDetail)}
	for base, want := range map[uint64]error{0: records.ErrLarge, n - 1024: nil} {
		s.entries = 0
		if _, err := r.Difference(t.Context(), ref, base, 0); !errors.Is(err, want) {
			t.Errorf("from %d: %v", base, err)
		}
		if given := want == nil; given != (s.entries > 0) || s.entries > records.SmallEntries {
			t.Errorf("from %d: %d packed entries of %d were read", base, s.entries, n)
		}
	}
}
