package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/boltstore"
	"github.com/classmesh/classmesh/records/identity"
)

// errFound is what "fsck" fails with when it found something: it has been
// printed.
var errFound = errors.New("something is wrong")

// check looks for damage in the file, then in what the records say.
func (d *device) check(ctx context.Context, report func(finding) error) error {
	return checkStore(ctx, d.store, d.folder.path(recordsName), report)
}

// checkStore looks for damage in a file, and if it has none, in the records.
func checkStore(ctx context.Context, store *boltstore.Store, path string, report func(finding) error) error {
	var failed error
	err := store.Check(ctx, func(problem error) {
		if failed == nil {
			failed = report(finding{path, problem.Error()})
		}
	})
	if errors.Is(err, records.ErrDamaged) {
		return failed // what it consists of was reported
	}
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	return checkRecords(ctx, store, path, report)
}

func checkRecords(ctx context.Context, store records.Store, path string, report func(finding) error) error {
	var failed error
	_, err := records.Check(ctx, store, func(f records.Finding) {
		where := path
		if f.Log != (identity.LogID{}) {
			where += ", " + f.Log.String()
		}
		if failed == nil {
			failed = report(finding{where, f.What})
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	return nil
}

// printFindings writes what a check finds, and says in the end whether it was
// anything.
func printFindings(ctx context.Context, o inspection, w io.Writer, asJSON bool) error {
	n := 0
	err := o.check(ctx, func(f finding) error {
		n++
		if asJSON {
			return printJSON(w, f)
		}
		_, err := fmt.Fprintf(w, "%s: %s\n", f.Where, f.What)
		return err
	})
	if err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("check the store: %d findings: %w: keep a copy of the data folder, let the device sync, and restore a backup if that does not help", n, errFound)
	}
	return nil
}
