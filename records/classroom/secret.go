package classroom

import (
	"github.com/classmesh/classmesh/records/message"
)

// PasswordHash is an argon2id hash with its parameters and salt, in the usual
// text form. It does not print.
type PasswordHash string

// String does not give the hash away.
func (h PasswordHash) String() string {
	if h == "" {
		return "none"
	}
	return "set"
}

// GoString is String.
func (h PasswordHash) GoString() string { return h.String() }

// MarshalText is String.
func (h PasswordHash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Secret is the register of how a person signs in: a LearnerSecret, or a
// StaffSecret, which only devices that administrate may write.
type Secret struct {
	Salt     Salt                  `json:"-"`
	Password Setting[PasswordHash] `json:"password"`
	Unknown  []byte                `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *Secret) Fields(v *message.Visitor) {
	v.Fixed(1, b.Salt[:])
	visitText(v, 2, &b.Password, maxHashBytes)
	v.Unknown(&b.Unknown)
}

func (b *Secret) salt() *Salt { return &b.Salt }

// SecretState is a secret as all logs together say.
type SecretState struct{ Password Latest[PasswordHash] }

// MergeSecret merges versions of one user's secret, of one kind.
func MergeSecret(versions ...Version[Secret]) (s SecretState) {
	for i := range versions {
		s.add(&versions[i])
	}
	return s
}

func (s *SecretState) add(v *Version[Secret]) {
	s.Password = s.Password.with(Written[PasswordHash]{v.Body.Password, v.Source})
}

// Merge returns what both know together.
func (s SecretState) Merge(t SecretState) SecretState {
	return SecretState{s.Password.Merge(t.Password)}
}
