// Command nats is what the benchmark compares classmesh with: a NATS JetStream
// stream, stored in files, that another server mirrors over a leaf link.
//
//	nats hub DIR FILE          the server that has the records of FILE
//	nats leaf DIR ADDRESS N    one that mirrors N of them
//
// Both are servers as anybody would embed them, on loopback, the link compressed
// (s2). Nothing is signed or encrypted, and nothing is flushed to the disk: the
// server's default does that every two minutes. The clock of the leaf starts when
// the link is up, and stops when all records are stored and one of them was found
// by its subject.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "hub":
		err = hub(os.Args[2], os.Args[3])
	case len(os.Args) == 5 && os.Args[1] == "leaf":
		err = leaf(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = errors.New("want: hub DIR FILE, or leaf DIR ADDRESS N")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nats:", err)
		os.Exit(1)
	}
}

const (
	streamName = "RECORDS"
	patience   = 2 * time.Minute
)

var answers = json.NewEncoder(os.Stdout)

// hub stores the records of a file, says where it can be reached, and then writes
// as many more as lines from standard input say ("write N").
func hub(dir, file string) error {
	options := &server.Options{
		ServerName: "hub", JetStreamDomain: "hub", StoreDir: dir,
		LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: -1, Compression: server.CompressionOpts{Mode: server.CompressionS2Fast}},
	}
	s, err := start(options)
	if err != nil {
		return err
	}
	defer s.Shutdown()
	js, err := connect(s)
	if err != nil {
		return err
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: streamName, Subjects: []string{"records.>"}, Storage: nats.FileStorage}); err != nil {
		return err
	}
	written := 0
	write := func(body []byte) error {
		_, err := js.PublishAsync("records."+strconv.Itoa(written), body, nats.StallWait(patience))
		written++
		return err
	}
	if err := eachRecord(file, write); err != nil {
		return err
	}
	if err := stored(js); err != nil {
		return err
	}
	address := fmt.Sprint("127.0.0.1:", options.LeafNode.Port) // the server has put its port there
	if err := answers.Encode(map[string]any{"Address": address, "Records": written}); err != nil {
		return err
	}
	body := make([]byte, 120)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "write %d", &n); err != nil {
			return err
		}
		began := time.Now()
		for range n {
			rand.Read(body[:12]) // what differs from one record to the next
			if err := write(body); err != nil {
				return err
			}
		}
		if err := answers.Encode(map[string]any{"Written": n, "Nanos": began.UnixNano()}); err != nil {
			return err
		}
	}
	return nil
}

// leaf mirrors the hub's stream, says how long that took, and then for each line
// "until N" when it had so many records.
func leaf(dir, address, count string) error {
	n, err := strconv.ParseUint(count, 10, 64)
	if err != nil {
		return err
	}
	s, err := start(&server.Options{
		ServerName: "leaf", JetStreamDomain: "leaf", StoreDir: dir,
		LeafNode: server.LeafNodeOpts{
			ReconnectInterval: 100 * time.Millisecond,
			Remotes: []*server.RemoteLeafOpts{{
				URLs:        []*url.URL{{Scheme: "nats-leaf", Host: address}},
				Compression: server.CompressionOpts{Mode: server.CompressionS2Fast},
			}},
		},
	})
	if err != nil {
		return err
	}
	defer s.Shutdown()
	js, err := connect(s)
	if err != nil {
		return err
	}
	for began := time.Now(); s.NumLeafNodes() == 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			return errors.New("the link does not come up")
		}
	}
	if err := answers.Encode(map[string]any{"Open": true}); err != nil {
		return err
	}
	began := time.Now()
	_, err = js.AddStream(&nats.StreamConfig{
		Name: "MIRROR", Storage: nats.FileStorage,
		Mirror: &nats.StreamSource{Name: streamName, Domain: "hub"},
	})
	if err != nil {
		return err
	}
	if err := until(js, n); err != nil {
		return err
	}
	if _, err := js.GetLastMsg("MIRROR", "records."+strconv.FormatUint(n/2, 10)); err != nil {
		return err
	}
	err = answers.Encode(map[string]any{"Records": n, "Seconds": time.Since(began).Seconds(), "Memory": map[string]float64{"All": peakMemory()}})
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "until %d", &n); err != nil {
			return err
		}
		if err := until(js, n); err != nil {
			return err
		}
		if err := answers.Encode(map[string]any{"Nanos": time.Now().UnixNano()}); err != nil {
			return err
		}
	}
	return nil
}

// until waits until the mirror has n records.
func until(js nats.JetStreamContext, n uint64) error {
	for began := time.Now(); ; time.Sleep(200 * time.Microsecond) {
		info, err := js.StreamInfo("MIRROR")
		switch {
		case err != nil:
			return err
		case info.State.Msgs >= n:
			return nil
		case time.Since(began) > patience:
			return fmt.Errorf("%d records came of %d", info.State.Msgs, n)
		}
	}
}

func start(o *server.Options) (*server.Server, error) {
	o.Host, o.Port = "127.0.0.1", -1
	o.JetStream, o.NoLog, o.NoSigs = true, true, true
	s, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		return nil, errors.New("the server does not start")
	}
	return s, nil
}

func connect(s *server.Server) (nats.JetStreamContext, error) {
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return nil, err
	}
	return conn.JetStream(nats.PublishAsyncMaxPending(4000), nats.MaxWait(patience))
}

func stored(js nats.JetStreamContext) error {
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-time.After(patience):
		return errors.New("the records are not stored")
	}
}

// eachRecord reads a file of records, each with its length before it.
func eachRecord(file string, f func([]byte) error) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	for r := bufio.NewReaderSize(in, 1<<20); ; {
		n, err := binary.ReadUvarint(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		if err := f(body); err != nil {
			return err
		}
	}
}

// peakMemory is the most memory that this process has had, in bytes; 0 where
// that cannot be known.
func peakMemory() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kib float64
			fmt.Sscan(value, &kib)
			return kib * 1024
		}
	}
	return 0
}
