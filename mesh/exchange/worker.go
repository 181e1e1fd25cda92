package exchange

import (
	"context"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// worker carries out operations. It is safe for concurrent use.
type worker struct {
	replica Replica
	codec   *packing.Codec
	limits  *Limits
}

// expect tells the replica of what an operation will have it accept, nil if nothing.
func (w *worker) expect(e Effect) *records.Expectation {
	switch e := e.(type) {
	case AcceptDifference:
		return w.replica.Expect(wire.Size(e.Runs) > smallCharge)
	case AcceptSegment:
		return w.replica.Expect(true)
	}
	return nil
}

// do carries out an operation, of which that was expected, and returns its outcome; ok
// is false for an effect that is no operation.
func (w *worker) do(ctx context.Context, e Effect, expected *records.Expectation) (d Done, ok bool) {
	defer expected.Withdraw()
	switch e := e.(type) {
	case ReadDifference:
		d.ID = e.ID
		if d.Difference, d.Err = w.replica.Difference(ctx, e.Ref, e.Base, e.Starts); d.Err == nil {
			d.Runs, d.Records, d.Err = w.pack(e.Form, d.Difference.Entries, d.Difference.Packed)
			d.Difference.Entries, d.Difference.Packed = nil, nil
		}
	case ReadList:
		d.ID = e.ID
		d.List, d.Err = w.replica.SegmentList(ctx, e.Ref, e.Base, e.Starts)
	case ReadSegment:
		var s *records.SegmentData
		d.ID = e.ID
		if s, d.Err = w.replica.SegmentData(ctx, e.Ref, e.Head, e.Need); d.Err == nil {
			d.Runs, d.Records, d.Err = w.pack(e.Form, s.Entries, s.Packed)
		}
	case ReadReceipts:
		d.ID = e.ID
		d.Receipts, d.Err = w.replica.Receipts(ctx, e.Beyond)
	case AcceptDifference:
		d.ID = e.ID
		d.Records, d.Err = w.acceptDifference(ctx, e, expected)
	case AcceptList:
		d.ID = e.ID
		d.Plan, d.Err = w.acceptList(ctx, e)
	case AcceptSegment:
		d.ID = e.ID
		d.Records, d.Err = w.acceptSegment(ctx, e, expected)
	case Promote:
		d.ID = e.ID
		d.Plan, d.Err = w.replica.Promote(ctx, e.Ref, e.Head)
	case AcceptRoster:
		d.ID = e.ID
		d.Err = w.replica.AcceptRoster(ctx, e.Encoded)
	case AcceptReceipt:
		d.ID = e.ID
		d.Err = w.replica.AcceptReceipt(ctx, e.Encoded)
	case AcceptKey:
		d.ID = e.ID
		d.Err = w.replica.AcceptKey(ctx, e.Encoded)
	default:
		return d, false
	}
	return d, true
}

// pack returns what was read as it travels, and how many entries it is: what is
// stored packed goes as it is, if the peer can open that.
func (w *worker) pack(form Form, entries []records.Entry, packed []records.PackedRun) (runs []wire.Run, count int, err error) {
	if packed == nil {
		return form.pack(w.codec, entries), len(entries), nil
	}
	for _, p := range packed {
		if form == Rows {
			if p, err = w.codec.InRows(p); err != nil {
				return nil, 0, err
			}
		}
		runs, count = append(runs, p.Run), count+p.Count
	}
	return runs, count, nil
}

func (w *worker) acceptDifference(ctx context.Context, e AcceptDifference, expected *records.Expectation) (stored int, err error) {
	release, err := w.limits.acquire(ctx, wire.Size(e.Runs), expected.Withdraw)
	if err != nil {
		return 0, err
	}
	defer release()
	entries, packed, err := w.codec.Open(e.Runs)
	if err != nil {
		return 0, err
	}
	d, err := e.From.Difference(e.Held, entries)
	if err != nil {
		return 0, err
	}
	d.Packed, d.Expected = packed, expected
	if err := known(d.Certificate); err != nil {
		return 0, err
	}
	if err := w.replica.AcceptDifference(ctx, d); err != nil {
		return 0, err
	}
	return len(entries), nil
}

func (w *worker) acceptList(ctx context.Context, e AcceptList) (Plan, error) {
	a, err := e.Account.Account(e.Held)
	if err != nil {
		return Plan{}, err
	}
	if err := known(a.Certificate); err != nil {
		return Plan{}, err
	}
	return w.replica.AcceptSegmentList(ctx, &records.SegmentList{Account: a, Rows: e.Rows, Held: e.Present})
}

func (w *worker) acceptSegment(ctx context.Context, e AcceptSegment, expected *records.Expectation) (stored int, err error) {
	release, err := w.limits.acquire(ctx, wire.Size(e.Runs), expected.Withdraw)
	if err != nil {
		return 0, err
	}
	defer release()
	entries, packed, err := w.codec.Open(e.Runs)
	if err != nil {
		return 0, err
	}
	s := &records.SegmentData{
		Ref: e.Ref, Head: e.Head, First: e.Need.First, From: e.Need.From, Entries: entries, Packed: packed, Expected: expected,
	}
	if err := w.replica.AcceptSegmentData(ctx, s); err != nil {
		return 0, err
	}
	return len(entries), nil
}

// known reports that a message left a certificate out that is not held here:
// the starts that it left out are not either.
func known(c identity.Certificate) error {
	if c.Sequence == 0 {
		return records.ErrStarts
	}
	return nil
}
