package mesh

import (
	"errors"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
)

// Reason is why things stand with the coordinator as they do. It is the same from
// release to release, for programs and for texts in other languages.
type Reason string

// The reasons. Those who may be shown one should have words for others as well:
// UplinkStatus.Words.
const (
	NoCoordinator    Reason = "no coordinator"
	IsConnecting     Reason = "connecting"
	IsConnected      Reason = "connected"
	LimitSpent       Reason = "limit spent" // connected, and nothing more goes today of some lanes
	Unreachable      Reason = "unreachable"
	SomethingElse    Reason = "something else" // answers at the address
	WrongCoordinator Reason = "wrong coordinator"
	Declined         Reason = "declined" // the connection, before anything was said
	BrokenOff        Reason = "broken off"
	Hungup           Reason = "hung up"
	UnknownDevice    Reason = "unknown device"
	RemovedDevice    Reason = "removed"
	NoVersion        Reason = "no common version"
	OtherZone        Reason = "other zone"
	OtherIdentity    Reason = "other identity"
	IsItself         Reason = "itself"
	NotAccepted      Reason = "not accepted" // what this device sent
	Incredible       Reason = "incredible"   // what the coordinator sent
	DiskFault        Reason = "fault"
	Stopping         Reason = "stopping"
)

// Reasons lists them all.
var Reasons = []Reason{
	NoCoordinator, IsConnecting, IsConnected, LimitSpent, Unreachable, SomethingElse, WrongCoordinator, Declined, BrokenOff,
	Hungup, UnknownDevice, RemovedDevice, NoVersion, OtherZone, OtherIdentity, IsItself, NotAccepted, Incredible, DiskFault, Stopping,
}

// Words says what a reason means and what to do, for people.
func (r Reason) Words() string {
	switch r {
	case NoCoordinator:
		return "This device has no coordinator."
	case IsConnecting:
		return "The device is connecting to the coordinator."
	case IsConnected:
		return "This device is connected to the coordinator."
	case LimitSpent:
		return "This device is connected to the coordinator. What may go over this connection today is used up, so some work waits for tomorrow, or for another device that has a connection. Nothing is lost."
	case Unreachable:
		return "The coordinator cannot be reached. Work goes on; everything is sent when the Internet is back."
	case SomethingElse:
		return "Something else than a classmesh coordinator answers at this address, perhaps a sign-in page of the network. Check the address and the network."
	case WrongCoordinator:
		return "Another coordinator, with another key, answers at this address. Check the address, or ask who runs the coordinator whether it was set up anew."
	case Declined:
		return "The coordinator's address answers, but declines the connection. If this goes on, check the address."
	case BrokenOff:
		return "The connection to the coordinator broke off. The device connects again by itself."
	case UnknownDevice:
		return "The coordinator does not know this device. Ask an administrator of the zone for an invitation, and join again."
	case RemovedDevice:
		return "This device was removed from its zone. Work on it is kept, but not sent. If it was removed by mistake, ask an administrator for an invitation, and join with a new data folder."
	case NoVersion:
		return "Coordinator and device speak no common version. Update the older of the two."
	case OtherZone:
		return "The coordinator does not have this device's zone. Check the coordinator's address, or ask who runs it."
	case OtherIdentity:
		return "The coordinator does not take this device for itself: its key and its records belong to different devices. Was a data folder copied? Join again with a new one."
	case IsItself:
		return "The coordinator's address is that of this device itself. Correct the address."
	case NotAccepted:
		return "The coordinator could not accept what this device sent. If this goes on, update both, and check this device's data."
	case Incredible:
		return "The coordinator sent what cannot be right; nothing of it was taken. If this goes on, tell who runs the coordinator."
	case DiskFault:
		return "This device could not store or read its records. Check its disk."
	case Stopping:
		return "The device is stopping."
	}
	return "The connection to the coordinator ended. The device connects again by itself."
}

// outcome is what an attempt to exchange with the coordinator came to.
type outcome struct {
	reason  Reason
	refused bool // only people can change it
}

// judge says what the end of an attempt means: err is that of dialling or of the
// session.
func judge(err error) outcome {
	if end, ok := errors.AsType[*exchange.EndError](err); ok {
		return judgeEnd(end)
	}
	switch {
	case errors.Is(err, link.ErrWrongPeer):
		return outcome{WrongCoordinator, true}
	case errors.Is(err, link.ErrProtocol):
		return outcome{reason: SomethingElse}
	case errors.Is(err, link.ErrRefused):
		return outcome{reason: Declined}
	case errors.Is(err, link.ErrTimeout), errors.Is(err, link.ErrUnreachable):
		return outcome{reason: Unreachable}
	case errors.Is(err, link.ErrBroken):
		return outcome{reason: BrokenOff}
	}
	return outcome{reason: Hungup}
}

func judgeEnd(end *exchange.EndError) outcome {
	switch end.Code {
	case wire.CodeUnknown:
		return outcome{UnknownDevice, true}
	case wire.CodeRevoked:
		return outcome{RemovedDevice, true}
	case wire.CodeVersion:
		return outcome{NoVersion, true}
	case wire.CodeZone:
		return outcome{OtherZone, true}
	case wire.CodeIdentity:
		return outcome{OtherIdentity, true}
	case wire.CodeSelf:
		return outcome{IsItself, true}
	case wire.CodeProtocol, wire.CodeMismatch, wire.CodeCredit:
		if end.Remote {
			return outcome{reason: NotAccepted}
		}
		return outcome{reason: Incredible}
	case wire.CodeFault:
		if !end.Remote {
			return outcome{reason: DiskFault}
		}
	}
	return outcome{reason: Hungup}
}
