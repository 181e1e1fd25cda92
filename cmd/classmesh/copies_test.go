package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/classmesh/classmesh/discovery/gossip"
	"github.com/classmesh/classmesh/records/identity"
)

// A device that is at two places for longer than a restart takes is told of, and
// forgotten when it is no more.
func TestCopies(t *testing.T) {
	now := time.Unix(1, 0)
	c := newCopies(func() time.Time { return now })
	told := func() (words []string) {
		for _, f := range c.findings(func(identity.DeviceID) string { return "Room 7" }) {
			words = append(words, f.Words)
		}
		return words
	}
	member := func(start byte, at string) gossip.Member {
		return gossip.Member{Device: identity.DeviceID{1}, Start: identity.StartID{start}, Call: netip.MustParseAddrPort(at)}
	}
	moved := gossip.Conflict{Known: member(1, "10.0.0.1:7701"), Other: member(1, "10.0.0.2:7701")}
	twice := gossip.Conflict{Known: member(1, "10.0.0.1:7701"), Other: member(2, "10.0.0.2:7701")}
	for range 5 {
		c.hear(moved)
		now = now.Add(copyAfter)
	}
	if words := told(); len(words) > 0 {
		t.Errorf("a device that moved: %q", words)
	}
	c.hear(twice)
	if words := told(); len(words) > 0 {
		t.Errorf("a device that was restarted elsewhere: %q", words)
	}
	now = now.Add(copyAfter)
	c.hear(twice)
	if words := told(); len(words) != 1 || !strings.Contains(words[0], `"Room 7", at 10.0.0.1:7701 and at 10.0.0.2:7701`) {
		t.Errorf("a copy: %q", words)
	}
	now = now.Add(copyFor + time.Second)
	if words := told(); len(words) > 0 {
		t.Errorf("a copy that is gone: %q", words)
	}
	for i := range 2 * maxCopies {
		c.hear(gossip.Conflict{Known: gossip.Member{Device: identity.DeviceID{2, byte(i)}}, Other: gossip.Member{Start: identity.StartID{1}}})
	}
	if len(c.seen) > maxCopies {
		t.Errorf("%d devices are remembered", len(c.seen))
	}
}
