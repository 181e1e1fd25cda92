package classroom

import (
	"github.com/classmesh/classmesh/records/message"
)

// Limits of texts, in bytes.
const (
	MaxNameBytes     = 200
	MaxUsernameBytes = 100
	MaxLanguageBytes = 35 // of a BCP 47 tag
	MaxTextBytes     = 2000
	maxHashBytes     = 256
)

// Salt is random, so that a body's hash tells nothing about the body.
type Salt [16]byte

// salted is a body that begins with a salt.
type salted interface{ salt() *Salt }

// User is the register of a person's own data. Equal usernames are legal:
// two devices may have given the same one.
type User struct {
	Salt     Salt            `json:"-"`
	Name     Setting[string] `json:"name"` // the full name
	Username Setting[string] `json:"username"`
	Language Setting[string] `json:"language"`
	Notes    Setting[string] `json:"notes"`
	Unknown  []byte          `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *User) Fields(v *message.Visitor) {
	v.Fixed(1, b.Salt[:])
	visitText(v, 2, &b.Name, MaxNameBytes)
	visitText(v, 3, &b.Username, MaxUsernameBytes)
	visitText(v, 4, &b.Language, MaxLanguageBytes)
	visitText(v, 5, &b.Notes, MaxTextBytes)
	v.Unknown(&b.Unknown)
}

func (b *User) salt() *Salt { return &b.Salt }

// UserState is a user as all logs together say.
type UserState struct {
	Name, Username, Language, Notes Latest[string]
}

// MergeUser merges versions of one user's register.
func MergeUser(versions ...Version[User]) (s UserState) {
	for i := range versions {
		s.add(&versions[i])
	}
	return s
}

func (s *UserState) add(v *Version[User]) {
	s.Name = s.Name.with(Written[string]{v.Body.Name, v.Source})
	s.Username = s.Username.with(Written[string]{v.Body.Username, v.Source})
	s.Language = s.Language.with(Written[string]{v.Body.Language, v.Source})
	s.Notes = s.Notes.with(Written[string]{v.Body.Notes, v.Source})
}

// Merge returns what both know together.
func (s UserState) Merge(t UserState) UserState {
	return UserState{
		s.Name.Merge(t.Name), s.Username.Merge(t.Username),
		s.Language.Merge(t.Language), s.Notes.Merge(t.Notes),
	}
}
