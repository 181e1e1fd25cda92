package wire_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
)

// someRows returns rows of n logs, ascending.
func someRows(random *rand.Rand, n int) []records.VectorRow {
	rows := make([]records.VectorRow, n)
	for i := range rows {
		var ref records.BranchRef
		for j := 0; j < len(ref.Log); j += 8 {
			binary.BigEndian.PutUint64(ref.Log[j:], random.Uint64())
		}
		binary.BigEndian.PutUint64(ref.Start[:], random.Uint64())
		rows[i] = records.VectorRow{BranchRef: ref, Counter: random.Uint64N(1000)}
	}
	slices.SortFunc(rows, func(a, b records.VectorRow) int { return a.Log.Compare(b.Log) })
	return rows
}

// Whatever makes two rows differ shows in the checksum of their bucket and in no
// other.
func TestSumsShowWhatDiffers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{wire.MinSums, 64, wire.MaxSums} {
		rows := someRows(random, 300)
		before := wire.NewVectorSums(&records.State{Rows: rows}, n)
		for name, change := range map[string]func(r *records.VectorRow){
			"counter":        func(r *records.VectorRow) { r.Counter++ },
			"staged":         func(r *records.VectorRow) { r.Staged = r.Counter + 1 },
			"start":          func(r *records.VectorRow) { r.Start[7] ^= 1 },
			"end of the log": func(r *records.VectorRow) { r.Log[31] ^= 1 },
		} {
			i := random.IntN(len(rows))
			changed := slices.Clone(rows)
			change(&changed[i])
			after := wire.NewVectorSums(&records.State{Rows: changed}, n)
			for bucket := range after.Sums {
				if want := bucket == records.Bucket(rows[i].Log, n); (before.Sums[bucket] != after.Sums[bucket]) != want {
					t.Errorf("%s: of %d buckets number %d differs: %t", name, n, bucket, !want)
				}
			}
		}
		same := slices.Clone(rows)
		for i := range same { // a staged head that is reached says nothing
			same[i].Staged = same[i].Counter
			same[i].Lane = 1
		}
		if !slices.Equal(wire.NewVectorSums(&records.State{Rows: same}, n).Sums, before.Sums) {
			t.Errorf("%d buckets: what is no difference shows", n)
		}
	}
}

// A row is in the same bucket by its name in full and cut short, all buckets are
// used alike, and a set has what was added and nothing else.
func TestBuckets(t *testing.T) {
	rows := someRows(rand.New(rand.NewPCG(3, 4)), 10_000)
	for n := wire.MinSums; n <= wire.MaxSums; n *= 2 {
		count := make([]int, n)
		last := 0
		for _, r := range rows {
			b := records.Bucket(r.Log, n)
			if b < last || b >= n || records.Bucket(wire.ShortName(r.BranchRef).Log, n) != b {
				t.Fatalf("of %d buckets %s is in %d, the one before in %d", n, r.Log.Short(), b, last)
			}
			last = b
			count[b]++
		}
		if most := slices.Max(count); most > 3*(len(rows)/n+5) {
			t.Errorf("of %d buckets one has %d rows", n, most)
		}
		set := wire.NewBuckets(n)
		if !set.Of(n) || set.Of(2*n) || set.Has(rows[0].Log) {
			t.Errorf("a new set of %d: %v", n, set)
		}
		set.Add(records.Bucket(rows[0].Log, n))
		for _, r := range rows {
			if set.Has(r.Log) != (records.Bucket(r.Log, n) == records.Bucket(rows[0].Log, n)) {
				t.Fatalf("the set of %d has %s: %t", n, r.Log.Short(), set.Has(r.Log))
			}
		}
	}
	if whole := (wire.Buckets{}); !whole.Has(rows[0].Log) || !whole.Of(0) {
		t.Error("an empty set does not stand for the whole vector")
	}
}
