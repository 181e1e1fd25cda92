package exchange_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// script is a sequence of choices read from bytes.
type script struct{ left []byte }

func (s *script) next() byte {
	if len(s.left) == 0 {
		return 0
	}
	b := s.left[0]
	s.left = s.left[1:]
	return b
}

// below is a choice of n.
func (s *script) below(n int) int { return int(s.next()) % n }

func (s *script) take(n int) []byte {
	n = min(n, len(s.left))
	b := s.left[:n]
	s.left = s.left[n:]
	return b
}

// party is one side of a session as the fuzzer drives it: what it has begun and
// said waits until the script lets it happen.
type party struct {
	t       testing.TB
	node    *replica
	worker  exchange.Worker
	machine *exchange.Machine
	other   *party
	inbox   [][]byte // frames on their way to this side
	work    []exchange.Effect
	ids     map[uint64]bool
	timers  map[exchange.Timer]bool
	cost    int
	over    bool
}

// maxOutstanding bounds the operations that a machine may have begun:
// 64 handed over, 5 of reading, 16 receipts, 4 rosters, a key, one of receipts
// read.
const maxOutstanding = 91

// step tells the machine an event and checks what must hold after each.
func (p *party) step(e exchange.Event) {
	for _, effect := range p.machine.Step(e) {
		if p.over {
			p.t.Fatalf("%T after the end", effect)
		}
		switch effect := effect.(type) {
		case exchange.Send:
			frame := wire.AppendFrame(nil, effect.Message)
			if _, _, err := wire.NewReader(bytes.NewReader(frame)).Read(); err != nil || effect.Cost <= 0 {
				p.t.Fatalf("sends %T at a cost of %d, which cannot be read: %v", effect.Message, effect.Cost, err)
			}
			p.cost += effect.Cost
			p.other.inbox = append(p.other.inbox, frame)
		case exchange.SetTimer:
			if effect.After <= 0 {
				p.t.Fatalf("timer %d after %v", effect.Timer, effect.After)
			}
			p.timers[effect.Timer] = true
		case exchange.StopTimer:
			p.timers[effect.Timer] = false
		case exchange.Raise:
			if effect.Alarm.Kind == 0 {
				p.t.Fatal("an alarm about nothing")
			}
		case exchange.Close:
			p.over = true
		default:
			p.work = append(p.work, effect)
			if id := idOf(effect); id == 0 || p.ids[id] {
				p.t.Fatalf("%T has the number %d, which is not new", effect, id)
			} else {
				p.ids[id] = true
			}
		}
	}
	if r := p.machine.Report(); r.Over != p.over {
		p.t.Fatalf("over: %t, but the report says %+v", p.over, r)
	}
	if err := p.machine.Bounds(); err != nil {
		p.t.Fatal(err)
	}
	if !p.over && len(p.work) > maxOutstanding {
		p.t.Fatalf("%d operations are outstanding", len(p.work))
	}
}

func idOf(e exchange.Effect) uint64 {
	switch e := e.(type) {
	case exchange.ReadDifference:
		return e.ID
	case exchange.ReadList:
		return e.ID
	case exchange.ReadSegment:
		return e.ID
	case exchange.ReadReceipts:
		return e.ID
	case exchange.AcceptDifference:
		return e.ID
	case exchange.AcceptList:
		return e.ID
	case exchange.AcceptSegment:
		return e.ID
	case exchange.Promote:
		return e.ID
	case exchange.AcceptRoster:
		return e.ID
	case exchange.AcceptReceipt:
		return e.ID
	case exchange.AcceptKey:
		return e.ID
	}
	return 0
}

// receive gives a frame to the machine, or its error.
func (p *party) receive(frame []byte) {
	m, _, err := wire.NewReader(bytes.NewReader(frame)).Read()
	switch {
	case err == nil:
		p.step(exchange.Received{Message: m})
	case errors.Is(err, wire.ErrMessage):
		p.step(exchange.Lost{Err: err})
	}
}

// finish lets an operation happen, or fail.
func (p *party) finish(s *script) {
	if len(p.work) == 0 {
		return
	}
	i := s.below(len(p.work))
	e := p.work[i]
	p.work = append(p.work[:i:i], p.work[i+1:]...)
	done, ok := p.worker.Do(p.t.Context(), e)
	if !ok {
		p.t.Fatalf("unknown effect %T", e)
	}
	p.step(done)
}

// failures are errors of a replica that is not well.
var failures = []error{
	records.ErrStale, records.ErrGap, records.ErrStarts, records.ErrForked, records.ErrNotAdmitted, records.ErrMismatch,
	records.ErrFull, records.ErrUnknownBranch, records.ErrMoved, records.ErrLarge, records.ErrClosed, io.ErrUnexpectedEOF,
}

func (p *party) fail(s *script) {
	if len(p.work) > 0 {
		e := p.work[0]
		p.work = p.work[1:]
		p.step(exchange.Done{ID: idOf(e), Err: failures[s.below(len(failures))]})
	}
}

// play drives a session between two devices as a script says: messages are
// delivered, lost, repeated, changed and made up; operations end late, in any
// order, or fail; timers fire at any time.
func play(t testing.TB, base *world, codec *packing.Codec, limits *exchange.Limits, data []byte) *party {
	w := *base
	w.t, w.signed = t, map[identity.LogID]map[uint64]identity.Hash{}
	s := &script{data}
	options := s.next()
	var sides [2]*party
	for n := range sides {
		node := newReplica(&w, n, w.rosters[0])
		sides[n] = &party{
			t: t, node: node, worker: exchange.NewWorker(node, codec, limits),
			ids: map[uint64]bool{}, timers: map[exchange.Timer]bool{},
		}
	}
	for n, p := range sides {
		p.other = sides[1-n]
		p.machine = exchange.New(exchange.Config{
			Local: p.node, Peer: w.keys[1-n].Public(), Codec: codec, Window: wire.MinWindow, OneShot: options&(1<<n) != 0,
			Admission: func(peer identity.DevicePublic) exchange.Standing { return exchange.Judge(p.node.roster, peer, 1) },
		})
		if options&4 != 0 {
			p.machine.SumsFrom(1)
		}
		p.node.Watch(func(c exchange.Change) { p.step(exchange.Changed{Change: c}) })
	}
	write := func(p *party) {
		entries := make([]records.Entry, 1+s.below(12))
		for i := range entries {
			entries[i] = records.Entry{Envelope: []byte{byte(s.below(4))}, Body: []byte{byte(i)}}
		}
		p.node.write(identity.Lanes[s.below(3)], entries...)
	}
	for range options >> 4 {
		write(sides[s.below(2)])
	}
	for _, p := range sides {
		p.step(exchange.Started{Wall: 1})
	}
	for len(s.left) > 0 {
		choice := s.next()
		p := sides[choice&1]
		switch v := choice >> 1; {
		default: // what should happen happens mostly
			if len(p.inbox) > 0 {
				frame := p.inbox[0]
				p.inbox = p.inbox[1:]
				p.receive(frame)
			}
		case v >= 70 && v < 108:
			p.finish(s)
		case v == 122:
			p.fail(s)
		case v == 121:
			if timer := exchange.Timer(s.below(5)); p.timers[timer] {
				p.timers[timer] = false
				p.step(exchange.Fired{Timer: timer})
			}
		case v == 123: // a message is repeated
			if len(p.inbox) > 0 {
				p.receive(p.inbox[0])
			}
		case v == 124: // or lost
			if len(p.inbox) > 0 {
				p.inbox = p.inbox[1:]
			}
		case v == 125: // or changed
			if len(p.inbox) > 0 {
				frame := bytes.Clone(p.inbox[0])
				p.inbox = p.inbox[1:]
				frame[s.below(min(len(frame), 256))] ^= 1 << s.below(8)
				p.receive(frame)
			}
		case v == 126: // or overtakes another
			if len(p.inbox) > 1 {
				p.inbox[0], p.inbox[1] = p.inbox[1], p.inbox[0]
			}
		case v == 127: // or made up
			kind, payload := 1+s.below(int(wire.TypeCountersSum)), s.take(s.below(128))
			p.receive(append([]byte{byte(kind), byte(len(payload))}, payload...))
		case v >= 117 && v < 121:
			write(p)
		case v == 109:
			p.step(exchange.Compare{})
		case v >= 110 && v < 117:
			p.step(exchange.Written{Cost: p.cost})
			p.cost = 0
		case v == 108:
			p.step(exchange.Heard{})
		}
	}
	return sides[0]
}

// FuzzMachine plays scripts. The models see to it that nothing is stored that
// its author did not sign.
func FuzzMachine(f *testing.F) {
	base, codec, limits := newWorld(f, 2, 2), newCodec(f), exchange.NewLimits(0)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		play(t, base, codec, limits, data)
	})
}

func randomScript(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// The scripts do come to where records are exchanged: without mishaps both
// sides end equal, and with some there is every kind of end.
func TestScripts(t *testing.T) {
	base, codec, limits := newWorld(t, 2, 2), newCodec(t), exchange.NewLimits(0)
	ends := map[string]int{}
	received := uint64(0)
	scripts := uint64(2000)
	if raceDetector || testing.Short() { // each has one goroutine
		scripts /= 10
	}
	for seed := range scripts {
		p := play(t, base, codec, limits, randomScript(seed, 400))
		r := p.machine.Report()
		received += r.RecordsReceived
		ends[fmt.Sprint(r.Over, " ", r.Code)]++
	}
	if scripts < 2000 {
		return // as they are few, perhaps none ends in one of the ways
	}
	for _, want := range []wire.Code{wire.CodeDone, wire.CodeProtocol, wire.CodeMismatch, wire.CodeTimeout, wire.CodeFault, wire.CodeStopping} {
		if ends[fmt.Sprint(true, " ", want)] == 0 {
			t.Errorf("no session ended with %v: %v", want, ends)
		}
	}
	if received < 2000 {
		t.Errorf("%d records were exchanged in 2,000 sessions: %v", received, ends)
	}
}
