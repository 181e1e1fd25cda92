package exchange

import (
	"time"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// Effect is something that a [Machine] wants done.
type Effect interface{ effect() }

// Timer names one of a machine's timers.
type Timer uint8

// The timers.
const (
	TimerGreeting Timer = iota // the peer's Hello, or a stranger's roster, is due
	TimerStall                 // an answer is due
	TimerCompare               // time to compare again
	TimerLinger                // a one-shot session has waited long enough
	TimerRetry                 // the disk may have room again
	TimerWord                  // time to give word of commits
	TimerLateWord              // the same, to who has another source
	TimerPull                  // what others were to push has not come
	TimerLinks                 // links have settled
	TimerAnswer                // the peer has waited long enough for an answer
	TimerHeed                  // the peer may have a round begun out of turn again
	timers
)

type (
	// Send writes a message, after those before it. Cost comes back in
	// Written.
	Send struct {
		Message wire.Message
		Cost    int
	}
	// SetTimer starts a timer, or starts it anew.
	SetTimer struct {
		Timer Timer
		After time.Duration
	}
	// StopTimer stops a timer if it is running.
	StopTimer struct{ Timer Timer }
	// Raise tells those who look after the device.
	Raise struct{ Alarm Alarm }
	// Close ends the session when all messages before it are written. No
	// effect follows it.
	Close struct {
		Code   wire.Code
		Words  string
		Remote bool // the peer ended it
	}
)

// Operations run beside the machine, in any order and several at a time. Each
// answers with one Done of the same ID.
type (
	// ReadDifference reads what is held of a branch beyond Base.
	ReadDifference struct {
		ID     uint64
		Ref    records.BranchRef
		Base   uint64
		Starts int
		Form   Form
	}
	// ReadList reads the segment list of a head beyond Base.
	ReadList struct {
		ID     uint64
		Ref    records.BranchRef
		Base   uint64
		Starts int
	}
	// ReadSegment reads a segment at a head.
	ReadSegment struct {
		ID   uint64
		Ref  records.BranchRef
		Head uint64
		Need records.Need
		Form Form
	}
	// ReadReceipts reads receipts beyond marks.
	ReadReceipts struct {
		ID     uint64
		Beyond []Mark
	}
	// AcceptDifference unpacks and stores a difference, pushed or asked for.
	AcceptDifference struct {
		ID   uint64
		From DifferenceMessage
		Held identity.Certificate // if the message leaves it out
		Runs []wire.Run
	}
	// AcceptList stores a target.
	AcceptList struct {
		ID      uint64
		Account wire.Account
		Held    identity.Certificate // if the account leaves it out
		Rows    []records.Row
		Present []bool // rows that the sender has; nil: all
	}
	// AcceptSegment unpacks and stores a segment.
	AcceptSegment struct {
		ID   uint64
		Ref  records.BranchRef
		Head uint64
		Need records.Need
		Runs []wire.Run
	}
	// Promote completes a target.
	Promote struct {
		ID   uint64
		Ref  records.BranchRef
		Head uint64 // the target's counter
	}
	// AcceptRoster stores a roster.
	AcceptRoster struct {
		ID      uint64
		Encoded []byte
	}
	// AcceptReceipt stores a receipt.
	AcceptReceipt struct {
		ID      uint64
		Encoded []byte
	}
	// AcceptKey stores a zone key.
	AcceptKey struct {
		ID      uint64
		Encoded []byte
	}
)

// DifferenceMessage is a wire.Difference or a wire.Push.
type DifferenceMessage interface {
	Difference(held identity.Certificate, entries []records.Entry) (*records.Difference, error)
}

func (Send) effect()             {}
func (SetTimer) effect()         {}
func (StopTimer) effect()        {}
func (Raise) effect()            {}
func (Close) effect()            {}
func (ReadDifference) effect()   {}
func (ReadList) effect()         {}
func (ReadSegment) effect()      {}
func (ReadReceipts) effect()     {}
func (AcceptDifference) effect() {}
func (AcceptList) effect()       {}
func (AcceptSegment) effect()    {}
func (Promote) effect()          {}
func (AcceptRoster) effect()     {}
func (AcceptReceipt) effect()    {}
func (AcceptKey) effect()        {}
