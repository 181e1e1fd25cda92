package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// inspection is what can be done with the records of anybody.
type inspection interface {
	// dump writes the merged state. After an error, w has got a part of it.
	dump(ctx context.Context, w io.Writer) error
	// check calls report with everything that is wrong.
	check(ctx context.Context, report func(finding) error) error
	Close() error
}

// operations are what commands do with the data of a device: in this process,
// or in the one that uses the folder, through its local socket.
type operations interface {
	inspection
	status(ctx context.Context) (statusReport, error)
	importUsers(ctx context.Context, csv io.Reader, partial bool) (importReport, error)
	setPassword(ctx context.Context, o passwordOptions) (passwordReport, error)
	generate(ctx context.Context, o generateOptions) (generateReport, error)
	// sync does one exchange with the coordinator now.
	sync(ctx context.Context) (syncReport, error)
}

// finding is something that a check found.
type finding struct {
	Where string `json:"where"`
	What  string `json:"what"`
}

// reachPatience is how long to wait for a process that has the folder and does
// not answer: it may be about to start or to stop.
const reachPatience = 5 * time.Second

// inspect opens the records in dir, or connects to the process that uses them.
// Those of a coordinator can be inspected while it does not run; zone chooses
// among its zones.
func inspect(ctx context.Context, p *program, dir, zone string) (inspection, error) {
	if kind, err := folderAt(dir); err == nil && kind == coordinatorFolder {
		return inspectCoordinator(ctx, p, dir, zone)
	}
	if zone != "" {
		return nil, usagef("--zone is for the data of a coordinator")
	}
	return reach(ctx, p, dir)
}

// reach opens the data in dir, or connects to the process that uses it.
func reach(ctx context.Context, p *program, dir string) (operations, error) {
	if dir == "" {
		return nil, usagef("name the data folder with --data")
	}
	if err := deviceFolder.expect(dir); err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	deadline := time.Now().Add(reachPatience)
	for {
		if c, err := dialControl(ctx, dir); err == nil {
			return c, nil
		} else if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		d, err := openDevice(ctx, p, dir)
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, errInUse) || time.Now().After(deadline) {
			return nil, err
		}
	}
}
