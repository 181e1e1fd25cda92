package content

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
)

//go:embed packs
var shipped embed.FS

// Shipped loads the packs that are part of the program, in the order of their
// names. Join them in a [Library], with others if there are any.
func Shipped() ([]*Pack, error) {
	folders, err := shipped.ReadDir("packs")
	if err != nil {
		return nil, fmt.Errorf("list shipped content packs: %w", err)
	}
	var packs []*Pack
	for _, f := range folders {
		fsys, err := fs.Sub(shipped, path.Join("packs", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("open shipped content pack %s: %w", f.Name(), err)
		}
		p, err := Load(fsys)
		if err != nil {
			return nil, err
		}
		packs = append(packs, p)
	}
	return packs, nil
}
