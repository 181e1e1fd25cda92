package wire

import (
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/message"
	"github.com/classmesh/classmesh/records/packing"
)

// Run is a chunk of entries: they travel as they are stored. Package packing makes
// and opens runs.
type Run = records.Run

// MinWindow is the smallest window that a Hello may give: the largest answer
// must fit.
const MinWindow = 2 * MaxChunkBytes

// Size is the size of all chunks before compression.
func Size(runs []Run) int {
	n := 0
	for _, r := range runs {
		n += r.Size()
	}
	return n
}

// Entries carries a chunk that follows another.
type Entries struct {
	Run  Run
	More bool // another follows
}

// Type returns TypeEntries.
func (*Entries) Type() Type { return TypeEntries }

// Fields visits the fields.
func (m *Entries) Fields(v *message.Visitor) {
	v.Message(1, &m.Run)
	v.Bool(2, &m.More)
}

func (m *Entries) seal()       {}
func (m *Entries) open() error { return packing.Check(m.Run) }

// withRuns returns first, whose run and more it sets, and the chunks that do
// not fit into it as Entries.
func withRuns(first Message, run *Run, more *bool, besideRun int, runs []Run) []Message {
	messages := []Message{first}
	if len(runs) > 0 && besideRun+len(runs[0].Data)+16 <= MaxPayloadBytes {
		*run, runs = runs[0], runs[1:]
	}
	*more = len(runs) > 0
	for i, r := range runs {
		messages = append(messages, &Entries{Run: r, More: i+1 < len(runs)})
	}
	return messages
}
