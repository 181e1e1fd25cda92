package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/classmesh/classmesh/mesh"
)

// Whatever keeps a device from the centre or from others is told in every
// language of the pages.
func TestTextsKnowWhatTheMeshSays(t *testing.T) {
	names := []string{"mesh.problem." + string(problemCopy)}
	for _, r := range mesh.Reasons {
		names = append(names, "uplink."+string(r))
	}
	for _, p := range []mesh.Problem{mesh.NoNetwork, mesh.NobodySeen, mesh.Isolated, mesh.NobodyAnswers, mesh.NoUDP} {
		names = append(names, "mesh.problem."+string(p))
	}
	files, err := filepath.Glob("../../web/texts/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d languages: %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var texts map[string]any
		if err := json.Unmarshal(b, &texts); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if texts[strings.ReplaceAll(name, " ", "_")] == nil {
				t.Errorf("%s has no text for %q", file, name)
			}
		}
	}
	said := map[string]mesh.Reason{}
	for _, r := range mesh.Reasons {
		if other, ok := said[r.Words()]; ok {
			t.Errorf("%q and %q have the same words", r, other)
		}
		said[r.Words()] = r
	}
}
