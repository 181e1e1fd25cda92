package link

import (
	"errors"
	"fmt"
	"strings"
)

// Kinds of failure, for errors.Is. Errors of the libraries below never leave
// the package; their text does.
var (
	// ErrClosed: one of the two sides ended the connection in an orderly
	// way (see [CloseError]), or the listener is closed.
	ErrClosed = errors.New("closed")
	// ErrBroken: the connection ended without a word; what was on its way
	// may be lost.
	ErrBroken = errors.New("connection broke off")
	// ErrTimeout: nothing was heard for too long, or a deadline passed.
	ErrTimeout = errors.New("timed out")
	// ErrAddress: an address cannot be read; nobody was called.
	ErrAddress = errors.New("not an address")
	// ErrUnreachable: nobody listens at the address, or there is no way there.
	ErrUnreachable = errors.New("cannot be reached")
	// ErrRefused: the other side answered, and declined.
	ErrRefused = errors.New("refused by the other side")
	// ErrWrongPeer: the other side proved a key that [DialConfig.Expect]
	// did not want. Nothing was sent to it.
	ErrWrongPeer = errors.New("not the expected device")
	// ErrProtocol: the other side does not keep to TLS 1.3 with Ed25519
	// keys, or to the frames of this package.
	ErrProtocol = errors.New("does not speak classmesh")
)

// Code tells the peer's program why a connection was ended. Codes below
// [CodeFirstFree] belong to this package, the others to the protocol inside.
type Code uint32

const (
	// CodeDone: all was said.
	CodeDone Code = 0
	// CodeStopping: the process is about to end.
	CodeStopping Code = 1
	// CodeDuplicate: another connection between the two devices is kept.
	CodeDuplicate Code = 2
	// CodeBusy: nobody took the connection in time.
	CodeBusy Code = 3
	// CodeFault: this side gave up after a failure, such as a timeout.
	CodeFault Code = 4
	// CodeFirstFree is the first code that this package does not use.
	CodeFirstFree Code = 16
)

// MaxReasonBytes is the longest reason that travels; the rest is cut off.
const MaxReasonBytes = 200

// CloseError is how a connection ended when one side ended it. It is an
// [ErrClosed].
type CloseError struct {
	Code   Code
	Reason string // in English, for logs
	Remote bool   // the peer ended it
}

// Error says who ended the connection, and why.
func (e *CloseError) Error() string {
	by := "this side"
	if e.Remote {
		by = "the peer"
	}
	s := fmt.Sprintf("connection closed by %s (code %d)", by, e.Code)
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// Is reports whether target is [ErrClosed].
func (e *CloseError) Is(target error) bool { return target == ErrClosed }

// fault is every other error of this package: a kind from the list above, and
// what happened, in words. Carried through TLS and QUIC as the reason why a
// handshake was refused, it is found again by its type.
type fault struct {
	kind  error
	text  string
	cause error // a caller's own error, or nil
}

func (f *fault) Error() string {
	s := f.kind.Error()
	if f.text != "" {
		s += ": " + f.text
	}
	if f.cause != nil {
		s += ": " + f.cause.Error()
	}
	return s
}

func (f *fault) Unwrap() []error {
	if f.cause == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.cause}
}

// known returns the error of this package that err carries, if any.
func known(err error) error {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	if c, ok := errors.AsType[*CloseError](err); ok {
		return c
	}
	return nil
}

// attemptsError lists why each way to a device failed.
type attemptsError []error

func (a attemptsError) Error() string {
	texts := make([]string, len(a))
	for i, err := range a {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (a attemptsError) Unwrap() []error { return a }
