package exchange_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// The model is a replica as simple as it can be: sets of entries in maps,
// everything computed anew each time. Its segments and small differences are
// small, so that a few entries need what a real replica needs thousands for.
// Heads are not signed but marked with a keyed hash, which is faster and, in a
// test, as hard to forge.
const (
	modelSegment = 4 // counters
	modelSmall   = 5 // entries
)

func firstOf(counter uint64) uint64 { return (counter-1)/modelSegment*modelSegment + 1 }

// world is what all replicas of a model have in common: keys, rosters, and
// every head that any author ever signed.
type world struct {
	t           testing.TB
	zone        identity.ZoneID
	coordinator identity.DeviceKey
	keys        []identity.DeviceKey
	authors     []identity.AuthorKey
	certs       []identity.Certificate
	rosters     []*roster.Roster // by epoch
	random      *rand.ChaCha8    // for zone keys
	signed      map[identity.LogID]map[uint64]identity.Hash
}

func newWorld(t testing.TB, devices, listed int) *world {
	w := &world{t: t, zone: identity.ZoneID{9}, signed: map[identity.LogID]map[uint64]identity.Hash{}, random: rand.NewChaCha8([32]byte{9})}
	seed := func(role byte, n int) []byte {
		b := bytes.Repeat([]byte{role, byte(n)}, identity.SeedBytes/2)
		b[0] += byte(n>>8) << 4
		return b
	}
	w.coordinator, _ = identity.DeviceKeyFromSeed(seed(1, 0))
	r, err := roster.New(w.zone, "zone", w.coordinator.Public(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range devices {
		key, _ := identity.DeviceKeyFromSeed(seed(2, n))
		author, _ := identity.AuthorKeyFromSeed(seed(3, n))
		w.keys, w.authors = append(w.keys, key), append(w.authors, author)
		w.certs = append(w.certs, identity.IssueCertificate(key, w.zone, author, 1))
		if n < listed {
			if r, err = r.AddDevice(key.Public(), fmt.Sprint(n), roster.RoleClassroom, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.rosters = []*roster.Roster{r.Sign(w.coordinator, 1)}
	return w
}

// absent gives all replicas one log for each lane of the devices from one number
// to another, which are not there.
func (w *world) absent(from, to int, all ...*replica) {
	for n := from; n < to; n++ {
		author := newReplica(w, n, w.rosters[0])
		for _, lane := range identity.Lanes {
			author.write(lane, records.Entry{Envelope: []byte{0}, Body: []byte{byte(n)}})
		}
		for id, l := range author.logs {
			for _, r := range all {
				own := *l
				own.live = maps.Clone(l.live)
				r.logs[id] = &own
			}
		}
	}
}

// nextRoster signs another roster.
func (w *world) nextRoster(edit func(*roster.Roster) (*roster.Roster, error)) *roster.Roster {
	r, err := edit(w.rosters[len(w.rosters)-1])
	if err != nil {
		w.t.Fatal(err)
	}
	r = r.Sign(w.coordinator, 1)
	w.rosters = append(w.rosters, r)
	return r
}

// key makes a zone key.
func (w *world) key(number uint32) roster.ZoneKey {
	k, err := roster.NewZoneKey(w.random, w.coordinator, w.zone, number)
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// log is one log as a replica holds it. It survives restarts.
type log struct {
	cert   identity.Certificate
	lane   identity.Lane
	head   records.Head
	starts records.StartList
	live   map[uint64]records.Entry

	target       records.Head
	targetStarts records.StartList
	rows         []records.Row
	staged       map[uint64]records.Entry
	whole        map[uint64]bool // segments that are asked for whole
	receipted    uint64
	receipt      []byte
}

func (l *log) ref() records.BranchRef {
	h := &l.head
	if h.IsZero() {
		h = &l.target
	}
	return records.BranchRef{Log: l.cert.Log(l.lane), Start: h.Start()}
}

// replica is the model of one device.
type replica struct {
	*world
	n        int
	start    identity.StartID
	starts   int // of the process
	roster   *roster.Roster
	encoded  []byte
	zoneKeys []roster.ZoneKey // the newest first
	logs     map[identity.LogID]*log
	watchers map[int]func(exchange.Change)
	watched  int
	partial  func() bool // whether to ask for a segment from a counter on
	full     bool
}

func newReplica(w *world, n int, r *roster.Roster) *replica {
	m := &replica{world: w, n: n, roster: r, encoded: r.Encode(), logs: map[identity.LogID]*log{}, partial: func() bool { return true }}
	m.restart()
	return m
}

// restart ends the process and begins another.
func (m *replica) restart() {
	m.starts++
	m.watchers = map[int]func(exchange.Change){}
	binary.BigEndian.PutUint64(m.start[:], uint64(m.n)<<32|uint64(m.starts)|0xabcd<<48)
}

func (m *replica) tell(c exchange.Change) {
	for _, id := range slices.Sorted(maps.Keys(m.watchers)) {
		m.watchers[id](c)
	}
}

func (m *replica) Watch(f func(exchange.Change)) func() {
	m.watched++
	id := m.watched
	m.watchers[id] = f
	return func() { delete(m.watchers, id) }
}

func (m *replica) Zone() identity.ZoneID             { return m.zone }
func (m *replica) Certificate() identity.Certificate { return m.certs[m.n] }
func (m *replica) StartID() identity.StartID         { return m.start }
func (m *replica) Roster() *roster.Roster            { return m.roster }
func (m *replica) RosterBytes() []byte               { return m.encoded }
func (m *replica) RosterHash() identity.Hash         { return roster.HashOf(m.encoded) }
func (m *replica) Keys() []roster.ZoneKey            { return m.zoneKeys }

func (m *replica) State() *records.State {
	s := &records.State{Zone: m.zone, Epoch: m.roster.Epoch}
	sum := sha256.New()
	fmt.Fprint(sum, s.Epoch)
	for _, id := range slices.SortedFunc(maps.Keys(m.logs), identity.LogID.Compare) {
		l := m.logs[id]
		if !l.head.IsZero() {
			sum.Write(id[:])
			binary.Write(sum, binary.BigEndian, l.head.Counter)
			sum.Write(l.head.Fingerprint[:])
		}
		s.Rows = append(s.Rows, records.VectorRow{BranchRef: l.ref(), Lane: l.lane, Counter: l.head.Counter, Staged: l.target.Counter, Receipted: l.receipted})
	}
	s.Fingerprint = identity.Hash(sum.Sum(nil))
	return s
}

func (m *replica) Frontier(ref records.BranchRef) (uint64, int) {
	if l := m.logs[ref.Log]; l != nil {
		return l.head.Counter, len(l.starts)
	}
	return 0, 0
}

func (m *replica) Relation(h *records.Head) records.Relation {
	l := m.logs[h.Log]
	if l == nil || l.head.IsZero() {
		return records.Continues
	}
	return records.Relate(h, nil, &l.head, l.starts)
}

func (m *replica) Passed(log identity.LogID, start []byte, counter uint64) bool {
	l := m.logs[log]
	if l == nil {
		return false
	}
	i := slices.IndexFunc(l.starts, func(s records.Start) bool { return bytes.HasPrefix(s.ID[:], start) })
	return i >= 0 && l.starts[i].First <= counter && (i+1 == len(l.starts) || counter < l.starts[i+1].First)
}

func (m *replica) Head(ref records.BranchRef) (records.Head, bool) {
	if l := m.logs[ref.Log]; l != nil && !l.head.IsZero() {
		return l.head, true
	}
	return records.Head{}, false
}

func (m *replica) AuthorOf(id identity.LogID) (identity.Certificate, bool) {
	if l := m.logs[id]; l != nil {
		return l.cert, true
	}
	return identity.Certificate{}, false
}

func (m *replica) HeadsOf(d identity.DeviceID) (heads []records.Head) {
	for _, id := range slices.SortedFunc(maps.Keys(m.logs), identity.LogID.Compare) {
		if l := m.logs[id]; l.cert.Device.ID() == d && !l.head.IsZero() {
			heads = append(heads, l.head)
		}
	}
	return heads
}

func (m *replica) Receipted(id identity.LogID) uint64 {
	if l := m.logs[id]; l != nil {
		return l.receipted
	}
	return 0
}

// write is what an author does: one commit of entries.
func (m *replica) write(lane identity.Lane, entries ...records.Entry) {
	cert := m.certs[m.n]
	id := cert.Log(lane)
	l := m.logs[id]
	if l == nil {
		l = &log{cert: cert, lane: lane, live: map[uint64]records.Entry{}}
		m.logs[id] = l
	}
	previous, known := l.head, len(l.starts)
	next := maps.Clone(l.live)
	counter := l.head.Counter
	if known == 0 || l.starts[known-1].ID != m.start {
		l.starts = append(l.starts[:known:known], records.Start{First: counter + 1, ID: m.start})
	}
	for i := range entries {
		counter++
		entries[i].Counter = counter
		put(next, entries[i])
	}
	h := records.Head{Log: id, Counter: counter, Fingerprint: records.Fingerprint(rowsOf(next))}
	h.SetStarts(l.starts)
	h.Signature = mark(&h)
	if m.signed[id] == nil {
		m.signed[id] = map[uint64]identity.Hash{}
	}
	m.signed[id][counter] = h.Fingerprint
	l.live, l.head = next, h
	m.committed(l, previous, known, true)
}

func put(live map[uint64]records.Entry, e records.Entry) {
	if e.Envelope[0] != 0 { // a register
		for c, old := range live {
			if c < e.Counter && bytes.Equal(old.Envelope, e.Envelope) {
				delete(live, c)
			}
		}
	}
	live[e.Counter] = e
}

// mark stands for a signature.
func mark(h *records.Head) (s identity.Signature) {
	g := *h
	g.Signature = identity.Signature{}
	sum := sha256.Sum256(append([]byte("only authors know this"), g.Encode()...))
	copy(s[:], sum[:])
	return s
}

func rowsOf(live map[uint64]records.Entry) (rows []records.Row) {
	sums := map[uint64][]byte{}
	count := map[uint64]uint32{}
	for _, c := range slices.Sorted(maps.Keys(live)) {
		e := live[c]
		first := firstOf(c)
		b := binary.BigEndian.AppendUint64(sums[first], c)
		b = append(append(append(b, e.Envelope...), 0xff), e.Body...)
		sums[first] = b
		count[first]++
	}
	for _, first := range slices.Sorted(maps.Keys(sums)) {
		rows = append(rows, records.Row{First: first, Live: count[first], Checksum: identity.Hash(sha256.Sum256(sums[first]))})
	}
	return rows
}

// committed checks what must hold of every commit, and tells of it.
func (m *replica) committed(l *log, previous records.Head, known int, own bool) {
	id := l.ref().Log
	switch {
	case m.signed[id][l.head.Counter] != l.head.Fingerprint:
		m.t.Fatalf("device %d holds %s at %d, which its author never signed", m.n, id.Short(), l.head.Counter)
	case records.Fingerprint(rowsOf(l.live)) != l.head.Fingerprint:
		m.t.Fatalf("device %d holds something else than the head of %s says", m.n, id.Short())
	case previous.Counter >= l.head.Counter:
		m.t.Fatalf("device %d went back from %d to %d", m.n, previous.Counter, l.head.Counter)
	}
	if l.target.Counter <= l.head.Counter {
		l.target, l.rows, l.staged, l.whole = records.Head{}, nil, nil, nil
	}
	c := &records.Commit{Ref: l.ref(), Own: own, Head: l.head, Lane: l.lane}
	if !previous.IsZero() {
		c.PreviousHash = previous.Hash()
	}
	d := m.difference(l, previous.Counter, known)
	if len(d.Entries) <= modelSmall {
		c.Difference = d
	}
	m.tell(exchange.Change{Commit: c})
}

func (m *replica) difference(l *log, base uint64, starts int) *records.Difference {
	starts = min(starts, len(l.starts))
	d := &records.Difference{
		Account: records.Account{Certificate: l.cert, Lane: l.lane, Head: l.head, StartsFrom: starts, Starts: l.starts[starts:]},
		Base:    base,
	}
	for _, c := range slices.Sorted(maps.Keys(l.live)) {
		if c > base {
			d.Entries = append(d.Entries, l.live[c])
			if first := firstOf(c); first > base && (len(d.Firsts) == 0 || d.Firsts[len(d.Firsts)-1] < first) {
				d.Firsts = append(d.Firsts, first)
			}
		}
	}
	return d
}

func (m *replica) Difference(_ context.Context, ref records.BranchRef, base uint64, starts int) (*records.Difference, error) {
	l := m.logs[ref.Log]
	if l == nil || l.head.IsZero() {
		return nil, records.ErrUnknownBranch
	}
	d := m.difference(l, base, starts)
	if len(d.Entries) > modelSmall {
		return nil, records.ErrLarge
	}
	return d, nil
}

func (m *replica) SegmentList(_ context.Context, ref records.BranchRef, base uint64, starts int) (*records.SegmentList, error) {
	l := m.logs[ref.Log]
	if l == nil {
		return nil, records.ErrUnknownBranch
	}
	head, all, rows := l.head, l.starts, rowsOf(l.live)
	var held []bool
	if head.Counter <= base {
		if l.target.Counter <= base {
			return nil, records.ErrUnknownBranch
		}
		head, all, rows = l.target, l.targetStarts, l.rows
		now := checksums(l)
		for _, r := range rows {
			held = append(held, now[r.First] == r.Checksum)
		}
	}
	starts = min(starts, len(all))
	return &records.SegmentList{
		Account: records.Account{Certificate: l.cert, Lane: l.lane, Head: head, StartsFrom: starts, Starts: all[starts:]},
		Rows:    rows, Held: held,
	}, nil
}

// candidate is what would be live at the target if everything stored were all.
func (l *log) candidate() map[uint64]records.Entry {
	all := maps.Clone(l.live)
	for _, c := range slices.Sorted(maps.Keys(l.staged)) {
		if c <= l.target.Counter {
			all[c] = l.staged[c]
		}
	}
	for _, c := range slices.Sorted(maps.Keys(all)) {
		put(all, all[c])
	}
	return all
}

func checksums(l *log) map[uint64]identity.Hash {
	sums := map[uint64]identity.Hash{}
	for _, r := range rowsOf(l.candidate()) {
		sums[r.First] = r.Checksum
	}
	return sums
}

func (m *replica) SegmentData(_ context.Context, ref records.BranchRef, head uint64, n records.Need) (*records.SegmentData, error) {
	l := m.logs[ref.Log]
	if l == nil {
		return nil, records.ErrUnknownBranch
	}
	live := l.live
	switch head {
	case l.head.Counter:
	case l.target.Counter:
		live = l.candidate()
	default:
		return nil, records.ErrMoved
	}
	s := &records.SegmentData{Ref: ref, Head: head, First: n.First, From: n.From}
	for _, c := range slices.Sorted(maps.Keys(live)) {
		if firstOf(c) == n.First && c >= n.From {
			s.Entries = append(s.Entries, live[c])
		}
	}
	return s, nil
}

// continued checks an account and returns the full start list of its head.
func (m *replica) continued(a *records.Account) (*log, records.StartList, error) {
	switch {
	case m.full:
		return nil, nil, records.ErrFull
	case m.roster.Admits(a.Certificate) != nil:
		return nil, nil, records.ErrNotAdmitted
	case a.Certificate.Log(a.Lane) != a.Head.Log:
		return nil, nil, fmt.Errorf("another log: %w", records.ErrHead)
	case mark(&a.Head) != a.Head.Signature:
		return nil, nil, fmt.Errorf("signature: %w", records.ErrHead)
	}
	l := m.logs[a.Head.Log]
	if l == nil {
		l = &log{cert: a.Certificate, lane: a.Lane, live: map[uint64]records.Entry{}}
	}
	if a.StartsFrom > len(l.starts) {
		return nil, nil, records.ErrStarts
	}
	starts := append(slices.Clone(l.starts[:a.StartsFrom]), a.Starts...)
	if !l.head.IsZero() {
		switch records.Relate(&a.Head, starts, &l.head, l.starts) {
		case records.Same, records.Behind:
			return nil, nil, records.ErrStale
		case records.Forked:
			return nil, nil, records.ErrForked
		case records.Unrelated:
			return nil, nil, records.ErrStarts
		}
	}
	if len(starts) != int(a.Head.StartCount) || starts.Hash() != a.Head.StartsHash {
		return nil, nil, records.ErrStarts
	}
	return l, starts, nil
}

func (m *replica) Expect(bool) *records.Expectation { return nil }

func (m *replica) AcceptDifference(_ context.Context, d *records.Difference) error {
	l, starts, err := m.continued(&d.Account)
	if err != nil {
		return err
	}
	if d.Base > l.head.Counter {
		return records.ErrGap
	}
	next := maps.Clone(l.live)
	last := d.Base
	for _, e := range d.Entries {
		if e.Counter <= last || e.Counter > d.Head.Counter || len(e.Envelope) == 0 {
			return records.ErrMismatch
		}
		if last = e.Counter; e.Counter > l.head.Counter {
			put(next, cloned(e))
		}
	}
	if records.Fingerprint(rowsOf(next)) != d.Head.Fingerprint {
		return records.ErrMismatch
	}
	m.promoteTo(l, d.Head, starts, next)
	return nil
}

func cloned(e records.Entry) records.Entry { return e.Clone() }

func (m *replica) promoteTo(l *log, h records.Head, starts records.StartList, live map[uint64]records.Entry) {
	previous, known := l.head, len(l.starts)
	l.head, l.starts, l.live = h, starts, live
	m.logs[h.Log] = l
	m.committed(l, previous, known, false)
}

func (m *replica) AcceptSegmentList(_ context.Context, s *records.SegmentList) (exchange.Plan, error) {
	l, starts, err := m.continued(&s.Account)
	if err != nil {
		return exchange.Plan{}, err
	}
	if records.Fingerprint(s.Rows) != s.Head.Fingerprint {
		return exchange.Plan{}, fmt.Errorf("list: %w", records.ErrHead)
	}
	if s.Head.Counter > l.target.Counter {
		l.target, l.targetStarts, l.rows = s.Head, starts, s.Rows
		if l.staged == nil {
			l.staged, l.whole = map[uint64]records.Entry{}, map[uint64]bool{}
		}
		m.logs[s.Head.Log] = l
	}
	return m.plan(l), nil
}

func (m *replica) plan(l *log) exchange.Plan {
	p := exchange.Plan{Target: l.target.Counter}
	now := checksums(l)
	all := l.candidate()
	complete := true // all segments above match
	for _, r := range slices.Backward(l.rows) {
		if now[r.First] == r.Checksum {
			continue
		}
		above := uint64(0) // the highest counter that is stored of it
		for c := range all {
			if firstOf(c) == r.First {
				above = max(above, c)
			}
		}
		if above == 0 || complete { // otherwise it may differ only by what others supersede
			need := records.Need{First: r.First}
			if above > 0 && !l.whole[r.First] && m.partial() {
				need.From = above + 1
			}
			p.Needs = append(p.Needs, need)
		}
		complete = false
	}
	return p
}

func (m *replica) AcceptSegmentData(_ context.Context, s *records.SegmentData) error {
	l := m.logs[s.Ref.Log]
	if m.full {
		return records.ErrFull
	}
	if l == nil || l.target.IsZero() {
		return records.ErrGap
	}
	i, ok := slices.BinarySearchFunc(l.rows, s.First, func(r records.Row, first uint64) int { return cmp.Compare(r.First, first) })
	segment := map[uint64]records.Entry{}
	for _, e := range s.Entries {
		if firstOf(e.Counter) != s.First || e.Counter > l.target.Counter || len(e.Envelope) == 0 {
			return records.ErrMismatch
		}
		segment[e.Counter] = cloned(e)
	}
	if s.From > 0 {
		for c, e := range l.candidate() {
			if firstOf(c) == s.First && c < s.From {
				segment[c] = e
			}
		}
	}
	if rows := rowsOf(segment); !ok || len(rows) != 1 || rows[0].Checksum != l.rows[i].Checksum {
		l.whole[s.First] = true
		if s.Head != l.target.Counter {
			return records.ErrGap
		}
		return records.ErrMismatch
	}
	maps.Copy(l.staged, segment)
	return nil
}

func (m *replica) Promote(_ context.Context, ref records.BranchRef, _ uint64) (exchange.Plan, error) {
	l := m.logs[ref.Log]
	if l == nil || l.target.IsZero() {
		return exchange.Plan{Done: true}, nil
	}
	if p := m.plan(l); len(p.Needs) > 0 {
		return p, nil
	}
	all := l.candidate()
	if records.Fingerprint(rowsOf(all)) != l.target.Fingerprint {
		return exchange.Plan{}, records.ErrMismatch
	}
	target := l.target.Counter
	m.promoteTo(l, l.target, l.targetStarts, all)
	return exchange.Plan{Done: true, Target: target}, nil
}

func (m *replica) AcceptRoster(_ context.Context, encoded []byte) error {
	r, err := roster.Accept(m.roster, encoded, m.coordinator.Public(), m.zone)
	if err != nil {
		return err
	}
	if r != m.roster {
		m.setRoster(r)
	}
	return nil
}

func (m *replica) setRoster(r *roster.Roster) {
	m.roster, m.encoded = r, r.Encode()
	m.tell(exchange.Change{Roster: true})
}

func (m *replica) AcceptKey(_ context.Context, encoded []byte) error {
	k, err := roster.DecodeZoneKey(encoded)
	if err == nil {
		err = k.Verify(m.world.coordinator.Public())
	}
	if err == nil && k.Zone != m.zone {
		err = roster.ErrZone
	}
	if err != nil {
		return err
	}
	for _, held := range m.zoneKeys {
		if held.Number == k.Number && held != k {
			return roster.ErrConflictingKey
		}
	}
	if len(m.zoneKeys) > 0 && k.Number <= m.zoneKeys[0].Number {
		return records.ErrStale
	}
	if m.full {
		return records.ErrFull
	}
	m.zoneKeys = append([]roster.ZoneKey{k}, m.zoneKeys...)
	m.tell(exchange.Change{Key: true})
	return nil
}

// newest is the highest number of the keys held.
func (m *replica) newest() uint32 {
	if len(m.zoneKeys) == 0 {
		return 0
	}
	return m.zoneKeys[0].Number
}

// issueReceipts is what the coordinator does.
func (m *replica) issueReceipts() {
	var items []records.ReceiptItem
	for _, l := range m.logs {
		if h := &l.head; h.Counter > l.receipted {
			items = append(items, records.ReceiptItem{Log: h.Log, Start: h.Start(), Counter: h.Counter, Fingerprint: h.Fingerprint})
		}
	}
	if len(items) > 0 {
		r := records.IssueReceipt(m.world.coordinator, m.zone, 1, 1, items)
		if err := m.AcceptReceipt(context.Background(), r.Encode()); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *replica) AcceptReceipt(_ context.Context, encoded []byte) error {
	r, err := records.DecodeReceipt(encoded)
	if err == nil {
		err = r.Verify(m.world.coordinator.Public())
	}
	if err != nil {
		return err
	}
	isNew := false
	for _, it := range r.Items {
		if m.signed[it.Log][it.Counter] != it.Fingerprint {
			return errors.New("receipt for what nobody signed")
		}
		if l := m.logs[it.Log]; l != nil && it.Counter > l.receipted {
			l.receipted, l.receipt, isNew = it.Counter, encoded, true
		}
	}
	if isNew {
		m.tell(exchange.Change{Receipt: encoded})
	}
	return nil
}

func (m *replica) Receipts(_ context.Context, beyond []exchange.Mark) (list [][]byte, err error) {
	for _, b := range beyond {
		if l := m.logs[b.Log]; l != nil && l.receipted > b.Counter {
			list = append(list, l.receipt)
		}
	}
	return list, nil
}
