package records_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
)

// The naive model that accepting is held by: a log is everything that its
// author ever wrote, and what is live at a counter is found by looking at all
// of it. A seeded world of replicas writes, transfers in every order, is cut,
// crashes, loses authors and hears lies; after every step, what each replica
// has stored, shows and serves is compared with the model.

// note is an event in the lane of registers, so that one log has both.
var note = records.NewKind(identity.LaneProgress, roster.ClassAny, 4)

// history is all that the author of a log ever wrote.
type history struct {
	log     identity.LogID
	segment uint64         // counters after which the author ends a segment
	entries []historyEntry // counter 1 first
	heads   map[uint64]records.Head
	starts  records.StartList
	rows    map[uint64][]records.Row // what rowsAt has found
}

type historyEntry struct {
	counter uint64
	key     string // of a register, or empty
	entry   records.Entry
	sum     records.Sum // of this entry alone
}

func (h *history) last() uint64 { return uint64(len(h.entries)) }

// liveAt returns the entries up to counter n that none up to n supersedes.
func (h *history) liveAt(n uint64) (live []*historyEntry) {
	newest := map[string]uint64{}
	for _, e := range h.entries[:n] {
		newest[e.key] = e.counter
	}
	for i := range h.entries[:n] {
		if e := &h.entries[i]; e.key == "" || newest[e.key] == e.counter {
			live = append(live, e)
		}
	}
	return live
}

// rowsAt returns the segment list at counter n.
func (h *history) rowsAt(n uint64) (rows []records.Row) {
	if rows, known := h.rows[n]; known {
		return rows
	}
	defer func() { h.rows[n] = rows }()
	var sum records.Sum
	for _, e := range h.liveAt(n) {
		first := (e.counter-1)/h.segment*h.segment + 1
		if len(rows) == 0 || rows[len(rows)-1].First != first {
			rows, sum = append(rows, records.Row{First: first}), records.Sum{}
		}
		sum.Merge(&e.sum)
		rows[len(rows)-1].Live++
		rows[len(rows)-1].Checksum = sum.Checksum()
	}
	return rows
}

// learn takes over a commit that a process of the author has made.
func (w *world) learn(h *history, process identity.StartID, recs []records.Record, d *records.Difference) {
	if d.Base != h.last() || d.Head.Counter != h.last()+uint64(len(recs)) {
		w.fail("commit from %d to %d of %d records, the model is at %d", d.Base, d.Head.Counter, len(recs), h.last())
	}
	if len(h.starts) == 0 || h.starts[len(h.starts)-1].ID != process {
		h.starts = append(h.starts, records.Start{First: h.last() + 1, ID: process})
	}
	for _, rec := range recs {
		h.entries = append(h.entries, historyEntry{counter: h.last() + 1, key: string(rec.Key)})
	}
	for _, e := range d.Entries {
		m := &h.entries[e.Counter-1]
		m.entry = e
		m.sum.Add(e.Leaf(h.log))
		if want := recs[e.Counter-d.Base-1].Body; !bytes.Equal(e.Body, want) {
			w.fail("entry %d has body %q, written was %q", e.Counter, e.Body, want)
		}
	}
	h.heads[d.Head.Counter] = d.Head
	if err := d.Head.Verify(d.Certificate.Author); err != nil {
		w.fail("%v", err)
	}
	if d.Head.Fingerprint != records.Fingerprint(h.rowsAt(h.last())) || d.Head.StartsHash != h.starts.Hash() {
		w.fail("head %d is not that of the model", d.Head.Counter)
	}
}

// check compares all that a peer has stored and shows with the model.
func (w *world) check(p *peer) {
	w.t.Helper()
	digests := map[identity.LogID]string{}
	var branches []records.Branch
	err := p.memory.View(w.t.Context(), func(tx records.Tx) error {
		return tx.Branches(func(b records.Branch) error {
			branches = append(branches, b)
			h := w.logs[b.Log()]
			if h == nil {
				return fmt.Errorf("log %v is nobody's", b.Log().Short())
			}
			d, err := w.checkBranch(tx, h, &b)
			digests[h.log] = d
			if err != nil {
				err = fmt.Errorf("log %v at %d, target %d: %w", h.log.Short(), b.Head.Counter, b.Target.Counter, err)
			}
			return err
		})
	})
	if err == nil {
		err = w.checkViews(p)
	}
	if err == nil {
		err = checkVector(p, branches)
	}
	if forks, e := p.Forks(w.t.Context()); e != nil || len(forks) > 0 {
		err = errors.Join(err, e, fmt.Errorf("%d forks of honest authors", len(forks)))
	}
	if err != nil {
		w.fail("replica %d: %v", p.n, err)
	}
	p.digests = digests
	if w.random.IntN(12) == 0 {
		w.checkServing(p)
		if err := w.checkPromoted(p); err != nil {
			w.fail("replica %d: %v", p.n, err)
		}
		if _, err := records.Check(w.t.Context(), p.memory, func(f records.Finding) { w.fail("replica %d: %v", p.n, f) }); err != nil {
			w.fail("replica %d: %v", p.n, err)
		}
	}
}

// checkVector checks that what a replica tells of its logs is what it has stored.
func checkVector(p *peer, branches []records.Branch) error {
	slices.SortFunc(branches, func(a, b records.Branch) int { return a.Log().Compare(b.Log()) })
	var rows []records.VectorRow
	heads := map[identity.DeviceID][]records.Head{}
	for _, b := range branches {
		h, start := b.Head, b.Target.Start()
		if !h.IsZero() {
			start = h.Start()
			device := b.Certificate.Device.ID()
			heads[device] = append(heads[device], h)
		} else if b.Target.IsZero() {
			continue
		}
		rows = append(rows, records.VectorRow{
			BranchRef: records.BranchRef{Log: b.Log(), Start: start}, Lane: b.Lane, Counter: h.Counter, Staged: b.Target.Counter, Receipted: b.Receipted,
		})
	}
	if got := p.State().Rows; !slices.Equal(got, rows) {
		return fmt.Errorf("the vector is %v, stored is %v", got, rows)
	}
	for device, want := range heads {
		if got := p.HeadsOf(device); !slices.EqualFunc(got, want, func(a, b records.Head) bool { return a.Hash() == b.Hash() }) {
			return fmt.Errorf("%d heads of device %v, stored are %d", len(got), device, len(want))
		}
	}
	return nil
}

// checkBranch checks one branch, and returns what may not change by itself.
func (w *world) checkBranch(tx records.Tx, h *history, b *records.Branch) (digest string, err error) {
	newest := b.Head
	if !b.Target.IsZero() {
		newest = b.Target
		rows, err := tx.TargetRows(b.Slot)
		if err != nil || !slices.Equal(rows, h.rowsAt(b.Target.Counter)) {
			return "", fmt.Errorf("segment list of the target: %v", err)
		}
		if b.Target.Counter <= b.Head.Counter {
			return "", errors.New("the target is not above the head")
		}
	} else if rows, err := tx.TargetRows(b.Slot); !errors.Is(err, records.ErrNotFound) {
		return "", fmt.Errorf("%d rows of no target: %v", len(rows), err)
	}
	for _, head := range []*records.Head{&b.Head, &b.Target} {
		if known := h.heads[head.Counter]; !head.IsZero() && !known.Equal(head) {
			return "", fmt.Errorf("head %d was never signed", head.Counter)
		}
	}
	starts, err := tx.Starts(b.Slot)
	if err != nil || !newest.IsZero() && starts.Hash() != newest.StartsHash {
		return "", fmt.Errorf("%d starts: %v", len(starts), err)
	}
	if b.Trouble != "" {
		return "", errors.New(b.Trouble)
	}

	drops := map[uint64]uint64{}
	err = tx.Drops(b.Slot, 0, ^uint64(0), func(old, by uint64) error { drops[old] = by; return nil })
	if err != nil {
		return "", err
	}
	var firsts []uint64
	err = tx.Segments(b.Slot, 0, func(s records.Segment) error { firsts = append(firsts, s.First); return nil })
	if err != nil {
		return "", err
	}
	type account struct {
		sum  records.Sum
		live uint32
	}
	accounts := map[uint64]*account{}
	for _, first := range firsts {
		accounts[first] = &account{}
	}
	versions := map[string][]uint64{}
	var promoted, kept []uint64
	err = tx.Entries(b.Slot, 0, ^uint64(0), func(e records.Entry) error {
		if e.Counter > newest.Counter {
			return fmt.Errorf("entry %d is above head and target", e.Counter)
		}
		m := &h.entries[e.Counter-1]
		if !bytes.Equal(m.entry.Envelope, e.Envelope) || !bytes.Equal(m.entry.Body, e.Body) || e.Stub {
			return fmt.Errorf("entry %d was never written like that", e.Counter)
		}
		by, dropped := drops[e.Counter]
		if dropped && (m.key == "" || by <= e.Counter || by > newest.Counter || h.entries[by-1].key != m.key) {
			return fmt.Errorf("entry %d is dropped for %d", e.Counter, by)
		}
		if m.key != "" {
			versions[m.key] = append(versions[m.key], e.Counter)
		}
		if e.Counter <= b.Head.Counter && (!dropped || by > b.Head.Counter) {
			promoted = append(promoted, e.Counter)
		}
		if !dropped || by > b.Head.Counter {
			kept = append(kept, e.Counter)
		}
		i, ok := slices.BinarySearch(firsts, e.Counter)
		if !ok {
			i--
		}
		if i < 0 {
			return fmt.Errorf("entry %d is in no segment", e.Counter)
		}
		if !dropped {
			a := accounts[firsts[i]]
			a.sum.Merge(&m.sum)
			a.live++
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	var want []uint64
	for _, e := range h.liveAt(b.Head.Counter) {
		want = append(want, e.counter)
	}
	if !slices.Equal(promoted, want) {
		return "", fmt.Errorf("promoted are %v, live are %v", promoted, want)
	}
	for key, stored := range versions {
		for i, v := range stored {
			by, dropped := drops[v]
			switch newest := i == len(stored)-1; {
			case newest == dropped:
				return "", fmt.Errorf("version %d of %s among %v, dropped %v", v, key, stored, dropped)
			case !newest && by > stored[i+1]:
				return "", fmt.Errorf("version %d of %s among %v is dropped for %d only", v, key, stored, by)
			}
		}
		slices.Reverse(stored)
		list, err := tx.Versions(b.Slot, records.RegisterKey{Kind: register, Learner: pupil, Key: key})
		if err != nil || !slices.Equal(list, stored) {
			return "", fmt.Errorf("versions of %s are %v, stored %v: %v", key, list, stored, err)
		}
	}
	for old := range drops {
		if _, err := tx.Entry(b.Slot, old); err != nil {
			return "", fmt.Errorf("entry %d is dropped and not stored", old)
		}
	}
	for _, first := range firsts {
		s, err := tx.Segment(b.Slot, first)
		if err != nil {
			return "", err
		}
		a := accounts[first]
		if s.Live != a.live || s.Sum != a.sum || s.Checksum != a.sum.Checksum() || (first-1)%w.segment != 0 {
			return "", fmt.Errorf("account of segment %d has %d live, stored are %d", first, s.Live, a.live)
		}
	}
	return fmt.Sprint("head ", b.Head.Counter, " target ", b.Target.Counter, " receipt ", b.Receipted, " kept ", kept), nil
}

// checkViews checks that pages show what was written and do not go back.
func (w *world) checkViews(p *peer) error {
	versions, events := map[string]uint64{}, map[string]bool{}
	err := p.Read(w.t.Context(), func(v *records.View) error {
		err := v.Registers(records.RegisterPrefix{Kind: register}, func(row records.RegisterRow) error {
			m := w.logs[row.Log].entries[row.Counter-1]
			if m.key != row.Key.Key || !bytes.Equal(m.entry.Body, row.Body) {
				return fmt.Errorf("%s = %q at %d was never written", row.Key.Key, row.Body, row.Counter)
			}
			versions[fmt.Sprint(row.Log, row.Key.Key)] = row.Counter
			return nil
		})
		if err != nil {
			return err
		}
		return v.Events(pupil, identity.LaneProgress, func(row records.EventRow) error {
			m := w.logs[row.Log].entries[row.Counter-1]
			if m.key != "" || !bytes.Equal(m.entry.Body, row.Body) {
				return fmt.Errorf("event %q at %d was never written", row.Body, row.Counter)
			}
			events[fmt.Sprint(row.Log, row.Counter)] = true
			return nil
		})
	})
	for k, v := range p.versions {
		if versions[k] < v {
			err = errors.Join(err, fmt.Errorf("a register has gone back from %d to %d", v, versions[k]))
		}
	}
	for k := range p.events {
		if !events[k] {
			err = errors.Join(err, errors.New("an event has gone"))
		}
	}
	p.versions, p.events = versions, events
	return err
}

// checkPromoted checks that without what is staged a replica shows what is live
// at its heads.
func (w *world) checkPromoted(p *peer) error {
	got, want := map[records.Ref]string{}, map[records.Ref]string{}
	for _, row := range p.State().Rows {
		for _, m := range w.logs[row.Log].liveAt(row.Counter) {
			want[records.Ref{Log: row.Log, Counter: m.counter}] = fmt.Sprint(m.key, "=", string(m.entry.Body))
		}
	}
	err := p.ReadPromoted(w.t.Context(), func(v *records.View) error {
		err := v.Registers(records.RegisterPrefix{Kind: register}, func(row records.RegisterRow) error {
			got[records.Ref{Log: row.Log, Counter: row.Counter}] = fmt.Sprint(row.Key.Key, "=", string(row.Body))
			return nil
		})
		if err != nil {
			return err
		}
		return v.AllEvents(func(row records.EventRow) error {
			got[records.Ref{Log: row.Log, Counter: row.Counter}] = fmt.Sprint("=", string(row.Body))
			return nil
		})
	})
	if err == nil && !maps.Equal(got, want) {
		err = fmt.Errorf("promoted records are %v, live are %v", got, want)
	}
	return err
}

// checkServing asks a copy of a peer for all that it serves; a restart makes no
// difference to that.
func (w *world) checkServing(p *peer) {
	w.t.Helper()
	c := w.config(p)
	c.Store = p.memory.Clone()
	r, err := records.Open(w.t.Context(), c)
	if err != nil {
		w.fail("%v", err)
	}
	if !slices.Equal(r.State().Rows, p.State().Rows) || r.State().Fingerprint != p.State().Fingerprint {
		w.fail("replica %d tells %v, after a restart %v", p.n, p.State().Rows, r.State().Rows)
	}
	const buckets = 8
	if anew := (&records.State{Rows: r.State().Rows}).Sums(buckets); !slices.Equal(p.State().Sums(buckets), anew) {
		w.fail("replica %d has the checksums %x of what makes %x", p.n, p.State().Sums(buckets), anew)
	}
	for _, row := range r.State().Rows {
		h := w.logs[row.Log]
		if row.Counter > 0 {
			base := w.random.Uint64N(row.Counter + 1)
			d, err := r.Difference(w.t.Context(), row.BranchRef, base, 0)
			if err != nil {
				w.fail("difference: %v", err)
			}
			w.checkServed(h, d.Entries, row.Counter, base+1, row.Counter)
		}
		for _, base := range []uint64{0, row.Counter} {
			l, err := r.SegmentList(w.t.Context(), row.BranchRef, base, 0)
			if base == row.Counter && row.Staged == 0 && errors.Is(err, records.ErrUnknownBranch) {
				continue
			}
			if err != nil || !slices.Equal(l.Rows, h.rowsAt(l.Head.Counter)) {
				w.fail("replica %d lists %v at %d of log %v: %v", p.n, l, row.Counter, h.log.Short(), err)
			}
			if l.Held == nil && l.Head.Counter != row.Counter || l.Held != nil && l.Head.Counter != row.Staged {
				w.fail("replica %d gives the list of %d, it holds %d and stages %d", p.n, l.Head.Counter, row.Counter, row.Staged)
			}
			for i, seg := range l.Rows {
				if l.Held != nil && !l.Held[i] {
					continue
				}
				s, err := r.SegmentData(w.t.Context(), row.BranchRef, l.Head.Counter, records.Need{First: seg.First})
				if err != nil {
					w.fail("segment: %v", err)
				}
				w.checkServed(h, s.Entries, l.Head.Counter, seg.First, seg.First+w.segment-1)
			}
		}
	}
}

// checkServed checks that entries are what is live from … to at n.
func (w *world) checkServed(h *history, entries []records.Entry, n, from, to uint64) {
	w.t.Helper()
	i := 0
	for _, m := range h.liveAt(n) {
		if m.counter < from || m.counter > to {
			continue
		}
		if i == len(entries) || entries[i].Counter != m.counter || !bytes.Equal(entries[i].Body, m.entry.Body) {
			w.fail("entry %d, live at %d, is not served", m.counter, n)
		}
		i++
	}
	if i < len(entries) {
		w.fail("entry %d is served and not live at %d", entries[i].Counter, n)
	}
}

// converge lets all that are left exchange, without faults, until nobody gains
// anything, and checks where that has led.
func (w *world) converge() {
	w.transfers = nil
	for round, moved := 0, true; moved; round++ {
		w.log("round %d", round)
		if round == 50 {
			w.fail("the exchange does not end")
		}
		moved = false
		for _, to := range w.peers {
			for _, from := range w.peers {
				if to != from && !to.gone && !from.gone && w.session(to, from) {
					moved = true
				}
			}
		}
	}
	for _, h := range w.logs {
		w.checkReached(h)
	}
}

// session gives to what from has beyond it, and reports whether that was
// anything.
func (w *world) session(to, from *peer) (moved bool) {
	for _, row := range from.State().Rows {
		budget := 8
		for {
			base, starts := to.Frontier(row.BranchRef)
			if max(row.Counter, row.Staged) <= base {
				break
			}
			if row.Counter > base && w.random.IntN(2) == 0 {
				d, err := from.Difference(w.t.Context(), row.BranchRef, base, starts)
				if err == nil {
					err = to.AcceptDifference(w.t.Context(), d)
				}
				if err != nil {
					w.fail("%d takes all from %d: %v", to.n, from.n, err)
				}
				moved = true
				break
			}
			l, err := from.SegmentList(w.t.Context(), row.BranchRef, base, starts)
			if err != nil {
				w.fail("list: %v", err)
			}
			before, _ := w.target(to, row.Log)
			p, err := to.AcceptSegmentList(w.t.Context(), l)
			w.log("%d takes list %d of %d rows from %d, partial %v: %v %v", to.n, l.Head.Counter, len(l.Rows), from.n, l.Held != nil, p, err)
			if err != nil {
				w.fail("list: %v", err)
			}
			if after, _ := w.target(to, row.Log); after > before {
				moved = true
			}
			for budget += 3 * len(l.Rows); !p.Done; budget-- {
				if budget == 0 {
					w.fail("the transfer does not end: %v", p)
				}
				p.Needs = slices.DeleteFunc(p.Needs, func(n records.Need) bool {
					return !gives(l, n.First)
				})
				for _, need := range p.Needs {
					s, err := from.SegmentData(w.t.Context(), row.BranchRef, l.Head.Counter, need)
					if err != nil {
						w.fail("segment: %v", err)
					}
					err = to.AcceptSegmentData(w.t.Context(), s)
					w.log("%d takes segment %v at %d from %d: %v", to.n, need, l.Head.Counter, from.n, err)
					switch {
					case err == nil:
						moved = true
						w.visible(to, s)
					case need.From == 0 || !errors.Is(err, records.ErrMismatch):
						w.fail("segment: %v", err)
					}
				}
				gained := len(p.Needs) > 0
				if p, err = to.Promote(w.t.Context(), row.BranchRef, l.Head.Counter); err != nil {
					w.fail("promote: %v", err)
				}
				w.log("%d promotes %d: %v", to.n, l.Head.Counter, p)
				moved = moved || p.Done
				if !gained && !p.Done && l.Held != nil {
					break
				}
			}
			w.check(to)
			break
		}
	}
	return moved
}

// target returns the counters of target and head of a log.
func (w *world) target(p *peer, log identity.LogID) (target, head uint64) {
	for _, row := range p.State().Rows {
		if row.Log == log {
			return row.Staged, row.Counter
		}
	}
	return 0, 0
}

// checkReached checks that all who are left hold what can be held of a log.
func (w *world) checkReached(h *history) {
	w.t.Helper()
	known, whole := uint64(0), uint64(0)
	for _, p := range w.peers {
		if !p.gone {
			target, head := w.target(p, h.log)
			known, whole = max(known, target, head), max(whole, head)
		}
	}
	if w.union(h, known) {
		whole = known
	}
	for _, p := range w.peers {
		if p.gone {
			continue
		}
		if _, head := w.target(p, h.log); head != whole {
			w.fail("replica %d stands at %d of log %v, %d can be had", p.n, head, h.log.Short(), whole)
		}
	}
}

// union reports whether each segment at counter n is held by one of those that
// are left.
func (w *world) union(h *history, n uint64) bool {
	for _, row := range h.rowsAt(n) {
		if !slices.ContainsFunc(w.peers, func(p *peer) bool { return !p.gone && w.holds(p, h, n, row.First) }) {
			return false
		}
	}
	return true
}

// holds reports whether a peer has stored all of a segment at counter n.
func (w *world) holds(p *peer, h *history, n, first uint64) bool {
	slot, err := records.Slot(0), error(nil)
	err = p.memory.View(w.t.Context(), func(tx records.Tx) error {
		err := tx.Branches(func(b records.Branch) error {
			if b.Log() == h.log {
				slot = b.Slot
			}
			return nil
		})
		for _, m := range h.liveAt(n) {
			if m.counter >= first && m.counter < first+w.segment && err == nil {
				_, err = tx.Entry(slot, m.counter)
			}
		}
		return err
	})
	return err == nil
}

func TestModel(t *testing.T) {
	z := newZone(t, 6)
	first := firstHistory()
	for seed := first; seed < first+histories(60); seed++ {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, z, seed, 2, 4+int(seed%3))
			for range 160 {
				for _, p := range w.step() {
					w.check(p)
				}
			}
			w.converge()
		})
		if !ok {
			break
		}
	}
}
