package boltstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
)

// What the test binary does when a test runs it as a process of its own.
const (
	roleVariable  = "CLASSMESH_TEST_ROLE"
	roleWriter    = "writer"
	roleReplica   = "replica"
	roleFileLimit = "file limit"
)

var roles = map[string]func(path string) error{roleWriter: writer, roleReplica: replica}

func TestMain(m *testing.M) {
	role := roles[os.Getenv(roleVariable)]
	if role == nil {
		os.Exit(m.Run())
	}
	if err := role(os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func child(t testing.TB, role, path string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), os.Args[0], path)
	c.Env = append(os.Environ(), roleVariable+"="+role)
	return c
}

// killed runs a role that prints a number for each commit that was
// acknowledged, kills it after some, and returns the last number.
func killed(t *testing.T, role, path string, after int) (acknowledged uint64) {
	t.Helper()
	c := child(t, role, path)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	read := func() bool {
		if !lines.Scan() {
			return false
		}
		if _, err := fmt.Sscan(lines.Text(), &acknowledged); err != nil {
			t.Fatalf("%s: %s", role, lines.Text())
		}
		return true
	}
	for ; after > 0 && read(); after-- {
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for read() { // what it said before it died
	}
	c.Wait() // says that it was killed
	if acknowledged == 0 {
		t.Fatal("killed before the first commit")
	}
	return acknowledged
}

// perTransaction is how many entries the writer commits together: as many
// events as registers, of which it deletes the former versions.
const perTransaction = 60

// writer commits without end. Transaction n (from 1) stores entries up to
// n × perTransaction, and the number in a value.
func writer(path string) error { return write(path, nil) }

// write is writer while something else is done to the store.
func write(path string, meanwhile func(*boltstore.Store) error) error {
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	if meanwhile != nil {
		go func() {
			fmt.Println(meanwhile(s)) // no number: the test fails
			os.Exit(1)
		}()
	}
	n := uint64(0)
	if err := s.View(context.Background(), func(tx records.Tx) (err error) { n, err = transactions(tx); return err }); err != nil {
		return err
	}
	for err == nil {
		n++
		if err = update(s, func(tx records.WriteTx) error { return transaction(tx, n) }); err == nil {
			fmt.Println(n)
		}
	}
	return err
}

func transactions(tx records.Tx) (n uint64, err error) {
	v, err := tx.Value("transactions")
	if errors.Is(err, records.ErrNotFound) {
		return 0, nil
	}
	if err == nil {
		_, err = fmt.Sscan(string(v), &n)
	}
	return n, err
}

func update(s records.Store, f func(tx records.WriteTx) error) error {
	return s.Update(context.Background(), f)
}

func transaction(tx records.WriteTx, n uint64) error {
	for c := (n-1)*perTransaction + 1; c <= n*perTransaction; c++ {
		env := records.Envelope{Kind: eventKind, Learner: identity.UserID{1}}
		if c%2 == 0 {
			env = records.Envelope{Kind: progressKind, Learner: identity.UserID{1}, Register: true, Key: fmt.Append(nil, c%perTransaction)}
			versions, err := tx.Versions(1, env.RegisterKey())
			if err != nil {
				return err
			}
			for _, v := range versions {
				if err := tx.Delete(1, v, &env); err != nil {
					return err
				}
			}
		}
		if err := tx.Put(1, records.Entry{Counter: c, Envelope: env.Append(nil), Body: fmt.Append(nil, n)}, &env); err != nil {
			return err
		}
	}
	seg := records.Segment{First: 1, Live: uint32(n)}
	return errors.Join(tx.SetSegment(1, seg), tx.SetDrop(1, n, n+1), tx.SetValue("transactions", fmt.Append(nil, n)))
}

// verify returns how many transactions there are, or what is not as they all
// and nothing else would have left it.
func verify(tx records.Tx) (n uint64, err error) {
	if n, err = transactions(tx); err != nil {
		return n, err
	}
	var all, events, registers, drops uint64
	last := n * perTransaction
	errs := []error{
		tx.Entries(1, 0, ^uint64(0), func(e records.Entry) error {
			if all++; e.Counter > last || e.Counter%2 == 0 && e.Counter <= last-perTransaction {
				return fmt.Errorf("entry %d of %d", e.Counter, last)
			}
			return nil
		}),
		tx.Events(identity.UserID{1}, identity.LaneDetail, func(_ records.Slot, e records.Entry) error { events++; return nil }),
		tx.Registers(records.RegisterPrefix{Kind: progressKind}, func(r records.Register) error {
			if registers++; string(r.Entry.Body) != fmt.Sprint(n) {
				return fmt.Errorf("register %q is of transaction %s", r.Key.Key, r.Entry.Body)
			}
			return nil
		}),
		tx.Drops(1, 0, ^uint64(0), func(_, _ uint64) error { drops++; return nil }),
	}
	seg, err := tx.Segment(1, 1)
	errs = append(errs, err)
	if all != last/2+perTransaction/2 || events != last/2 || registers != perTransaction/2 || drops != n || seg.Live != uint32(n) {
		errs = append(errs, fmt.Errorf("%d entries, %d events, %d registers, %d drops, segment of %d after %d transactions", all, events, registers, drops, seg.Live, n))
	}
	return n, errors.Join(errs...)
}

// Whenever the process is killed: every transaction that it acknowledged is
// there, at most one more, none in part, and the file is sound.
func TestKilled(t *testing.T) {
	killedOften(t, roleWriter, filepath.Join(t.TempDir(), "store"), 25, 1)
}

// killedOften kills a role again and again, each time after up to so many
// commits, and looks at what it has left.
func killedOften(t *testing.T, role, path string, commits int, seed uint64) {
	t.Helper()
	if err := open(t, path, boltstore.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(seed, 1))
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		acknowledged := killed(t, role, path, 1+random.IntN(commits))
		s := open(t, path, boltstore.Options{})
		err := s.View(t.Context(), func(tx records.Tx) error {
			n, err := verify(tx)
			if n < acknowledged || n > acknowledged+1 {
				t.Errorf("round %d: %d acknowledged, %d there", round, acknowledged, n)
			}
			return err
		})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		mustCheck(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil || len(names) != 1 {
			t.Errorf("left behind: %v, %v", names, err)
		}
	}
}
