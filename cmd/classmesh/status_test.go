package main

import (
	"strings"
	"testing"

	"github.com/classmesh/classmesh/mesh"
)

// A diagnosis says the same in words and as JSON, and names everything that was found.
func TestDiagnosis(t *testing.T) {
	s := statusReport{
		Uplink: uplinkReport{State: string(mesh.Offline), Words: "no answer; is it on?"},
		LAN:    &lanReport{Findings: []string{"no cable"}},
		Logs:   []logReport{{Lane: "zone"}, {Lane: "detail", Trouble: "two continuations"}},
		Peers:  []peerReport{{Name: "Room 2", State: mesh.PeerAway, Address: "10.0.0.2:7701", Via: []string{"mDNS"}}},
	}
	d := s.diagnose()
	var words, encoded strings.Builder
	d.print(&words)
	if err := printJSON(&encoded, d); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"no answer; is it on?", "no cable", "two continuations", "Room 2", "10.0.0.2:7701"} {
		if !strings.Contains(words.String(), want) || !strings.Contains(encoded.String(), want) {
			t.Errorf("%q is lacking in\n%s\nor in\n%s", want, words.String(), encoded.String())
		}
	}
	if len(d.Findings) != 3 || strings.Contains(words.String(), "nothing was found") {
		t.Errorf("%d findings:\n%s", len(d.Findings), words.String())
	}

	s.Uplink.State = uplinkStopped
	if d := s.diagnose(); len(d.Findings) != 1 || d.Findings[0].About != "device" {
		t.Errorf("of a device that does not run: %+v", d)
	}
}
