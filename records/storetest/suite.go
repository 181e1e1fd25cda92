package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Run holds a store to the contracts of records.Store. open opens the store
// in a folder, and creates it if there is none; it is called again with the
// same folder after the store was closed.
func Run(t *testing.T, open func(t testing.TB, dir string) records.Store) {
	tests := []struct {
		name string
		run  func(*fixture)
	}{
		{"Values", testValues},
		{"Receipts", testReceipts},
		{"Items", testItems},
		{"Branches", testBranches},
		{"Starts", testStarts},
		{"Segments", testSegments},
		{"TargetRows", testTargetRows},
		{"Entries", testEntries},
		{"LargeSegment", testLargeSegment},
		{"PutReplaceDelete", testPutReplaceDelete},
		{"PutRuns", testPutRuns},
		{"Versions", testVersions},
		{"Registers", testRegisters},
		{"Events", testEvents},
		{"Drops", testDrops},
		{"Copies", testCopies},
		{"FailureLeavesNothing", testFailure},
		{"Snapshot", testSnapshot},
		{"Concurrent", testConcurrent},
		{"Durable", testDurable},
		{"Close", testClose},
		{"Model", testModel},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := &fixture{T: t, dir: t.TempDir(), open: open}
			x.store = open(t, x.dir)
			t.Cleanup(func() {
				if err := x.store.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test.run(x)
		})
	}
}

// fixture is one test's store.
type fixture struct {
	*testing.T
	dir   string
	open  func(t testing.TB, dir string) records.Store
	store records.Store
}

func (x *fixture) reopen() {
	x.Helper()
	if err := x.store.Close(); err != nil {
		x.Fatalf("close: %v", err)
	}
	x.store = x.open(x.T, x.dir)
}

// update runs f in a transaction that must succeed.
func (x *fixture) update(f func(tx records.WriteTx)) {
	x.Helper()
	err := x.store.Update(x.Context(), func(tx records.WriteTx) error { f(tx); return nil })
	if err != nil {
		x.Fatalf("update: %v", err)
	}
}

// view runs f on a snapshot.
func (x *fixture) view(f func(tx records.Tx)) {
	x.Helper()
	err := x.store.View(x.Context(), func(tx records.Tx) error { f(tx); return nil })
	if err != nil {
		x.Fatalf("view: %v", err)
	}
}

// everywhere runs f three times: within a transaction after change, in a View
// after it, and in a View after the store was opened again.
func (x *fixture) everywhere(change func(tx records.WriteTx), f func(tx records.Tx)) {
	x.Helper()
	x.update(func(tx records.WriteTx) { change(tx); f(tx) })
	x.view(f)
	x.reopen()
	x.view(f)
}

// must fails the test if an error is not nil.
func (x *fixture) must(errs ...error) {
	x.Helper()
	if err := errors.Join(errs...); err != nil {
		x.Fatal(err)
	}
}

// is fails the test if err is not target.
func (x *fixture) is(what string, err, target error) {
	x.Helper()
	if !errors.Is(err, target) {
		x.Errorf("%s: %v, want %v", what, err, target)
	}
}

// equal fails the test if two things print differently.
func (x *fixture) equal(what string, got, want any) {
	x.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		x.Errorf("%s\n got %s\nwant %s", what, g, w)
	}
}

var (
	errStop   = errors.New("stop")
	errRefuse = errors.New("refuse")
)

// A failed transaction leaves nothing, however it fails, and the store goes
// on.
func testFailure(x *fixture) {
	x.update(func(tx records.WriteTx) { x.fill(tx, 1) })
	want := x.everything()
	change := func(tx records.WriteTx) {
		for seed := range uint64(20) {
			mutate(tx, rand.New(rand.NewPCG(seed, 1)))
		}
		if _, err := tx.CreateBranch(sampleBranch(7)); err != nil {
			x.Error(err)
		}
	}
	for name, fail := range map[string]func() error{
		"error": func() error {
			return x.store.Update(x.Context(), func(tx records.WriteTx) error { change(tx); return errRefuse })
		},
		"panic": func() (err error) {
			defer func() { err, _ = recover().(error) }()
			return x.store.Update(x.Context(), func(tx records.WriteTx) error { change(tx); panic(errRefuse) })
		},
	} {
		x.is(name, fail(), errRefuse)
		x.equal("after "+name, x.everything(), want)
	}
	x.reopen()
	x.equal("opened again", x.everything(), want)

	cancelled, cancel := context.WithCancel(x.Context())
	cancel()
	ran := errors.New("f ran")
	x.is("update, cancelled", x.store.Update(cancelled, func(records.WriteTx) error { return ran }), context.Canceled)
	x.is("view, cancelled", x.store.View(cancelled, func(records.Tx) error { return ran }), context.Canceled)
	x.is("view that fails", x.store.View(x.Context(), func(records.Tx) error { return errRefuse }), errRefuse)
	var slots []records.Slot
	x.update(func(tx records.WriteTx) {
		for range 2 {
			s, err := tx.CreateBranch(sampleBranch(1))
			x.must(err)
			slots = append(slots, s)
		}
	})
	x.equal("slots after a failed transaction", slots, []records.Slot{4, 5})
}

// A View goes on seeing what it saw while Updates run beside it.
func testSnapshot(x *fixture) {
	x.update(func(tx records.WriteTx) { x.fill(tx, 1) })
	x.view(func(tx records.Tx) {
		before := everything(tx)
		for seed := range uint64(5) {
			done := make(chan error)
			go func() {
				done <- x.store.Update(x.Context(), func(tx records.WriteTx) error {
					for n := range uint64(40) {
						mutate(tx, rand.New(rand.NewPCG(seed, n)))
					}
					return nil
				})
			}()
			x.must(<-done)
			x.equal("snapshot beside an Update", everything(tx), before)
		}
		x.view(func(tx records.Tx) {
			if everything(tx) == before {
				x.Error("a new View does not see the Updates")
			}
		})
	})
	// Nor does a View see what has not been committed.
	before := x.everything()
	x.update(func(tx records.WriteTx) {
		x.must(tx.SetValue("uncommitted", []byte{1}))
		beside := make(chan string)
		go func() {
			defer close(beside)
			err := x.store.View(x.Context(), func(tx records.Tx) error { beside <- everything(tx); return nil })
			if err != nil {
				x.Error(err)
			}
		}()
		x.equal("beside an open Update", <-beside, before)
	})
}

// One Update runs at a time, from however many goroutines.
func testConcurrent(x *fixture) {
	const writers, rounds = 8, 10
	x.update(func(tx records.WriteTx) { x.must(tx.SetValue("sum", []byte{0})) })
	read := func(tx records.Tx) byte {
		b, err := tx.Value("sum")
		if err != nil || len(b) != 1 {
			x.Errorf("sum %x: %v", b, err)
			return 0
		}
		return b[0]
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			last := byte(0)
			for range rounds {
				err := x.store.Update(x.Context(), func(tx records.WriteTx) error {
					return tx.SetValue("sum", []byte{read(tx) + 1})
				})
				if err != nil {
					x.Error(err)
				}
				err = x.store.View(x.Context(), func(tx records.Tx) error {
					if now := read(tx); now <= last {
						x.Errorf("sum %d after %d", now, last)
					} else {
						last = now
					}
					return nil
				})
				if err != nil {
					x.Error(err)
				}
			}
		})
	}
	wg.Wait()
	x.view(func(tx records.Tx) { x.equal("sum", read(tx), writers*rounds) })

	// Who waits for a running Update stops waiting when told.
	x.update(func(records.WriteTx) {
		ctx, cancel := context.WithCancel(x.Context())
		done := make(chan error)
		go func() { done <- x.store.Update(ctx, func(records.WriteTx) error { return nil }) }()
		cancel()
		x.is("cancelled while waiting", <-done, context.Canceled)
	})
}

// What was committed is there after the store was opened again.
func testDurable(x *fixture) {
	for round := range uint64(4) {
		x.update(func(tx records.WriteTx) { x.fill(tx, round) })
		want := x.everything()
		x.reopen()
		x.equal("opened again", x.everything(), want)
	}
}

func testClose(x *fixture) {
	inside, release, closed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := x.store.View(x.Context(), func(tx records.Tx) error {
			close(inside)
			<-release
			_, err := tx.Value("none")
			return err
		})
		x.is("read while the store is being closed", err, records.ErrNotFound)
	})
	<-inside
	go func() { closed <- x.store.Close() }()
	select {
	case err := <-closed:
		x.Errorf("close did not wait for a View: %v", err)
		closed <- nil
	default:
	}
	close(release)
	wg.Wait()
	x.must(<-closed)
	x.is("view after close", x.store.View(x.Context(), func(records.Tx) error { return nil }), os.ErrClosed)
	x.is("update after close", x.store.Update(x.Context(), func(records.WriteTx) error { return nil }), os.ErrClosed)
	x.store = x.open(x.T, x.dir)
}

// The store keeps copies of what it is given.
func testCopies(x *fixture) {
	b := sampleBranch(1)
	starts := []records.Start{{First: 1, ID: identity.StartID{1}}}
	rows := []records.Row{{First: 1, Live: 1}}
	key, value := []byte("key"), []byte("value")
	e, env := sampleEvent(1, identity.UserID{1}, "body")
	r, renv := sampleRegister(2, identity.UserID{1}, "key", "body")
	var want string
	x.update(func(tx records.WriteTx) {
		s, err := tx.CreateBranch(b)
		x.must(err, tx.AppendStarts(s, starts), tx.SetTargetRows(s, rows), tx.SetValue("name", value),
			tx.SetItem("table", key, value), tx.SetReceipt(identity.Hash{1}, value), tx.Put(s, e, &env), tx.Put(s, r, &renv))
		want = everything(tx)
		b.Head.Starts[0].First++
		starts[0].First++
		rows[0].Live++
		for _, bytes := range [][]byte{key, value, e.Envelope, e.Body, r.Envelope, r.Body, renv.Key} {
			for i := range bytes {
				bytes[i] = 'x'
			}
		}
		x.equal("in the transaction", everything(tx), want)
	})
	x.equal("after it", x.everything(), want)
	x.view(func(tx records.Tx) {
		// What is said to be a copy can be changed and kept.
		v, err := tx.Value("name")
		x.must(err)
		receipt, err := tx.Receipt(identity.Hash{1})
		x.must(err)
		b, err := tx.Branch(1)
		x.must(err)
		list, err := tx.Starts(1)
		x.must(err)
		list[0].First, b.Head.Starts[0].First = 99, 99
		v[0], receipt[0] = 'x', 'x'
		x.equal("after changing copies", everything(tx), want)
	})
}
