package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/classmesh/classmesh/records/identity"
)

// keyHeading is the first line of a key file; the second is the seed in hex.
const keyHeading = "classmesh identity key 1"

// Errors of key files.
var (
	errKey   = errors.New("not an identity key of classmesh: restore the file from a backup")
	errNoKey = errors.New("the identity key is missing: restore the file from a backup")
)

// readKey reads the identity key in a file.
func readKey(path string) (identity.DeviceKey, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = errNoKey
	}
	if err != nil {
		return identity.DeviceKey{}, fmt.Errorf("read %s: %w", path, err)
	}
	heading, seed, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	raw, err := hex.DecodeString(strings.TrimSpace(seed))
	if err != nil || strings.TrimSpace(heading) != keyHeading {
		return identity.DeviceKey{}, fmt.Errorf("read %s: %w", path, errKey)
	}
	key, err := identity.DeviceKeyFromSeed(raw)
	if err != nil {
		return identity.DeviceKey{}, fmt.Errorf("read %s: %w", path, errKey)
	}
	return key, nil
}

// makeKey reads the identity key in a file, or draws one and writes it.
func makeKey(path string, random io.Reader) (identity.DeviceKey, error) {
	key, err := readKey(path)
	if !errors.Is(err, errNoKey) {
		return key, err
	}
	if key, err = identity.GenerateDeviceKey(random); err != nil {
		return key, err
	}
	return key, writeDurably(path, []byte(keyHeading+"\n"+hex.EncodeToString(key.Seed())+"\n"), 0o600)
}
