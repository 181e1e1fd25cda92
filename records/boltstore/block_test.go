package boltstore_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// tidyUp tidies a store until there is nothing to do.
func tidyUp(t testing.TB, s *boltstore.Store) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// cells is a store that is written like a device's: a register has one version, but
// where one is spared.
type cells struct {
	*boltstore.Store
	path    string
	counter uint64
	want    map[records.RegisterKey][]records.Entry // newest first
}

func newCells(t testing.TB) *cells { return newCellsWith(t, boltstore.Options{}) }

func newCellsWith(t testing.TB, o boltstore.Options) *cells {
	path := filepath.Join(t.TempDir(), "store")
	c := &cells{Store: open(t, path, o), path: path, want: map[records.RegisterKey][]records.Entry{}}
	if err := update(c, func(tx records.WriteTx) error { _, err := tx.CreateBranch(records.Branch{}); return err }); err != nil {
		t.Fatal(err)
	}
	return c
}

func cellEnvelope(k records.RegisterKey) records.Envelope {
	return records.Envelope{Kind: k.Kind, Register: true, Learner: k.Learner, Key: []byte(k.Key)}
}

// cellKey is the key of a cell: learner by learner, content by content.
func cellKey(n int) records.RegisterKey {
	return records.RegisterKey{Kind: progressKind, Learner: identity.UserID{1, byte(n / 50)}, Key: fmt.Sprintf("content %d", n%50)}
}

// put writes a register anew; former versions are deleted but for the first few.
func (c *cells) put(tx records.WriteTx, k records.RegisterKey, body []byte, spare int) error {
	c.counter++
	env := cellEnvelope(k)
	e := records.Entry{Counter: c.counter, Envelope: env.Append(nil), Body: body}
	for len(c.want[k]) > spare {
		if err := c.remove(tx, k, len(c.want[k])-1); err != nil {
			return err
		}
	}
	c.want[k] = slices.Insert(c.want[k], 0, e)
	return tx.Put(1, e, &env)
}

func (c *cells) remove(tx records.WriteTx, k records.RegisterKey, version int) error {
	env := cellEnvelope(k)
	old := c.want[k][version]
	if c.want[k] = slices.Delete(c.want[k], version, version+1); len(c.want[k]) == 0 {
		delete(c.want, k)
	}
	return tx.Delete(1, old.Counter, &env)
}

// change makes a version a stub, or an entry again.
func (c *cells) change(tx records.WriteTx, k records.RegisterKey, version int, body []byte) error {
	env := cellEnvelope(k)
	e := c.want[k][version]
	if e.Stub {
		e.Stub, e.Body = false, body
	} else {
		e = e.ToStub()
	}
	c.want[k] = slices.Clone(c.want[k])
	c.want[k][version] = e
	return tx.Replace(1, e, &env)
}

// compare compares the store with what was written.
func (c *cells) compare(tx records.Tx, learners int) error {
	keys := slices.SortedFunc(maps.Keys(c.want), records.RegisterKey.Compare)
	scan := func(p records.RegisterPrefix, keys []records.RegisterKey) error {
		var got []records.Register
		if err := tx.Registers(p, func(r records.Register) error { got = append(got, r); return nil }); err != nil {
			return err
		}
		if len(got) != len(keys) {
			return fmt.Errorf("%d registers, want %d", len(got), len(keys))
		}
		for i, k := range keys {
			want := c.want[k][0]
			if g := got[i]; g.Key != k || g.Version != want.Counter || g.Entry.Counter != want.Counter || g.Entry.Stub != want.Stub || !bytes.Equal(g.Entry.Envelope, want.Envelope) || !bytes.Equal(g.Entry.Body, want.Body) {
				return fmt.Errorf("register %v: version %d, want %d", k, g.Version, want.Counter)
			}
		}
		return nil
	}
	errs := []error{scan(records.RegisterPrefix{Kind: progressKind}, keys), scan(records.RegisterPrefix{Kind: progressKind + 1}, nil)}
	for l := range learners + 1 {
		learner := identity.UserID{1, byte(l)}
		own := slices.DeleteFunc(slices.Clone(keys), func(k records.RegisterKey) bool { return k.Learner != learner })
		errs = append(errs, scan(records.RegisterPrefix{Kind: progressKind, Learner: &learner}, own))
		for i := range 50 {
			k := cellKey(50*l + i)
			got, err := tx.Versions(1, k)
			var want []uint64
			for _, e := range c.want[k] {
				want = append(want, e.Counter)
			}
			if !slices.Equal(got, want) {
				err = fmt.Errorf("versions %d of %v, want %d", got, k, want)
			}
			errs = append(errs, err)
		}
		key := cellKey(50*l + 7).Key
		one := slices.DeleteFunc(own, func(k records.RegisterKey) bool { return k.Key != key })
		errs = append(errs, scan(records.RegisterPrefix{Kind: progressKind, Learner: &learner, Key: &key}, one))
	}
	return errors.Join(errs...)
}

// Rows and blocks together are what was written, whatever comes between: tidying,
// opening anew, shrinking, in transactions that are given up too.
func TestRowsAndBlocksAreOneIndex(t *testing.T) {
	t.Parallel()
	rounds, seeds := 250, uint64(3)
	if testing.Short() {
		rounds = 50
	}
	if raceDetector {
		seeds = 1
	}
	for seed := range seeds {
		c := newCells(t)
		random := rand.New(rand.NewPCG(seed, 7))
		c.PackSoon(500)
		most := 0
		for round := range rounds {
			before, counter := maps.Clone(c.want), c.counter
			for k, list := range before {
				before[k] = slices.Clone(list)
			}
			refused := random.IntN(8) == 0
			err := update(c, func(tx records.WriteTx) error {
				var errs []error
				for range random.IntN(60) {
					k := cellKey(random.IntN(600))
					body := []byte(strings.Repeat(fmt.Sprint(random.Uint64()), 1+random.IntN(3)))
					if random.IntN(40) == 0 {
						body = make([]byte, 700) // stands in the entries only
					}
					list := c.want[k]
					switch what := random.IntN(10); {
					case len(list) == 0 || what < 4:
						errs = append(errs, c.put(tx, k, body, random.IntN(5)/3))
					case what < 6+round/50%2*3: // at times more goes than comes
						errs = append(errs, c.remove(tx, k, random.IntN(len(list))))
					default:
						errs = append(errs, c.change(tx, k, random.IntN(len(list)), body))
					}
				}
				if random.IntN(4) == 0 {
					errs = append(errs, c.compare(tx, 12))
				}
				if refused {
					errs = append(errs, errStop)
				}
				return errors.Join(errs...)
			})
			if refused && errors.Is(err, errStop) && err.Error() == errStop.Error() {
				c.want, c.counter, err = before, counter, nil
			}
			if err != nil {
				t.Fatalf("seed %d, round %d: %v", seed, round, err)
			}
			switch random.IntN(12) {
			case 0, 1:
				if _, err := c.Tidy(t.Context()); err != nil {
					t.Fatal(err)
				}
			case 2:
				tidyUp(t, c.Store)
			case 3:
				if err := c.Shrink(t.Context()); err != nil {
					t.Fatal(err)
				}
			case 4:
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				c.Store = open(t, c.path, boltstore.Options{})
				c.PackSoon(500)
			}
			if err := c.View(t.Context(), func(tx records.Tx) error { return c.compare(tx, 12) }); err != nil {
				t.Fatalf("seed %d, round %d: %v", seed, round, err)
			}
			mustCheck(t, c.Store)
			blocks, _ := c.Rows()
			most = max(most, len(blocks))
		}
		if most < 10 {
			t.Errorf("seed %d: %d blocks at most", seed, most)
		}
		// When all goes, the blocks go.
		err := update(c, func(tx records.WriteTx) error {
			for k, list := range maps.Clone(c.want) {
				for range list {
					if err := c.remove(tx, k, 0); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 4 { // one goes on from where it stood, another takes what joining moved
			tidyUp(t, c.Store)
		}
		if blocks, rows := c.Rows(); len(blocks) != 0 || rows != 0 {
			t.Errorf("seed %d: %d blocks, %d rows of nothing", seed, len(blocks), rows)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// fill writes so many cells and packs them.
func (c *cells) fill(t testing.TB, n int) {
	t.Helper()
	err := update(c, func(tx records.WriteTx) error {
		for i := range n {
			if err := c.put(tx, cellKey(i), fmt.Appendf(nil, "body %d of %d", i, i*i), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tidyUp(t, c.Store)
}

func TestTidyPacksRegisters(t *testing.T) {
	c := newCells(t)
	defer c.Close()
	const n = 10_000
	c.fill(t, n)
	blocks, rows := c.Rows()
	inBlocks := 0
	for _, n := range blocks {
		inBlocks += n
	}
	if inBlocks != n || rows != 0 || len(blocks) > n/80 {
		t.Errorf("%d registers in %d blocks, %d rows", inBlocks, len(blocks), rows)
	}
	if few := slices.Min(blocks); few < 40 {
		t.Errorf("a block of %d registers", few)
	}
	mustCheck(t, c.Store)
	if err := c.View(t.Context(), func(tx records.Tx) error { return c.compare(tx, 20) }); err != nil {
		t.Error(err)
	}
}

// What is written again and again is not packed again and again: a block is
// written for dozens of changes at most.
func TestTidyLeavesWhatChanges(t *testing.T) {
	c := newCellsWith(t, boltstore.Options{Now: func() time.Time { return time.Time{} }})
	defer c.Close()
	c.fill(t, 2000)
	rounds := func(each int) (written int) {
		const rounds = 100
		for round := range rounds {
			err := update(c, func(tx records.WriteTx) error {
				for i := range each {
					if err := c.put(tx, cellKey(20*50+i), fmt.Appendf(nil, "changed %d", round), 0); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			before := c.Commits()
			tidyUp(t, c.Store)
			written += c.Commits() - before
		}
		return written
	}
	if n := rounds(10); n > 0 {
		t.Errorf("%d transactions for ten registers that change for ever", n)
	}
	if n := rounds(80); n == 0 || n > 100 {
		t.Errorf("%d transactions for eighty", n)
	}
	before, _ := c.Rows()
	if slices.Max(before) > 400 || len(before) > 2000/50 {
		t.Errorf("blocks of %d registers", before)
	}
}

// What was erased is in no block when the transaction has ended, nor in a row that
// stood for it.
func TestErasedTextLeavesBlocks(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(c *cells, tx records.WriteTx, k records.RegisterKey) error
		erase  func(c *cells, tx records.WriteTx, k records.RegisterKey) error
	}{
		{"as it was packed", nil, nil},
		{"superseded meanwhile", func(c *cells, tx records.WriteTx, k records.RegisterKey) error {
			return c.put(tx, k, []byte("what follows"), 1)
		}, func(c *cells, tx records.WriteTx, k records.RegisterKey) error {
			return c.change(tx, k, 1, nil)
		}},
		{"and superseded at once", nil, func(c *cells, tx records.WriteTx, k records.RegisterKey) error {
			return cmp.Or(c.change(tx, k, 0, nil), c.put(tx, k, []byte("what follows"), 0))
		}},
		{"and deleted at once", nil, func(c *cells, tx records.WriteTx, k records.RegisterKey) error {
			return cmp.Or(c.change(tx, k, 0, nil), c.remove(tx, k, 0))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCells(t)
			defer c.Close()
			const secret = "whom she told it"
			k := cellKey(33)
			do := func(f func(c *cells, tx records.WriteTx, k records.RegisterKey) error) {
				if err := update(c, func(tx records.WriteTx) error { return f(c, tx, k) }); err != nil {
					t.Fatal(err)
				}
			}
			do(func(c *cells, tx records.WriteTx, k records.RegisterKey) error {
				return c.put(tx, k, []byte(secret), 0)
			})
			c.fillOthers(t, 300, 33)
			if blocks, rows := c.Rows(); len(blocks) == 0 || rows > 0 || !c.Holds(secret) {
				t.Fatalf("%d blocks, %d rows", len(blocks), rows)
			}
			if test.before != nil {
				do(test.before)
			}
			if test.erase == nil {
				test.erase = func(c *cells, tx records.WriteTx, k records.RegisterKey) error { return c.change(tx, k, 0, nil) }
			}
			do(test.erase)
			if c.Holds(secret) {
				t.Error("the text is still there")
			}
			if err := c.View(t.Context(), func(tx records.Tx) error { return c.compare(tx, 7) }); err != nil {
				t.Error(err)
			}
			mustCheck(t, c.Store)
		})
	}
}

// However much of a learner is erased, a block is written once for it; and looked at
// once, if what is erased was superseded before.
func TestErasingMuchLooksAtBlocksOnce(t *testing.T) {
	c := newCells(t)
	defer c.Close()
	c.PackSoon(500)
	const n = 2000
	err := update(c, func(tx records.WriteTx) error {
		for i := range 2 * n {
			k := cellKey(i * 997 % n)
			if err := c.put(tx, k, fmt.Appendf(nil, "body %d", i), 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tidyUp(t, c.Store)
	if blocks, rows := c.Rows(); len(blocks) < 10 || rows > 0 {
		t.Fatalf("%d blocks, %d rows", len(blocks), rows)
	}
	for version := range 2 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := update(c, func(tx records.WriteTx) error {
			for i := range n {
				if err := c.change(tx, cellKey(i*991%n), 1-version, nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 12_000 {
			t.Errorf("version %d: %d bytes of memory for each entry that became a stub", version, each)
		}
		if err := c.View(t.Context(), func(tx records.Tx) error { return c.compare(tx, n/50) }); err != nil {
			t.Error(err)
		}
	}
	mustCheck(t, c.Store)
}

// Nor is it in a run.
func TestErasedTextLeavesRuns(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"), boltstore.Options{})
	defer s.Close()
	const secret, n, erased = "whom she told it", 1000, 500
	env := records.Envelope{Kind: eventKind, Learner: identity.UserID{1}}
	entry := func(c uint64) records.Entry {
		e := records.Entry{Counter: c, Envelope: env.Append(nil), Body: fmt.Append(nil, c)}
		if c == erased {
			e.Body = []byte(secret)
		}
		return e
	}
	err := update(s, func(tx records.WriteTx) error {
		_, err := tx.CreateBranch(records.Branch{})
		for c := uint64(1); c <= n; c++ {
			err = cmp.Or(err, tx.Put(1, entry(c), &env))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tidyUp(t, s)
	if !s.HoldsPacked(secret) {
		t.Fatal("the text is in no run")
	}
	codec, err := packing.Shared()
	if err != nil {
		t.Fatal(err)
	}
	shelf := codec.Shelf()
	if err := update(s, func(tx records.WriteTx) error { return tx.Replace(1, entry(erased).ToStub(), &env) }); err != nil {
		t.Fatal(err)
	}
	if s.HoldsPacked(secret) {
		t.Error("the text is still there")
	}
	if codec.Shelf() == shelf {
		t.Error("the run that had the text may be kept open")
	}
	stub := records.Entry{}
	err = s.View(t.Context(), func(tx records.Tx) (err error) {
		stub, err = tx.Entry(1, erased)
		stub = stub.Clone()
		return err
	})
	if all, wrong := count(s); err != nil || !stub.Stub || all != n || wrong != nil {
		t.Errorf("stub: %t, %v; %d entries, %v", stub.Stub, err, all, wrong)
	}
}

func (c *cells) fillOthers(t testing.TB, n, but int) {
	t.Helper()
	err := update(c, func(tx records.WriteTx) error {
		for i := range n {
			if i != but {
				if err := c.put(tx, cellKey(i), fmt.Appendf(nil, "body %d", i), 0); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tidyUp(t, c.Store)
}

// A block that is not whole is damage, whoever comes to it, and Check names it.
func TestDamagedBlock(t *testing.T) {
	c := newCells(t)
	c.fill(t, 100)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	var key, value []byte
	edit(t, c.path, func(tx *bolt.Tx) error {
		k, v := tx.Bucket([]byte("blocks")).Cursor().First()
		key, value = bytes.Clone(k), bytes.Clone(v)
		return nil
	})
	for name, wrong := range map[string][]byte{
		"empty":              {},
		"cut short":          value[:len(value)-1],
		"its filter only":    value[:2+int(value[1])],
		"no registers":       append([]byte{0, 0}, value[2:]...),
		"too many":           append([]byte{0xff, 0xff}, value[2:]...),
		"one too many":       append([]byte{value[0], value[1] + 1}, value[2:]...),
		"other bytes":        append(bytes.Clone(value[:len(value)-20]), make([]byte, 20)...),
		"something behind":   append(bytes.Clone(value), 1),
		"compressed noughts": append(bytes.Clone(value[:2+int(value[1])]), 0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x10, 0x00, 0x82, 0x08, 0x00, 0x00),
	} {
		edit(t, c.path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("blocks")).Put(key, wrong) })
		s := open(t, c.path, boltstore.Options{})
		err := s.View(t.Context(), func(tx records.Tx) error {
			return tx.Registers(records.RegisterPrefix{Kind: progressKind}, func(records.Register) error { return nil })
		})
		if !errors.Is(err, records.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		problems := 0
		if err := s.Check(t.Context(), func(error) { problems++ }); !errors.Is(err, records.ErrDamaged) || problems != 1 {
			t.Errorf("%s: %d problems, %v", name, problems, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// roleTidier is the writer while what it has written is packed all the time, and what
// is packed changes again.
const roleTidier = "tidier"

func init() {
	roles[roleTidier] = func(path string) error {
		return write(path, func(s *boltstore.Store) error {
			s.TidySoon()
			s.PackSoon(400)
			for {
				if _, err := s.Tidy(context.Background()); err != nil {
					return err
				}
			}
		})
	}
}

func TestKilledWhileTidying(t *testing.T) {
	t.Parallel()
	killedOften(t, roleTidier, filepath.Join(t.TempDir(), "store"), 40, 3)
}

// FuzzOpenBlock: whatever stands there is a block or damage.
func FuzzOpenBlock(f *testing.F) {
	c := newCells(f)
	c.fill(f, 40)
	if err := c.Close(); err != nil {
		f.Fatal(err)
	}
	db, err := bolt.Open(c.path, 0o600, nil)
	if err != nil {
		f.Fatal(err)
	}
	var key []byte
	err = db.View(func(tx *bolt.Tx) error {
		k, v := tx.Bucket([]byte("blocks")).Cursor().First()
		key = bytes.Clone(k)
		f.Add(bytes.Clone(v))
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if err := boltstore.OpenBlock(key, value); err != nil && !errors.Is(err, records.ErrDamaged) {
			t.Error(err)
		}
	})
}
