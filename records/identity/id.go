package identity

import (
	"bytes"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
)

var (
	labelDeviceID = NewLabel("classmesh 1 device id")
	labelLogID    = NewLabel("classmesh 1 log id")
)

// ErrID is wrapped by errors about texts that are not an identifier. They
// never repeat the text.
var ErrID = errors.New("not a valid identifier")

// DeviceID names a device: the hash of its public identity key.
type DeviceID Hash

// ZoneID names a zone: 16 random bytes given by its coordinator.
type ZoneID [16]byte

// UserID names a learner, teacher or administrator: 16 random bytes that say
// nothing about the person.
type UserID [16]byte

// LogID names a log: the hash of zone, author key and lane.
type LogID Hash

// StartID is the random part of a start, which tells two lives of one
// database apart.
type StartID [8]byte

// Lane is a class of records with a log and a counter of its own, so that
// small important things travel first.
type Lane uint8

// The lanes, in the order in which they travel.
const (
	LaneZone     Lane = iota // people, groups, assignments
	LaneProgress             // summaries, awards
	LaneDetail               // single answers, viewing spans
	laneEnd
)

// Lanes lists every lane in the order in which they travel.
var Lanes = [...]Lane{LaneZone, LaneProgress, LaneDetail}

// Valid reports whether the lane is one that this version knows.
func (l Lane) Valid() bool { return l < laneEnd }

// String returns the lane's name.
func (l Lane) String() string {
	switch l {
	case LaneZone:
		return "zone"
	case LaneProgress:
		return "progress"
	case LaneDetail:
		return "detail"
	}
	return fmt.Sprintf("lane %d", uint8(l))
}

// MarshalText returns the lane's name.
func (l Lane) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// NewLogID returns the ID of the log that an incarnation writes in a lane of a
// zone: hash of (zone, author key, lane).
func NewLogID(z ZoneID, a AuthorPublic, l Lane) LogID {
	var b [16 + 32 + 1]byte
	copy(b[:], z[:])
	copy(b[16:], a[:])
	b[48] = byte(l)
	return LogID(labelLogID.Hash(b[:]))
}

// NewZoneID draws a zone ID from random.
func NewZoneID(random io.Reader) (z ZoneID, err error) { return z, draw(random, z[:]) }

// NewUserID draws a user ID from random.
func NewUserID(random io.Reader) (u UserID, err error) { return u, draw(random, u[:]) }

// NewStartID draws a start ID from random.
func NewStartID(random io.Reader) (s StartID, err error) { return s, draw(random, s[:]) }

func draw(random io.Reader, b []byte) error {
	if _, err := io.ReadFull(random, b); err != nil {
		return fmt.Errorf("draw identifier: %w", err)
	}
	return nil
}

// IsZero reports whether u names nobody.
func (u UserID) IsZero() bool { return u == UserID{} }

// IsZero reports whether d names no device.
func (d DeviceID) IsZero() bool { return d == DeviceID{} }

// IsZero reports whether z names no zone.
func (z ZoneID) IsZero() bool { return z == ZoneID{} }

// Compare orders users by their bytes.
func (u UserID) Compare(v UserID) int { return bytes.Compare(u[:], v[:]) }

// Compare orders devices by their bytes.
func (d DeviceID) Compare(e DeviceID) int { return bytes.Compare(d[:], e[:]) }

// Compare orders logs by their bytes.
func (l LogID) Compare(m LogID) int { return bytes.Compare(l[:], m[:]) }

// String returns "zone-" and 26 characters.
func (z ZoneID) String() string { return format("zone-", z[:]) }

// String returns "user-" and 26 characters.
func (u UserID) String() string { return format("user-", u[:]) }

// String returns "log-" and 52 characters.
func (l LogID) String() string { return format("log-", l[:]) }

// Short returns the first 13 characters of String, enough to recognise a log.
func (l LogID) Short() string { return l.String()[:13] }

// String returns "start-" and 13 characters.
func (s StartID) String() string { return format("start-", s[:]) }

// String returns "h-" and 52 characters.
func (h Hash) String() string { return format("h-", h[:]) }

// MarshalText is String.
func (z ZoneID) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

// MarshalText is String.
func (u UserID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalText is String.
func (l LogID) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// MarshalText is String.
func (s StartID) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalText is String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// MarshalText is String.
func (d DeviceID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseZoneID.
func (z *ZoneID) UnmarshalText(t []byte) (err error) { *z, err = ParseZoneID(string(t)); return err }

// UnmarshalText is ParseUserID.
func (u *UserID) UnmarshalText(t []byte) (err error) { *u, err = ParseUserID(string(t)); return err }

// UnmarshalText is ParseLogID.
func (l *LogID) UnmarshalText(t []byte) (err error) { *l, err = ParseLogID(string(t)); return err }

// UnmarshalText is ParseDeviceID.
func (d *DeviceID) UnmarshalText(t []byte) (err error) {
	*d, err = ParseDeviceID(string(t))
	return err
}

// ParseZoneID is the inverse of ZoneID.String.
func ParseZoneID(s string) (z ZoneID, err error) { return z, parse("zone-", s, z[:]) }

// ParseUserID is the inverse of UserID.String.
func ParseUserID(s string) (u UserID, err error) { return u, parse("user-", s, u[:]) }

// ParseLogID is the inverse of LogID.String.
func ParseLogID(s string) (l LogID, err error) { return l, parse("log-", s, l[:]) }

const digits = "abcdefghijklmnopqrstuvwxyz234567"

var base32Lower = base32.NewEncoding(digits).WithPadding(base32.NoPadding)

func format(prefix string, b []byte) string { return prefix + base32Lower.EncodeToString(b) }

// parse decodes the one spelling that format gives; anything else is ErrID.
func parse(prefix, s string, out []byte) error {
	t, ok := strings.CutPrefix(s, prefix)
	if !ok || len(t) != base32Lower.EncodedLen(len(out)) {
		return fmt.Errorf("want %q and %d characters: %w", prefix, base32Lower.EncodedLen(len(out)), ErrID)
	}
	b, err := base32Lower.DecodeString(t)
	if err != nil || base32Lower.EncodeToString(b) != t {
		return fmt.Errorf("after %q: %w", prefix, ErrID)
	}
	copy(out, b)
	return nil
}

// String returns the device ID in eight groups of seven characters. The last
// character of every second group is a check digit over the thirteen before
// it (Luhn's algorithm in base 32), so that a slip in copying is noticed.
func (d DeviceID) String() string {
	t := base32Lower.EncodeToString(d[:])
	var b strings.Builder
	for i := 0; i < len(t); i += 13 {
		part := t[i : i+13]
		part += string(luhn(part))
		if i > 0 {
			b.WriteByte('-')
		}
		b.WriteString(part[:7] + "-" + part[7:])
	}
	return b.String()
}

// Short returns the first group of the ID, for lists that people read.
func (d DeviceID) Short() string { return d.String()[:7] }

// ParseDeviceID reads what String gives; case, hyphens and spaces do not
// matter, because people type it.
func ParseDeviceID(s string) (d DeviceID, err error) {
	s = strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(s))
	if len(s) != 56 {
		return d, fmt.Errorf("a device ID has 56 letters and digits, this has %d: %w", len(s), ErrID)
	}
	var t strings.Builder
	for i := 0; i < len(s); i += 14 {
		part := s[i : i+13]
		if strings.Trim(part, digits) != "" {
			return d, fmt.Errorf("part %d of 4 has a character that no device ID has: %w", i/14+1, ErrID)
		}
		if luhn(part) != s[i+13] {
			return d, fmt.Errorf("part %d of 4 is mistyped: %w", i/14+1, ErrID)
		}
		t.WriteString(part)
	}
	return d, parse("", t.String(), d[:])
}

// luhn returns the check digit of s, Luhn's algorithm in base 32.
func luhn(s string) byte {
	sum, factor := 0, 2
	for i := len(s) - 1; i >= 0; i-- {
		n := factor * strings.IndexByte(digits, s[i])
		sum += n/32 + n%32
		factor = 3 - factor
	}
	return digits[(32-sum%32)%32]
}
