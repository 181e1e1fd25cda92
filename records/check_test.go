package records_test

import (
	"strings"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/storetest"
)

func findings(t *testing.T, s records.Store) (list []string) {
	t.Helper()
	done, err := records.Check(t.Context(), s, func(f records.Finding) { list = append(list, f.String()) })
	if err != nil {
		t.Fatal(err)
	}
	if done.Findings != len(list) {
		t.Errorf("%d findings counted, %d reported", done.Findings, len(list))
	}
	return list
}

// What is changed behind the replica's back is found, and named.
func TestCheckFinds(t *testing.T) {
	z, store := newZone(t, 2), storetest.NewMemory()
	a := z.found(t, 0, store)
	a.EndSegmentsAfter(3)
	for _, body := range []string{"1", "2", "3", "4"} {
		if err := put(a, reg("a", body), reg("b"+body, body), ev(body)); err != nil {
			t.Fatal(err)
		}
	}
	if list := findings(t, store); len(list) > 0 {
		t.Fatalf("found in an intact store: %q", list)
	}
	if _, err := records.Check(t.Context(), storetest.NewMemory(), func(records.Finding) {}); err == nil {
		t.Error("an empty store passes")
	}
	slot := func(tx records.WriteTx, lane identity.Lane) (s records.Slot) {
		err := tx.Branches(func(b records.Branch) error {
			if b.Lane == lane {
				s = b.Slot
			}
			return nil
		})
		if err != nil || s == 0 {
			t.Fatal("no such branch", err)
		}
		return s
	}
	envelope := func(tx records.WriteTx, s records.Slot, counter uint64) (records.Entry, *records.Envelope) {
		e, err := tx.Entry(s, counter)
		if err != nil {
			t.Fatal(err)
		}
		env, err := records.DecodeEnvelope(e.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		return e.Clone(), &env
	}
	for _, c := range []struct {
		name   string
		damage func(tx records.WriteTx) error
		want   string
	}{
		{"an event is gone", func(tx records.WriteTx) error {
			s := slot(tx, identity.LaneDetail)
			_, env := envelope(tx, s, 2)
			return tx.Delete(s, 2, env)
		}, "segment 1: its account says 3 live entries"},
		{"a body was changed", func(tx records.WriteTx) error {
			s := slot(tx, identity.LaneProgress)
			e, env := envelope(tx, s, 7)
			e.Body = []byte("9")
			return tx.Replace(s, e, env)
		}, "segment 7: its account says"},
		{"an account was changed with its entries", func(tx records.WriteTx) error {
			s := slot(tx, identity.LaneDetail)
			seg, err := tx.Segment(s, 1)
			if err != nil {
				return err
			}
			e, env := envelope(tx, s, 2)
			log := a.Certificate().Log(identity.LaneDetail)
			seg.Sum.Remove(e.Leaf(log))
			seg.Live--
			seg.Checksum = seg.Sum.Checksum()
			if err := tx.Delete(s, 2, env); err != nil {
				return err
			}
			return tx.SetSegment(s, seg)
		}, "what is stored is not what head 4 signs"},
		{"a head was changed", func(tx records.WriteTx) error {
			b, err := tx.Branch(slot(tx, identity.LaneDetail))
			if err != nil {
				return err
			}
			b.Head.Clock++
			return tx.SetBranch(b)
		}, "head: not signed by the log's author"},
		{"a start too many", func(tx records.WriteTx) error {
			b, err := tx.Branch(slot(tx, identity.LaneDetail))
			if err != nil {
				return err
			}
			b.Head.StartCount = 2
			return tx.SetBranch(b)
		}, "head: the list of starts"},
		{"a drop without a reason", func(tx records.WriteTx) error {
			return tx.SetDrop(slot(tx, identity.LaneDetail), 1, 3)
		}, "entry 1 is on the drop list for entry 3"},
		{"a version of which nobody knows", func(tx records.WriteTx) error {
			s := slot(tx, identity.LaneProgress)
			e, env := envelope(tx, s, 7)
			e.Counter = 1
			return tx.Put(s, e, env)
		}, "entry 1 is superseded by entry 7 and counts nevertheless"},
		{"a version that is only in the index", func(tx records.WriteTx) error {
			s := slot(tx, identity.LaneProgress)
			e, env := envelope(tx, s, 7)
			e.Counter = 1
			if err := tx.Put(s, e, env); err != nil {
				return err
			}
			env.Register = false // leaves the index as it is
			return tx.Delete(s, 1, env)
		}, "the index of registers names entry 1, which is not stored"},
		{"a receipt from nowhere", func(tx records.WriteTx) error {
			b, err := tx.Branch(slot(tx, identity.LaneDetail))
			if err != nil {
				return err
			}
			b.Receipted = 3
			return tx.SetBranch(b)
		}, "the receipt for 3 cannot be read"},
		{"another roster", func(tx records.WriteTx) error { return tx.SetValue("roster", []byte{1}) }, "the roster:"},
		{"no incarnation", func(tx records.WriteTx) error { return tx.SetValue("incarnation", nil) }, "the incarnation cannot be read"},
	} {
		damaged := store.Clone()
		if err := damaged.Update(t.Context(), c.damage); err != nil {
			t.Fatal(err)
		}
		if list := findings(t, damaged); !strings.Contains(strings.Join(list, "\n"), c.want) {
			t.Errorf("%s: found %q, want %q", c.name, list, c.want)
		}
	}
}
