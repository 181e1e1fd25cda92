package classroom

import (
	"errors"
	"fmt"
	"strings"

	"github.com/classmesh/classmesh/records/message"
)

// Role is what a person may do on the pages.
type Role uint8

// The roles. Who was never given one is a learner. A role that this release
// does not know has the rights of a learner.
const (
	RoleLearner Role = iota
	RoleTeacher
	RoleAdministrator
)

// ErrRole is wrapped by errors about texts that name no role.
var ErrRole = errors.New("a role is learner, teacher or administrator")

// String returns the role's name.
func (r Role) String() string {
	switch r {
	case RoleLearner:
		return "learner"
	case RoleTeacher:
		return "teacher"
	case RoleAdministrator:
		return "administrator"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// MarshalText returns the role's name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// ParseRole reads the name of a role; case and spaces around it do not
// matter, and nothing means learner.
func ParseRole(s string) (Role, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "" {
		return RoleLearner, nil
	}
	for r := range RoleAdministrator + 1 {
		if r.String() == s {
			return r, nil
		}
	}
	return 0, ErrRole
}

// IsStaff reports whether the role signs in by StaffSecret.
func (r Role) IsStaff() bool { return r == RoleTeacher || r == RoleAdministrator }

// RoleGrant is the register by which a user is given a role, or RoleLearner
// to take it back, in the whole zone or in one group.
type RoleGrant struct {
	Role    Setting[Role] `json:"role"`
	Unknown []byte        `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *RoleGrant) Fields(v *message.Visitor) {
	visitNumber(v, 1, &b.Role)
	v.Unknown(&b.Unknown)
}

// MergeRole merges versions of one user's role in one scope.
func MergeRole(versions ...Version[RoleGrant]) (role Latest[Role]) {
	for _, v := range versions {
		role = role.with(Written[Role]{v.Body.Role, v.Source})
	}
	return role
}
