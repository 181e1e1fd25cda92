package exchange_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Positions are what a table with a row for each log would be, whatever is noted in
// whichever order, and take room only for what no state says.
func TestPositions(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 5))
		p, want := exchange.NewPositions(), map[identity.LogID]uint64{}
		logs := make([]identity.LogID, 1+random.IntN(12))
		for i := range logs {
			logs[i] = identity.LogID{byte(random.IntN(8)), 9: byte(i)}
		}
		slices.SortFunc(logs, identity.LogID.Compare)
		for step := range 40 {
			if log := logs[random.IntN(len(logs))]; random.IntN(3) > 0 {
				want[log] = random.Uint64N(6)
				p.Set(log, want[log])
			} else {
				s, but := &records.State{}, []records.VectorRow(nil)
				for _, log := range logs {
					row := records.VectorRow{BranchRef: records.BranchRef{Log: log}, Counter: random.Uint64N(6)}
					switch random.IntN(4) {
					case 0: // not held
						continue
					case 1:
						but = append(but, row)
					default:
						want[log] = max(want[log], row.Counter)
					}
					s.Rows = append(s.Rows, row)
				}
				p.Bring(s, but)
				if random.IntN(2) == 0 {
					p.Bring(s, but) // says nothing new
				}
			}
			for _, log := range logs {
				if got := p.At(log); got != want[log] {
					t.Fatalf("seed %d, step %d: log %s is at %d, want %d", seed, step, log.Short(), got, want[log])
				}
			}
			if p.Apart() > len(logs) {
				t.Fatalf("seed %d, step %d: of %d logs %d are kept apart", seed, step, len(logs), p.Apart())
			}
		}
		all := &records.State{}
		for _, log := range logs {
			all.Rows = append(all.Rows, records.VectorRow{BranchRef: records.BranchRef{Log: log}, Counter: 6})
		}
		if p.Bring(all, nil); p.Apart() != 0 {
			t.Fatalf("seed %d: when the peer holds all, %d logs are kept apart", seed, p.Apart())
		}
	}
}
