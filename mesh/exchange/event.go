package exchange

import (
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
)

// Event is something that a [Machine] is told.
type Event interface{ event() }

type (
	// Started is the first event.
	Started struct {
		Wall int64 // the clock, milliseconds since 1970
	}
	// Received is a message of the peer.
	Received struct{ Message wire.Message }
	// Heard says that bytes of a message that is not complete have come.
	Heard struct{}
	// Written says that messages of the given cost have left this process.
	Written struct{ Cost int }
	// Fired says that a timer has run out.
	Fired struct{ Timer Timer }
	// Changed is a change of the replica, by whomsoever.
	Changed struct{ Change }
	// Done is the outcome of an operation: Err, or the fields that the
	// operation says.
	Done struct {
		ID         uint64
		Err        error
		Difference *records.Difference  // ReadDifference; entries are in Runs
		List       *records.SegmentList // ReadList
		Runs       []wire.Run           // ReadDifference, ReadSegment
		Receipts   [][]byte             // ReadReceipts
		Plan       Plan                 // AcceptList, Promote
		Records    int                  // entries read or stored
	}
	// Woken says that Routes has news.
	Woken struct{}
	// Compare says that there is reason to think that the two sides differ,
	// though nothing is due: they compare in full as soon as may be.
	Compare struct{}
	// Lost says that nothing will come from the peer any more.
	Lost struct{ Err error }
	// Stop asks for an orderly end.
	Stop struct {
		Code  wire.Code
		Words string
	}
)

func (Started) event()  {}
func (Received) event() {}
func (Heard) event()    {}
func (Written) event()  {}
func (Fired) event()    {}
func (Changed) event()  {}
func (Done) event()     {}
func (Woken) event()    {}
func (Compare) event()  {}
func (Lost) event()     {}
func (Stop) event()     {}
