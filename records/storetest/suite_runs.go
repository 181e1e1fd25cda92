package storetest

import (
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Entries that are stored packed are read, replaced and deleted as others are.
func testPutRuns(x *fixture) {
	const n = 3000
	var list []records.Entry
	var envs []records.Envelope
	for c := uint64(11); len(list) < n; c += 1 + c%2 {
		e, env := sampleEvent(c, identity.UserID{byte(c % 5)}, fmt.Sprint("event ", c))
		if c%4 == 0 {
			e, env = sampleRegister(c, identity.UserID{byte(c % 5)}, fmt.Sprint("key ", c), fmt.Sprint("register ", c))
		}
		list, envs = append(list, e), append(envs, env)
	}
	first, last := list[0].Counter, list[n-1].Counter
	var stored []records.Entry // as it must be
	read := func(tx records.Tx) {
		x.Helper()
		var got []records.Entry
		x.must(tx.Entries(1, 0, ^uint64(0), func(e records.Entry) error { got = append(got, e.Clone()); return nil }))
		x.equal("all", got, stored)
		i := len(stored) / 3
		got = nil
		x.must(tx.Entries(1, stored[i].Counter, stored[2*i].Counter, func(e records.Entry) error { got = append(got, e.Clone()); return nil }))
		x.equal("a stretch", got, stored[i:2*i+1])
		for _, i := range []int{0, 1, i, 2 * i, len(stored) - 1} {
			e, err := tx.Entry(1, stored[i].Counter)
			x.must(err)
			x.equal("one", e, stored[i])
		}
		for _, c := range []uint64{first - 1, last + 1, stored[i].Counter + 1} {
			if !slices.ContainsFunc(stored, func(e records.Entry) bool { return e.Counter == c }) {
				_, err := tx.Entry(1, c)
				x.is(fmt.Sprint("none at ", c), err, records.ErrNotFound)
			}
		}
		events, registers := 0, 0
		for u := range byte(5) {
			x.must(tx.Events(identity.UserID{u}, identity.LaneDetail, func(records.Slot, records.Entry) error { events++; return nil }))
		}
		x.must(tx.Registers(records.RegisterPrefix{Kind: sampleKinds[0]}, func(r records.Register) error {
			registers++
			if i := slices.IndexFunc(stored, func(e records.Entry) bool { return e.Counter == r.Version }); i < 0 || string(stored[i].Body) != string(r.Entry.Body) {
				x.Errorf("register %d is not stored so", r.Version)
			}
			return nil
		}))
		x.equal("found by the indexes", events+registers, len(stored))
	}
	stored = slices.Clone(list)
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.PutRuns(1, nil, nil))
		x.must(tx.PutRuns(1, pack(list), puts(list, envs)))
	}, func(tx records.Tx) {
		read(tx)
		packedOf(tx, 1, first, last)
	})
	// Refused as a whole, wherever something stands in the way.
	x.update(func(tx records.WriteTx) {
		for _, at := range []int{0, n - 1, n / 2} {
			x.is("put again", tx.Put(1, list[at], &envs[at]), records.ErrExists)
			x.is("put runs again", tx.PutRuns(1, pack(list[at:at+1]), puts(list[at:at+1], envs[at:at+1])), records.ErrExists)
		}
		x.is("put all again", tx.PutRuns(1, pack(list), puts(list, envs)), records.ErrExists)
		read(tx)
	})
	// Most of them go, one becomes a stub, one comes back as another.
	stored = nil
	x.everywhere(func(tx records.WriteTx) {
		for i := range list {
			switch {
			case i == 5:
				x.must(tx.Replace(1, list[i].ToStub(), &envs[i]))
				stored = append(stored, list[i].ToStub())
			case i == 6:
				x.must(tx.Delete(1, list[i].Counter, &envs[i]))
				e, env := sampleEvent(list[i].Counter, identity.UserID{1}, "another")
				x.put(tx, 1, e, env)
				stored = append(stored, e)
			case i < 5 || i%7 == 0 || i > 2900:
				stored = append(stored, list[i])
			default:
				x.must(tx.Delete(1, list[i].Counter, &envs[i]))
			}
		}
		x.is("delete again", tx.Delete(1, list[8].Counter, &envs[8]), records.ErrNotFound)
	}, read)
	packed := false
	x.view(func(tx records.Tx) { packed = packedOf(tx, 1, first, last) != nil })
	if packed {
		x.Log("it was packed anew")
	}
	// Gone is gone, and there is room for others.
	x.update(func(tx records.WriteTx) {
		for _, e := range stored {
			env, err := records.DecodeEnvelope(e.Envelope)
			x.must(err, tx.Delete(1, e.Counter, &env))
		}
	})
	stored = slices.Clone(list)
	x.everywhere(func(tx records.WriteTx) {
		x.must(tx.Entries(1, 0, ^uint64(0), func(e records.Entry) error { return fmt.Errorf("entry %d is still there", e.Counter) }))
		x.must(tx.PutRuns(1, pack(list), puts(list, envs)))
	}, read)
}
