package classroom

import (
	"cmp"
	"encoding/json"
	"maps"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
)

const (
	maxContentIDBytes = 64
	maxRecipients     = 128
	maxItems          = 128
)

// Assignment is the register of work that a teacher gives. Its lists merge
// item by item, so that an edit where some content is missing takes nothing
// away.
type Assignment struct {
	Salt       Salt             `json:"-"`
	Title      Setting[string]  `json:"title"`
	Visible    Setting[Flag]    `json:"visible"`
	Due        Setting[uint64]  `json:"due"` // milliseconds since 1970, 0 for never
	Recipients []Recipient      `json:"recipients"`
	Items      []AssignmentItem `json:"items"`
	Unknown    []byte           `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *Assignment) Fields(v *message.Visitor) {
	v.Fixed(1, b.Salt[:])
	visitText(v, 2, &b.Title, MaxNameBytes)
	visitNumber(v, 3, &b.Visible)
	visitNumber(v, 4, &b.Due)
	message.List(v, 5, &b.Recipients, maxRecipients)
	message.List(v, 6, &b.Items, maxItems)
	v.Unknown(&b.Unknown)
}

func (b *Assignment) salt() *Salt { return &b.Salt }

// Recipient says whether a group or a single user gets an assignment.
type Recipient struct {
	ID      RecipientID
	IsGroup bool
	Present Setting[Flag]
}

// RecipientID is a group ID or a user ID.
type RecipientID [16]byte

// MarshalJSON gives the ID as that of a group or of a user.
func (r Recipient) MarshalJSON() ([]byte, error) {
	id := identity.UserID(r.ID).String()
	if r.IsGroup {
		id = GroupID(r.ID).String()
	}
	return json.Marshal(struct {
		ID      string        `json:"id"`
		Present Setting[Flag] `json:"present"`
	}{id, r.Present})
}

// Fields lists the message's fields.
func (r *Recipient) Fields(v *message.Visitor) {
	v.Fixed(1, r.ID[:])
	v.Bool(2, &r.IsGroup)
	visitNumber(v, 3, &r.Present)
}

// AssignmentItem says at which place a content stands in an assignment.
type AssignmentItem struct {
	Content string `json:"content"`
	// Position orders the items, from 1; 0 means that it was taken out.
	Position Setting[uint32] `json:"position"`
}

// Fields lists the message's fields.
func (i *AssignmentItem) Fields(v *message.Visitor) {
	v.String(1, &i.Content, maxContentIDBytes)
	visitNumber(v, 2, &i.Position)
}

// AssignmentState is an assignment as all logs together say.
type AssignmentState struct {
	Title      Latest[string]
	Visible    Latest[Flag]
	Due        Latest[uint64]
	Recipients map[Recipient]Latest[Flag] // keys have no Present
	Items      map[string]Latest[uint32]  // content ID → position
}

// MergeAssignment merges versions of one assignment.
func MergeAssignment(versions ...Version[Assignment]) AssignmentState {
	s := AssignmentState{Recipients: map[Recipient]Latest[Flag]{}, Items: map[string]Latest[uint32]{}}
	for _, v := range versions {
		s.Title = s.Title.with(Written[string]{v.Body.Title, v.Source})
		s.Visible = s.Visible.with(Written[Flag]{v.Body.Visible, v.Source})
		s.Due = s.Due.with(Written[uint64]{v.Body.Due, v.Source})
		for _, r := range v.Body.Recipients {
			key := Recipient{ID: r.ID, IsGroup: r.IsGroup}
			s.Recipients[key] = s.Recipients[key].with(Written[Flag]{r.Present, v.Source})
		}
		for _, i := range v.Body.Items {
			s.Items[i.Content] = s.Items[i.Content].with(Written[uint32]{i.Position, v.Source})
		}
	}
	return s
}

// Merge returns what both know together.
func (s AssignmentState) Merge(t AssignmentState) AssignmentState {
	return AssignmentState{
		s.Title.Merge(t.Title), s.Visible.Merge(t.Visible), s.Due.Merge(t.Due),
		mergeMaps(s.Recipients, t.Recipients), mergeMaps(s.Items, t.Items),
	}
}

func mergeMaps[K comparable, T cmp.Ordered](a, b map[K]Latest[T]) map[K]Latest[T] {
	m := maps.Clone(a)
	for k, l := range b {
		m[k] = m[k].Merge(l)
	}
	return m
}
