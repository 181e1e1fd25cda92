package wire

import (
	"fmt"
	"strings"

	"github.com/classmesh/classmesh/records/message"
)

// MaxWordsBytes is how long the words of a Bye may be.
const MaxWordsBytes = 200

// Code says why a session ends. Codes are given out once and never reused.
type Code uint32

// The codes.
const (
	// CodeDone: all was said.
	CodeDone Code = iota
	// CodeStopping: the process is about to end.
	CodeStopping
	// CodeProtocol: the other side broke the rules of the protocol.
	CodeProtocol
	// CodeVersion: there is no common version.
	CodeVersion
	// CodeZone: the other side is of another zone.
	CodeZone
	// CodeIdentity: certificate and channel are of different devices.
	CodeIdentity
	// CodeUnknown: the roster does not list the other side.
	CodeUnknown
	// CodeRevoked: the other side was removed from the zone.
	CodeRevoked
	// CodeTimeout: the other side was silent for too long.
	CodeTimeout
	// CodeMismatch: the other side sent what its author did not sign.
	CodeMismatch
	// CodeCredit: the other side sent more than it was allowed to.
	CodeCredit
	// CodeFault: this side failed, for instance at its disk.
	CodeFault
	// CodeSelf: both sides are the same process.
	CodeSelf
	// CodeReplaced: another session with the same device goes on instead.
	CodeReplaced
)

// String returns the code in words.
func (c Code) String() string {
	switch c {
	case CodeDone:
		return "done"
	case CodeStopping:
		return "stopping"
	case CodeProtocol:
		return "protocol"
	case CodeVersion:
		return "version"
	case CodeZone:
		return "other zone"
	case CodeIdentity:
		return "identity"
	case CodeUnknown:
		return "unknown"
	case CodeRevoked:
		return "revoked"
	case CodeTimeout:
		return "timeout"
	case CodeMismatch:
		return "mismatch"
	case CodeCredit:
		return "credit"
	case CodeFault:
		return "fault"
	case CodeSelf:
		return "self"
	case CodeReplaced:
		return "replaced"
	}
	return fmt.Sprintf("code %d", uint32(c))
}

// Bye is the last message of a side.
type Bye struct {
	plain
	Code  Code
	Words string // in English, for logs
}

// NewBye returns a Bye with words cut to what may travel.
func NewBye(c Code, words string) *Bye {
	words = strings.ToValidUTF8(words, "?")
	if len(words) > MaxWordsBytes {
		words = strings.ToValidUTF8(words[:MaxWordsBytes], "")
	}
	return &Bye{Code: c, Words: words}
}

// Type returns TypeBye.
func (*Bye) Type() Type { return TypeBye }

// Fields visits the fields.
func (m *Bye) Fields(v *message.Visitor) {
	message.Uint(v, 1, &m.Code)
	v.String(2, &m.Words, MaxWordsBytes)
}
