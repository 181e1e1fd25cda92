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

func checkStore(ctx context.Context, store *boltstore.Store, path string, report func(finding) error) error {
	var failed error
	note := func(where, what string) {
		if failed == nil {
			failed = report(finding{where, what})
		}
	}
	err := store.Check(ctx, func(problem error) { note(path, problem.Error()) })
	if errors.Is(err, records.ErrDamaged) {
		err = nil // it was reported, and what it consists of
	} else if err == nil {
		_, err = records.Check(ctx, store, func(f records.Finding) {
			where := path
			if f.Log != (identity.LogID{}) {
				where = f.Log.String()
			}
			note(where, f.What)
		})
	}
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	return nil
}

// printFindings writes what a check finds, and says in the end whether it was
// anything.
func printFindings(ctx context.Context, o operations, w io.Writer, asJSON bool) error {
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
