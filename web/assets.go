package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/classmesh/classmesh/web/content"
)

//go:embed static
var assetFiles embed.FS

// assets is the files of style, scripts and signs, by name.
type assets map[string]asset

type asset struct {
	data      []byte
	zipped    func() []byte // the same as a gzip file
	version   string        // hash of data
	mediaType string
}

// assetTypes are media types by extension: what a system knows of them differs.
var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

func loadAssets() (assets, error) {
	files, err := assetFiles.ReadDir("static")
	if err != nil {
		return nil, fmt.Errorf("list static files: %w", err)
	}
	all := assets{}
	for _, f := range files {
		data, err := assetFiles.ReadFile(path.Join("static", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("read static file: %w", err)
		}
		mediaType, ok := assetTypes[path.Ext(f.Name())]
		if !ok {
			return nil, fmt.Errorf("read static file %s: its type is not known", f.Name())
		}
		h := sha256.Sum256(data)
		zipped := sync.OnceValue(func() []byte { return gzipped([]*part{oncePart(data)}) })
		all[f.Name()] = asset{data, zipped, hex.EncodeToString(h[:8]), mediaType}
	}
	return all, nil
}

// address returns where a file is served. It changes with the file, so that
// browsers may keep it for ever.
func (a assets) address(name string) (string, error) {
	f, ok := a[name]
	if !ok {
		return "", fmt.Errorf("there is no static file %q", name)
	}
	return "/static/" + f.version + "/" + name, nil
}

const forEver = "public, max-age=31536000, immutable"

func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	f, ok := s.assets[r.PathValue("file")]
	if !ok {
		s.fail(w, s.newVisit(r), errNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.mediaType)
	h.Set("ETag", `"`+f.version+`"`)
	h.Set("Cache-Control", "no-cache")
	if r.PathValue("version") == f.version {
		h.Set("Cache-Control", forEver)
	}
	h.Set("Vary", "Accept-Encoding")
	if takesGzip(r) {
		h.Set("ETag", `"`+f.version+`-gzip"`)
		h.Set("Content-Encoding", "gzip")
		f.data = f.zipped()
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}

// media serves the films and captions of content packs, whole or in ranges.
// They are the same for everybody.
func (s *Server) media(w http.ResponseWriter, r *http.Request) {
	notFound := func() { s.fail(w, s.newVisit(r), errNotFound) }
	pack := s.cfg.Library.Pack(r.PathValue("pack"))
	if pack == nil {
		notFound()
		return
	}
	name := r.PathValue("file")
	f, err := pack.Open(name)
	if err != nil {
		notFound()
		return
	}
	defer f.Close()
	info, err := f.Stat()
	seeker, ok := f.(io.ReadSeeker)
	if err != nil || !ok {
		s.fail(w, s.newVisit(r), fmt.Errorf("serve %s of pack %s: %w", name, pack.ID, err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", content.MediaType(name))
	// The version of a pack rises whenever anything in it changes.
	h.Set("ETag", fmt.Sprintf(`"%s-%d-%x"`, pack.ID, pack.Version, info.Size()))
	h.Set("Cache-Control", "no-cache")
	if r.URL.RawQuery == mediaVersion(pack) {
		h.Set("Cache-Control", forEver)
	}
	http.ServeContent(w, r, "", time.Time{}, seeker)
}

func mediaVersion(p *content.Pack) string { return fmt.Sprintf("v=%d", p.Version) }

// mediaAddress returns where a file of a pack is served.
func mediaAddress(p *content.Pack, name string) string {
	return "/media/" + p.ID + "/" + name + "?" + mediaVersion(p)
}
