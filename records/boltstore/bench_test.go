package boltstore_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
)

var (
	large   = flag.Bool("large", false, "also measure a store of 1,000,000 entries")
	measure = flag.String("measure", "", "a file of records of which copies are measured, in place of one made up")
)

const (
	perCommit  = 4096
	perLog     = 20_000
	logLearner = 30
)

var (
	eventKind    = records.Kind(identity.LaneDetail)<<14 | 1
	progressKind = records.Kind(identity.LaneProgress)<<14 | 2
)

// mixed returns entry i of a first sync: half registers and half events,
// 30 learners a log, log after log.
func mixed(random *rand.Rand, i int) (records.Slot, records.Entry, *records.Envelope) {
	log := i / perLog
	env := &records.Envelope{Kind: eventKind, Clock: records.Clock(i), Wall: int64(i)}
	learner := random.IntN(logLearner)
	binary.BigEndian.PutUint64(env.Learner[:], uint64(log*logLearner+learner)*0x9e3779b97f4a7c15)
	env.Learner[15] = 1
	if i%2 == 0 {
		env.Kind, env.Register = progressKind, true
		env.Key = binary.BigEndian.AppendUint64(make([]byte, 8, 16), uint64(i)*0x9e3779b97f4a7c15) // an exercise
		env.Key = env.Key[:16]
	}
	e := records.Entry{Counter: uint64(i%perLog + 1), Envelope: env.Append(nil), Body: make([]byte, 60)}
	binary.BigEndian.PutUint64(e.Body[20:], random.Uint64())
	return records.Slot(log + 1), e, env
}

// fill stores n mixed entries, perCommit in each transaction, and returns how
// long the store took for them.
func fill(b *testing.B, s records.Store, n int) (took time.Duration) {
	random := rand.New(rand.NewPCG(1, 1))
	type put struct {
		slot records.Slot
		e    records.Entry
		env  *records.Envelope
	}
	for i := 0; i < n; {
		puts := make([]put, 0, perCommit)
		for ; i < n && len(puts) < perCommit; i++ {
			slot, e, env := mixed(random, i)
			puts = append(puts, put{slot, e, env})
		}
		began := time.Now()
		err := s.Update(b.Context(), func(tx records.WriteTx) error {
			for i := range puts {
				if err := tx.Put(puts[i].slot, puts[i].e, puts[i].env); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
	}
	return took
}

// raw puts what entries alone are into a bbolt bucket, ascending: the limit.
func raw(b *testing.B, path string, n int) (took time.Duration) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistArrayType, InitialMmapSize: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	random := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < n; {
		var keys, values [][]byte
		for ; i < n && len(keys) < perCommit; i++ {
			slot, e, _ := mixed(random, i)
			keys = append(keys, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, uint32(slot)), e.Counter))
			values = append(values, append(append([]byte{0, 0}, e.Envelope...), e.Body...))
		}
		began := time.Now()
		err := db.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("entries"))
			if err != nil {
				return err
			}
			bucket.FillPercent = 0.95
			for i := range keys {
				if err := bucket.Put(keys[i], values[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
	}
	return took
}

// BenchmarkPut is the store's part of a first sync, beside bbolt's rate of
// ascending inserts in the same run.
func BenchmarkPut(b *testing.B) {
	sizes := []int{100_000}
	if *large {
		sizes = append(sizes, 1_000_000)
	}
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var limit, took time.Duration
			var bytes int64
			rounds := 0
			for b.Loop() {
				dir := b.TempDir()
				limit += raw(b, filepath.Join(dir, "raw"), n)
				s := open(b, filepath.Join(dir, "store"), boltstore.Options{})
				took += fill(b, s, n)
				st, err := s.Stats()
				if err != nil {
					b.Fatal(err)
				}
				bytes = st.Bytes
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				rounds++
				os.RemoveAll(dir)
			}
			total := float64(n * rounds)
			b.ReportMetric(total/took.Seconds(), "entries/s")
			b.ReportMetric(total/limit.Seconds(), "raw-entries/s")
			b.ReportMetric(100*limit.Seconds()/took.Seconds(), "%ofRaw")
			b.ReportMetric(float64(bytes)/float64(n), "fileB/entry")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// store opens a copy of what -measure names, or else fills a store with n entries.
func store(b *testing.B, n int) *boltstore.Store {
	path := filepath.Join(b.TempDir(), "store")
	if *measure == "" {
		s := open(b, path, boltstore.Options{})
		fill(b, s, n)
		return s
	}
	content, err := os.ReadFile(*measure)
	if err == nil {
		err = os.WriteFile(path, content, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	return open(b, path, boltstore.Options{})
}

// BenchmarkTidy packs a whole store. What counts is the longest call: hardly longer
// does it hold up writers.
func BenchmarkTidy(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := store(b, 200_000)
		b.StartTimer()
		var all []time.Duration
		for more := true; more; {
			began := time.Now()
			var err error
			if more, err = s.Tidy(b.Context()); err != nil {
				b.Fatal(err)
			}
			all = append(all, time.Since(began))
		}
		b.StopTimer()
		slices.Sort(all)
		b.ReportMetric(float64(len(all)), "calls")
		b.ReportMetric(all[len(all)/2].Seconds()*1000, "ms-median")
		b.ReportMetric(all[len(all)*99/100].Seconds()*1000, "ms-99%")
		b.ReportMetric(all[len(all)-1].Seconds()*1000, "ms-longest")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkTable reads 4,000 registers, a class of 40 with 100 contents, out
// of a store of 100,000 or 1,000,000 entries: from rows, and from blocks.
func BenchmarkTable(b *testing.B) {
	n := 100_000
	if *large {
		n = 1_000_000
	}
	s := open(b, filepath.Join(b.TempDir(), "store"), boltstore.Options{})
	defer s.Close()
	fill(b, s, n)
	read := func(b *testing.B) {
		b.ReportAllocs()
		var reads int
		for b.Loop() {
			reads = 0
			err := s.View(b.Context(), func(tx records.Tx) error {
				return tx.Registers(records.RegisterPrefix{Kind: progressKind}, func(r records.Register) error {
					if reads++; reads == 4000 {
						return errStop
					}
					return nil
				})
			})
			if err != errStop {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(reads), "cells")
	}
	b.Run("rows", read)
	tidyUp(b, s)
	b.Run("blocks", read)
}

// BenchmarkRegisters writes registers, a thousand in a transaction, into a store of
// 50,000: new ones, and such as it has, in rows and in blocks.
func BenchmarkRegisters(b *testing.B) {
	const each = 1000
	for _, where := range []string{"rows", "blocks"} {
		s := open(b, filepath.Join(b.TempDir(), "store"), boltstore.Options{})
		defer s.Close()
		fill(b, s, 100_000)
		if where == "blocks" {
			tidyUp(b, s)
		}
		counter := uint64(perLog)
		write := func(b *testing.B, key func(i int) *records.Envelope) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i += each {
				err := s.Update(b.Context(), func(tx records.WriteTx) error {
					for j := range each {
						env := key(i + j)
						if _, err := tx.Versions(1, env.RegisterKey()); err != nil {
							return err
						}
						counter++
						if err := tx.Put(1, records.Entry{Counter: counter, Envelope: env.Append(nil), Body: make([]byte, 60)}, env); err != nil {
							return err
						}
					}
					return errStop // as the store was, for the next round
				})
				if err != errStop {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N*each), "ns/register")
		}
		b.Run("new/"+where, func(b *testing.B) {
			write(b, func(i int) *records.Envelope {
				_, _, env := mixed(rand.New(rand.NewPCG(uint64(i), 5)), 2*(i%50_000))
				env.Key = append(env.Key[:8:8], 1, 2, 3, 4, 5, 6, 7, 8)
				return env
			})
		})
		b.Run("known/"+where, func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 1))
			list := make([]*records.Envelope, 20_000)
			for i := range list {
				_, _, list[i] = mixed(random, i)
			}
			write(b, func(i int) *records.Envelope { return list[2*i%len(list)] })
		})
	}
}

// BenchmarkEvents reads the events of one learner.
func BenchmarkEvents(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "store"), boltstore.Options{})
	defer s.Close()
	fill(b, s, 100_000)
	_, _, env := mixed(rand.New(rand.NewPCG(1, 1)), 1)
	found := 0
	for b.Loop() {
		found = 0
		err := s.View(b.Context(), func(tx records.Tx) error {
			return tx.Events(env.Learner, identity.LaneDetail, func(records.Slot, records.Entry) error { found++; return nil })
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(found), "events")
}

// BenchmarkCommit is what a live record costs: one entry, its segment and its
// branch.
func BenchmarkCommit(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "store"), boltstore.Options{})
	defer s.Close()
	fill(b, s, 20_000)
	random := rand.New(rand.NewPCG(2, 2))
	i := 20_000
	for b.Loop() {
		_, e, env := mixed(random, i)
		i++
		e.Counter = uint64(i + 1)
		err := s.Update(b.Context(), func(tx records.WriteTx) error {
			if err := tx.Put(1, e, env); err != nil {
				return err
			}
			return tx.SetSegment(1, records.Segment{First: 1})
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a store of 1,000,000 entries; it needs -large.
func BenchmarkOpen(b *testing.B) {
	if !*large {
		b.Skip("needs -large: filling the store takes a while")
	}
	path := filepath.Join(b.TempDir(), "store")
	s := open(b, path, boltstore.Options{})
	fill(b, s, 1_000_000)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := open(b, path, boltstore.Options{})
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
