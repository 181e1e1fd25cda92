package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// boltInsert returns how many keys in ascending order, with values of the size
// of a record, bbolt stores in a second, 4,096 in a commit.
func boltInsert(path string, n int) (perSecond float64, err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	defer db.Close()
	value := make([]byte, 150)
	began := time.Now()
	for i := 0; i < n; {
		err := db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("entries"))
			if err != nil {
				return err
			}
			for end := min(n, i+4096); i < end; i++ {
				var key [12]byte
				binary.BigEndian.PutUint64(key[4:], uint64(i))
				if err := b.Put(key[:], value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// quicStream returns how many bytes a second go over a link within this
// process.
func quicStream(ctx context.Context, n int) (perSecond float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	key, err := identity.GenerateDeviceKey(rand.Reader)
	if err != nil {
		return 0, err
	}
	listener, err := link.Listen(link.Config{Key: key, Address: "127.0.0.1:0", Protocols: []string{link.ProtocolExchange}})
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	go listener.Run(ctx)
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept(ctx)
		if err == nil {
			_, err = io.CopyN(io.Discard, conn, int64(n))
			if err == nil {
				_, err = conn.Write([]byte{1})
			}
		}
		done <- err
	}()
	conn, err := link.Dial(ctx, link.DialConfig{Key: key, Addresses: []string{"quic://" + listener.Addr().String()}, Protocol: link.ProtocolExchange, Expect: link.ExpectDevice(key.Public().ID())})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	block := make([]byte, 64<<10)
	for sent := 0; sent < n; sent += len(block) {
		if _, err := conn.Write(block); err != nil {
			return 0, err
		}
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return float64(n) / took.Seconds(), <-done
}

// syncFile returns the median time of an fsync after 4 KiB were appended.
func syncFile(path string) (time.Duration, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	defer f.Close()
	var took []time.Duration
	block := make([]byte, 4096)
	for range 51 {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// latticeHash returns how many entries a second one core adds to a fingerprint,
// the hash of each included.
func latticeHash() float64 {
	const n = 20_000
	var sum records.Sum
	entry := records.Entry{Envelope: make([]byte, 60), Body: make([]byte, 60)}
	began := time.Now()
	for i := range n {
		entry.Counter = uint64(i)
		sum.Add(entry.Leaf(identity.LogID{}))
	}
	return n / time.Since(began).Seconds()
}

// compress returns how many entries a second one core compresses as they are, in
// pieces of 256 KiB, and how many bytes are left of one.
func compress(entries []records.Entry) (perSecond, bytesEach float64, err error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return 0, 0, err
	}
	defer encoder.Close()
	var plain, packed []byte
	size := 0
	began := time.Now()
	for i := range entries {
		plain = append(append(plain, entries[i].Envelope...), entries[i].Body...)
		if len(plain) >= 256<<10 || i == len(entries)-1 {
			packed = encoder.EncodeAll(plain, packed[:0])
			size += len(packed)
			plain = plain[:0]
		}
	}
	n := float64(len(entries))
	return n / time.Since(began).Seconds(), float64(size) / n, nil
}
