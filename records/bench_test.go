package records_test

import (
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// benchRecords are like answers: most bytes of one are those of another.
func benchRecords(random *rand.ChaCha8, n int) []records.Record {
	list := make([]records.Record, n)
	for i := range list {
		body := make([]byte, 60)
		random.Read(body[:12])
		list[i] = records.Record{Kind: event, Learner: identity.UserID{1, byte(i % 30)}, Body: body}
		if i%4 == 0 {
			list[i].Kind, list[i].Register = register, true
			list[i].Key = binary.BigEndian.AppendUint32(nil, uint32(random.Uint64()))
		}
	}
	return list
}

func boltStore(t testing.TB, name string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Create(filepath.Join(t.TempDir(), name), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func BenchmarkEnvelope(b *testing.B) {
	env := records.Envelope{Kind: register, Register: true, Learner: pupil, Key: []byte("numbers/fractions"), Clock: 1 << 20, Wall: 1 << 40}
	encoded := env.Append(nil)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encoded = env.Append(encoded[:0])
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := records.DecodeEnvelope(encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkFingerprint(b *testing.B) {
	var s, t records.Sum
	s.Add(identity.Hash{1})
	t.Add(identity.Hash{2})
	b.Run("merge", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Merge(&t)
		}
	})
	b.Run("checksum", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Checksum()
		}
	})
	b.Run("list of 1,000 segments", func(b *testing.B) {
		rows := make([]records.Row, 1000)
		for i := range rows {
			rows[i] = records.Row{First: uint64(i)*4096 + 1, Live: 4000, Checksum: identity.Hash{byte(i)}}
		}
		b.ReportAllocs()
		for b.Loop() {
			records.Fingerprint(rows)
		}
	})
}

// BenchmarkWrite appends to a store on disk.
func BenchmarkWrite(b *testing.B) {
	for name, n := range map[string]int{"1": 1, "1000": 1000} {
		b.Run(name, func(b *testing.B) {
			r := newZone(b, 1).found(b, 0, boltStore(b, "records.db"))
			list := benchRecords(rand.NewChaCha8([32]byte{}), n)
			b.ReportAllocs()
			for b.Loop() {
				if err := put(r, list...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// acceptance is what an author has in two logs, one of events and one of
// registers, to be taken by replicas that have nothing yet.
type acceptance struct {
	z     *zone
	codec *packing.Codec
	logs  []*travelling
	count int
}

// travelling is a log as it travels.
type travelling struct {
	list     *records.SegmentList
	segments []records.SegmentData // newest first, without entries
	runs     [][]records.Run       // of each
}

func newAcceptance(t testing.TB) *acceptance {
	t.Helper()
	a := &acceptance{z: newZone(t, 2)}
	author := a.z.found(t, 0, boltStore(t, "author.db"))
	random := rand.NewChaCha8([32]byte{})
	for range 40 {
		if err := put(author, benchRecords(random, 1000)...); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if a.codec, err = packing.NewCodec(1); err != nil {
		t.Fatal(err)
	}
	for _, s := range author.Logs() {
		l := &travelling{}
		if l.list, err = author.SegmentList(t.Context(), s.BranchRef, 0, 0); err != nil {
			t.Fatal(err)
		}
		for i := len(l.list.Rows) - 1; i >= 0; i-- {
			d, err := author.SegmentData(t.Context(), s.BranchRef, s.Counter, records.Need{First: l.list.Rows[i].First})
			if err != nil {
				t.Fatal(err)
			}
			runs := a.codec.Pack(d.Entries)
			for _, p := range d.Packed {
				runs = append(runs, p.Run)
			}
			d.Entries, d.Packed = nil, nil
			l.segments, l.runs = append(l.segments, *d), append(l.runs, runs)
			a.count += int(l.list.Rows[i].Live)
		}
		a.logs = append(a.logs, l)
	}
	if len(a.logs) != 2 || a.count != 40_000 {
		t.Fatalf("%d logs, %d records", len(a.logs), a.count)
	}
	return a
}

// receiver is a replica that has been given the lists.
func (a *acceptance) receiver(t testing.TB, name string) (*records.Replica, *boltstore.Store) {
	t.Helper()
	store := boltStore(t, name)
	r := a.z.found(t, 1, store)
	for _, l := range a.logs {
		if _, err := r.AcceptSegmentList(t.Context(), l.list); err != nil {
			t.Fatal(err)
		}
	}
	return r, store
}

// take unpacks, verifies and stores every segment.
func (a *acceptance) take(t testing.TB, r *records.Replica) {
	t.Helper()
	for _, l := range a.logs {
		for i, d := range l.segments {
			var err error
			if d.Entries, d.Packed, err = a.codec.Open(l.runs[i]); err == nil {
				err = r.AcceptSegmentData(t.Context(), &d)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		head := l.list.Head
		if p, err := r.Promote(t.Context(), records.BranchRef{Log: head.Log}, head.Counter); err != nil || !p.Done {
			t.Fatal(p, err)
		}
	}
}

// BenchmarkAccept takes 40,000 records into a store on disk: unpacked, verified,
// stored and promoted.
func BenchmarkAccept(b *testing.B) {
	a := newAcceptance(b)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		r, store := a.receiver(b, "receiver.db")
		b.StartTimer()
		a.take(b, r)
		b.StopTimer()
		store.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*a.count)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkAcceptDifference takes a hundred records, as a push brings them.
func BenchmarkAcceptDifference(b *testing.B) {
	z := newZone(b, 2)
	author, receiver := z.found(b, 0, boltStore(b, "author.db")), z.found(b, 1, boltStore(b, "receiver.db"))
	random := rand.NewChaCha8([32]byte{})
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		if err := put(author, benchRecords(random, 100)...); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		pull(b, receiver, author)
	}
}
