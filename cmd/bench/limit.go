package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// machineLimits measures once what the machine allows, whatever is stored.
func (b *bench) machineLimits(ctx context.Context) error {
	stream, err := quicStream(ctx, 64<<20)
	if err != nil {
		return fmt.Errorf("limit/quic: %w", err)
	}
	b.table.add("limit/quic", stream/1e6)
	b.table.add("limit/lthash", latticeHash())
	for _, limit := range []struct {
		row  string
		unit time.Duration
		took func() (time.Duration, error)
	}{
		{"limit/fsync", time.Millisecond, func() (time.Duration, error) { return syncFile(filepath.Join(b.dir, "run-limit.sync")) }},
		{"limit/commit", time.Millisecond, func() (time.Duration, error) { return commitOne(filepath.Join(b.dir, "run-limit.db")) }},
		{"limit/connect", time.Millisecond, func() (time.Duration, error) { return connect(ctx) }},
		{"limit/datagram", time.Millisecond, func() (time.Duration, error) { return roundTrip(ctx) }},
		{"limit/page", time.Microsecond, firstTouch},
	} {
		took, err := limit.took()
		if err != nil {
			return fmt.Errorf("%s: %w", limit.row, err)
		}
		if took > 0 {
			b.table.add(limit.row, float64(took)/float64(limit.unit))
		} else {
			b.table.explain(limit.row, "not known on "+runtime.GOOS)
		}
	}
	return nil
}

// zoneLimits measures once what the machine allows with the records of a zone, and
// returns how many keys a second bbolt takes of as many.
func (b *bench) zoneLimits(ctx context.Context, z *zone, size string) (inserts float64, err error) {
	if inserts, err = boltInsert(filepath.Join(b.dir, "run-limit.db"), z.Records); err != nil {
		return 0, fmt.Errorf("limit/bbolt: %w", err)
	}
	b.table.add("limit/bbolt/"+size, inserts)
	if z.sample == nil {
		if z.sample, err = z.readSample(ctx, sampleRecords); err != nil {
			return 0, err
		}
	}
	rate, each, err := compress(z.sample)
	if err != nil {
		return 0, fmt.Errorf("limit/zstd: %w", err)
	}
	b.table.add("limit/zstd/"+size, rate)
	b.table.add("limit/zstd-bytes/"+size, each)
	return inserts, nil
}

// otherLimits measures those limits that no step has measured: of the machine all, since
// no figure says much without them, of zones those that were asked for.
func (b *bench) otherLimits(ctx context.Context) error {
	t := b.table
	if len(t.figure("limit/quic").values) == 0 {
		b.say("limits of the machine …")
		for range b.runs {
			if err := b.machineLimits(ctx); err != nil {
				return err
			}
		}
	}
	for _, n := range b.sizes {
		size := sizeName(n)
		rows := []string{"limit/bbolt/" + size, "limit/zstd/" + size, "limit/zstd-bytes/" + size}
		if len(t.figure(rows[0]).values) > 0 || !b.wantsAny(rows) {
			continue
		}
		z, err := b.school(ctx, n)
		if err != nil {
			return err
		}
		b.say("limits with %s records …", size)
		for range b.runsOf(n) {
			if _, err := b.zoneLimits(ctx, z, size); err != nil {
				return err
			}
		}
	}
	return nil
}

const sampleRecords = 50_000 // of a zone, to be compressed

// boltInsert returns how many keys in ascending order, with values of the size
// of a record, bbolt stores in a second, 4,096 in a commit.
func boltInsert(path string, n int) (perSecond float64, err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistArrayType, NoFreelistSync: true})
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

// overLink connects to itself over the link that devices use, has serve answer each
// connection, which is closed then, and calls use with what dials another one.
func overLink(ctx context.Context, serve func(*link.Conn) error, use func(dial func() (*link.Conn, error)) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	key, err := identity.GenerateDeviceKey(rand.Reader)
	if err != nil {
		return err
	}
	listener, err := link.Listen(link.Config{Key: key, Address: "127.0.0.1:0", Protocols: []string{link.ProtocolExchange}})
	if err != nil {
		return err
	}
	defer listener.Close()
	go listener.Run(ctx)
	done := make(chan error, 1)
	go func() {
		for {
			conn, err := listener.Accept(ctx)
			if ctx.Err() != nil {
				done <- nil
				return
			}
			if err == nil {
				err = errors.Join(serve(conn), conn.Close())
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	err = use(func() (*link.Conn, error) {
		return link.Dial(ctx, link.DialConfig{
			Key: key, Addresses: []string{"quic://" + listener.Addr().String()},
			Protocol: link.ProtocolExchange, Expect: link.ExpectDevice(key.Public().ID()),
		})
	})
	cancel()
	return errors.Join(err, <-done)
}

// quicStream returns how many bytes a second go over a link within this
// process.
func quicStream(ctx context.Context, n int) (perSecond float64, err error) {
	receive := func(conn *link.Conn) error {
		_, err := io.CopyN(io.Discard, conn, int64(n))
		if err == nil {
			_, err = conn.Write([]byte{1})
		}
		return err
	}
	err = overLink(ctx, receive, func(dial func() (*link.Conn, error)) error {
		conn, err := dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		began := time.Now()
		block := make([]byte, 64<<10)
		for sent := 0; sent < n; sent += len(block) {
			if _, err := conn.Write(block); err != nil {
				return err
			}
		}
		_, err = io.ReadFull(conn, make([]byte, 1))
		perSecond = float64(n) / time.Since(began).Seconds()
		return err
	})
	return perSecond, err
}

// connect returns how long a connection within this process takes that carries one
// byte each way.
func connect(ctx context.Context) (took time.Duration, err error) {
	answer := func(conn *link.Conn) error {
		_, err := io.CopyN(conn, conn, 1)
		if err == nil { // the other side closes it
			_, err = io.Copy(io.Discard, conn)
		}
		return err
	}
	err = overLink(ctx, answer, func(dial func() (*link.Conn, error)) error {
		took, err = medianOf(21, nil, func() error {
			conn, err := dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := conn.Write([]byte{1}); err != nil {
				return err
			}
			_, err = io.ReadFull(conn, make([]byte, 1))
			return err
		})
		return err
	})
	return took, err
}

// commitOne returns how long bbolt takes to commit one value of the size of a record.
func commitOne(path string) (time.Duration, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistArrayType, NoFreelistSync: true})
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	defer db.Close()
	i, value := uint64(0), make([]byte, 150)
	return medianOf(51, nil, func() error {
		i++
		return db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("entries"))
			if err != nil {
				return err
			}
			return b.Put(binary.BigEndian.AppendUint64(nil, i), value)
		})
	})
}

// echo is a process that sends every datagram back, of which nothing is measured but how
// long another process takes to answer. It ends with in.
func echo(_ context.Context, _ []string, in io.Reader, out io.Writer) error {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		room := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(room)
			if err != nil {
				return
			}
			conn.WriteTo(room[:n], from)
		}
	}()
	if err := json.NewEncoder(out).Encode(conn.LocalAddr().String()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// roundTrip returns how long a datagram takes to another process and back, when both have
// been idle for a moment, as they are between the messages of a session.
func roundTrip(ctx context.Context) (time.Duration, error) {
	p, err := start(ctx, nil, "echo")
	if err != nil {
		return 0, err
	}
	defer p.kill()
	var address string
	if err := p.hear(&address); err != nil {
		return 0, err
	}
	conn, err := net.Dial("udp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, err
	}
	room := make([]byte, 1000)
	took, err := medianOf(201, func() error {
		time.Sleep(time.Millisecond)
		return nil
	}, func() error {
		if _, err := conn.Write(room); err != nil {
			return err
		}
		_, err := conn.Read(room)
		return err
	})
	return took, errors.Join(err, p.end())
}

// syncFile returns the median time of an fsync after 4 KiB were appended.
func syncFile(path string) (time.Duration, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	defer f.Close()
	block := make([]byte, 4096)
	return medianOf(51, func() error {
		_, err := f.Write(block)
		return err
	}, f.Sync)
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

// medianOf returns the median time that n calls take. Before each, prepare is called, if
// it is not nil.
func medianOf(n int, prepare, call func() error) (time.Duration, error) {
	var all []time.Duration
	for range n {
		if prepare != nil {
			if err := prepare(); err != nil {
				return 0, err
			}
		}
		began := time.Now()
		if err := call(); err != nil {
			return 0, err
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}
