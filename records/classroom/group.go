package classroom

import (
	"cmp"
	"slices"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
)

// Group is the register of a class or another group of people.
type Group struct {
	Salt        Salt            `json:"-"`
	Name        Setting[string] `json:"name"`
	Description Setting[string] `json:"description"`
	Unknown     []byte          `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *Group) Fields(v *message.Visitor) {
	v.Fixed(1, b.Salt[:])
	visitText(v, 2, &b.Name, MaxNameBytes)
	visitText(v, 3, &b.Description, MaxTextBytes)
	v.Unknown(&b.Unknown)
}

func (b *Group) salt() *Salt { return &b.Salt }

// GroupState is a group as all logs together say.
type GroupState struct{ Name, Description Latest[string] }

// MergeGroup merges versions of one group's register.
func MergeGroup(versions ...Version[Group]) (s GroupState) {
	for i := range versions {
		s.add(&versions[i])
	}
	return s
}

func (s *GroupState) add(v *Version[Group]) {
	s.Name = s.Name.with(Written[string]{v.Body.Name, v.Source})
	s.Description = s.Description.with(Written[string]{v.Body.Description, v.Source})
}

// Merge returns what both know together.
func (s GroupState) Merge(t GroupState) GroupState {
	return GroupState{s.Name.Merge(t.Name), s.Description.Merge(t.Description)}
}

// Tag names an addition to a group: the place where it was written.
type Tag struct {
	Log     identity.LogID `json:"log"`
	Counter uint64         `json:"counter"`
}

// Fields lists the message's fields.
func (t *Tag) Fields(v *message.Visitor) {
	v.Fixed(1, t.Log[:])
	v.Uint64(2, &t.Counter)
}

// maxTags bounds how many logs a membership can speak of.
const maxTags = 256

// Membership is the register of whether a user belongs to a group. See
// [Presence] for how it merges.
type Membership struct {
	Addition bool   `json:"addition"` // this entry adds the user; its own place is the tag
	Added    []Tag  `json:"added"`    // additions in earlier incarnations that were published again in this log
	Removed  []Tag  `json:"removed"`  // additions, of any log, that were taken back in this log
	Unknown  []byte `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *Membership) Fields(v *message.Visitor) {
	v.Bool(1, &b.Addition)
	message.List(v, 2, &b.Added, maxTags)
	message.List(v, 3, &b.Removed, maxTags)
	v.Unknown(&b.Unknown)
}

// MergeMembership merges versions of one membership.
func MergeMembership(versions ...Version[Membership]) (p Presence) {
	for i := range versions {
		p = p.Merge(presence(&versions[i]))
	}
	return p
}

func presence(v *Version[Membership]) Presence {
	added := tagMap(v.Body.Added)
	if v.Body.Addition {
		if added == nil {
			added = map[identity.LogID]uint64{}
		}
		added[v.Source.Log] = max(added[v.Source.Log], v.Counter)
	}
	return Presence{added, tagMap(v.Body.Removed)}
}

func tagMap(tags []Tag) map[identity.LogID]uint64 {
	if len(tags) == 0 {
		return nil
	}
	m := make(map[identity.LogID]uint64, len(tags))
	for _, t := range tags {
		m[t.Log] = max(m[t.Log], t.Counter)
	}
	return m
}

// tagsOf lists a map of tags by ascending log.
func tagsOf(m map[identity.LogID]uint64) []Tag {
	tags := make([]Tag, 0, len(m))
	for log, counter := range m {
		tags = append(tags, Tag{log, counter})
	}
	slices.SortFunc(tags, func(a, b Tag) int {
		return cmp.Or(a.Log.Compare(b.Log), cmp.Compare(a.Counter, b.Counter))
	})
	return tags
}
