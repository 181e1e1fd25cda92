package exchange_test

import (
	"bytes"
	"container/heap"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/roster"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run this seed of the simulator only")
	simTrace = flag.Bool("sim.trace", false, "print what happens in the simulator")
	simSeeds = flag.Int("sim.seeds", 1000, "how many seeds of the simulator to run")
)

// sim is a zone of models joined by machines, in virtual time. Everything that
// happens is decided by its seed. The last of its nodes writes nothing and may
// be removed from the zone; the one before it is admitted at some time.
type sim struct {
	t       testing.TB
	rng     *rand.Rand
	world   *world
	worker  func(exchange.Replica) exchange.Worker
	now     time.Duration
	agenda  agenda
	seq     int
	nodes   []*replica
	stay    []*replica // all but the last
	removed uint32     // number of the zone key that the last node must not get; 0: it is a member
	keyed   uint32     // number of the newest zone key
	keying  bool       // it has no roster yet
	routes  []*exchange.Routes
	life    []int // of each node: what was begun in a former life never happens
	links   map[[2]int]*simLink
	sums    int // from how many rows on vectors begin with checksums; 0: as usual
	faults  bool
	frames  int // that were sent
	seen    map[string]int
	ended   []exchange.Report
	tracing bool
}

// agenda is what will happen, by time.
type agenda []appointment

type appointment struct {
	at  time.Duration
	seq int
	do  func()
}

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(appointment)) }
func (a *agenda) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	*a = (*a)[:last]
	return x
}

// simLink is a connection: two ends, in order, until it is cut.
type simLink struct {
	ends  [2]*simEnd
	alive bool
}

type simEnd struct {
	sim     *sim
	link    *simLink
	side    int
	node    int
	machine *exchange.Machine
	timers  map[exchange.Timer]int
	stop    func()
	arrives time.Duration // of the last message on its way to the other end
	busy    int           // messages and operations on their way
}

func newSim(t testing.TB, seed uint64, codec *packing.Codec) *sim {
	s := &sim{t: t, rng: rand.New(rand.NewPCG(seed, 1)), links: map[[2]int]*simLink{}, seen: map[string]int{}, tracing: *simTrace}
	limits := exchange.NewLimits(0)
	s.worker = func(r exchange.Replica) exchange.Worker { return exchange.NewWorker(r, codec, limits) }
	n := 3 + s.rng.IntN(3)
	absent := 0 // of each fifth zone most devices are not there
	switch seed % 5 {
	case 0:
		absent = 24
	case 1, 2:
		s.sums = 1 + s.rng.IntN(4)
	}
	s.world = newWorld(t, n+1+absent, n-1)
	first := s.world.nextRoster(func(r *roster.Roster) (*roster.Roster, error) {
		return r.AddDevice(s.world.keys[n].Public(), "leaver", roster.RolePlain, 1)
	})
	s.life = make([]int, n+1)
	for i := range n + 1 {
		node := newReplica(s.world, i, first)
		node.partial = func() bool { return s.rng.IntN(2) == 0 }
		s.nodes = append(s.nodes, node)
		s.routes = append(s.routes, exchange.NewRoutes(simClock{s}))
	}
	s.stay = s.nodes[:n]
	s.world.absent(n+1, n+1+absent, s.nodes...)
	return s
}

func (s *sim) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.agenda, appointment{s.now + d, s.seq, do})
}

// simClock is the simulator's time for those who ask a clock.
type simClock struct{ s *sim }

func (c simClock) Now() time.Time { return time.Unix(0, 0).Add(c.s.now) }

func (c simClock) AfterFunc(d time.Duration, f func()) (stop func()) {
	stopped := false
	c.s.after(d, func() {
		if !stopped {
			f()
		}
	})
	return func() { stopped = true }
}

// within is a random time up to d.
func (s *sim) within(d time.Duration) time.Duration { return time.Duration(s.rng.Int64N(int64(d) + 1)) }

func (s *sim) trace(format string, args ...any) {
	if s.tracing {
		fmt.Printf("%10v %s\n", s.now, fmt.Sprintf(format, args...))
	}
}

// run lets things happen until a time, or until nothing is left.
func (s *sim) run(until time.Duration) {
	for len(s.agenda) > 0 && s.agenda[0].at <= until {
		a := heap.Pop(&s.agenda).(appointment)
		s.now = a.at
		a.do()
	}
	s.now = until
}

// connect joins two nodes that are not joined.
func (s *sim) connect(a, b int, codec *packing.Codec, oneShot bool) *simLink {
	key := [2]int{min(a, b), max(a, b)}
	if l := s.links[key]; a == b || l != nil && l.alive {
		return nil
	}
	s.trace("connect %d and %d", a, b)
	l := &simLink{alive: true}
	s.links[key] = l
	for side, n := range [2]int{a, b} {
		node, other := s.nodes[n], [2]int{b, a}[side]
		e := &simEnd{sim: s, link: l, side: side, node: n, timers: map[exchange.Timer]int{}}
		l.ends[side] = e
		e.machine = exchange.New(exchange.Config{
			Local: node, Peer: s.world.keys[other].Public(), Codec: codec, Software: "sim",
			Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(node.roster, p, 1) },
			OneShot:   oneShot && side == 0,
			Window:    wire.MinWindow,
			Routes:    s.routes[n],
			Wake:      func() { s.after(0, func() { e.step(exchange.Woken{}) }) },
		})
		if s.sums > 0 {
			e.machine.SumsFrom(s.sums)
		}
		if n%3 == 2 { // is of the former release
			e.machine.Without(wire.FeatureQuiet)
		}
		e.stop = node.Watch(func(c exchange.Change) { s.after(0, func() { e.step(exchange.Changed{Change: c}) }) })
	}
	for _, e := range l.ends {
		s.after(s.within(time.Millisecond), func() { e.step(exchange.Started{Wall: 1}) })
	}
	return l
}

// cut ends a connection without a word; what is on its way is lost.
func (s *sim) cut(l *simLink, why string) {
	if !l.alive {
		return
	}
	s.trace("cut %d and %d: %s", l.ends[0].node, l.ends[1].node, why)
	l.alive = false
	for _, e := range l.ends {
		e.stop()
		if !e.machine.Report().Over && s.stagedAnywhere() {
			s.seen["cut within a staged transfer"]++
		}
		e.machine.Step(exchange.Lost{Err: io.ErrUnexpectedEOF})
		s.note(e.machine.Report())
	}
}

func (s *sim) stagedAnywhere() bool {
	for _, n := range s.nodes {
		for _, l := range n.logs {
			if len(l.staged) > 0 {
				return true
			}
		}
	}
	return false
}

// crash ends a node's process; it begins again at once.
func (s *sim) crash(n int) {
	s.trace("crash %d", n)
	s.seen["crash"]++
	s.life[n]++
	for key, l := range s.links {
		if l.alive && (key[0] == n || key[1] == n) {
			defer s.cut(l, "crash")
		}
	}
	s.nodes[n].restart()
}

// note counts what is to happen sometimes, and what never may.
func (s *sim) note(r exchange.Report) {
	s.ended = append(s.ended, r)
	if r.Blame != "" {
		s.t.Fatalf("an honest peer was blamed: %s", r.Blame)
	}
	if r.Code == wire.CodeFault && !r.Remote {
		s.t.Fatalf("fault: %s", r.Words)
	}
	for name, n := range map[string]uint64{
		"push": r.PushesSent, "push ignored": r.PushesIgnored, "segment taken": r.SegmentsTaken,
		"list of which only some is held": r.PartialLists, "mismatch asked for again": r.Mismatches,
		"log not admitted": r.LogsRefused,
	} {
		s.seen[name] += int(n)
	}
	s.seen["end: "+r.Code.String()]++
}

// step tells an end's machine an event and sees to the effects.
func (e *simEnd) step(ev exchange.Event) {
	s := e.sim
	if !e.link.alive {
		return
	}
	effects := e.machine.Step(ev)
	if err := e.machine.Bounds(); err != nil {
		s.t.Fatal(err)
	}
	node, life := e.node, s.life[e.node]
	for _, effect := range effects {
		if s.faults && s.rng.IntN(800) == 0 {
			s.crash(node)
		} else if s.faults && s.rng.IntN(400) == 0 {
			s.cut(e.link, "at an effect")
		}
		if !e.link.alive || s.life[node] != life {
			return
		}
		switch effect := effect.(type) {
		case exchange.Send:
			e.send(effect)
		case exchange.SetTimer:
			e.timers[effect.Timer]++
			set := e.timers[effect.Timer]
			s.after(effect.After, func() {
				if e.timers[effect.Timer] == set {
					e.step(exchange.Fired{Timer: effect.Timer})
				}
			})
		case exchange.StopTimer:
			e.timers[effect.Timer]++
		case exchange.Raise:
			s.seen["alarm: "+effect.Alarm.Kind.String()]++
		case exchange.Close:
			e.closed(effect)
			return
		default:
			e.operate(effect, life)
		}
	}
}

// send puts a message on its way, behind those before it.
func (e *simEnd) send(effect exchange.Send) {
	s := e.sim
	s.frames++
	frame := wire.AppendFrame(nil, effect.Message)
	other := e.link.ends[1-e.side]
	e.arrives = max(e.arrives, s.now+time.Millisecond+s.within(20*time.Millisecond))
	s.after(s.within(time.Millisecond), func() { e.step(exchange.Written{Cost: effect.Cost}) })
	switch msg := effect.Message.(type) {
	case *wire.Key:
		e.mayTell(msg)
	case *wire.VectorSums:
		s.seen["checksums of a vector"]++
		if len(msg.Sums) > wire.MinSums {
			s.seen["checksums of a long vector"]++
		}
	case *wire.Vector:
		if msg.Full && s.sums > 0 {
			s.seen["vector in full after checksums"]++
		}
	}
	e.busy++
	s.after(e.arrives-s.now, func() {
		e.busy--
		if !e.link.alive {
			return
		}
		m, _, err := wire.NewReader(bytes.NewReader(frame)).Read()
		if err != nil {
			s.t.Fatalf("a message of an honest peer is refused: %v", err)
		}
		s.trace("%d → %d %T", e.node, other.node, m)
		other.step(exchange.Received{Message: m})
	})
}

// mayTell checks that a zone key goes to whom it may.
func (e *simEnd) mayTell(msg *wire.Key) {
	s := e.sim
	node, peer := s.nodes[e.node], e.link.ends[1-e.side].node
	k, err := roster.DecodeZoneKey(msg.Encoded)
	if err != nil {
		s.t.Fatal(err)
	}
	s.seen["zone key passed on"]++
	switch {
	case exchange.Judge(node.roster, s.world.keys[peer].Public(), 1) != exchange.Member:
		s.t.Fatalf("%d gives %v to %d, which its roster does not list", e.node, k, peer)
	case k.Number > node.roster.KeyNumber:
		s.t.Fatalf("%d gives %v to %d before its roster names it", e.node, k, peer)
	case s.removed > 0 && k.Number >= s.removed && peer == len(s.stay):
		s.t.Fatalf("%d gives %v to a device that was removed", e.node, k)
	}
}

// operate carries out an operation some time later; its outcome takes time to
// come back, and a crash may fall in between.
func (e *simEnd) operate(effect exchange.Effect, life int) {
	s := e.sim
	e.busy++
	s.after(s.within(10*time.Millisecond), func() {
		if s.life[e.node] != life {
			return
		}
		done, ok := s.worker(s.nodes[e.node]).Do(context.Background(), effect)
		if !ok {
			s.t.Fatalf("unknown effect %T", effect)
		}
		s.trace("%d did %T: %v", e.node, effect, done.Err)
		if s.faults && s.rng.IntN(800) == 0 {
			s.seen["crash between storing and knowing"]++
			s.crash(e.node)
			return
		}
		s.after(s.within(5*time.Millisecond), func() {
			e.busy--
			e.step(done)
		})
	})
}

// closed ends a connection in good order: the other end hears all that was
// sent before.
func (e *simEnd) closed(c exchange.Close) {
	s := e.sim
	s.trace("%d closes towards %d: %v %s", e.node, e.link.ends[1-e.side].node, c.Code, c.Words)
	e.stop()
	link := e.link
	s.after(max(0, e.arrives-s.now), func() {
		if link.alive {
			link.alive = false
			other := link.ends[1-e.side]
			other.stop()
			other.machine.Step(exchange.Lost{Err: io.EOF})
			s.note(e.machine.Report())
			s.note(other.machine.Report())
		}
	})
}

// write makes a random commit: heavy use of few registers, some events.
func (s *sim) write(n int) {
	lane := identity.Lanes[1+s.rng.IntN(2)]
	entries := make([]records.Entry, 1+s.rng.IntN(3))
	if s.rng.IntN(4) == 0 {
		entries = make([]records.Entry, 8+s.rng.IntN(20)) // more than is small
	}
	for i := range entries {
		key := byte(s.rng.IntN(6)) // 0: an event
		if s.rng.IntN(3) == 0 {
			key = 0
		}
		entries[i] = records.Entry{Envelope: []byte{key}, Body: []byte{byte(s.rng.Uint32()), byte(n)}}
	}
	s.trace("%d writes %d", n, len(entries))
	s.nodes[n].write(lane, entries...)
}

// trouble is one random thing that happens to the zone.
func (s *sim) trouble(codec *packing.Codec) {
	n := s.rng.IntN(len(s.nodes))
	switch s.rng.IntN(14) {
	case 0, 1, 2, 3, 4:
		s.write(s.rng.IntN(len(s.stay)))
	case 5, 6, 7, 8:
		s.connect(n, s.rng.IntN(len(s.nodes)), codec, s.rng.IntN(4) == 0)
	case 9:
		if l := s.someLink(); l != nil {
			s.cut(l, "by chance")
		}
	case 10:
		s.nodes[0].issueReceipts()
	case 11:
		if s.rng.IntN(3) == 0 {
			s.admitLast()
		} else if s.rng.IntN(3) == 0 {
			full := s.nodes[n]
			full.full = true
			s.after(s.within(5*time.Second), func() { full.full = false })
		}
	case 12:
		s.nextKey(s.rng.IntN(3) == 0)
	case 13: // word that a side lacks something, true or not
		if l := s.someLink(); l != nil {
			l.ends[s.rng.IntN(2)].step(exchange.Compare{})
		}
	}
}

// someLink is one by chance, of those that there are or were.
func (s *sim) someLink() *simLink {
	keys := slices.SortedFunc(maps.Keys(s.links), func(a, b [2]int) int { return a[0]*100 + a[1] - b[0]*100 - b[1] })
	if len(keys) == 0 {
		return nil
	}
	return s.links[keys[s.rng.IntN(len(keys))]]
}

// nextKey has the coordinator make another zone key, to remove the last node if
// that is wanted. The key is stored some time before the roster that names it.
func (s *sim) nextKey(remove bool) {
	if s.nodes[0].full || s.keying {
		return // without room there is none, and one comes after the other
	}
	s.keying = true
	if remove = remove && s.removed == 0; remove {
		s.removed = s.keyed + 1
	}
	s.keyed++
	number := s.keyed
	s.trace("zone key %d, remove %t", number, remove)
	if err := s.nodes[0].AcceptKey(context.Background(), s.world.key(number).Encode()); err != nil {
		s.t.Fatal(err)
	}
	s.after(s.within(50*time.Millisecond), func() {
		s.keying = false
		s.nodes[0].setRoster(s.world.nextRoster(func(r *roster.Roster) (*roster.Roster, error) {
			if remove {
				s.seen["device removed during the run"]++
				var err error
				if r, err = r.Revoke(s.world.keys[len(s.stay)].Public().ID()); err != nil {
					return nil, err
				}
			}
			return r.RaiseKeyNumber(number)
		}))
	})
}

// admitLast has the coordinator admit the last device, which learns of it
// first.
func (s *sim) admitLast() {
	last := len(s.stay) - 1
	key := s.world.keys[last].Public()
	if _, listed := s.world.rosters[len(s.world.rosters)-1].Device(key.ID()); listed {
		return
	}
	r := s.world.nextRoster(func(r *roster.Roster) (*roster.Roster, error) {
		return r.AddDevice(key, "last", roster.RoleClassroom, 1)
	})
	s.nodes[last].setRoster(r)
	s.seen["device admitted during the run"]++
}

// heal ends all trouble and joins the nodes by a random tree and some more.
func (s *sim) heal(codec *packing.Codec) {
	s.faults = false
	for _, n := range s.nodes {
		n.full = false
	}
	s.admitLast()
	order := s.rng.Perm(len(s.stay))
	for i := 1; i < len(order); i++ {
		for key, l := range s.links {
			if key == [2]int{min(order[i-1], order[i]), max(order[i-1], order[i])} && l.alive {
				s.cut(l, "to heal")
			}
		}
		s.connect(order[i-1], order[i], codec, false)
	}
}

func (s *sim) equal() bool {
	first := s.stay[0].State()
	for _, n := range s.stay[1:] {
		if n.State().Fingerprint != first.Fingerprint {
			return false
		}
	}
	return true
}

// checkKeys checks that every member has the newest zone key, and that who was
// removed has not.
func (s *sim) checkKeys() {
	for _, n := range s.stay {
		if n.newest() != s.keyed {
			s.t.Fatalf("device %d has zone key %d, the newest is %d", n.n, n.newest(), s.keyed)
		}
	}
	if leaver := s.nodes[len(s.stay)]; s.removed > 0 && leaver.newest() >= s.removed {
		s.t.Fatalf("the device that was removed has zone key %d", leaver.newest())
	}
}

func (s *sim) reconnect(codec *packing.Codec, order []int) {
	for i := 1; i < len(order); i++ {
		s.connect(order[i-1], order[i], codec, false)
	}
}

// simulate runs one seed.
func simulate(t testing.TB, seed uint64, codec *packing.Codec) map[string]int {
	s := newSim(t, seed, codec)
	s.nextKey(false)
	for range 3 + s.rng.IntN(6) {
		s.write(s.rng.IntN(len(s.stay)))
	}
	s.faults = true
	const storm = 4 * time.Second
	for range 60 {
		s.after(s.within(storm), func() { s.trouble(codec) })
	}
	s.run(storm)

	// Whatever happened: after healing, all hold the same within bounded time,
	// though links that were refused have to be made again.
	s.heal(codec)
	order := s.rng.Perm(len(s.stay))
	for range 10 {
		s.reconnect(codec, order)
		s.run(s.now + 30*time.Second)
	}
	if !s.equal() {
		for _, n := range s.nodes {
			t.Errorf("device %d, roster %v: %v", n.n, n.roster.Epoch, n.State().Rows)
		}
		t.Fatal("not equal 5 minutes after healing")
	}
	s.checkKeys()
	for id, l := range s.nodes[0].logs {
		n := slices.IndexFunc(s.world.certs, func(c identity.Certificate) bool { return c == l.cert })
		if n < len(s.nodes) && s.nodes[n].logs[id].head.Counter != l.head.Counter {
			t.Fatal("an acknowledged write is lost")
		}
	}
	// What is equal becomes quiet: in an hour a few comparisons, of two messages
	// each.
	s.run(s.now + 20*time.Minute)
	before, alive := s.frames, 0
	s.run(s.now + time.Hour)
	for _, l := range s.links {
		if l.alive {
			alive++
		}
	}
	if s.frames-before > 2*5*alive {
		t.Fatalf("%d messages over %d links in an hour without news", s.frames-before, alive)
	}
	for _, l := range s.links {
		if !l.alive {
			continue
		}
		for _, e := range l.ends {
			if r := e.machine.Report(); e.machine.Open() && !r.Equal {
				t.Fatalf("%d does not know that it is equal to %d", e.node, l.ends[1-e.side].node)
			}
		}
	}
	// And one record more is with everybody in no time, by push alone.
	s.write(0)
	s.run(s.now + time.Second)
	if !s.equal() {
		t.Fatal("a commit was not passed on within a second")
	}
	// So is a key, with the roster that names it.
	s.nextKey(s.rng.IntN(2) == 0)
	s.run(s.now + time.Second)
	s.checkKeys()
	return s.seen
}

func TestSimulator(t *testing.T) {
	codec, err := packing.NewCodec(1)
	if err != nil {
		t.Fatal(err)
	}
	if *simSeed != 0 {
		t.Log(simulate(t, *simSeed, codec))
		return
	}
	seeds := *simSeeds
	switch {
	case raceDetector: // each seed has one goroutine
		seeds = min(seeds, 64)
	case testing.Short():
		seeds = min(seeds, 200)
	}
	var mu sync.Mutex
	total := map[string]int{}
	const lots = 8
	t.Run("seeds", func(t *testing.T) {
		for lot := range lots {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for seed := 1 + lot; seed <= seeds; seed += lots {
					ok := false
					func() {
						defer func() {
							if !ok {
								t.Errorf("to replay: go test ./mesh/exchange -run TestSimulator -sim.seed=%d -sim.trace", seed)
							}
						}()
						seen := simulate(t, uint64(seed), codec)
						ok = true
						mu.Lock()
						defer mu.Unlock()
						for name, n := range seen {
							total[name] += n
						}
					}()
				}
			})
		}
	})
	for _, name := range []string{
		"cut within a staged transfer", "crash", "crash between storing and knowing",
		"push", "push ignored", "segment taken", "list of which only some is held",
		"mismatch asked for again", "device admitted during the run",
		"device removed during the run", "zone key passed on", "end: revoked",
		"end: done", "end: unknown", "alarm: no room",
		"checksums of a vector", "checksums of a long vector",
	} {
		if total[name] == 0 && !t.Failed() {
			t.Errorf("in %d seeds never: %s", seeds, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%8d %s", total[name], name)
	}
}
