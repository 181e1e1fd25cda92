package mdns

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/classmesh/classmesh/discovery"
)

// Sizes of what a TXT record holds, and how much of one is looked at.
const (
	randomBytes  = 16
	tagBytes     = 16
	maxTags      = 3
	maxFields    = 16
	maxFieldSize = 80
)

var errAnnouncement = errors.New("not an announcement of this protocol")

// announcement is what the TXT record of an instance says.
type announcement struct {
	protocolMin, protocolMax uint16
	random                   [randomBytes]byte
	tags                     [][tagBytes]byte
}

// text returns the strings of the TXT record.
func (a announcement) text() []string {
	text := []string{
		fmt.Sprintf("p=%d-%d", a.protocolMin, a.protocolMax),
		"r=" + hex.EncodeToString(a.random[:]),
	}
	for _, t := range a.tags {
		text = append(text, "t="+hex.EncodeToString(t[:]))
	}
	return text
}

// parseAnnouncement reads a TXT record from the wire.
func parseAnnouncement(text []string) (a announcement, err error) {
	if len(text) > maxFields {
		return a, errAnnouncement
	}
	versions, random := false, false
	for _, field := range text {
		if len(field) > maxFieldSize {
			return a, errAnnouncement
		}
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "p":
			low, high, ok := strings.Cut(value, "-")
			first, err := strconv.ParseUint(low, 10, 16)
			last, err2 := strconv.ParseUint(high, 10, 16)
			if !ok || err != nil || err2 != nil || versions || first > last {
				return a, errAnnouncement
			}
			a.protocolMin, a.protocolMax, versions = uint16(first), uint16(last), true
		case "r":
			if random || !decode(a.random[:], value) {
				return a, errAnnouncement
			}
			random = true
		case "t":
			var t [tagBytes]byte
			if len(a.tags) == maxTags || !decode(t[:], value) {
				return a, errAnnouncement
			}
			a.tags = append(a.tags, t)
		}
	}
	if !versions || !random || len(a.tags) == 0 {
		return a, errAnnouncement
	}
	return a, nil
}

// decode fills b from as many hexadecimal digits as it takes.
func decode(b []byte, digits string) bool {
	if len(digits) != hex.EncodedLen(len(b)) {
		return false
	}
	_, err := hex.Decode(b, []byte(digits))
	return err == nil
}

// of reports whether the announcement was made by a device that holds one of
// the keys.
func (a announcement) of(keys []discovery.ZoneKey) bool {
	for _, key := range keys {
		want := zoneTag(key, a.random)
		for _, tag := range a.tags {
			if subtle.ConstantTimeCompare(want[:], tag[:]) == 1 {
				return true
			}
		}
	}
	return false
}
