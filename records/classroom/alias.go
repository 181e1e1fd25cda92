package classroom

import (
	"context"
	"fmt"
	"slices"

	"github.com/classmesh/classmesh/records"
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

// readAliases returns the IDs that belong together. Staff are never joined to
// anybody: a device that may write aliases, but not roles, must not be able to
// make one person of a learner and a teacher.
func readAliases(v *records.View, roles map[identity.UserID]Role) (map[identity.UserID][]identity.UserID, error) {
	edges, err := readEdges(v)
	edges = slices.DeleteFunc(edges, func(e edge) bool { return roles[e.smaller].IsStaff() || roles[e.larger].IsStaff() })
	return components(edges), err
}

// readEdges returns the edges that nobody has taken back.
func readEdges(v *records.View) (edges []edge, err error) {
	revoked := map[edge]Latest[Flag]{}
	err = scan(v, records.RegisterPrefix{Kind: KindAlias}, func(row *records.RegisterRow, ver Version[Alias]) {
		var other identity.UserID
		if len(row.Key.Key) != len(other) {
			return
		}
		copy(other[:], row.Key.Key)
		e := edgeOf(row.Key.Learner, other)
		revoked[e] = revoked[e].with(Written[Flag]{ver.Body.Revoked, ver.Source})
	})
	for e, l := range revoked {
		if l.IsSet() && l.Value() == No {
			edges = append(edges, e)
		}
	}
	return edges, err
}

// personOf returns all IDs of the person who has one, ascending.
func personOf(v *records.View, id identity.UserID) ([]identity.UserID, error) {
	aliased := false
	err := v.Registers(records.RegisterPrefix{Kind: KindAlias}, func(records.RegisterRow) error {
		aliased = true
		return nil
	})
	if err != nil || !aliased {
		return []identity.UserID{id}, err
	}
	roles, err := readRoles(v)
	if err != nil {
		return nil, err
	}
	joined, err := readAliases(v, roles)
	if ids := joined[id]; ids != nil {
		return ids, err
	}
	return []identity.UserID{id}, err
}

// Join says that two user IDs are one person, or takes it back.
func Join(ctx context.Context, r *records.Replica, actor, a, b identity.UserID, joined bool, why string) error {
	return write(ctx, r, actor, "join users", func(w *writer) error {
		for _, user := range []identity.UserID{a, b} {
			if _, err := w.mustKnowPerson(user); err != nil {
				return err
			}
		}
		roles, err := readRoles(&w.View)
		switch {
		case err != nil:
			return err
		case a == b:
			return fmt.Errorf("both are %v: %w", a, ErrInput)
		case roles[a].IsStaff() || roles[b].IsStaff():
			return fmt.Errorf("teachers and administrators cannot be joined with anybody: %w", ErrInput)
		}
		return w.setEdge(edgeOf(a, b), joined, why)
	})
}

// Part takes back every alias of a person's IDs, so that each is somebody again: with the
// work that was done under it, also while they were joined.
func Part(ctx context.Context, r *records.Replica, actor, user identity.UserID, why string) error {
	return write(ctx, r, actor, "part user", func(w *writer) error {
		ids, err := personOf(&w.View, user)
		if err != nil {
			return err
		}
		edges, err := readEdges(&w.View)
		if err != nil {
			return err
		}
		for _, e := range edges { // also those that do not hold while one of the two is staff
			if slices.Contains(ids, e.smaller) || slices.Contains(ids, e.larger) {
				if err := w.setEdge(e, false, why); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (w *writer) setEdge(e edge, joined bool, why string) error {
	key := records.RegisterKey{Kind: KindAlias, Learner: e.smaller, Key: string(e.larger[:])}
	body, _, err := own[Alias](w, key)
	if err != nil {
		return err
	}
	body.Revoked.set(w.Clock(), flagOf(!joined))
	if why != "" {
		body.Why.set(w.Clock(), why)
	}
	return w.put(key, &body)
}
