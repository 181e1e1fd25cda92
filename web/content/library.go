package content

import (
	"errors"
	"fmt"
)

// ErrDuplicateID means that two packs of a library use the same ID.
var ErrDuplicateID = errors.New("duplicate ID")

// Library is all content of a device: several packs as one. It does not change
// after [NewLibrary] and is safe for concurrent use.
type Library struct {
	packs    []*Pack
	byID     map[string]*Pack
	topics   map[string]*Topic
	contents map[string]Content
}

// NewLibrary joins packs, which keep their order. IDs of packs must be unique,
// and so must those of topics, and of videos and exercises together;
// otherwise the error is [ErrDuplicateID] and names both packs.
func NewLibrary(packs ...*Pack) (*Library, error) {
	l := &Library{
		byID:     map[string]*Pack{},
		topics:   map[string]*Topic{},
		contents: map[string]Content{},
	}
	owner := map[string]string{} // "topic fractions" → ID of its pack
	claim := func(p *Pack, what, id string) error {
		name := what + " " + id
		if other, ok := owner[name]; ok {
			return fmt.Errorf("add content pack %s: %w: %s is also in pack %s; remove one of the packs", p.ID, ErrDuplicateID, name, other)
		}
		owner[name] = p.ID
		return nil
	}
	for _, p := range packs {
		if l.byID[p.ID] != nil {
			return nil, fmt.Errorf("add content pack %s: %w: there is already a pack of this name; remove one of them", p.ID, ErrDuplicateID)
		}
		l.byID[p.ID] = p
		l.packs = append(l.packs, p)
		for t := range p.allTopics() {
			if err := claim(p, "topic", t.ID); err != nil {
				return nil, err
			}
			l.topics[t.ID] = t
			for _, c := range t.Contents {
				if err := claim(p, "content", c.ID()); err != nil {
					return nil, err
				}
				l.contents[c.ID()] = c
			}
		}
	}
	return l, nil
}

// Packs returns the packs in the order given to [NewLibrary].
func (l *Library) Packs() []*Pack { return l.packs }

// Topics returns the topics at the top of the tree, pack by pack.
func (l *Library) Topics() []*Topic {
	var roots []*Topic
	for _, p := range l.packs {
		roots = append(roots, p.Topics...)
	}
	return roots
}

// Contents returns all videos and exercises in the order of teaching: the
// columns of a class table.
func (l *Library) Contents() []Content {
	var all []Content
	for _, p := range l.packs {
		for t := range p.allTopics() {
			all = append(all, t.Contents...)
		}
	}
	return all
}

// Pack returns the pack with this ID, or nil.
func (l *Library) Pack(id string) *Pack { return l.byID[id] }

// Topic returns the topic with this ID, or nil.
func (l *Library) Topic(id string) *Topic { return l.topics[id] }

// Video returns the video with this ID, or nil: records may speak of content
// that this device does not have.
func (l *Library) Video(id string) *Video { return l.contents[id].Video }

// Exercise returns the exercise with this ID, or nil.
func (l *Library) Exercise(id string) *Exercise { return l.contents[id].Exercise }
