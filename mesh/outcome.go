package mesh

import (
	"errors"

	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
)

// outcome is what an attempt to exchange with the coordinator came to.
type outcome struct {
	refused bool   // only people can change it
	words   string // what it means and what to do, for people
}

// judge tells people what the end of an attempt means: err is that of dialling
// or of the session.
func judge(err error) outcome {
	if end, ok := errors.AsType[*exchange.EndError](err); ok {
		return judgeEnd(end)
	}
	switch {
	case err == nil:
		return outcome{words: "The coordinator ended the connection. The device connects again by itself."}
	case errors.Is(err, link.ErrWrongPeer):
		return outcome{true, "Another coordinator, with another key, answers at this address. Check the address, or ask who runs the coordinator whether it was set up anew."}
	case errors.Is(err, link.ErrProtocol):
		return outcome{words: "Something else than a classmesh coordinator answers at this address, perhaps a sign-in page of the network. Check the address and the network."}
	case errors.Is(err, link.ErrRefused):
		return outcome{words: "The coordinator's address answers, but declines the connection. If this goes on, check the address."}
	case errors.Is(err, link.ErrTimeout), errors.Is(err, link.ErrUnreachable):
		return outcome{words: "The coordinator cannot be reached. Work goes on; everything is sent when the Internet is back."}
	case errors.Is(err, link.ErrBroken):
		return outcome{words: "The connection to the coordinator broke off. The device connects again by itself."}
	}
	return outcome{words: "There is no connection to the coordinator. The device tries again by itself."}
}

func judgeEnd(end *exchange.EndError) outcome {
	switch end.Code {
	case wire.CodeUnknown:
		return outcome{true, "The coordinator does not know this device. Ask an administrator of the zone for an invitation, and join again."}
	case wire.CodeRevoked:
		return outcome{true, "This device was removed from its zone. Work on it is kept, but not sent. If it was removed by mistake, ask an administrator for an invitation, and join with a new data folder."}
	case wire.CodeVersion:
		return outcome{true, "Coordinator and device speak no common version. Update the older of the two."}
	case wire.CodeZone:
		return outcome{true, "The coordinator does not have this device's zone. Check the coordinator's address, or ask who runs it."}
	case wire.CodeIdentity:
		return outcome{true, "The coordinator does not take this device for itself: its key and its records belong to different devices. Was a data folder copied? Join again with a new one."}
	case wire.CodeSelf:
		return outcome{true, "The coordinator's address is that of this device itself. Correct the address."}
	case wire.CodeProtocol, wire.CodeMismatch, wire.CodeCredit:
		if end.Remote {
			return outcome{words: "The coordinator could not accept what this device sent. If this goes on, update both, and check this device's data."}
		}
		return outcome{words: "The coordinator sent what cannot be right; nothing of it was taken. If this goes on, tell who runs the coordinator."}
	case wire.CodeFault:
		if !end.Remote {
			return outcome{words: "This device could not store or read its records. Check its disk."}
		}
	}
	return outcome{words: "The connection to the coordinator ended. The device connects again by itself."}
}
