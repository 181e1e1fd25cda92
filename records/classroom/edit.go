package classroom

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// PersonEdit says what to change about a person; nil leaves a field alone.
type PersonEdit struct {
	Name, Username, Language, Notes *string

	Enter, Leave []GroupID
}

// EditPerson changes a person's data and groups, all of it or nothing. The data changed
// are those shown, of a person with several IDs that are joined; a group is left under
// each of them. What is as asked already is not written. Somebody who puts the person into
// a group on another device, at the same time as this one leaves it, wins.
func EditPerson(ctx context.Context, r *records.Replica, actor, user identity.UserID, e PersonEdit) error {
	return write(ctx, r, actor, "edit person", func(w *writer) error { return w.editPerson(user, &e) })
}

func (w *writer) editPerson(user identity.UserID, e *PersonEdit) error {
	ids, shown, err := w.idsOf(user)
	if err != nil {
		return err
	}
	if _, err := w.editUser(shown, e); err != nil {
		return err
	}
	for _, group := range e.Enter {
		if err := w.mustKnow(GroupTarget(group)); err != nil {
			return err
		}
		if _, err := w.enter(ids, shown, group); err != nil {
			return err
		}
	}
	for _, group := range e.Leave {
		for _, id := range ids {
			if err := w.removeMembership(id, group); err != nil {
				return err
			}
		}
	}
	return nil
}

// idsOf returns all IDs of a person, and the one under which the person is shown.
func (w *writer) idsOf(user identity.UserID) (ids []identity.UserID, shown identity.UserID, err error) {
	if ids, err = personOf(&w.View, user); err != nil {
		return nil, shown, err
	}
	users, err := mergeUsers(&w.View)
	if err != nil {
		return nil, shown, err
	}
	roles, err := readRoles(&w.View)
	if err != nil {
		return nil, shown, err
	}
	hidden, err := readHidden(&w.View, roles)
	if err != nil {
		return nil, shown, err
	}
	shown, ok := shownID(ids, users, hidden)
	if !ok {
		return nil, shown, fmt.Errorf("%v: %w", user, ErrUnknown)
	}
	return ids, shown, nil
}

// enter puts a person into a group, under the ID shown unless the person is in it.
func (w *writer) enter(ids []identity.UserID, shown identity.UserID, group GroupID) (changed bool, err error) {
	for _, id := range ids {
		_, now, _, err := w.membership(id, group)
		if err != nil || now.Present() {
			return false, err
		}
	}
	return true, w.addMembership(shown, group)
}

// editUser changes the data of one ID.
func (w *writer) editUser(user identity.UserID, e *PersonEdit) (changed bool, err error) {
	var state UserState
	p := records.RegisterPrefix{Kind: KindUser, Learner: &user}
	if err := scan(&w.View, p, func(_ *records.RegisterRow, v Version[User]) { state.add(&v) }); err != nil {
		return false, err
	}
	if !state.Username.IsSet() {
		return false, fmt.Errorf("%v: %w", user, ErrUnknown)
	}
	if e.Name != nil {
		if err := checkText("name", *e.Name, MaxNameBytes); err != nil {
			return false, err
		}
	}
	if e.Username != nil {
		if err := checkText("user name", *e.Username, MaxUsernameBytes); err != nil {
			return false, err
		}
	}
	if e.Language != nil {
		if err := checkLanguage(*e.Language); err != nil {
			return false, err
		}
	}
	key := records.RegisterKey{Kind: KindUser, Learner: user}
	body, _, err := own[User](w, key)
	if err != nil {
		return false, err
	}
	change := func(s *Setting[string], now Latest[string], to *string) {
		if to != nil && strings.TrimSpace(*to) != now.Value() {
			s.set(w.Clock(), strings.TrimSpace(*to))
			changed = true
		}
	}
	change(&body.Name, state.Name, e.Name)
	change(&body.Username, state.Username, e.Username)
	change(&body.Language, state.Language, e.Language)
	change(&body.Notes, state.Notes, e.Notes)
	if !changed {
		return false, nil
	}
	return true, w.put(key, &body)
}

// shownID returns under which of a person's IDs, in ascending order, the person is shown:
// the first that has a user record and is not hidden, else the first that has one; false
// if none has.
func shownID(ids []identity.UserID, users map[identity.UserID]*UserState, hidden map[Target]bool) (id identity.UserID, ok bool) {
	known := func(id identity.UserID) bool { return users[id] != nil }
	i := slices.IndexFunc(ids, func(id identity.UserID) bool { return known(id) && !hidden[UserTarget(id)] })
	if i < 0 {
		i = slices.IndexFunc(ids, known)
	}
	if i < 0 {
		return id, false
	}
	return ids[i], true
}
