package boltstore_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

func TestConformance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	first := true
	storetest.Run(t, func() records.Store {
		make := boltstore.Open
		if first {
			make = boltstore.Create
			first = false
		}
		s, err := make(path, boltstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestOpenAndCreateRefuse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store")
	if _, err := boltstore.Open(path, boltstore.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening nothing: %v", err)
	}
	s, err := boltstore.Create(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Create(path, boltstore.Options{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("creating twice: %v", err)
	}
	if _, err := boltstore.Open(path, boltstore.Options{}); !errors.Is(err, records.ErrInUse) {
		t.Errorf("opening twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"empty": nil, "noise": make([]byte, 65536)} {
		bad := filepath.Join(dir, name)
		if err := os.WriteFile(bad, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := boltstore.Open(bad, boltstore.Options{}); !errors.Is(err, records.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-store-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// config is that of a device whose key is always the same.
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

var event = records.NewKind(identity.LaneDetail, roster.ClassAny, 2)

func write(r *records.Replica, body []byte) (counter uint64, err error) {
	err = r.Write(context.Background(), func(d *records.Draft) error {
		ref, err := d.Put(records.Record{Kind: event, Learner: identity.UserID{1}, Body: body})
		counter = ref.Counter
		return err
	})
	return counter, err
}

// A full store refuses the write, keeps what it has, and goes on serving.
func TestFull(t *testing.T) {
	s, err := boltstore.Create(filepath.Join(t.TempDir(), "store"), boltstore.Options{MaxSize: 17 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := records.Found(t.Context(), func() records.Config { c, _ := config(s); return c }(), func() records.Founding { _, f := config(s); return f }())
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
				ref, err := d.Put(records.Record{Kind: event, Body: make([]byte, records.MaxBodyBytes)})
				if err != nil {
					return err
				}
				_ = ref
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
	if c, _ := r.Frontier(r.Certificate().Log(identity.LaneDetail)); c != last || last == 0 {
		t.Errorf("frontier %d after %d acknowledged", c, last)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

const crashVariable = "CLASSMESH_TEST_CRASH_STORE"

// TestMain is also the process that is killed: it writes and says what was
// acknowledged until somebody ends it.
func TestMain(m *testing.M) {
	path := os.Getenv(crashVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	c, _ := config(s)
	r, err := records.Open(context.Background(), c)
	for err == nil {
		var n uint64
		if n, err = write(r, []byte("answer")); err == nil {
			fmt.Println(n)
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// Whenever the process is killed, what it had acknowledged is there, whole
// and verified, and the file is sound.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s, err := boltstore.Create(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, f := config(s)
	if _, err := records.Found(t.Context(), c, f); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	random := mathrand.New(mathrand.NewPCG(1, 2))
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	for round := range rounds {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashVariable+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		acknowledged := uint64(0)
		lines := bufio.NewScanner(out)
		for n := 1 + random.IntN(30); n > 0 && lines.Scan(); n-- {
			if _, err := fmt.Sscan(lines.Text(), &acknowledged); err != nil {
				t.Fatalf("round %d: %s", round, lines.Text())
			}
		}
		child.Process.Kill()
		for lines.Scan() { // said before it died
			fmt.Sscan(lines.Text(), &acknowledged)
		}
		child.Wait()
		s, err := boltstore.Open(path, boltstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c, f := config(s)
		r, err := records.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		log := r.Certificate().Log(identity.LaneDetail)
		held, _ := r.Frontier(log)
		if acknowledged == 0 || held < acknowledged {
			t.Fatalf("round %d: %d acknowledged, %d held", round, acknowledged, held)
		}
		// Another replica verifies all of it against the signed head.
		d, err := r.Difference(t.Context(), log, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		other := c
		other.Store = storetest.NewMemory()
		fresh, err := records.Found(t.Context(), other, f)
		if err != nil {
			t.Fatal(err)
		}
		if err := fresh.AcceptDifference(t.Context(), d); err != nil || len(d.Entries) != int(held) {
			t.Fatalf("round %d: %d entries of %d: %v", round, len(d.Entries), held, err)
		}
		if err := errors.Join(s.Check(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
