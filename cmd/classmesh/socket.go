package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

const (
	socketName  = "control.sock"
	addressName = "control.addr"
	// maxSocketPath is the longest path of a socket that all systems take.
	maxSocketPath = 103
)

// localSocket is the socket through which commands talk to the process that
// uses a data folder. Only the folder's owner can connect.
type localSocket struct {
	net.Listener
	remove []string
}

// listenLocal makes the socket of a data folder that this process has locked.
// What a killed process left of it is removed. Where the folder's path is too
// long for a socket, the socket stands in a folder of its own among the
// temporary files, and control.addr says where.
func listenLocal(f *folder) (_ *localSocket, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make local socket of %s: %w", f.dir, err)
		}
	}()
	removeSocket(f.dir)
	path := f.path(socketName)
	s := &localSocket{remove: []string{path}}
	if abs, err := filepath.Abs(path); err != nil || len(path) > maxSocketPath && len(abs) > maxSocketPath {
		folder, err := os.MkdirTemp("", "classmesh-")
		if err != nil {
			return nil, err
		}
		path = filepath.Join(folder, socketName)
		s.remove = []string{path, folder, f.path(addressName)}
		if err := writeDurably(f.path(addressName), []byte(path+"\n"), 0o600); err != nil {
			return nil, errors.Join(err, os.Remove(folder))
		}
	} else if len(path) > maxSocketPath {
		path = abs
	}
	// The folder is its owner's alone; so is the socket, before anybody could
	// connect and be answered.
	if s.Listener, err = net.Listen("unix", path); err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close stops listening and removes the socket.
func (s *localSocket) Close() error {
	err := s.Listener.Close()
	for _, name := range s.remove {
		os.Remove(name)
	}
	return err
}

// removeSocket removes what a killed process left.
func removeSocket(dir string) {
	path, err := socketPath(dir)
	if err != nil {
		return
	}
	os.Remove(path)
	if folder := filepath.Dir(path); strings.HasPrefix(filepath.Base(folder), "classmesh-") && folder != filepath.Clean(dir) {
		os.Remove(folder) // if it is empty
	}
	os.Remove(filepath.Join(dir, addressName))
}

// socketPath returns where the socket of a data folder is, if there is one.
func socketPath(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, addressName))
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	path := filepath.Join(dir, socketName)
	if len(path) > maxSocketPath {
		return filepath.Abs(path)
	}
	return path, nil
}

// dialLocal connects to the process that uses a data folder.
func dialLocal(ctx context.Context, dir string) (net.Conn, error) {
	path, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}
