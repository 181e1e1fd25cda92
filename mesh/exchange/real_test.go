package exchange_test

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/roster"
	"github.com/classmesh/classmesh/records/storetest"
)

// answers is a kind of events. Their bodies are as long here as what is left of
// them in a stub.
var answers = records.NewKind(identity.LaneDetail, roster.ClassAny, 2)

func (w *world) realConfig(n int, store records.Store) records.Config {
	return records.Config{
		Store: store, Identity: w.keys[n], Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler),
	}
}

// realReplica is the replica of a device of the world that programs use.
func (w *world) realReplica(t *testing.T, n int, store records.Store) *records.Replica {
	r, err := records.Found(t.Context(), w.realConfig(n, store), records.Founding{Zone: w.zone, Coordinator: w.coordinator.Public(), Roster: w.rosters[0].Encode()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// Replicas as programs use them keep nothing of what a peer has altered, left
// out, moved or erased without being told to, whether it is small or large, and
// take the same records from an honest session.
func TestRealReplicasKeepNoLies(t *testing.T) {
	codec, limits := newCodec(t), exchange.NewLimits(0)
	for name, lie := range map[string]func([]records.Entry) []records.Entry{
		"altered":  alter,
		"withheld": withhold,
		"moved": func(e []records.Entry) []records.Entry {
			e[len(e)-1].Counter++
			return e
		},
		"a stub without its erasure": func(e []records.Entry) []records.Entry {
			e[0] = e[0].ToStub() // has the same leaf as the entry
			return e
		},
		"envelope of random bytes": func(e []records.Entry) []records.Entry {
			e[0].Envelope[3] ^= 0x55
			return e
		},
	} {
		for _, n := range []int{3, 6000} { // a small difference; two segments
			t.Run(fmt.Sprint(name, " of ", n), func(t *testing.T) {
				w, store := newWorld(t, 2, 2), storetest.NewMemory()
				replicas := []*records.Replica{w.realReplica(t, 0, store), w.realReplica(t, 1, storetest.NewMemory())}
				err := replicas[1].Write(t.Context(), func(d *records.Draft) error {
					for i := range n {
						if _, err := d.Put(records.Record{Kind: answers, Learner: identity.UserID{7}, Body: fmt.Appendf(nil, "answer %025d", i)}); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				l := &liar{codec: codec, times: map[string]int{}}
				tell := func(lie func(*liar, wire.Message) []wire.Message) exchange.Report {
					near, nearEnd := net.Pipe()
					farEnd, far := net.Pipe()
					var sessions []*exchange.Session
					for i, stream := range []net.Conn{near, far} {
						r := replicas[i]
						s, err := exchange.NewSession(exchange.SessionConfig{
							Config: exchange.Config{
								Peer: w.keys[1-i].Public(), Codec: codec, OneShot: true,
								Admission: func(p identity.DevicePublic) exchange.Standing { return exchange.Judge(r.Roster(), p, 1) },
							},
							Replica: r, Stream: stream, Limits: limits,
						})
						if err != nil {
							t.Fatal(err)
						}
						sessions = append(sessions, s)
					}
					relay(t, sessions[0], nearEnd, sessions[1], farEnd, func(m wire.Message) []wire.Message { return lie(l, m) })
					return sessions[0].Report()
				}
				held := func() (events int) {
					err := replicas[0].Read(t.Context(), func(v *records.View) error {
						return v.Events(identity.UserID{7}, identity.LaneDetail, func(records.EventRow) error { events++; return nil })
					})
					if err != nil {
						t.Fatal(err)
					}
					return events
				}
				check := func() {
					if _, err := records.Check(t.Context(), store, func(f records.Finding) { t.Error(f) }); err != nil {
						t.Error(err)
					}
				}
				r := tell(inRuns(lie))
				check()
				if r.Code != wire.CodeMismatch || r.Blame == "" || r.RecordsReceived != 0 || held() != 0 {
					t.Errorf("%d records are held; %+v", held(), r)
				}
				r = tell(func(_ *liar, m wire.Message) []wire.Message { return []wire.Message{m} })
				check()
				if !r.Equal || held() != n {
					t.Errorf("after an honest session %d records are held; %+v", held(), r)
				}
			})
		}
	}
}
