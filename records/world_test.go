package records_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/storetest"
)

// peer is one replica of the world.
type peer struct {
	*records.Replica
	n      int
	memory *storetest.Memory
	faulty *storetest.Faulty
	fault  storetest.Fault // of the next Update
	gone   bool

	digests  map[identity.LogID]string
	versions map[string]uint64 // newest seen version of log and register
	events   map[string]bool   // seen, log and counter
}

type world struct {
	t         testing.TB
	z         *zone
	random    *rand.Rand
	source    *lockedSource
	segment   uint64
	now       time.Time
	peers     []*peer
	authors   int // the first peers are
	logs      map[identity.LogID]*history
	transfers []*transfer
	trail     []string // what happened
	steps     map[string]int
}

// transfer is one staged transfer that is under way.
type transfer struct {
	to, from *peer
	list     *records.SegmentList
	ref      records.BranchRef
	needs    []records.Need
}

func newWorld(t testing.TB, z *zone, seed uint64, authors, peers int) *world {
	var key [32]byte
	copy(key[:], fmt.Sprint("world ", seed))
	w := &world{
		t: t, z: z, random: rand.New(rand.NewChaCha8(key)), source: &lockedSource{r: rand.NewChaCha8(key)},
		now: time.UnixMilli(1000), authors: authors, logs: map[identity.LogID]*history{}, steps: map[string]int{},
	}
	w.segment = 2 + w.random.Uint64N(7)
	for n := range peers {
		p := &peer{n: n, memory: storetest.NewMemory(), versions: map[string]uint64{}, events: map[string]bool{}, digests: map[identity.LogID]string{}}
		p.faulty = &storetest.Faulty{Store: p.memory, Next: func() (f storetest.Fault) { f, p.fault = p.fault, storetest.None; return f }}
		_, err := records.Found(t.Context(), w.config(p), records.Founding{Zone: zoneID, Coordinator: z.coordinator.Public(), Roster: z.roster})
		if err != nil {
			t.Fatal(err)
		}
		w.peers = append(w.peers, p)
		w.open(p)
		if n < authors {
			id := p.Certificate().Log(identity.LaneProgress)
			w.logs[id] = &history{log: id, segment: w.segment, heads: map[uint64]records.Head{}, rows: map[uint64][]records.Row{}}
		}
	}
	return w
}

func (w *world) config(p *peer) records.Config {
	c := w.z.config(p.n, p.faulty)
	c.Random, c.Now = w.source, func() time.Time { return w.now }
	return c
}

// open starts a peer's process, again if it ran.
func (w *world) open(p *peer) {
	w.t.Helper()
	p.faulty.Reopen()
	p.fault = storetest.None
	var err error
	if p.Replica, err = records.Open(w.t.Context(), w.config(p)); err != nil {
		w.t.Fatal(err)
	}
	p.EndSegmentsAfter(w.segment)
}

func (w *world) log(format string, args ...any) {
	w.trail = append(w.trail, fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", strings.Join(w.trail, "\n"), fmt.Sprintf(format, args...))
}

// settle deals with a fault that has come up: a process whose store is broken
// ends and starts again. It reports whether err was such a fault.
func (w *world) settle(p *peer, err error) bool {
	p.fault = storetest.None
	if errors.Is(err, records.ErrUncertain) {
		w.open(p)
	}
	return errors.Is(err, storetest.ErrInjected)
}

// write lets an author commit.
func (w *world) write(p *peer) {
	h := w.logs[p.Certificate().Log(identity.LaneProgress)]
	if h == nil {
		w.fail("%d has begun a new incarnation", p.n)
	}
	n := 1 + w.random.IntN(5)
	if w.random.IntN(12) == 0 {
		n = 20 + w.random.IntN(20)
	}
	var recs []records.Record
	for range n {
		body := fmt.Sprint("body ", w.random.IntN(1000))
		if w.random.IntN(5) == 0 {
			recs = append(recs, records.Record{Kind: note, Learner: pupil, Body: []byte(body)})
		} else {
			recs = append(recs, reg(fmt.Sprint("k", w.random.IntN(7)), body))
		}
	}
	before, process := h.last(), p.StartID()
	err := put(p.Replica, recs...)
	if err != nil && !w.settle(p, err) {
		w.fail("write: %v", err)
	}
	head, _ := p.Head(records.BranchRef{Log: h.log})
	w.log("%d writes %d to %d: %v", p.n, n, head.Counter, err)
	switch {
	case head.Counter == before && err != nil:
		return
	case head.Counter != before+uint64(n):
		w.fail("wrote %d after %d, the head is at %d: %v", n, before, head.Counter, err)
	}
	d, err := p.Difference(w.t.Context(), records.BranchRef{Log: h.log}, before, len(h.starts))
	if err != nil {
		w.fail("difference of own commit: %v", err)
	}
	w.learn(h, process, recs, d)
}

// honest reports whether an honest transfer may end with an error: something
// has moved meanwhile.
func honest(err error) bool {
	return err == nil || errors.Is(err, records.ErrStale) || errors.Is(err, records.ErrGap)
}

func (w *world) some() *peer {
	for {
		if p := w.peers[w.random.IntN(len(w.peers))]; !p.gone {
			return p
		}
	}
}

func (w *world) two() (to, from *peer) {
	for to == from {
		to, from = w.some(), w.some()
	}
	return to, from
}

// step does one thing at random and returns the peers that it touched.
func (w *world) step() []*peer {
	w.now = w.now.Add(time.Duration(w.random.IntN(20)) * time.Second)
	switch n := w.random.IntN(100); {
	case n < 14:
		p := w.peers[w.random.IntN(w.authors)]
		if p.gone {
			return nil
		}
		p.fault = w.fault()
		w.write(p)
		return []*peer{p}
	case n < 20:
		to, from := w.two()
		w.difference(to, from)
		return []*peer{to, from}
	case n < 40:
		to, from := w.two()
		w.list(to, from)
		return []*peer{to, from}
	case n < 85:
		if t := w.transfer(); t != nil {
			for range 1 + w.random.IntN(4) {
				w.take(t)
			}
			return []*peer{t.to, t.from}
		}
	case n < 92:
		if t := w.transfer(); t != nil {
			w.promote(t)
			return []*peer{t.to}
		}
	case n < 96:
		p := w.some()
		w.log("%d restarts", p.n)
		w.open(p)
		return []*peer{p}
	case n < 98:
		if len(w.transfers) > 0 {
			w.transfers = slices.Delete(w.transfers, 0, 1)
		}
	default:
		if p := w.peers[w.random.IntN(w.authors)]; w.random.IntN(6) == 0 && len(w.peers) > 3 && !p.gone {
			w.log("%d vanishes", p.n)
			p.gone = true
			w.transfers = slices.DeleteFunc(w.transfers, func(t *transfer) bool { return t.to == p || t.from == p })
		}
	}
	return nil
}

func (w *world) fault() storetest.Fault {
	if w.random.IntN(8) > 0 {
		return storetest.None
	}
	return storetest.Fault(1 + w.random.IntN(4))
}

func (w *world) transfer() *transfer {
	if len(w.transfers) == 0 {
		return nil
	}
	return w.transfers[w.random.IntN(len(w.transfers))]
}

// pick returns a log of which from has more than to.
func (w *world) pick(to, from *peer) (ref records.BranchRef, base uint64, starts int, ok bool) {
	rows := slices.Clone(from.State().Rows)
	w.random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	for _, row := range rows {
		base, starts = to.Frontier(row.BranchRef)
		if max(row.Counter, row.Staged) > base {
			return row.BranchRef, base, starts, true
		}
	}
	return ref, 0, 0, false
}

// difference gives all that from has beyond to at once.
func (w *world) difference(to, from *peer) {
	ref, base, starts, ok := w.pick(to, from)
	if !ok {
		return
	}
	if base > 0 && w.random.IntN(4) == 0 {
		base = w.random.Uint64N(base) // as one that was asked for some time ago
	}
	d, err := from.Difference(w.t.Context(), ref, base, starts)
	if errors.Is(err, records.ErrUnknownBranch) {
		return
	}
	if err != nil {
		w.fail("difference: %v", err)
	}
	lie := w.random.IntN(4) == 0 && w.lieOfDifference(d)
	to.fault = w.fault()
	err = to.AcceptDifference(w.t.Context(), d)
	w.log("%d takes difference %d to %d from %d, lie %v: %v", to.n, d.Base, d.Head.Counter, from.n, lie, err)
	w.judge(to, err, lie)
}

// list gives a segment list, the beginning of a transfer.
func (w *world) list(to, from *peer) {
	ref, base, starts, ok := w.pick(to, from)
	if !ok {
		return
	}
	l, err := from.SegmentList(w.t.Context(), ref, base, starts)
	if err != nil {
		w.fail("list: %v", err)
	}
	if w.random.IntN(6) == 0 && w.lieOfList(l) {
		to.fault = w.fault()
		_, err = to.AcceptSegmentList(w.t.Context(), l)
		w.log("%d hears a lying list of %d: %v", to.n, from.n, err)
		w.judge(to, err, true)
		return
	}
	to.fault = w.fault()
	p, err := to.AcceptSegmentList(w.t.Context(), l)
	w.log("%d takes list %d of %d rows from %d, partial %v: %v %v", to.n, l.Head.Counter, len(l.Rows), from.n, l.Held != nil, p, err)
	w.judge(to, err, false)
	if err == nil {
		w.transfers = append(w.transfers, &transfer{to, from, l, ref, p.Needs})
	}
	if len(w.transfers) > 6 {
		w.transfers = w.transfers[1:]
	}
}

// take transfers one segment, mostly one that is needed.
func (w *world) take(t *transfer) {
	if len(t.needs) == 0 {
		w.promote(t)
		return
	}
	i := 0
	if w.random.IntN(3) == 0 {
		i = w.random.IntN(len(t.needs))
	}
	need := t.needs[i]
	switch w.random.IntN(12) {
	case 0: // any, perhaps one that is held already
		need = records.Need{First: t.list.Rows[w.random.IntN(len(t.list.Rows))].First}
	case 1: // more of it, or less, than was asked for
		need.From = need.First + w.random.Uint64N(w.segment+2)
	default:
		if w.random.IntN(5) > 0 { // otherwise it will come twice
			t.needs = slices.Delete(t.needs, i, i+1)
		}
	}
	if !gives(t.list, need.First) {
		return
	}
	s, err := t.from.SegmentData(w.t.Context(), t.ref, t.list.Head.Counter, need)
	if errors.Is(err, records.ErrMoved) {
		w.log("%d: segment %v at %d has moved at %d", t.to.n, need, t.list.Head.Counter, t.from.n)
		t.needs = nil
		return
	}
	if err != nil {
		w.fail("segment: %v", err)
	}
	lie := w.random.IntN(6) == 0 && w.lieOfSegment(s)
	t.to.fault = w.fault()
	err = t.to.AcceptSegmentData(w.t.Context(), s)
	w.log("%d takes segment %v at %d from %d, lie %v: %v", t.to.n, need, t.list.Head.Counter, t.from.n, lie, err)
	partial := need.From > 0 && errors.Is(err, records.ErrMismatch)
	w.judge(t.to, err, lie || partial)
	if err == nil && !lie {
		w.visible(t.to, s)
	}
}

// gives reports whether the giver of a list has a segment.
func gives(l *records.SegmentList, first uint64) bool {
	i := slices.IndexFunc(l.Rows, func(r records.Row) bool { return r.First == first })
	return i >= 0 && (l.Held == nil || l.Held[i])
}

// promote ends a transfer, or goes on with it.
func (w *world) promote(t *transfer) {
	t.to.fault = w.fault()
	p, err := t.to.Promote(w.t.Context(), t.ref, t.list.Head.Counter)
	w.log("%d promotes %d: %v %v", t.to.n, t.list.Head.Counter, p, err)
	w.judge(t.to, err, false)
	t.needs = slices.DeleteFunc(p.Needs, func(n records.Need) bool { return !gives(t.list, n.First) })
	if len(t.needs) == 0 && !errors.Is(err, storetest.ErrInjected) {
		w.transfers = slices.DeleteFunc(w.transfers, func(o *transfer) bool { return o == t })
	}
}

// judge checks that an error is one that is to be expected, and that a call
// that was refused has changed nothing.
func (w *world) judge(to *peer, err error, lie bool) {
	w.t.Helper()
	if w.settle(to, err) || err == nil {
		w.check(to)
		return
	}
	known := honest(err)
	if lie {
		known = known || errors.Is(err, records.ErrMismatch) || errors.Is(err, records.ErrRows) || errors.Is(err, records.ErrHead) ||
			errors.Is(err, records.ErrEnvelope) || errors.Is(err, records.ErrStarts) || errors.Is(err, identity.ErrCertificate) || errors.Is(err, records.ErrNotAdmitted)
	}
	if !known || errors.Is(err, records.ErrForked) {
		w.fail("refused: %v", err)
	}
	before := to.digests
	w.check(to)
	for log, d := range to.digests {
		if before[log] != d {
			w.fail("the refused call changed\n%s\nto\n%s", before[log], d)
		}
	}
}

// visible checks that what has been stored is shown.
func (w *world) visible(p *peer, s *records.SegmentData) {
	w.check(p)
	for _, e := range s.Entries {
		env, _ := records.DecodeEnvelope(e.Envelope)
		if env.Register && p.versions[fmt.Sprint(s.Ref.Log, string(env.Key))] < e.Counter || !env.Register && !p.events[fmt.Sprint(s.Ref.Log, e.Counter)] {
			w.fail("entry %d was stored and is not shown", e.Counter)
		}
	}
}

// alter changes an entry in a way that its author did not sign.
func (w *world) alter(entries []records.Entry) []records.Entry {
	i := w.random.IntN(len(entries))
	switch w.random.IntN(5) {
	case 0:
		entries[i].Body = append(bytes.Clone(entries[i].Body), 'x')
	case 1:
		return slices.Delete(entries, i, i+1)
	case 2:
		return slices.Insert(entries, i, entries[i])
	case 3: // of another log, or of another time
		for _, h := range w.logs {
			for _, e := range h.entries {
				if e.counter == entries[i].Counter && e.entry.Envelope != nil && !bytes.Equal(e.entry.Body, entries[i].Body) {
					entries[i] = e.entry
				}
			}
		}
		fallthrough
	default:
		e := entries[i]
		e.Counter++
		if i+1 == len(entries) || entries[i+1].Counter > e.Counter {
			entries[i] = e
		} else {
			entries[i].Envelope = entries[(i+1)%len(entries)].Envelope[:4]
		}
	}
	return entries
}

func (w *world) lieOfDifference(d *records.Difference) bool {
	switch n := w.random.IntN(6); {
	case n == 0:
		d.Head.Counter++
	case n == 1 && len(d.Starts) > 0:
		d.Starts = d.Starts[1:]
	case n == 2:
		d.Firsts = append([]uint64{d.Base + 1 + w.random.Uint64N(3)}, d.Firsts...)
	case n == 3:
		d.Base += 1 + w.random.Uint64N(4)
	case len(d.Entries) > 0:
		d.Entries = w.alter(d.Entries)
	default:
		return false
	}
	return true
}

func (w *world) lieOfList(l *records.SegmentList) bool {
	l.Rows = slices.Clone(l.Rows)
	i := w.random.IntN(len(l.Rows))
	switch w.random.IntN(7) {
	case 0:
		l.Rows[i].Live++
	case 1:
		l.Rows = slices.Delete(l.Rows, i, i+1)
	case 2:
		l.Rows[i].Checksum[3]++
	case 3:
		l.Rows[i].First++
	case 4:
		l.Head.Counter++
	case 5: // signed by somebody else
		key, _ := identity.GenerateAuthorKey(w.source)
		l.Head.Sign(key)
	case 6: // an account of another author
		key, _ := identity.GenerateAuthorKey(w.source)
		l.Certificate = identity.IssueCertificate(w.z.keys[0], zoneID, key, 9)
	}
	return true
}

func (w *world) lieOfSegment(s *records.SegmentData) bool {
	switch n := w.random.IntN(6); {
	case n == 0:
		s.From = s.First + w.random.Uint64N(w.segment)
	case n == 1:
		s.First += w.segment
	case n == 2:
		s.Head += 1 + w.random.Uint64N(3)
	case len(s.Entries) > 0:
		s.Entries = w.alter(s.Entries)
	default:
		return false
	}
	return true
}

// histories is how many histories a test runs through: CLASSMESH_HISTORIES, or
// usually.
func histories(usually int) uint64 {
	if n, err := strconv.Atoi(os.Getenv("CLASSMESH_HISTORIES")); err == nil {
		usually = n
	} else if racing || testing.Short() {
		usually /= 5
	}
	return uint64(usually)
}

// firstHistory is the seed of the first: CLASSMESH_SEED, or 0.
func firstHistory() uint64 {
	n, _ := strconv.ParseUint(os.Getenv("CLASSMESH_SEED"), 10, 64)
	return n
}
