package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/coordinator/api"
	"github.com/classmesh/classmesh/mesh/exchange"
	"github.com/classmesh/classmesh/mesh/link"
	"github.com/classmesh/classmesh/mesh/wire"
	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/classroom"
	"github.com/classmesh/classmesh/records/roster"
)

// Exit codes, which scripts may rely on.
const (
	exitOK          = 0
	exitFailed      = 1   // it failed, or a check found something
	exitUsage       = 2   // the command line is wrong
	exitInput       = 3   // what was given cannot be accepted: a file, a code, a name
	exitFolder      = 4   // the data folder is missing, foreign, unfinished or damaged
	exitInUse       = 5   // another process uses the data folder
	exitNewer       = 6   // a newer version of the program is needed
	exitRefused     = 7   // the other side refused: revoked, unknown, not allowed
	exitUnreachable = 8   // the other side cannot be reached, or is not whom it should be
	exitFull        = 9   // no space is left
	exitInterrupted = 130 // a signal ended a command that had not finished
)

// exitCodes is shown by "classmesh help exit-codes".
const exitCodes = `  0  done
  1  it failed, or a check found something
  2  the command line is wrong
  3  what was given cannot be accepted: a file, a code, a name
  4  the data folder is missing, foreign, unfinished or damaged
  5  another process uses the data folder
  6  a newer version of the program is needed
  7  the other side refused: revoked, unknown, not allowed
  8  the other side cannot be reached, or is not whom it should be
  9  no space is left on the disk
130  a signal ended a command that had not finished
`

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// outcomes maps errors to exit codes, and says what to do where the error
// itself does not. The first that matches counts.
var outcomes = []struct {
	err  error
	code int
	hint string
}{
	{context.Canceled, exitInterrupted, ""},
	{errInUse, exitInUse, ""},
	{records.ErrInUse, exitInUse, "stop the process that has it open, or wait until it is done"},
	{errNewer, exitNewer, ""},
	{records.ErrNewerStore, exitNewer, ""},
	{roster.ErrNewerFormat, exitNewer, "update the program"},
	{records.ErrFull, exitFull, "free some space on the disk; nothing that was saved is lost"},
	{syscall.ENOSPC, exitFull, "free some space on the disk; nothing that was saved is lost"},
	{errForeign, exitFolder, ""},
	{errTaken, exitFolder, ""},
	{errNoFolder, exitFolder, ""},
	{errUnfinished, exitFolder, ""},
	{errSettings, exitFolder, ""},
	{errNoKey, exitFolder, ""},
	{errNoRecords, exitFolder, "put " + recordsName + " back from a backup, or let the device join anew in another folder"},
	{errKey, exitFolder, ""},
	{records.ErrDamaged, exitFolder, "keep the data folder; put a backup in its place, or let the device join anew in another folder"},
	{records.ErrNotFounded, exitFolder, ""},
	{records.ErrOtherIdentity, exitFolder, "put back the identity.key that belongs to these records"},
	{roster.ErrInvitation, exitInput, "compare it with the original, or ask for a new one"},
	{classroom.ErrNotAdministrates, exitRefused, ""},
	{classroom.ErrNotClassroom, exitRefused, ""},
	{classroom.ErrInput, exitInput, ""},
	{classroom.ErrUnknown, exitInput, ""},
	{roster.ErrRevoked, exitRefused, "to come back, it joins anew, with a new code and a new data folder"},
	{roster.ErrUnknownDevice, exitRefused, "ask the administrator of the zone"},
	{coordinator.ErrWrongCode, exitInput, ""},
	{coordinator.ErrUsedCode, exitInput, ""},
	{coordinator.ErrExpiredCode, exitInput, ""},
	{coordinator.ErrManyTries, exitRefused, ""},
	{coordinator.ErrName, exitInput, ""},
	{coordinator.ErrNotFound, exitInput, ""},
	{coordinator.ErrExists, exitInput, "choose another name"},
	{coordinator.ErrStopped, exitUnreachable, "try again when it has started"},
	{api.ErrOtherCoordinator, exitUnreachable, ""},
	{api.ErrNotRunning, exitUnreachable, ""},
	{link.ErrWrongPeer, exitUnreachable, "compare address and code with what the administrator gave you: another coordinator answers there"},
	{link.ErrAddress, exitInput, "write host and port, such as coordinator.example:8440, or the https:// address that the administrator gave you"},
	{link.ErrRefused, exitRefused, ""},
	{link.ErrUnreachable, exitUnreachable, "check the address, and whether the network and the other side are up"},
	{link.ErrTimeout, exitUnreachable, "check the address, and whether the network and the other side are up"},
	{link.ErrBroken, exitUnreachable, "try again"},
	{errRefusedUplink, exitRefused, ""},
	{errUplink, exitUnreachable, ""},
	{fs.ErrPermission, exitFolder, "run it as the user who owns the data folder"},
}

// outcome returns the exit code for an error, and the words for a person.
func outcome(err error) (code int, words string) {
	if err == nil {
		return exitOK, ""
	}
	if e, ok := errors.AsType[usageError](err); ok {
		return exitUsage, e.Error() + "\nTry the command with --help."
	}
	if e, ok := errors.AsType[*remoteError](err); ok {
		return e.Exit, err.Error()
	}
	if _, ok := errors.AsType[*classroom.ImportError](err); ok {
		return exitInput, err.Error()
	}
	if e, ok := errors.AsType[*exchange.EndError](err); ok {
		switch e.Code {
		case wire.CodeUnknown, wire.CodeRevoked, wire.CodeZone, wire.CodeIdentity:
			return exitRefused, err.Error() + "\nWhat to do: ask the administrator of the zone."
		case wire.CodeVersion:
			return exitNewer, err.Error() + "\nWhat to do: update the older of the two programs."
		}
	}
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			if o.hint == "" {
				return o.code, err.Error()
			}
			return o.code, err.Error() + "\nWhat to do: " + o.hint + "."
		}
	}
	return exitFailed, err.Error()
}

// remoteError is an error that the process reported which uses the data
// folder; its words are complete.
type remoteError struct {
	Words string `json:"error"`
	Exit  int    `json:"exit"`
}

func (e *remoteError) Error() string { return e.Words }

func remote(err error) *remoteError {
	code, words := outcome(err)
	return &remoteError{Words: words, Exit: code}
}
