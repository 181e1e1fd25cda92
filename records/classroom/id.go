package classroom

import (
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

// GroupID names a group: 16 random bytes.
type GroupID [16]byte

// AssignmentID names an assignment: 16 random bytes.
type AssignmentID [16]byte

// ErrID is wrapped by errors about texts that are not an identifier.
var ErrID = errors.New("not a valid identifier")

const groupPrefix, assignmentPrefix = "group-", "assignment-"

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns "group-" and 26 characters.
func (g GroupID) String() string { return groupPrefix + base32Lower.EncodeToString(g[:]) }

// String returns "assignment-" and 26 characters.
func (a AssignmentID) String() string { return assignmentPrefix + base32Lower.EncodeToString(a[:]) }

// MarshalText is String.
func (g GroupID) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// MarshalText is String.
func (a AssignmentID) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is ParseGroupID.
func (g *GroupID) UnmarshalText(t []byte) (err error) { *g, err = ParseGroupID(string(t)); return err }

// IsZero reports whether g names no group.
func (g GroupID) IsZero() bool { return g == GroupID{} }

// ParseGroupID is the inverse of GroupID.String.
func ParseGroupID(s string) (g GroupID, err error) { return g, parseID(groupPrefix, s, g[:]) }

// parseID decodes the one spelling that String gives.
func parseID(prefix, s string, out []byte) error {
	t, ok := strings.CutPrefix(s, prefix)
	b, err := base32Lower.DecodeString(t)
	if !ok || err != nil || len(b) != len(out) || base32Lower.EncodeToString(b) != t {
		return fmt.Errorf("want %q and %d characters: %w", prefix, base32Lower.EncodedLen(len(out)), ErrID)
	}
	copy(out, b)
	return nil
}

// groupOf reads a group ID from a register's key.
func groupOf(key string) (g GroupID, ok bool) {
	return g, copy(g[:], key) == len(g) && len(key) == len(g)
}
