package exchange_test

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

func contextWithStop(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// opened is a machine whose session with a peer is open, and the peer's
// replica.
func opened(t testing.TB, codec *packing.Codec) (m *exchange.Machine, local, peer *replica) {
	w := newWorld(t, 2, 2)
	local, peer = newReplica(w, 0, w.rosters[0]), newReplica(w, 1, w.rosters[0])
	m = exchange.New(exchange.Config{
		Local: local, Peer: w.keys[1].Public(), Codec: codec, Window: wire.MinWindow,
		Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(local.roster, p, 1) },
	})
	m.Step(exchange.Started{})
	m.Step(exchange.Received{Message: &wire.Hello{
		Offer: wire.OurOffer(), Zone: w.zone, Certificate: w.certs[1], Start: peer.StartID(), Window: wire.MinWindow,
		Epoch: peer.roster.Epoch, RosterHash: peer.roster.Hash(),
	}})
	if !m.Open() {
		t.Fatalf("not open: %+v", m.Report())
	}
	return m, local, peer
}

func newCodec(t testing.TB) *packing.Codec {
	codec, err := packing.NewCodec(1)
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

// Who sends more than there is credit for is sent away: pushes that follow one
// another are not on disk yet.
func TestCreditOverrun(t *testing.T) {
	codec := newCodec(t)
	m, _, peer := opened(t, codec)
	var commits []*records.Commit
	peer.Watch(func(c exchange.Change) { commits = append(commits, c.Commit) })
	for range 10 {
		peer.write(identity.LaneDetail, records.Entry{Envelope: []byte{0}, Body: make([]byte, 16<<10)})
	}
	for i, c := range commits {
		run := wire.Run{Packed: 100 << 10, Data: []byte("not unpacked yet")}
		for _, msg := range wire.NewPush(c, []wire.Run{run}) {
			m.Step(exchange.Received{Message: msg})
		}
		if over := m.Report().Over; over != (i >= 5) {
			t.Fatalf("after %d pushes of 100 KiB: %+v", i+1, m.Report())
		}
		if err := m.Bounds(); err != nil {
			t.Fatal(err)
		}
	}
	if r := m.Report(); r.Code != wire.CodeCredit || r.Blame == "" {
		t.Errorf("%+v", r)
	}
}

// What a peer tells of logs that do not exist is not remembered for ever: what
// a session holds of it stays the same however long it goes on.
func TestMadeUpPushesAreForgotten(t *testing.T) {
	codec := newCodec(t)
	m, _, peer := opened(t, codec)
	var commit *records.Commit
	peer.Watch(func(c exchange.Change) { commit = c.Commit })
	peer.write(identity.LaneDetail, records.Entry{Envelope: []byte{0}})
	for _, test := range []struct {
		name string
		log  func(i int) identity.LogID
		most int
	}{
		{"that begin alike", func(i int) (l identity.LogID) { binary.BigEndian.PutUint32(l[20:], uint32(i)); return l }, 1000},
		{"that begin otherwise", func(i int) (l identity.LogID) { binary.BigEndian.PutUint32(l[:], uint32(i)); return l }, 3 * 2 * wire.MaxVectorRows},
	} {
		for i := range 3 * wire.MaxVectorRows {
			c := *commit
			c.Head.Log = test.log(i)
			d := *c.Difference
			d.Head = c.Head
			c.Difference, c.PreviousHash = &d, identity.Hash{1}
			for _, msg := range wire.NewPush(&c, []wire.Run{{}}) {
				m.Step(exchange.Received{Message: msg})
			}
		}
		if n := m.Remembered(); n > test.most {
			t.Errorf("logs %s: %d are remembered", test.name, n)
		}
		if r := m.Report(); r.Over {
			t.Fatalf("%+v", r)
		}
	}
	if err := m.Bounds(); err != nil {
		t.Error(err)
	}
}

// Of many zone keys at once one is stored at a time, and in the end the newest.
func TestBurstOfKeys(t *testing.T) {
	codec := newCodec(t)
	m, local, _ := opened(t, codec)
	worker := exchange.NewWorker(local, codec, exchange.NewLimits(0))
	var work []exchange.Effect
	take := func(effects []exchange.Effect) {
		for _, e := range effects {
			if _, ok := e.(exchange.AcceptKey); ok {
				work = append(work, e)
			}
		}
		if len(work) > 1 {
			t.Fatalf("%d keys are being stored at once", len(work))
		}
	}
	for n := range uint32(1000) {
		take(m.Step(exchange.Received{Message: &wire.Key{Encoded: local.key(n + 1).Encode()}}))
	}
	for len(work) > 0 {
		done, _ := worker.Do(t.Context(), work[0])
		work = nil
		take(m.Step(done))
	}
	if len(local.zoneKeys) != 2 || local.newest() != 1000 || m.Report().Over {
		t.Errorf("of 1000 keys %d were stored, up to number %d: %+v", len(local.zoneKeys), local.newest(), m.Report())
	}
}

// Of many receipts at once none is lost: each may be the last of its log.
func TestBurstOfReceipts(t *testing.T) {
	codec := newCodec(t)
	m, local, _ := opened(t, codec)
	worker := exchange.NewWorker(local, codec, exchange.NewLimits(0))
	var receipts [][]byte
	const logs = 40
	for i := range logs {
		l := identity.LogID{byte(i)}
		local.signed[l] = map[uint64]identity.Hash{1: {1}}
		local.logs[l] = &log{cert: local.certs[1]}
		r := records.IssueReceipt(local.world.coordinator, local.zone, 1, 1, []records.ReceiptItem{{Log: l, Counter: 1, Fingerprint: identity.Hash{1}}})
		receipts = append(receipts, r.Encode())
	}
	var work []exchange.Effect
	take := func(effects []exchange.Effect) {
		for _, e := range effects {
			if _, ok := e.(exchange.AcceptReceipt); ok {
				work = append(work, e)
			}
		}
	}
	for _, r := range receipts {
		take(m.Step(exchange.Received{Message: &wire.Receipt{Encoded: r}}))
	}
	if len(work) > 16 {
		t.Errorf("%d receipts are being stored at once", len(work))
	}
	for len(work) > 0 {
		e := work[0]
		work = work[1:]
		done, _ := worker.Do(t.Context(), e)
		take(m.Step(done))
	}
	for i := range logs {
		if local.Receipted(identity.LogID{byte(i)}) != 1 {
			t.Fatalf("of %d receipts, the one number %d is lost", logs, i+1)
		}
	}
}
