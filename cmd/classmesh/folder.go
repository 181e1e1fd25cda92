package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A data folder belongs to one device or to one coordinator and holds
//
//	device.json        what it is: format, name, zone … (or coordinator.json)
//	identity.key       the identity key
//	records.db         a device's records (or coordinator.db, zones/)
//	lock               locked by the process that uses the folder
//	control.sock       the local socket of a running process, or
//	control.addr       where that socket is, if the folder's path is too long
//	unfinished         while the folder is being made
//
// The settings file is put in place last, by a rename, so a folder either is
// whole or says itself that it is not. A folder without settings and without
// the mark "unfinished" was not made by this program: nothing in it is touched.
const (
	lockName       = "lock"
	unfinishedName = "unfinished"
	keyName        = "identity.key"
	recordsName    = "records.db"
)

// folderFormat is the newest format of settings files.
const folderFormat = 1

// lockPatience is how long to wait for a process that uses the folder for a
// moment only, such as another command.
const lockPatience = 2 * time.Second

// Errors of data folders.
var (
	errInUse      = errors.New("in use by another process")
	errNewer      = errors.New("made by a newer version of classmesh: update the program")
	errForeign    = errors.New("the folder holds other files: name an empty or new one")
	errTaken      = errors.New("the folder is in use for a device or coordinator already: name another one")
	errNoFolder   = errors.New("there is no such data here")
	errNoRecords  = errors.New("the file of its records is missing")
	errUnfinished = errors.New("it was not finished: repeat the command that began it")
	errSettings   = errors.New("the settings are missing or damaged: put the file back from a backup")
)

// folderKind says whose data a folder holds; it names the settings file.
type folderKind string

const (
	deviceFolder      folderKind = "device"
	coordinatorFolder folderKind = "coordinator"
)

func (k folderKind) settingsName() string { return string(k) + ".json" }

// begin says how a folder of this kind is made.
func (k folderKind) begin() string {
	if k == coordinatorFolder {
		return `make one with "classmesh coordinator serve"`
	}
	return `make one with "classmesh device join"`
}

// folder is a data folder that this process has locked.
type folder struct {
	dir  string
	kind folderKind
	lock *os.File
	made bool // the folder itself was made by this process
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// Close unlocks the folder.
func (f *folder) Close() error { return f.lock.Close() }

// folderAt returns what kind of data dir holds, or an error wrapping
// errNoFolder, errUnfinished or errSettings. It locks nothing.
func folderAt(dir string) (folderKind, error) {
	for _, k := range []folderKind{deviceFolder, coordinatorFolder, demoFolder} {
		if _, err := os.Stat(filepath.Join(dir, k.settingsName())); err == nil {
			return k, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, unfinishedName)); err == nil {
		return "", fmt.Errorf("%s: %w", dir, errUnfinished)
	}
	// A key without settings is what a mishap leaves, not a beginning.
	if _, err := os.Stat(filepath.Join(dir, keyName)); err == nil {
		return "", fmt.Errorf("%s holds an identity key but neither %s nor %s: %w", dir, deviceFolder.settingsName(), coordinatorFolder.settingsName(), errSettings)
	}
	return "", fmt.Errorf("%s: %w", dir, errNoFolder)
}

// expect reports whether dir holds data of this kind, as an error that says
// what to do if it does not. It locks nothing.
func (k folderKind) expect(dir string) error {
	switch found, err := folderAt(dir); {
	case errors.Is(err, errNoFolder):
		return fmt.Errorf("%w: %s", err, k.begin())
	case err != nil:
		return err
	case found != k:
		return fmt.Errorf("%s: %w: it is a %s's, not a %s's", dir, errNoFolder, found, k)
	}
	return nil
}

// createFolder makes a folder of data, or goes on making one that a killed
// process left unfinished. dir must be absent, empty or such an unfinished
// one. Call finish when all is in it, or abandon.
func createFolder(ctx context.Context, dir string, kind folderKind) (_ *folder, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make data folder %s: %w", dir, err)
		}
	}()
	_, err = os.Stat(dir)
	made := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := checkEmpty(dir, kind); err != nil {
		return nil, err
	}
	lock, err := lockFolder(ctx, dir)
	if err != nil {
		return nil, err
	}
	f := &folder{dir: dir, kind: kind, lock: lock, made: made}
	// Whoever had the lock before may have finished it.
	if err := checkEmpty(dir, kind); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := writeDurably(f.path(unfinishedName), []byte(kind+"\n"), 0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, syncFolder(filepath.Dir(dir))
}

// checkEmpty reports whether a folder of this kind may be made in dir.
func checkEmpty(dir string, kind folderKind) error {
	switch _, err := folderAt(dir); {
	case err == nil:
		return errTaken
	case errors.Is(err, errUnfinished):
		if b, err := os.ReadFile(filepath.Join(dir, unfinishedName)); err != nil || strings.TrimSpace(string(b)) != string(kind) {
			return errors.Join(err, errForeign)
		}
		return nil
	case !errors.Is(err, errNoFolder):
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		// A disk of its own has a folder for what a check of it finds.
		if n := e.Name(); n != lockName && n != "lost+found" && !strings.HasPrefix(n, unfinishedName+".") {
			return errForeign
		}
	}
	return nil
}

// finish makes the folder whole, by writing its settings.
func (f *folder) finish(settings any) error {
	if err := f.setSettings(settings); err != nil {
		return err
	}
	if err := os.Remove(f.path(unfinishedName)); err != nil {
		return fmt.Errorf("finish data folder: %w", err)
	}
	return syncFolder(f.dir)
}

// setSettings replaces the settings file.
func (f *folder) setSettings(settings any) error {
	b, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		return fmt.Errorf("write settings of %s: %w", f.dir, err)
	}
	return writeDurably(f.path(f.kind.settingsName()), append(b, '\n'), 0o600)
}

// abandon removes what was made of an unfinished folder, named files included,
// and unlocks it.
func (f *folder) abandon(names ...string) error {
	var errs []error
	for _, name := range append(names, unfinishedName) {
		if err := os.RemoveAll(f.path(name)); err != nil {
			errs = append(errs, err)
		}
	}
	if f.made {
		os.Remove(f.path(lockName))
		os.Remove(f.dir) // unless somebody put something into it
	}
	return errors.Join(append(errs, f.Close())...)
}

// openFolder locks a whole folder and reads its settings.
func openFolder(ctx context.Context, dir string, kind folderKind, settings any) (_ *folder, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open data folder: %w", err)
		}
	}()
	if err := kind.expect(dir); err != nil {
		return nil, err
	}
	lock, err := lockFolder(ctx, dir)
	if err != nil {
		return nil, err
	}
	f := &folder{dir: dir, kind: kind, lock: lock}
	if err := f.readSettings(settings); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *folder) readSettings(settings any) error {
	b, err := os.ReadFile(f.path(f.kind.settingsName()))
	if err != nil {
		return err
	}
	var head struct {
		Format int `json:"format"`
	}
	if err = json.Unmarshal(b, &head); err == nil {
		switch {
		case head.Format > folderFormat:
			return fmt.Errorf("%s has format %d: %w", f.dir, head.Format, errNewer)
		case head.Format < 1:
			err = errors.New("it names no format")
		default:
			err = json.Unmarshal(b, settings)
		}
	}
	if err != nil {
		return fmt.Errorf("read %s: %w (%w)", f.path(f.kind.settingsName()), errSettings, err)
	}
	return nil
}

// lockFolder locks dir, or says that another process has it.
func lockFolder(ctx context.Context, dir string) (*os.File, error) {
	deadline := time.Now().Add(lockPatience)
	for {
		f, err := tryLock(filepath.Join(dir, lockName))
		if !errors.Is(err, errInUse) {
			return f, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s is %w: stop that one, or name another folder", dir, errInUse)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// tryLock locks the file that has the name path when it is locked: it may have
// been removed meanwhile.
func tryLock(path string) (*os.File, error) {
	f, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	locked, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if named, err := os.Stat(path); err != nil || !os.SameFile(locked, named) {
		return nil, errors.Join(errInUse, f.Close())
	}
	return f, nil
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// writeDurably puts a file in place as a whole: after a power cut there is
// what was there before, or all of b.
func writeDurably(path string, b []byte, perm fs.FileMode) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(tmp))
	}
	return syncFolder(filepath.Dir(path))
}
