// Package docs holds no code, only tests of what the documents say.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLabels compares the labels in formats.md with those in the source, and
// the files that they are said to be in.
func TestLabels(t *testing.T) {
	inCode := map[string]string{}
	label := regexp.MustCompile(`NewLabel\("(classmesh [^"]+)"\)`)
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		source, err := os.ReadFile(name)
		for _, found := range label.FindAllStringSubmatch(string(source), -1) {
			inCode[found[1]] = strings.TrimPrefix(filepath.ToSlash(name), "../")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("formats.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(classmesh [^`]+)` \\|[^|]*\\| `([^`]+)` \\|$")
	inPage := map[string]string{}
	for _, found := range row.FindAllStringSubmatch(string(page), -1) {
		inPage[found[1]] = found[2]
	}
	if len(inCode) < 20 {
		t.Errorf("only %d labels found in the source", len(inCode))
	}
	for l, file := range inCode {
		if inPage[l] != file {
			t.Errorf("label %q is in %s; formats.md says %q", l, file, inPage[l])
		}
	}
	for l := range inPage {
		if inCode[l] == "" {
			t.Errorf("formats.md lists label %q, which the source does not have", l)
		}
	}
}

// TestLinks follows the links between the documents, and those to files.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^):]+)\)`)
	seen := 0
	for _, name := range pages {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(page), -1) {
			seen++
			file, section, _ := strings.Cut(found[1], "#")
			target, err := os.ReadFile(file)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if section != "" && !hasSection(string(target), section) {
				t.Errorf("%s: %s has no section %q", name, file, section)
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d links found", seen)
	}
}

// hasSection reports whether a page has a heading that is linked to as anchor.
func hasSection(page, anchor string) bool {
	for line := range strings.Lines(page) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if ok && strings.HasPrefix(line, "#") && strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-") == anchor {
			return true
		}
	}
	return false
}
