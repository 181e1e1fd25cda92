package classroom

import (
	"slices"

	"github.com/classmesh/classmesh/records/identity"
	"github.com/classmesh/classmesh/records/message"
)

// Alias is the register that says that two user IDs are one person. It is an
// undirected edge: the person is the connected component, named by its
// smallest ID, and revoking the edge undoes it without rewriting anything.
type Alias struct {
	Salt    Salt            `json:"-"`
	Revoked Setting[Flag]   `json:"revoked"`
	Why     Setting[string] `json:"why"`
	Unknown []byte          `json:"unknown,omitempty"`
}

// Fields lists the message's fields.
func (b *Alias) Fields(v *message.Visitor) {
	v.Fixed(1, b.Salt[:])
	visitNumber(v, 2, &b.Revoked)
	visitText(v, 3, &b.Why, MaxTextBytes)
	v.Unknown(&b.Unknown)
}

func (b *Alias) salt() *Salt { return &b.Salt }

// MergeAlias merges versions of one edge: the result is whether it is
// revoked. An edge that nobody has set does not hold either.
func MergeAlias(versions ...Version[Alias]) (revoked Latest[Flag]) {
	for _, v := range versions {
		revoked = revoked.with(Written[Flag]{v.Body.Revoked, v.Source})
	}
	return revoked
}

// edge is an alias: its register is kept under the smaller ID.
type edge struct{ smaller, larger identity.UserID }

func edgeOf(a, b identity.UserID) edge {
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	return edge{a, b}
}

// components resolves edges: user ID → all IDs of the person, ascending. Who
// has no alias is not in it.
func components(edges []edge) map[identity.UserID][]identity.UserID {
	of := map[identity.UserID][]identity.UserID{}
	ids := func(u identity.UserID) []identity.UserID {
		if list := of[u]; list != nil {
			return list
		}
		return []identity.UserID{u}
	}
	for _, e := range edges {
		a, b := ids(e.smaller), ids(e.larger)
		if slices.Contains(a, e.larger) {
			continue
		}
		joined := slices.Concat(a, b)
		slices.SortFunc(joined, identity.UserID.Compare)
		for _, u := range joined {
			of[u] = joined
		}
	}
	return of
}
