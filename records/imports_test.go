package records_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/classmesh/classmesh/"

// allowed says which packages of the program a package may import, tests left
// out. A package that is not listed may import nothing of ours.
var allowed = map[string][]string{
	"records":           {"records/identity", "records/message", "records/roster"},
	"records/packing":   {"records", "records/identity", "records/message"},
	"records/roster":    {"records/identity"},
	"records/boltstore": {"records", "records/identity", "records/packing"},
	"records/storetest": {"records", "records/identity", "records/packing"},
	"records/classroom": {"records", "records/identity", "records/message", "records/roster"},
	"mesh/link":         {"records/identity"},
	"mesh/wire":         {"records", "records/identity", "records/message", "records/packing", "records/roster"},
	"mesh/exchange":     {"mesh/wire", "records", "records/identity", "records/packing", "records/roster"},
	"mesh":              {"discovery", "mesh/exchange", "mesh/link", "mesh/wire", "records", "records/identity", "records/packing", "records/roster"},

	"discovery":         {"records/identity"},
	"discovery/mdns":    {"discovery", "records/identity"},
	"discovery/gossip":  {"discovery", "records/identity"},
	"discovery/lantest": {"discovery/netns"},

	"coordinator":             {"mesh/exchange", "mesh/link", "mesh/wire", "records", "records/identity", "records/packing", "records/roster"},
	"coordinator/api":         {"coordinator", "mesh/link", "records", "records/identity", "records/message", "records/roster"},
	"coordinator/boltstore":   {"coordinator", "records", "records/boltstore", "records/identity", "records/roster"},
	"coordinator/storagetest": {"coordinator", "records", "records/identity", "records/roster"},

	"web": {"records", "records/classroom", "records/identity", "records/roster", "web/content"},
	"cmd/bench": {
		"cmd/internal/heap", "discovery", "discovery/netns", "mesh", "mesh/exchange", "mesh/link", "mesh/wire",
		"records", "records/boltstore", "records/classroom", "records/identity", "records/packing", "records/roster",
		"web", "web/content",
	},
	"cmd/classmesh": {
		"cmd/internal/heap", "coordinator", "coordinator/api", "coordinator/boltstore",
		"discovery", "discovery/gossip", "discovery/mdns",
		"mesh", "mesh/exchange", "mesh/link", "mesh/wire",
		"records", "records/boltstore", "records/classroom", "records/identity", "records/roster",
		"web", "web/content",
	},
}

// fences names, for each library, the only package that may import it. bbolt
// has more: two kinds of storage. cmd/bench measures what libraries can do.
var fences = map[string][]string{
	"go.etcd.io/bbolt":           {"records/boltstore", "coordinator/boltstore", "cmd/bench"},
	"lukechampine.com/blake3":    {"records/identity"},
	"google.golang.org/protobuf": {"records/message"},
	"github.com/quic-go/quic-go": {"mesh/link"},
	"github.com/coder/websocket": {"mesh/link"},
	"github.com/klauspost":       {"records/packing", "cmd/bench"},
	"golang.org/x/crypto":        {"records/classroom"},
	"github.com/spf13/cobra":     {"cmd/classmesh"},
	"github.com/prometheus":      {"cmd/classmesh"},
	"golang.org/x/sys":           {"cmd/classmesh/lantest"},

	"github.com/grandcat/zeroconf":    {"discovery/mdns"},
	"github.com/hashicorp/memberlist": {"discovery/gossip"},
}

func TestImports(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", name)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		seen++
		for _, spec := range file.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			if ours, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(allowed[pkg], ours) {
				t.Errorf("%s may not import %s", rel, ours)
			}
			for library, owners := range fences {
				if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.Contains(owners, pkg) {
					t.Errorf("%s: only %s may import %s", rel, owners, library)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 30 {
		t.Errorf("only %d files found", seen)
	}
}
