package content

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"time"
)

// ManifestName is the file of a pack that says what is in it.
const ManifestName = "pack.json"

// MaxManifestBytes is the size of the largest manifest that is read.
const MaxManifestBytes = 4 << 20

// mediaTypes are the files that a pack may hold, by extension. Browsers need
// the exact type, and the systems that devices run on do not all know it.
var mediaTypes = map[string]string{
	".webm": "video/webm",
	".mp4":  "video/mp4",
	".vtt":  "text/vtt; charset=utf-8",
}

// MediaType returns the value of the Content-Type header for a file of a pack,
// or "" if packs do not hold such files.
func MediaType(name string) string { return mediaTypes[path.Ext(name)] }

// Pack is a collection of topics, videos and exercises that was made and is
// installed as one. It does not change after [Load] and is safe for concurrent
// use. It is itself a file system, of its media alone.
type Pack struct {
	ID          string
	Version     int      // rises with every release of the pack
	Languages   []string // in which all texts are there
	Title       Text
	Description Text
	Topics      []*Topic // the top of the tree

	fsys  fs.FS
	media map[string]bool // the files that Open opens
}

// Topic is a node of the tree that learners browse.
type Topic struct {
	ID          string
	Title       Text
	Description Text
	Topics      []*Topic
	Contents    []Content // in the order of teaching
}

// Content is a video or an exercise; the other field is nil. Both share one
// space of IDs, which learners' records refer to for ever.
type Content struct {
	Video    *Video
	Exercise *Exercise
}

// ID returns the ID of the video or exercise.
func (c Content) ID() string {
	if c.Video != nil {
		return c.Video.ID
	}
	return c.Exercise.ID
}

// Title returns the title of the video or exercise.
func (c Content) Title() Text {
	if c.Video != nil {
		return c.Video.Title
	}
	return c.Exercise.Title
}

// Video is a film with captions. It does not change after [Load].
type Video struct {
	ID          string
	Title       Text
	Description Text
	Pack        string            // ID of the pack whose Open opens the files
	File        string            // name of the film in the pack
	Captions    map[string]string // language → name of the WebVTT file in the pack
	Duration    time.Duration     // in whole seconds
	Points      int               // for watching all of it
}

// Load reads and checks the pack in fsys, which must stay readable for as long
// as the pack is used. A pack is taken as a whole or refused with an error that
// names the file and the field at fault.
func Load(fsys fs.FS) (*Pack, error) {
	data, err := readFile(fsys, ManifestName, MaxManifestBytes)
	if err != nil {
		return nil, fmt.Errorf("load content pack: %w", err)
	}
	p, err := parseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("load content pack: %s: %w", ManifestName, err)
	}
	p.fsys = fsys
	if err := p.checkFiles(); err != nil {
		return nil, fmt.Errorf("load content pack %s: %w", p.ID, err)
	}
	return p, nil
}

// Open opens a film or a caption file that the manifest names, and nothing
// else: the manifest, which holds the answers, does not exist here. So a Pack
// can be given to [net/http.ServeFileFS]; set the header of [MediaType] before.
func (p *Pack) Open(name string) (fs.File, error) {
	if !p.media[name] {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return p.fsys.Open(name)
}

// allTopics yields every topic, parents before children.
func (p *Pack) allTopics() iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		var walk func(topics []*Topic) bool
		walk = func(topics []*Topic) bool {
			for _, t := range topics {
				if !yield(t) || !walk(t.Topics) {
					return false
				}
			}
			return true
		}
		walk(p.Topics)
	}
}

// checkFiles makes sure that all media are there, and that captions are
// WebVTT, and records what Open may open.
func (p *Pack) checkFiles() error {
	p.media = map[string]bool{}
	for t := range p.allTopics() {
		for _, c := range t.Contents {
			v := c.Video
			if v == nil {
				continue
			}
			info, err := fs.Stat(p.fsys, v.File)
			if err != nil {
				return fmt.Errorf("video %s: file: %w", v.ID, err)
			}
			if !info.Mode().IsRegular() || info.Size() == 0 {
				return fmt.Errorf("video %s: file: %s is empty or not a file", v.ID, v.File)
			}
			p.media[v.File] = true
			for _, lang := range slices.Sorted(maps.Keys(v.Captions)) {
				name := v.Captions[lang]
				data, err := readFile(p.fsys, name, MaxCaptionsBytes)
				if err == nil {
					err = checkCaptions(data, v.Duration)
				}
				if err != nil {
					return fmt.Errorf("video %s: captions: %s: %s: %w", v.ID, lang, name, err)
				}
				p.media[name] = true
			}
		}
	}
	return nil
}

// readFile reads a file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: larger than %d bytes", name, limit)
	}
	return data, nil
}
