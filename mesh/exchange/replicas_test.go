package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

// Sessions between replicas as programs use them: whatever is cut, however
// busy the authors are, both sides come to hold the same.

// scores is a kind of registers.
var scores = records.NewKind(identity.LaneProgress, roster.ClassAny, 1)

// realWorld is a world of replicas as programs use them.
type realWorld struct {
	*world
	reps   []*records.Replica
	stores []*storetest.Memory
	// alarm, if set, is told what the session of a device raises.
	alarm func(n int, a exchange.Alarm)
}

func newReal(t *testing.T, n int) *realWorld {
	r := &realWorld{world: newWorld(t, n, n)}
	for i := range n {
		r.stores = append(r.stores, storetest.NewMemory())
		r.reps = append(r.reps, r.realReplica(t, i, r.stores[i]))
	}
	return r
}

// write lets a device commit events and registers with bodies of that size,
// which packing does not make smaller.
func (w *realWorld) write(t *testing.T, n, events, registers, size int) {
	t.Helper()
	err := w.reps[n].Write(context.Background(), func(d *records.Draft) error {
		for i := range events + registers {
			rec := records.Record{Kind: answers, Learner: identity.UserID{7}, Body: make([]byte, size)}
			if i >= events {
				rec.Kind, rec.Register, rec.Key = scores, true, fmt.Append(nil, "score ", i-events)
			}
			if err := d.Random(rec.Body); err != nil {
				return err
			}
			if _, err := d.Put(rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// shown is what pages of a replica show.
func (w *realWorld) shown(t *testing.T, n int) (list []string) {
	t.Helper()
	err := w.reps[n].Read(context.Background(), func(v *records.View) error {
		err := v.Registers(records.RegisterPrefix{Kind: scores}, func(r records.RegisterRow) error {
			list = append(list, fmt.Sprint(r.Log, r.Counter, r.Key, string(r.Body)))
			return nil
		})
		if err != nil {
			return err
		}
		return v.Events(identity.UserID{7}, identity.LaneDetail, func(r records.EventRow) error {
			list = append(list, fmt.Sprint(r.Log, r.Counter, string(r.Body)))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// equal checks that two devices hold and show the same, and that nothing is
// wrong with what they have stored.
func (w *realWorld) equal(t *testing.T, a, b int) {
	t.Helper()
	if w.reps[a].State().Fingerprint != w.reps[b].State().Fingerprint || !slices.Equal(w.shown(t, a), w.shown(t, b)) {
		t.Errorf("device %d holds %v\ndevice %d holds %v", a, w.reps[a].State().Rows, b, w.reps[b].State().Rows)
	}
	for _, n := range []int{a, b} {
		if _, err := records.Check(context.Background(), w.stores[n], func(f records.Finding) { t.Errorf("device %d: %v", n, f) }); err != nil {
			t.Error(err)
		}
	}
}

// cut is a stream that breaks off after so many bytes, both ways counted.
type cut struct {
	net.Conn
	left  *atomic.Int64
	wrote func() // called before each write, or nil
}

var errCut = errors.New("cut")

func (c *cut) Write(p []byte) (int, error) {
	if c.wrote != nil {
		c.wrote()
	}
	if left := c.left.Add(-int64(len(p))); left < 0 {
		n, _ := c.Conn.Write(p[:max(0, int64(len(p))+left)])
		c.Conn.Close()
		return n, errCut
	}
	return c.Conn.Write(p)
}

// session is one end of a session between two devices.
func (w *realWorld) session(t *testing.T, n, peer int, stream net.Conn, oneShot bool) *exchange.Session {
	t.Helper()
	r := w.reps[n]
	s, err := exchange.NewSession(exchange.SessionConfig{
		Config: exchange.Config{
			Peer: w.keys[peer].Public(), Codec: newCodec(t), OneShot: oneShot,
			Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(r.Roster(), p, 1) },
		},
		Replica: r, Stream: stream, Limits: exchange.NewLimits(0),
		Alarm: func(a exchange.Alarm) {
			if w.alarm != nil {
				w.alarm(n, a)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// link is a session of two devices on a stream.
type link struct {
	w     *realWorld
	ends  [2]int
	bytes int64 // after which it is cut; 0: never
	used  int64 // bytes that went through
	wrote func()
	each  [2]exchange.Report
}

// run runs the session until both ends have ended. A cut is not an error.
func (l *link) run(ctx context.Context, t *testing.T, oneShot bool) {
	t.Helper()
	var left atomic.Int64
	limit := l.bytes
	if limit == 0 {
		limit = 1 << 60
	}
	left.Store(limit)
	near, far := net.Pipe()
	var wg sync.WaitGroup
	for i, stream := range []net.Conn{near, far} {
		s := l.w.session(t, l.ends[i], l.ends[1-i], &cut{stream, &left, l.wrote}, oneShot)
		wg.Go(func() {
			defer stream.Close()
			if err := s.Run(ctx); err != nil && l.bytes == 0 {
				t.Error(err)
			}
			l.each[i] = s.Report()
		})
	}
	wg.Wait()
	l.used = min(limit, limit-left.Load())
	for _, r := range l.each {
		if r.Blame != "" || r.Mismatches > 0 && l.wrote == nil {
			t.Errorf("an honest peer was blamed: %q, %d mismatches", r.Blame, r.Mismatches)
		}
	}
}

// A first exchange of several segments each way, with small logs beside them,
// brings both sides together in one session.
func TestReplicasFirstExchange(t *testing.T) {
	w := newReal(t, 2)
	w.write(t, 0, 60, 40, 16<<10)
	w.write(t, 0, 0, 30, 16<<10) // most of the registers again
	w.write(t, 1, 5000, 3, 20)
	l := link{w: w, ends: [2]int{0, 1}}
	l.run(t.Context(), t, true)
	w.equal(t, 0, 1)
	if l.each[0].SegmentsTaken < 2 || l.each[1].SegmentsTaken < 6 || len(w.reps[0].State().Rows) != 4 {
		t.Errorf("reports %+v", l.each)
	}
}

// A session may be cut anywhere; the next goes on with the segments that are
// there.
func TestReplicasCutAnywhere(t *testing.T) {
	author := newReal(t, 2)
	author.write(t, 0, 100, 20, 16<<10)
	whole := link{w: author, ends: [2]int{0, 1}}
	whole.run(t.Context(), t, true)
	segments := whole.each[1].SegmentsTaken
	if segments < 6 {
		t.Fatalf("%d segments", segments)
	}
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	var offsets []int64
	step, drawn := int64(83), 30
	if raceDetector {
		step, drawn = 5*step, drawn/5
	}
	for n := int64(1); n < 3000; n += step { // greeting and lists
		offsets = append(offsets, n)
	}
	for range drawn {
		offsets = append(offsets, 1+random.Int64N(whole.used))
	}
	for _, at := range offsets {
		w := &realWorld{world: author.world, reps: slices.Clone(author.reps), stores: slices.Clone(author.stores)}
		w.stores[1] = storetest.NewMemory()
		w.reps[1] = w.realReplica(t, 1, w.stores[1])
		taken, sent := uint64(0), uint64(0)
		for tries := 0; w.reps[1].State().Fingerprint != w.reps[0].State().Fingerprint; tries++ {
			if tries == 2 {
				t.Fatalf("cut at %d: no end", at)
			}
			l := link{w: w, ends: [2]int{0, 1}, bytes: at}
			if tries > 0 {
				l.bytes = 0
			}
			l.run(t.Context(), t, true)
			taken += l.each[1].SegmentsTaken
			sent += l.each[0].RecordsSent
			w.shown(t, 1)
		}
		w.equal(t, 0, 1)
		if taken > segments || sent > 120+9*16 {
			t.Errorf("cut at %d: %d segments of %d, %d records of 120", at, taken, segments, sent)
		}
	}
}

// Every cut of many sessions, one after the other, brings the next further, if
// only a segment gets through, and whoever is the author of what.
func TestReplicasManyCuts(t *testing.T) {
	w := newReal(t, 2)
	for n := range 2 {
		w.write(t, n, 60, 20, 16<<10)
	}
	random := rand.New(rand.NewChaCha8([32]byte{2}))
	tries := 0
	for ; w.reps[0].State().Fingerprint != w.reps[1].State().Fingerprint; tries++ {
		if tries == 100 {
			t.Fatal("no end")
		}
		l := link{w: w, ends: [2]int{0, 1}, bytes: 200_000 + random.Int64N(400_000)}
		l.run(t.Context(), t, true)
	}
	w.equal(t, 0, 1)
	if tries < 3 {
		t.Errorf("%d sessions were enough", tries)
	}
}

// A chain of three devices passes everything on, from both ends, while the
// sessions are open: what was there before and what is written then.
func TestReplicasChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newReal(t, 3)
		w.write(t, 0, 60, 20, 16<<10)
		w.write(t, 2, 4500, 20, 20)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, ends := range [][2]int{{0, 1}, {1, 2}} {
			l := link{w: w, ends: ends}
			wg.Go(func() { l.run(ctx, t, false) })
		}
		for i := range 10 {
			w.write(t, i%3, 3, 5, 100)
			if i == 5 {
				w.write(t, 1, 40, 0, 16<<10) // too much to be pushed
			}
			synctest.Wait()
		}
		w.equal(t, 0, 1)
		w.equal(t, 1, 2)
		if rows := w.reps[1].State().Rows; len(rows) != 6 {
			t.Errorf("%d logs", len(rows))
		}
		stop()
		wg.Wait()
	})
}

// An author that commits whenever a byte goes to either side keeps nobody from
// finishing, and what it writes meanwhile arrives.
func TestReplicasBusyAuthor(t *testing.T) {
	w := newReal(t, 2)
	w.write(t, 0, 60, 40, 16<<10)
	w.write(t, 1, 40, 0, 16<<10)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var commits atomic.Int64
	first := make(chan struct{}) // closed when what there was at first is promoted
	var once sync.Once
	defer w.reps[1].Watch(func(c records.Change) {
		if c.Commit != nil && !c.Commit.Own && c.Commit.Lane == identity.LaneProgress {
			once.Do(func() { close(first) })
		}
	})()
	busy := atomic.Bool{}
	busy.Store(true)
	l := link{w: w, ends: [2]int{0, 1}, wrote: func() {
		if busy.Load() && commits.Add(1) < 4000 {
			w.write(t, 0, 0, 3, 200)
		}
	}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.run(ctx, t, false)
	}()
	select {
	case <-first:
	case <-ended:
		t.Fatal("the session has ended")
	}
	if n := commits.Load(); n >= 4000 {
		t.Errorf("the author had to stop after %d commits", n)
	}
	busy.Store(false)
	changed := make(chan struct{}, 1)
	for _, r := range w.reps {
		defer r.Watch(func(records.Change) {
			select {
			case changed <- struct{}{}:
			default:
			}
		})()
	}
	for w.reps[0].State().Fingerprint != w.reps[1].State().Fingerprint {
		select {
		case <-changed:
		case <-ended:
			t.Fatal("the session has ended")
		}
	}
	stop()
	<-ended
	w.equal(t, 0, 1)
}
