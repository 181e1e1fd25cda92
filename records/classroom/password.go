package classroom

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/argon2"
)

// Parameters of new hashes: what a Raspberry Pi computes in a fraction of a
// second. They stand in each hash, so they can be raised later.
const (
	hashMemoryKiB = 19 << 10
	hashPasses    = 2
	hashThreads   = 1
	hashSaltBytes = 16
	hashBytes     = 32
)

// Bounds of the parameters in a stored hash, which may come from any device:
// what is beyond them matches no password.
const (
	maxHashMemoryKiB = 64 << 10
	maxHashPasses    = 8
	maxHashThreads   = 4
)

// MaxPasswordBytes is the length of the longest password.
const MaxPasswordBytes = 128

// Gate hashes and checks passwords, a few at a time: a class of forty that
// signs in at once waits its turn, and the device stays usable. It is safe for
// concurrent use.
type Gate struct {
	slots chan struct{}
	dummy PasswordHash // of no password; checked where there is nothing to check

	mu     sync.Mutex // guards random
	random io.Reader
}

// NewGate returns a gate that draws salts from random, which must be
// cryptographic, and computes at most parallel hashes at a time, each with
// 19 MiB of memory; parallel 0 means 2.
func NewGate(random io.Reader, parallel int) (*Gate, error) {
	if parallel <= 0 {
		parallel = 2
	}
	g := &Gate{slots: make(chan struct{}, parallel), random: random}
	salt, err := g.salt()
	if err != nil {
		return nil, err
	}
	g.dummy = formatHash(salt, make([]byte, hashBytes))
	return g, nil
}

func (g *Gate) salt() ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	salt := make([]byte, hashSaltBytes)
	if _, err := io.ReadFull(g.random, salt); err != nil {
		return nil, fmt.Errorf("draw salt of password: %w", err)
	}
	return salt, nil
}

// enter waits for a turn.
func (g *Gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *Gate) leave() { <-g.slots }

// Hash hashes a new password. An empty or too long one is [ErrEmpty] or [ErrTooLong].
func (g *Gate) Hash(ctx context.Context, password string) (PasswordHash, error) {
	switch {
	case password == "":
		return "", fmt.Errorf("the password %w", ErrEmpty)
	case len(password) > MaxPasswordBytes:
		return "", fmt.Errorf("the password %w: at most %d bytes", ErrTooLong, MaxPasswordBytes)
	}
	salt, err := g.salt()
	if err != nil {
		return "", err
	}
	if err := g.enter(ctx); err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	defer g.leave()
	return formatHash(salt, argon2.IDKey([]byte(password), salt, hashPasses, hashMemoryKiB, hashThreads, hashBytes)), nil
}

// Verify reports whether password is the one of hash. A hash that is none
// matches nothing.
func (g *Gate) Verify(ctx context.Context, hash PasswordHash, password string) (bool, error) {
	h, err := parseHash(hash)
	if err != nil || len(password) > MaxPasswordBytes {
		return false, nil
	}
	if err := g.enter(ctx); err != nil {
		return false, fmt.Errorf("check password: %w", err)
	}
	defer g.leave()
	sum := argon2.IDKey([]byte(password), h.salt, h.passes, h.memoryKiB, h.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1, nil
}

// parsedHash is a stored hash, taken apart.
type parsedHash struct {
	memoryKiB, passes uint32
	threads           uint8
	salt, sum         []byte
}

var errHash = errors.New("not a password hash that this release can check")

const hashPrefix = "$argon2id$v=19$"

func formatHash(salt, sum []byte) PasswordHash {
	enc := base64.RawStdEncoding
	return PasswordHash(fmt.Sprintf("%sm=%d,t=%d,p=%d$%s$%s", hashPrefix,
		hashMemoryKiB, hashPasses, hashThreads, enc.EncodeToString(salt), enc.EncodeToString(sum)))
}

func parseHash(s PasswordHash) (h parsedHash, err error) {
	rest, ok := strings.CutPrefix(string(s), hashPrefix)
	parts := strings.Split(rest, "$")
	if !ok || len(parts) != 3 {
		return h, errHash
	}
	_, err = fmt.Sscanf(parts[0], "m=%d,t=%d,p=%d", &h.memoryKiB, &h.passes, &h.threads)
	switch {
	case err != nil, fmt.Sprintf("m=%d,t=%d,p=%d", h.memoryKiB, h.passes, h.threads) != parts[0],
		h.memoryKiB < 8*uint32(h.threads) || h.memoryKiB > maxHashMemoryKiB,
		h.passes < 1 || h.passes > maxHashPasses,
		h.threads < 1 || h.threads > maxHashThreads:
		return h, errHash
	}
	enc := base64.RawStdEncoding.Strict()
	if h.salt, err = enc.DecodeString(parts[1]); err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return h, errHash
	}
	if h.sum, err = enc.DecodeString(parts[2]); err != nil || len(h.sum) < 16 || len(h.sum) > 64 {
		return h, errHash
	}
	return h, nil
}
