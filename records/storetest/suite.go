package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Run holds a store to the contracts of records.Store: random transactions,
// some of which fail, do to it exactly what they do to the model in memory.
// open opens the same store again and again within one test; the suite closes
// it.
func Run(t *testing.T, open func() records.Store) {
	ctx := context.Background()
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	key, err := identity.GenerateDeviceKey(rand.NewChaCha8([32]byte{2}))
	if err != nil {
		t.Fatal(err)
	}
	author, err := identity.GenerateAuthorKey(rand.NewChaCha8([32]byte{3}))
	if err != nil {
		t.Fatal(err)
	}
	branch := records.Branch{Certificate: identity.IssueCertificate(key, identity.ZoneID{1}, author, 1), Lane: identity.LaneDetail}
	model, store := NewMemory(), open()
	refuse := errors.New("refused")
	for round := range 150 {
		if round%25 == 24 {
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			store = open()
		}
		seed, fails := random.Uint64(), random.IntN(4) == 0
		both := func(tx records.WriteTx) error {
			change(tx, rand.New(rand.NewPCG(seed, 0)), branch)
			if fails {
				return refuse
			}
			return nil
		}
		for _, s := range []records.Store{model, store} {
			if err := s.Update(ctx, both); fails != errors.Is(err, refuse) {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		var want, got string
		if err := model.View(ctx, func(tx records.Tx) (err error) { want, err = everything(tx); return err }); err != nil {
			t.Fatal(err)
		}
		if err := store.View(ctx, func(tx records.Tx) (err error) { got, err = everything(tx); return err }); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("round %d differs from the model\n got:\n%s\nwant:\n%s", round, got, want)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

var suiteKeys = []string{"", "a", "b", "ab", "ba"}

func envelope(r *rand.Rand) records.Envelope {
	e := records.Envelope{Kind: records.Kind(0x8000 + r.IntN(2)), Learner: identity.UserID{byte(1 + r.IntN(3))}}
	if r.IntN(2) == 0 {
		e.Register, e.Key = true, []byte(suiteKeys[r.IntN(len(suiteKeys))])
	}
	return e
}

// change does a few random things, the same for the same randomness and
// state.
func change(tx records.WriteTx, r *rand.Rand, branch records.Branch) {
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	for range 12 {
		s := records.Slot(1 + r.IntN(3))
		if _, err := tx.Branch(s); err != nil {
			got, err := tx.CreateBranch(branch)
			do(err)
			s = got
		}
		counter := uint64(1 + r.IntN(600))
		switch r.IntN(11) {
		case 0, 1, 2, 3:
			env := envelope(r)
			e := records.Entry{Counter: counter, Envelope: env.Append(nil), Body: []byte(fmt.Sprint(r.IntN(100)))}
			if err := tx.Put(s, e, &env); !errors.Is(err, records.ErrExists) {
				do(err)
				e.Body[0] = 'x' // the store keeps its own copy
			}
		case 4, 5:
			if e, err := tx.Entry(s, counter); err == nil {
				e = e.Clone()
				env, err := records.DecodeEnvelope(e.Envelope)
				do(err)
				if r.IntN(2) == 0 {
					do(tx.Replace(s, e.ToStub(), &env))
				} else {
					do(tx.Delete(s, counter, &env))
				}
			} else if !errors.Is(err, records.ErrNotFound) {
				do(err)
			}
		case 6:
			do(tx.SetSegment(s, records.Segment{First: counter, Live: uint32(r.IntN(9)), Bytes: 7, Staged: r.IntN(2) == 0, Sum: records.Sum{byte(r.IntN(256))}}))
			do(tx.DeleteSegment(s, uint64(1+r.IntN(600))))
		case 7:
			do(tx.SetDrop(s, counter, uint64(r.IntN(3))))
		case 8:
			do(tx.AppendStarts(s, []records.Start{{First: counter, ID: identity.StartID{byte(r.IntN(256))}}}))
		case 9:
			do(tx.SetTargetRows(s, []records.Row{{First: counter, Live: 1}}))
			b, err := tx.Branch(s)
			do(err)
			b.Receipted, b.Trouble = counter, "words"
			do(tx.SetBranch(b))
		case 10:
			do(tx.SetItem(suiteKeys[1+r.IntN(4)], []byte{byte(r.IntN(4))}, []byte{byte(r.IntN(256))}))
			do(tx.SetItem(suiteKeys[1+r.IntN(4)], []byte{byte(r.IntN(4))}, nil))
			do(tx.SetValue("name", []byte{byte(r.IntN(256))}))
			do(tx.SetReceipt(identity.Hash{1}, []byte{byte(r.IntN(256))}))
		}
	}
	if err := errors.Join(errs...); err != nil {
		panic(err) // of a test: the store refused what the seam allows
	}
}

// everything prints all that a transaction can read.
func everything(tx records.Tx) (string, error) {
	var out strings.Builder
	line := func(a ...any) error { fmt.Fprintln(&out, a...); return nil }
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	do(tx.Branches(func(b records.Branch) error {
		line("branch", b.Slot, b.Lane, b.Receipted, b.Trouble, b.Log().Short())
		starts, err := tx.Starts(b.Slot)
		do(err)
		line("starts", starts)
		rows, err := tx.TargetRows(b.Slot)
		if !errors.Is(err, records.ErrNotFound) {
			do(err)
		}
		line("rows", len(rows))
		do(tx.Segments(b.Slot, 100, func(s records.Segment) error {
			whole, err := tx.Segment(b.Slot, s.First)
			do(err)
			return line("segment", s.First, s.Live, s.Bytes, s.Staged, s.Sum == records.Sum{}, whole.Sum.Checksum())
		}))
		at, err := tx.SegmentAt(b.Slot, 300)
		line("at 300:", at.First, errors.Is(err, records.ErrNotFound))
		do(tx.Entries(b.Slot, 50, 550, func(e records.Entry) error {
			return line("entry", e.Counter, e.Stub, string(e.Envelope), string(e.Body))
		}))
		do(tx.Drops(b.Slot, 50, 550, func(old, by uint64) error { return line("drop", old, by) }))
		for _, k := range suiteKeys {
			v, err := tx.Versions(b.Slot, records.RegisterKey{Kind: 0x8000, Learner: identity.UserID{1}, Key: k})
			do(err)
			line("versions", k, v)
		}
		return nil
	}))
	learner := identity.UserID{2}
	register := func(r records.Register) error {
		return line("register", r.Key, r.Slot, r.Version, string(r.Entry.Body))
	}
	do(tx.Registers(records.RegisterPrefix{Kind: 0x8001}, register))
	do(tx.Registers(records.RegisterPrefix{Kind: 0x8000, Learner: &learner}, register))
	for _, k := range suiteKeys {
		do(tx.Registers(records.RegisterPrefix{Kind: 0x8000, Learner: &learner, Key: &k}, register))
	}
	do(tx.Events(learner, identity.LaneDetail, func(s records.Slot, e records.Entry) error { return line("event", s, e.Counter) }))
	for _, table := range suiteKeys[1:] {
		do(tx.Items(table, nil, func(k, v []byte) error { return line("item", table, k, v) }))
	}
	value, err := tx.Value("name")
	line("value", value, errors.Is(err, records.ErrNotFound))
	receipt, err := tx.Receipt(identity.Hash{1})
	line("receipt", receipt, errors.Is(err, records.ErrNotFound))
	return out.String(), errors.Join(errs...)
}
