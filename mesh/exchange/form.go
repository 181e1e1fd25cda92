package exchange

import (
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/packing"
)

// Form is how entries are packed for a peer.
type Form uint8

// The forms. Peers of earlier releases know Rows only.
const (
	Rows Form = iota
	Columns
)

// form is that in which the peer takes entries.
func (m *Machine) form() Form {
	if m.report.Features.Has(wire.FeatureColumns) {
		return Columns
	}
	return Rows
}

func (f Form) pack(c *packing.Codec, entries []records.Entry) []records.Run {
	if f == Rows {
		return c.PackRows(entries)
	}
	return c.Pack(entries)
}
