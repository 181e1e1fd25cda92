package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/classmesh/classmesh/coordinator"
	"github.com/classmesh/classmesh/coordinator/boltstore"
	"github.com/classmesh/classmesh/records/identity"
)

// coordinatorSettings is what coordinator.json holds.
type coordinatorSettings struct {
	Format int `json:"format"`
	// Listen is the address that was listened at last, for tools that look
	// for it.
	Listen string `json:"listen"`
}

// Names of what coordinator/boltstore keeps.
const (
	coordinatorName = "coordinator.db"
	zonesName       = "zones"
)

// coordinatorData is the data of a coordinator, opened by this process.
type coordinatorData struct {
	*program
	folder   *folder
	settings coordinatorSettings
	key      identity.DeviceKey
	storage  coordinator.Storage
}

// openCoordinator opens a coordinator's data for this process alone, or makes
// it in a folder that is new, empty or unfinished.
func openCoordinator(ctx context.Context, p *program, dir string) (_ *coordinatorData, err error) {
	if _, err := folderAt(dir); errors.Is(err, errNoFolder) || errors.Is(err, errUnfinished) {
		if err := makeCoordinator(ctx, p, dir); err != nil {
			return nil, err
		}
	}
	c := &coordinatorData{program: p}
	if c.folder, err = openFolder(ctx, dir, coordinatorFolder, &c.settings); err != nil {
		return nil, err
	}
	if c.key, err = readKey(c.folder.path(keyName)); err == nil {
		c.storage, err = boltstore.Open(dir, boltstore.Options{Logger: p.log})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open coordinator in %s: %w", dir, err), c.folder.Close())
	}
	return c, nil
}

// makeCoordinator makes the folder of a coordinator that knows nobody yet.
func makeCoordinator(ctx context.Context, p *program, dir string) (err error) {
	f, err := createFolder(ctx, dir, coordinatorFolder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := makeKey(f.path(keyName), p.random); err != nil {
		return fmt.Errorf("make coordinator: %w", err)
	}
	// What a killed process left was never used.
	leftover, err := filepath.Glob(f.path(coordinatorName) + "*")
	for _, name := range append(leftover, f.path(zonesName)) {
		err = errors.Join(err, os.RemoveAll(name))
	}
	if err != nil {
		return fmt.Errorf("make coordinator: %w", err)
	}
	storage, err := boltstore.Create(dir, boltstore.Options{Logger: p.log})
	if err != nil {
		return fmt.Errorf("make coordinator: %w", err)
	}
	if err := storage.Close(); err != nil {
		return fmt.Errorf("make coordinator: %w", err)
	}
	return f.finish(coordinatorSettings{Format: folderFormat})
}

// Close closes the files.
func (c *coordinatorData) Close() error {
	return errors.Join(c.storage.Close(), c.folder.Close())
}
