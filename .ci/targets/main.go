// Command targets type-checks all packages of the module as they are compiled for other
// systems (windows/amd64 and the like, its arguments): what a compiler would say there,
// in a tenth of the time, as nothing is made of it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	failed := false
	for _, target := range os.Args[1:] {
		system, architecture, _ := strings.Cut(target, "/")
		n, err := check(system, architecture)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", target, err)
			failed = true
			continue
		}
		fmt.Printf("ok    %s: %d packages\n", target, n)
	}
	if failed {
		os.Exit(1)
	}
}

// listed is a package as go list describes it.
type listed struct {
	Dir, ImportPath string
	Standard        bool
	GoFiles         []string
	ImportMap       map[string]string // what is imported under another name
	Module          *struct {
		Main      bool
		GoVersion string
	}
}

func (p *listed) ours() bool { return p.Module != nil && p.Module.Main }

// check returns how many packages of the module it has checked, and what is wrong with
// them.
func check(system, architecture string) (n int, err error) {
	list := exec.Command("go", "list", "-deps", "-json=Dir,ImportPath,Standard,GoFiles,ImportMap,Module", "./...")
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+architecture)
	list.Stderr = os.Stderr
	out, err := list.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := list.Start(); err != nil {
		return 0, err
	}
	known := map[string]*types.Package{"unsafe": types.Unsafe}
	var wrong []error
	packages := json.NewDecoder(out)
	for { // what a package imports comes before it
		var p listed
		if err := packages.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			return n, err
		}
		if p.ImportPath == "unsafe" {
			continue
		}
		known[p.ImportPath], err = p.check(architecture, known)
		if p.ours() {
			n++
			wrong = append(wrong, err)
		}
	}
	return n, errors.Join(append(wrong, list.Wait())...)
}

// importer finds what a package imports among those that were checked before.
type importer struct {
	known   map[string]*types.Package
	renamed map[string]string
}

func (i importer) Import(path string) (*types.Package, error) {
	if other, ok := i.renamed[path]; ok {
		path = other
	}
	if p := i.known[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("import %q: it is not listed", path)
}

// check checks a package; of those of others, what they declare.
func (p *listed) check(architecture string, known map[string]*types.Package) (*types.Package, error) {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	var wrong []error
	config := types.Config{
		Importer:         importer{known, p.ImportMap},
		Sizes:            types.SizesFor("gc", architecture),
		IgnoreFuncBodies: !p.ours(),
		Error:            func(err error) { wrong = append(wrong, err) },
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		config.GoVersion = "go" + p.Module.GoVersion
	}
	checked, _ := config.Check(p.ImportPath, fset, files, nil)
	return checked, errors.Join(wrong...)
}
