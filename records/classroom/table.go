package classroom

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Standing is how far a person is.
type Standing struct {
	Totals Totals `json:"totals"` // over all contents, not only these
	Cells  []Cell `json:"cells"`  // one for each content that was asked for
}

// Cell is one learner's progress in one content.
type Cell struct {
	Status   Status `json:"status"`
	Points   uint64 `json:"points"`
	Attempts uint64 `json:"attempts"` // of an exercise
}

// ReadStanding reads how far the person who has these user IDs is in some
// contents. All of it stands in the lane progress, under these IDs.
func ReadStanding(v *records.View, person []identity.UserID, contents []string) (Standing, error) {
	w, err := readWork(v, person)
	if err != nil {
		return Standing{}, fmt.Errorf("read standing: %w", err)
	}
	s := Standing{w.totals(), make([]Cell, len(contents))}
	for i, id := range contents {
		s.Cells[i] = w.cell(id)
	}
	return s, nil
}

func (w *work) cell(content string) Cell {
	if s := w.exercises[content]; s != nil {
		return Cell{s.Status(), s.Points(), s.Attempts.Total()}
	}
	if s := w.videos[content]; s != nil {
		return Cell{s.Status(), s.Points(), 0}
	}
	return Cell{}
}

// AttemptRow is one attempt, for a teacher who wants to see what was answered.
type AttemptRow struct {
	Attempt
	Device  identity.DeviceID   // where it was answered
	Clock   records.Clock       // orders attempts
	At      int64               // milliseconds since 1970, by the device's clock
	Quality records.TimeQuality // how far At can be trusted
}

// Attempts reads a person's attempts at an exercise, as far as this replica
// has the lane detail, oldest first. An attempt that was published again by a
// later incarnation is there once.
func Attempts(v *records.View, learner identity.UserID, exercise string) ([]AttemptRow, error) {
	person, err := personOf(v, learner)
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	type place struct {
		log     identity.LogID
		counter uint64
		at      int64 // this and the body tell branches of a fork apart
		body    string
	}
	type placedRow struct {
		AttemptRow
		place
	}
	var rows []placedRow
	seen := map[place]bool{}
	for _, id := range person {
		err := v.Events(id, KindAttempt.Lane(), func(row records.EventRow) error {
			r := placedRow{
				AttemptRow{Device: row.Device, Clock: row.Envelope.Clock, At: row.Envelope.Wall, Quality: row.Envelope.Quality},
				place{row.Log, row.Counter, row.Envelope.Wall, string(row.Body)},
			}
			if row.Envelope.Kind != KindAttempt || !decodes(row.Body, &r.Attempt) || r.Exercise != exercise {
				return nil
			}
			if o := row.Envelope.Origin; o != nil {
				r.log, r.counter = o.Log, o.Counter
			}
			if !seen[r.place] {
				seen[r.place] = true
				rows = append(rows, r)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read attempts: %w", err)
		}
	}
	slices.SortFunc(rows, func(a, b placedRow) int {
		return cmp.Or(cmp.Compare(a.Clock, b.Clock), a.log.Compare(b.log), cmp.Compare(a.counter, b.counter), cmp.Compare(a.at, b.at), cmp.Compare(a.body, b.body))
	})
	attempts := make([]AttemptRow, len(rows))
	for i := range rows {
		attempts[i] = rows[i].AttemptRow
	}
	return attempts, nil
}
