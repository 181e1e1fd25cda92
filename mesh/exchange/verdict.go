package exchange

import (
	"context"
	"errors"

	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/packing"
	"github.com/classmesh/classmesh/records/roster"
)

// verdict is what the error of an operation means for the session.
type verdict uint8

const (
	fine        verdict = iota // no error, or harmless: everything is held already
	again                      // what was held has moved: compare anew
	fromStart                  // ask with all starts
	mismatch                   // does not give what the author signed
	invalid                    // no honest peer sends that
	forked                     // two continuations
	unadmitted                 // the roster does not admit the author
	full                       // no room
	gone                       // not held here (reading)
	moved                      // the head has changed (reading)
	large                      // not a small difference (reading)
	conflicting                // signed by the coordinator, but another is at hand
	cancelled                  // the session is ending
	failed                     // this side has a fault
)

// judgeError is the one place where errors of operations are told apart.
func judgeError(err error) verdict {
	for _, known := range []struct {
		err error
		is  verdict
	}{
		{records.ErrStale, fine},
		{records.ErrGap, again},
		{records.ErrStarts, fromStart},
		{records.ErrForked, forked},
		{records.ErrNotAdmitted, unadmitted},
		{records.ErrMismatch, mismatch},
		{records.ErrFull, full},
		{records.ErrUnknownBranch, gone},
		{records.ErrMoved, moved},
		{records.ErrLarge, large},
		{roster.ErrConflictingKey, conflicting},
		{context.Canceled, cancelled},
		{records.ErrClosed, cancelled},

		{packing.ErrRun, invalid},
		{wire.ErrMessage, invalid},
		{records.ErrRun, invalid},
		{records.ErrEntry, invalid},
		{records.ErrEnvelope, invalid},
		{records.ErrHead, invalid},
		{records.ErrRows, invalid},
		{records.ErrReceipt, invalid},
		{identity.ErrCertificate, invalid},
		{roster.ErrRoster, invalid},
		{roster.ErrZoneKey, invalid},
		{roster.ErrCoordinator, invalid},
		{roster.ErrZone, invalid},
	} {
		if errors.Is(err, known.err) {
			return known.is
		}
	}
	if err == nil {
		return fine
	}
	return failed
}

// fault ends the session because this side cannot go on.
func (m *Machine) fault(err error) {
	switch judgeError(err) {
	case cancelled:
		m.bye(wire.CodeStopping, "stopping")
	default:
		m.report.Words = err.Error()
		m.bye(wire.CodeFault, "a fault of this side") // what it is concerns nobody else
		m.report.Words = err.Error()
	}
}
