package boltstore

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/classmesh/classmesh/records"
)

// advice ends the messages about damage.
const advice = "keep the file for inspection and put the last backup in its place, or join the zone again: what was acknowledged by others comes back from them"

// mapError says in the words of records what bbolt says. No error of bbolt
// leaves the package; those of the system do.
func mapError(err error) error {
	for _, m := range []struct{ bolt, ours error }{
		{bolterrors.ErrTimeout, records.ErrInUse},
		{bolterrors.ErrDatabaseNotOpen, os.ErrClosed},
		{bolterrors.ErrTxClosed, os.ErrClosed},
		{bolterrors.ErrInvalid, errNoStore},
		{bolterrors.ErrChecksum, errNoStore},
		{bolterrors.ErrVersionMismatch, errNoStore},
		{bolterrors.ErrInvalidMapping, records.ErrUncertain},
	} {
		if errors.Is(err, m.bolt) {
			return m.ours
		}
	}
	var system syscall.Errno
	switch {
	case err == nil:
		return nil
	case isFull(err):
		return fmt.Errorf("%w (%v)", records.ErrFull, err)
	case errors.As(err, &system):
		return err
	}
	return errors.New(err.Error())
}

// errNoStore is what bbolt refuses when it opens a file.
var errNoStore = fmt.Errorf("the file is no store, or its beginning is destroyed; %s: %w", advice, records.ErrDamaged)

// isFull reports whether the disk or a limit on the file's size is exhausted.
// bbolt keeps only the text of some of the system's errors, so their text is
// what there is to look for.
func isFull(err error) bool {
	if errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return true
	}
	for _, full := range fullErrors {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}
