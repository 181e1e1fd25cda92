package storetest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Memory is a records.Store in memory. It keeps every contract of the seam but
// durability; what a disk would hold survives Close, for [Memory.Reopen].
//
// It also notices two misuses that a store on disk lets pass now and then:
// byte slices are overwritten when the transaction that gave them ends, and
// changing the store from within one of its iterators panics.
type Memory struct {
	committed atomic.Pointer[state]
	writer    chan struct{} // holds a token while an Update runs

	mu      sync.Mutex // guards closed, and running against it
	closed  bool
	running sync.WaitGroup
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return newMemory(newState()) }

func newMemory(s *state) *Memory {
	m := &Memory{writer: make(chan struct{}, 1)}
	m.committed.Store(s)
	return m
}

// Clone returns a store of its own with the same content, as a copied card or
// a backup is one.
func (m *Memory) Clone() *Memory { return newMemory(m.committed.Load()) }

// Reopen returns a store with what m held when it was closed, as a process
// finds it that starts again.
func (m *Memory) Reopen() *Memory { return m.Clone() }

// View runs f on the state of the last commit.
func (m *Memory) View(ctx context.Context, f func(records.Tx) error) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.running.Done()
	tx := &memoryTx{state: *m.committed.Load()}
	defer tx.end()
	return f(tx)
}

// Update runs f on a copy of the state, which becomes the state if f returns
// nil.
func (m *Memory) Update(ctx context.Context, f func(records.WriteTx) error) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.running.Done()
	select {
	case m.writer <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("update store: %w", ctx.Err())
	}
	defer func() { <-m.writer }()
	tx := &memoryTx{state: *m.committed.Load(), owner: new(owner)}
	defer tx.end()
	if err := f(tx); err != nil {
		return err
	}
	s := tx.state
	m.committed.Store(&s)
	return nil
}

func (m *Memory) begin(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("use store: %w", os.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("use store: %w", err)
	}
	m.running.Add(1)
	return nil
}

// Close waits for running transactions; later ones fail with os.ErrClosed.
func (m *Memory) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.running.Wait()
	return nil
}

// state is everything that a store holds. Values are never changed in place.
type state struct {
	lastSlot  records.Slot
	values    table[string, []byte]
	branches  table[records.Slot, records.Branch]
	starts    table[records.Slot, records.StartList]
	segments  table[place, *records.Segment]
	targets   table[records.Slot, []records.Row]
	entries   table[place, records.Entry]
	registers table[registerPlace, []uint64] // stored counters, newest first
	events    table[eventPlace, struct{}]
	drops     table[place, uint64]
	receipts  table[identity.Hash, []byte]
	items     table[item, []byte]
}

// place is where something of a branch stands.
type place struct {
	slot    records.Slot
	counter uint64
}

type registerPlace struct {
	key  records.RegisterKey
	slot records.Slot
}

type eventPlace struct {
	learner identity.UserID
	lane    identity.Lane
	place   place
}

type item struct{ table, key string }

func newState() *state {
	return &state{
		values:   newTable[string, []byte](strings.Compare),
		branches: newTable[records.Slot, records.Branch](cmp.Compare),
		starts:   newTable[records.Slot, records.StartList](cmp.Compare),
		segments: newTable[place, *records.Segment](place.compare),
		targets:  newTable[records.Slot, []records.Row](cmp.Compare),
		entries:  newTable[place, records.Entry](place.compare),
		registers: newTable[registerPlace, []uint64](func(a, b registerPlace) int {
			return cmp.Or(a.key.Compare(b.key), cmp.Compare(a.slot, b.slot))
		}),
		events: newTable[eventPlace, struct{}](func(a, b eventPlace) int {
			return cmp.Or(a.learner.Compare(b.learner), cmp.Compare(a.lane, b.lane), a.place.compare(b.place))
		}),
		drops:    newTable[place, uint64](place.compare),
		receipts: newTable[identity.Hash, []byte](func(a, b identity.Hash) int { return bytes.Compare(a[:], b[:]) }),
		items: newTable[item, []byte](func(a, b item) int {
			return cmp.Or(strings.Compare(a.table, b.table), strings.Compare(a.key, b.key))
		}),
	}
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.slot, q.slot), cmp.Compare(p.counter, q.counter))
}

// eventAt is where the index of events has an entry.
func eventAt(s records.Slot, counter uint64, env *records.Envelope) eventPlace {
	return eventPlace{env.Learner, env.Kind.Lane(), place{s, counter}}
}

// withVersion returns list, newest first, with counter in its place.
func withVersion(list []uint64, counter uint64) []uint64 {
	i, _ := slices.BinarySearchFunc(list, counter, func(have, want uint64) int { return cmp.Compare(want, have) })
	return slices.Insert(slices.Clone(list), i, counter)
}
