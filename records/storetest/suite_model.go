package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// sampleKinds are two kinds of the lane detail, ascending.
var sampleKinds = []records.Kind{records.Kind(identity.LaneDetail)<<14 | 1, records.Kind(identity.LaneDetail)<<14 | 2}

func sampleEvent(c uint64, learner identity.UserID, body string) (records.Entry, records.Envelope) {
	env := records.Envelope{Kind: sampleKinds[1], Learner: learner, Wall: int64(c)}
	return records.Entry{Counter: c, Envelope: env.Append(nil), Body: []byte(body)}, env
}

func sampleRegister(c uint64, learner identity.UserID, key, body string) (records.Entry, records.Envelope) {
	env := records.Envelope{Kind: sampleKinds[0], Register: true, Learner: learner, Key: []byte(key), Wall: int64(c)}
	return records.Entry{Counter: c, Envelope: env.Append(nil), Body: []byte(body)}, env
}

// sampleBranch returns a branch with a head; its slot is not set.
func sampleBranch(seed byte) records.Branch {
	random := rand.NewChaCha8([32]byte{seed})
	device, err := identity.GenerateDeviceKey(random)
	if err != nil {
		panic(err) // of a source that never fails
	}
	author, err := identity.GenerateAuthorKey(random)
	if err != nil {
		panic(err)
	}
	b := records.Branch{Certificate: identity.IssueCertificate(device, identity.ZoneID{seed}, author, 1), Lane: identity.LaneDetail}
	b.Head = records.Head{Log: b.Log(), Counter: 1000 + uint64(seed), Fingerprint: identity.Hash{seed}, Clock: 7}
	b.Head.SetStarts(records.StartList{{First: 1, ID: identity.StartID{seed}}, {First: 9, ID: identity.StartID{seed, 1}}})
	b.Head.Sign(author)
	return b
}

// testModel does the same random things to the store and to a Memory, which
// must then answer everything alike, within the transaction and after it.
func testModel(x *fixture) {
	model := NewMemory()
	fill := func(tx records.WriteTx) error { x.fill(tx, 0); return nil }
	x.must(model.Update(x.Context(), fill), x.store.Update(x.Context(), fill))
	random := rand.New(rand.NewPCG(1, 1))
	for round := range modelRounds {
		seed, fails, steps := random.Uint64(), random.IntN(5) == 0, 1+random.IntN(60)
		var during [2]string
		for i, s := range []records.Store{model, x.store} {
			err := s.Update(x.Context(), func(tx records.WriteTx) error {
				r := rand.New(rand.NewPCG(seed, 0))
				for range steps {
					mutate(tx, r)
				}
				if seed%2 == 0 {
					during[i] = everything(tx)
					mutate(tx, r) // and goes on after reading
				}
				if fails {
					return errRefuse
				}
				return nil
			})
			if fails != errors.Is(err, errRefuse) || !fails && err != nil {
				x.Fatalf("round %d: %v", round, err)
			}
		}
		var after string
		x.must(model.View(x.Context(), func(tx records.Tx) error { after = everything(tx); return nil }))
		if round%15 == 14 {
			x.reopen()
		}
		for i, pair := range [][2]string{during, {after, x.everything()}} {
			if pair[0] != pair[1] {
				x.Fatalf("round %d, %v: differs from the model in %s", round, [...]string{"in the transaction", "after it"}[i], firstDifference(pair[1], pair[0]))
			}
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i, g[i], w[i])
		}
	}
	return fmt.Sprintf("length: got %d lines, want %d", len(g), len(w))
}

// fill puts three branches and some of everything into the store.
func (x *fixture) fill(tx records.WriteTx, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	for i := range byte(3) {
		if len(mustList(x, tx)) < 3 {
			_, err := tx.CreateBranch(sampleBranch(i))
			x.must(err)
		}
	}
	for range 200 {
		mutate(tx, r)
	}
}

// everything is what a View of the store now reads.
func (x *fixture) everything() (out string) {
	x.Helper()
	x.view(func(tx records.Tx) { out = everything(tx) })
	return out
}

var (
	modelKeys     = []string{"", "a", "b", "ab", "ba", "abc"}
	modelLearners = []identity.UserID{{}, {1}, {2}}
)

const modelCounters = 400

// mutate does one random thing that is the same for equal states and equal
// randomness.
func mutate(tx records.WriteTx, r *rand.Rand) {
	s, c := records.Slot(1+r.IntN(3)), uint64(1+r.IntN(modelCounters))
	pick := func() string { return modelKeys[r.IntN(len(modelKeys))] }
	body := []byte(strings.Repeat(fmt.Sprint(r.IntN(1000)), 1+r.IntN(3)*r.IntN(300)))
	learner, key, register := modelLearners[r.IntN(len(modelLearners))], pick(), r.IntN(2) == 0
	switch what := r.IntN(21); what {
	case 0, 1, 2, 3, 4, 5, 6:
		e, env := sampleEvent(c, learner, string(body))
		if register {
			e, env = sampleRegister(c, learner, key, string(body))
		}
		if err := tx.Put(s, e, &env); !errors.Is(err, records.ErrExists) {
			check(err)
		}
	case 7, 8, 9, 10, 11:
		e, err := tx.Entry(s, c)
		if errors.Is(err, records.ErrNotFound) {
			return
		}
		check(err)
		e = e.Clone()
		env, err := records.DecodeEnvelope(e.Envelope)
		check(err)
		switch {
		case what < 9:
			check(tx.Delete(s, c, &env))
		case e.Stub:
			check(tx.Replace(s, records.Entry{Counter: c, Envelope: e.Envelope, Body: body}, &env))
		default:
			check(tx.Replace(s, e.ToStub(), &env))
		}
	case 12:
		seg := records.Segment{First: c, Live: uint32(c), Bytes: uint32(len(body))}
		copy(seg.Sum[c:], body)
		seg.Checksum = seg.Sum.Checksum()
		check(tx.SetSegment(s, seg))
	case 13:
		check(tx.DeleteSegment(s, c))
	case 14:
		check(tx.SetDrop(s, c, uint64(r.IntN(3))))
	case 15:
		check(tx.AppendStarts(s, []records.Start{{First: c, ID: identity.StartID{body[0]}}}))
	case 16:
		b, err := tx.Branch(s)
		check(err)
		b.Receipted, b.Trouble = c, key
		check(tx.SetBranch(b))
	case 17:
		check(tx.SetTargetRows(s, [][]records.Row{nil, {{First: c, Live: 1}}}[r.IntN(2)]))
	case 18:
		check(tx.SetItem("table"+key, []byte(pick()), maybe(register, body)))
	case 19:
		check(tx.SetValue("name"+key, maybe(register, body)))
		check(tx.SetReceipt(identity.Hash{body[0]}, maybe(r.IntN(2) == 0, body)))
	case 20:
		putRuns(tx, r, s, c, body)
	}
}

// putRuns stores many entries at once, from a counter on, where others may have
// been; sometimes one of these is still there.
func putRuns(tx records.WriteTx, r *rand.Rand, s records.Slot, from uint64, body []byte) {
	var list []records.Entry
	var envs []records.Envelope
	for c := from; len(list) < 20+r.IntN(60); c += 1 + uint64(r.IntN(2)) {
		e, env := sampleEvent(c, modelLearners[c%3], string(body[:1+c%uint64(len(body))]))
		if c%3 == 0 {
			e, env = sampleRegister(c, modelLearners[c%3], fmt.Sprint(c), string(body[:1+c%uint64(len(body))]))
		}
		list, envs = append(list, e), append(envs, env)
	}
	spared := false
	var old []records.Entry
	check(tx.Entries(s, from, list[len(list)-1].Counter, func(e records.Entry) error {
		old = append(old, e.Clone())
		return nil
	}))
	for _, e := range old {
		if spared = spared || r.IntN(100) == 0; spared {
			continue
		}
		env, err := records.DecodeEnvelope(e.Envelope)
		check(err)
		check(tx.Delete(s, e.Counter, &env))
	}
	if err := tx.PutRuns(s, pack(list), puts(list, envs)); spared != errors.Is(err, records.ErrExists) || !spared && err != nil {
		check(fmt.Errorf("put runs where entries are: %t: %w", spared, err))
	}
}

// puts joins entries with their envelopes.
func puts(list []records.Entry, envs []records.Envelope) (joined []records.Put) {
	for i := range list {
		joined = append(joined, records.Put{Entry: list[i], Envelope: &envs[i]})
	}
	return joined
}

// pack packs entries into a few runs.
func pack(list []records.Entry) (runs []records.PackedRun) {
	codec, err := packing.Shared()
	check(err)
	for part := range slices.Chunk(list, 33) {
		runs = append(runs, codec.PackRuns(part)...)
	}
	return runs
}

// packedOf returns what stands packed in a stretch, which must be the entries
// that are stored.
func packedOf(tx records.Tx, s records.Slot, from, to uint64) (runs []records.Run) {
	count := 0
	ok, err := tx.Packed(s, from, to, func(p records.PackedRun) error {
		runs, count = append(runs, p.Run.Clone()), count+p.Count
		return nil
	})
	check(err)
	if !ok {
		return nil
	}
	codec, err := packing.Shared()
	check(err)
	list, err := codec.Unpack(runs)
	check(err)
	at := 0
	check(tx.Entries(s, from, to, func(e records.Entry) error {
		if at == len(list) || list[at].Counter != e.Counter || list[at].Stub != e.Stub ||
			string(list[at].Envelope) != string(e.Envelope) || string(list[at].Body) != string(e.Body) {
			return fmt.Errorf("the runs of branch %d do not hold entry %d", s, e.Counter)
		}
		at++
		return nil
	}))
	if at != len(list) || at != count {
		check(fmt.Errorf("the runs of branch %d hold %d entries and say %d, stored are %d", s, len(list), count, at))
	}
	return runs
}

func maybe(yes bool, b []byte) []byte {
	if yes {
		return b
	}
	return nil
}

// check panics: the store refused what the seam allows, or lost its way. The
// test that runs it ends with the message.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// everything prints whatever can be read of the samples' universe.
func everything(tx records.Tx) string {
	var out strings.Builder
	line := func(a ...any) error { fmt.Fprintln(&out, a...); return nil }
	bytes := func(name string) func(b []byte, err error) {
		return func(b []byte, err error) { line(name, string(b), errors.Is(err, records.ErrNotFound), err == nil) }
	}
	check(tx.Branches(func(b records.Branch) error { return line("branch", b) }))
	for s := range records.Slot(4) {
		starts, err := tx.Starts(s)
		check(err)
		line("starts", s, starts)
		rows, err := tx.TargetRows(s)
		line("rows", s, rows, errors.Is(err, records.ErrNotFound), err == nil)
		check(tx.Segments(s, 100, func(seg records.Segment) error {
			whole, err := tx.Segment(s, seg.First)
			check(err)
			return line("segment", s, seg.First, seg.Live, seg.Bytes, seg.Sum == records.Sum{}, whole.Sum.Checksum() == seg.Checksum)
		}))
		for c := uint64(0); c <= modelCounters+1; c += 67 {
			seg, err := tx.SegmentAt(s, c)
			line("segment at", s, c, seg.First, seg.Checksum, errors.Is(err, records.ErrNotFound), err == nil)
		}
		check(tx.Entries(s, 50, modelCounters-50, func(e records.Entry) error {
			got, err := tx.Entry(s, e.Counter)
			check(err)
			return line("entry", s, e.Counter, e.Stub, e.Envelope, string(e.Body), string(got.Body) == string(e.Body))
		}))
		for c := uint64(1); c < modelCounters; c += 13 {
			packedOf(tx, s, c, c+80)
		}
		check(tx.Drops(s, 20, modelCounters-20, func(old, by uint64) error { return line("drop", s, old, by) }))
		for _, l := range modelLearners {
			for _, k := range modelKeys {
				list, err := tx.Versions(s, records.RegisterKey{Kind: sampleKinds[0], Learner: l, Key: k})
				check(err)
				line("versions", s, l[0], k, list)
			}
		}
	}
	register := func(r records.Register) error {
		return line("register", r.Key.Kind, r.Key.Learner[0], r.Key.Key, r.Slot, r.Version, r.Entry.Counter, r.Entry.Stub, r.Entry.Envelope, string(r.Entry.Body))
	}
	for _, kind := range sampleKinds {
		check(tx.Registers(records.RegisterPrefix{Kind: kind}, register))
	}
	for _, l := range modelLearners {
		check(tx.Registers(records.RegisterPrefix{Kind: sampleKinds[0], Learner: &l}, register))
		check(tx.Registers(records.RegisterPrefix{Kind: sampleKinds[0], Learner: &l, Key: &modelKeys[3]}, register))
		for _, lane := range identity.Lanes {
			check(tx.Events(l, lane, func(s records.Slot, e records.Entry) error {
				return line("event", l[0], lane, s, e.Counter, e.Stub, e.Envelope, string(e.Body))
			}))
		}
	}
	for _, k := range modelKeys {
		bytes("value " + k)(tx.Value("name" + k))
		check(tx.Items("table"+k, nil, func(key, v []byte) error { return line("item", k, string(key), string(v)) }))
		check(tx.Items("table"+k, []byte("a"), func(key, v []byte) error { return line("item a", k, string(key), string(v)) }))
	}
	for i := range byte(10) {
		bytes(fmt.Sprint("receipt ", i))(tx.Receipt(identity.Hash{'0' + i}))
	}
	return out.String()
}
