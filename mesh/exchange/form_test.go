package exchange_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
)

// answered returns entries of which columns are much shorter than rows.
func answered(n int) (list []records.Entry) {
	for i := range n {
		env := records.Envelope{Kind: answers, Learner: identity.UserID{7}, Clock: records.Clock(i), Wall: int64(i) * 1000}
		list = append(list, records.Entry{Counter: uint64(i + 1), Envelope: env.Append(nil), Body: append([]byte{0x08, byte(i & 0x7f), 0x12, 100}, strings.Repeat("0123456789", 10)...)})
	}
	return list
}

// Whoever knows columns gets them, from whoever does; everybody else gets rows, in
// pushes, in small differences and in segments.
func TestFormIsOneThatBothKnow(t *testing.T) {
	for name, without := range map[string][2]wire.Features{
		"both know":           {},
		"the leader does not": {wire.FeatureColumns, 0},
		"the other does not":  {0, wire.FeatureColumns},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, stop := openSessions(t, without)
				defer stop()
				var mu sync.Mutex
				lost := false               // pushes are
				runs := map[string][2]int{} // of each message, in rows and in columns
				p.edits(func(_ int, m wire.Message) []wire.Message {
					mu.Lock()
					defer mu.Unlock()
					count := func(name string, r wire.Run) {
						n := runs[name]
						if packing.InColumns(r) {
							n[1]++
						} else {
							n[0]++
						}
						runs[name] = n
					}
					switch m := m.(type) {
					case *wire.Push:
						count("push", m.Run)
						if lost {
							return nil
						}
					case *wire.Difference:
						count("difference", m.Run)
					case *wire.Segment:
						count("segment", m.Run)
					}
					return []wire.Message{m}
				})
				for _, side := range p.sides {
					for _, n := range []int{2, 3, 19} {
						mu.Lock()
						lost = n == 3
						mu.Unlock()
						under(side, func() int { side.write(identity.LaneDetail, answered(n)...); return 0 })
						p.during(2 * time.Minute)
					}
				}
				if !p.equal() {
					t.Error("the two are not equal")
				}
				mu.Lock()
				defer mu.Unlock()
				wrong := 1
				if without == [2]wire.Features{} {
					wrong = 0
				}
				for _, name := range []string{"push", "difference", "segment"} {
					if n := runs[name]; n[wrong] > 0 || n[1-wrong] == 0 {
						t.Errorf("runs of a %s: %d in rows, %d in columns", name, n[0], n[1])
					}
				}
			})
		})
	}
}

// stored serves a segment as a store has it.
type stored struct {
	exchange.Replica
	segment records.SegmentData
}

func (s stored) SegmentData(context.Context, records.BranchRef, uint64, records.Need) (*records.SegmentData, error) {
	d := s.segment
	return &d, nil
}

// What is stored in columns goes as it is to those who know them, and is packed anew
// for others.
func TestFormOfWhatIsStored(t *testing.T) {
	codec := newCodec(t)
	list := answered(2000)
	packed := codec.PackRuns(list)
	w := exchange.NewWorker(stored{segment: records.SegmentData{Packed: packed}}, codec, exchange.NewLimits(0))
	for form, columns := range map[exchange.Form]bool{exchange.Rows: false, exchange.Columns: true} {
		d, ok := w.Do(t.Context(), exchange.ReadSegment{ID: 1, Form: form})
		if !ok || d.Err != nil || d.Records != len(list) {
			t.Fatalf("%d records are read, %v", d.Records, d.Err)
		}
		for i, r := range d.Runs {
			if packing.InColumns(r) != columns || r.Size() != packed[i].Size() {
				t.Errorf("form %d: a run of %d bytes is in columns: %t", form, r.Size(), !columns)
			}
		}
		if got, err := codec.Unpack(d.Runs); err != nil || len(got) != len(list) {
			t.Errorf("form %d: %d entries, %v", form, len(got), err)
		}
	}
}
