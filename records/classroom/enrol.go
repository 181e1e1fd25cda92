package classroom

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/classmesh/classmesh/records"
	"github.com/classmesh/classmesh/records/identity"
)

// NewUser is somebody to be added.
type NewUser struct {
	Name     string
	Username string
	Password string // of staff and learners alike; empty: cannot sign in yet
	Language string
	Role     Role
	Groups   []GroupID
}

// What can be wrong with a name. Each is an [ErrInput].
var (
	ErrEmpty   error = fault("is empty")
	ErrTooLong error = fault("is too long")
	ErrNoText  error = fault("has characters that are no text")
)

// fault is what can be wrong with a text, said after what the text is.
type fault string

func (f fault) Error() string        { return string(f) }
func (f fault) Is(target error) bool { return target == ErrInput }

// checkText reports whether s can be shown as one line.
func checkText(what, s string, maxBytes int) error {
	switch {
	case strings.TrimSpace(s) == "":
		return fmt.Errorf("the %s %w", what, ErrEmpty)
	case len(s) > maxBytes:
		return fmt.Errorf("the %s %w: at most %d bytes", what, ErrTooLong, maxBytes)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("the %s %w", what, ErrNoText)
	}
	return nil
}

// checkLanguage reports whether s may be the tag of a language, or nothing.
func checkLanguage(s string) error {
	if s != "" && !isLanguageTag(s) {
		return fmt.Errorf("%q is no language: give its tag, such as fr or pt-BR: %w", s, ErrInput)
	}
	return nil
}

// isLanguageTag reports whether s has the form of a tag by BCP 47: a language of two or three
// letters, and what describes it further, in parts of up to eight letters or digits.
func isLanguageTag(s string) bool {
	parts := strings.Split(s, "-")
	for _, part := range parts {
		other := func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9')
		}
		if len(part) < 1 || len(part) > 8 || strings.ContainsFunc(part, other) {
			return false
		}
	}
	language := parts[0]
	return len(s) <= MaxLanguageBytes && (len(language) == 2 || len(language) == 3) && !strings.ContainsAny(language, "0123456789")
}

// AddUser adds a person and returns the new ID. Actor is who does it, or
// zero. To add staff is for devices that administrate: [ErrNotAdministrates].
func AddUser(ctx context.Context, r *records.Replica, g *Gate, actor identity.UserID, u NewUser) (id identity.UserID, err error) {
	hash := PasswordHash("")
	if u.Password != "" {
		if hash, err = g.Hash(ctx, u.Password); err != nil {
			return id, fmt.Errorf("add user: %w", err)
		}
	}
	err = write(ctx, r, actor, "add user", func(w *writer) error {
		id, err = w.addUser(&u, hash)
		return err
	})
	return id, err
}

func (w *writer) addUser(u *NewUser, hash PasswordHash) (id identity.UserID, err error) {
	if u.Role.IsStaff() {
		if err := mayAuthor(w.Roster(), w.replica.Device(), KindRole); err != nil {
			return id, err
		}
	}
	if err := checkText("name", u.Name, MaxNameBytes); err != nil {
		return id, err
	}
	if err := checkText("user name", u.Username, MaxUsernameBytes); err != nil {
		return id, err
	}
	if err := checkLanguage(u.Language); err != nil {
		return id, err
	}
	if err := w.newID(id[:]); err != nil {
		return id, err
	}
	var body User
	body.Name.set(w.Clock(), strings.TrimSpace(u.Name))
	body.Username.set(w.Clock(), strings.TrimSpace(u.Username))
	if u.Language != "" {
		body.Language.set(w.Clock(), u.Language)
	}
	if err := w.put(records.RegisterKey{Kind: KindUser, Learner: id}, &body); err != nil {
		return id, err
	}
	if u.Role.IsStaff() {
		if err := w.setRole(id, u.Role); err != nil {
			return id, err
		}
	}
	if hash != "" {
		if err := w.setPassword(id, u.Role, hash); err != nil {
			return id, err
		}
	}
	for _, group := range u.Groups {
		if err := w.mustKnow(GroupTarget(group)); err != nil {
			return id, err
		}
		if err := w.addMembership(id, group); err != nil {
			return id, err
		}
	}
	return id, nil
}

// SetPassword sets how a person signs in, under all of their IDs. Of staff, it is the
// StaffSecret, which is for devices that administrate: [ErrNotAdministrates].
func SetPassword(ctx context.Context, r *records.Replica, g *Gate, actor, user identity.UserID, password string) error {
	hash, err := g.Hash(ctx, password)
	if err != nil {
		return fmt.Errorf("set password: %w", err)
	}
	return write(ctx, r, actor, "set password", func(w *writer) error {
		ids, err := w.mustKnowPerson(user)
		if err != nil {
			return err
		}
		roles, err := readRoles(&w.View)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := w.setPassword(id, roles[user], hash); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *writer) setPassword(user identity.UserID, role Role, hash PasswordHash) error {
	key := records.RegisterKey{Kind: secretKind(role), Learner: user}
	body, _, err := own[Secret](w, key)
	if err != nil {
		return err
	}
	body.Password.set(w.Clock(), hash)
	return w.put(key, &body)
}

// SetRole gives a user a role in the whole zone; RoleLearner takes it back.
// It is for devices that administrate: [ErrNotAdministrates]. Who becomes
// staff needs a new password, because the secret of a learner does not count
// for staff.
func SetRole(ctx context.Context, r *records.Replica, actor, user identity.UserID, role Role) error {
	return write(ctx, r, actor, "set role", func(w *writer) error {
		if err := w.mustKnow(UserTarget(user)); err != nil {
			return err
		}
		return w.setRole(user, role)
	})
}

func (w *writer) setRole(user identity.UserID, role Role) error {
	if role > RoleAdministrator {
		return fmt.Errorf("%v: %w", role, ErrRole)
	}
	key := records.RegisterKey{Kind: KindRole, Learner: user}
	var now Latest[Role]
	err := scan(&w.View, exactly(&key), func(_ *records.RegisterRow, v Version[RoleGrant]) {
		now = now.with(Written[Role]{v.Body.Role, v.Source})
	})
	if err != nil || now.Value() == role {
		return err
	}
	body, _, err := own[RoleGrant](w, key)
	if err != nil {
		return err
	}
	body.Role.set(w.Clock(), role)
	return w.put(key, &body)
}

// mustKnow reports a target that no log speaks of as [ErrUnknown].
func (w *writer) mustKnow(targets ...Target) error {
	for _, t := range targets {
		known := false
		err := w.Registers(exactly(&t.key), func(records.RegisterRow) error { known = true; return nil })
		if err != nil {
			return err
		}
		if !known {
			name, _ := KindName(t.key.Kind)
			return fmt.Errorf("there is no such %s: %w", name, ErrUnknown)
		}
	}
	return nil
}

// mustKnowPerson returns all IDs of a person, or [ErrUnknown] if no log speaks of any.
func (w *writer) mustKnowPerson(user identity.UserID) ([]identity.UserID, error) {
	ids, err := personOf(&w.View, user)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err = w.mustKnow(UserTarget(id)); !errors.Is(err, ErrUnknown) {
			break
		}
	}
	return ids, err
}

// exactly selects one register in all logs.
func exactly(k *records.RegisterKey) records.RegisterPrefix {
	return records.RegisterPrefix{Kind: k.Kind, Learner: &k.Learner, Key: &k.Key}
}

// AddGroup adds a class or another group and returns the new ID.
func AddGroup(ctx context.Context, r *records.Replica, actor identity.UserID, name, description string) (id GroupID, err error) {
	err = write(ctx, r, actor, "add group", func(w *writer) error {
		id, err = w.addGroup(name, description)
		return err
	})
	return id, err
}

func (w *writer) addGroup(name, description string) (id GroupID, err error) {
	if err := checkText("name", name, MaxNameBytes); err != nil {
		return id, err
	}
	if err := w.newID(id[:]); err != nil {
		return id, err
	}
	var body Group
	body.Name.set(w.Clock(), strings.TrimSpace(name))
	if description != "" {
		body.Description.set(w.Clock(), description)
	}
	return id, w.put(records.RegisterKey{Kind: KindGroup, Key: string(id[:])}, &body)
}

// RenameGroup changes a group's name. What is as asked already is not written.
func RenameGroup(ctx context.Context, r *records.Replica, actor identity.UserID, group GroupID, name string) error {
	return write(ctx, r, actor, "rename group", func(w *writer) error {
		if err := checkText("name", name, MaxNameBytes); err != nil {
			return err
		}
		if err := w.mustKnow(GroupTarget(group)); err != nil {
			return err
		}
		key := records.RegisterKey{Kind: KindGroup, Key: string(group[:])}
		var now GroupState
		err := scan(&w.View, exactly(&key), func(_ *records.RegisterRow, v Version[Group]) { now.add(&v) })
		if err != nil || now.Name.Value() == strings.TrimSpace(name) {
			return err
		}
		body, _, err := own[Group](w, key)
		if err != nil {
			return err
		}
		body.Name.set(w.Clock(), strings.TrimSpace(name))
		return w.put(key, &body)
	})
}

func (w *writer) addMembership(user identity.UserID, group GroupID) error {
	key, now, body, err := w.membership(user, group)
	if err != nil || now.Present() {
		return err
	}
	body.Addition = true
	return w.put(key, &body)
}

func (w *writer) removeMembership(user identity.UserID, group GroupID) error {
	key, now, body, err := w.membership(user, group)
	if err != nil || !now.Present() {
		return err
	}
	body.Addition = false
	body.Removed = tagsOf(mergeTags(tagMap(body.Removed), tagMap(now.Additions())))
	return w.put(key, &body)
}

// membership returns how a membership stands, and this log's own version to
// be written again.
func (w *writer) membership(user identity.UserID, group GroupID) (key records.RegisterKey, now Presence, body Membership, err error) {
	key = records.RegisterKey{Kind: KindMembership, Learner: user, Key: string(group[:])}
	err = scan(&w.View, exactly(&key), func(_ *records.RegisterRow, v Version[Membership]) {
		now = now.Merge(presence(&v))
	})
	if err != nil {
		return key, now, body, err
	}
	body, register, err := own[Membership](w, key)
	if o := register.Envelope.Origin; o != nil && body.Addition {
		body.Added = tagsOf(mergeTags(tagMap(body.Added), map[identity.LogID]uint64{o.Log: o.Counter}))
	}
	return key, now, body, err
}

// Hide hides something from the pages; nothing is lost, and [Unhide] undoes
// it. A person is hidden under all of their IDs, and cannot sign in. To hide
// staff is for devices that administrate: [ErrNotAdministrates].
func Hide(ctx context.Context, r *records.Replica, actor identity.UserID, t Target, reason string) error {
	return write(ctx, r, actor, "hide", func(w *writer) error { return w.setHidden(t, Yes, reason) })
}

// Unhide shows again what Hide hid.
func Unhide(ctx context.Context, r *records.Replica, actor identity.UserID, t Target) error {
	return write(ctx, r, actor, "unhide", func(w *writer) error { return w.setHidden(t, No, "") })
}

func (w *writer) setHidden(t Target, hidden Flag, reason string) error {
	targets := []Target{t}
	if t.key.Kind == KindUser {
		ids, err := w.mustKnowPerson(t.key.Learner)
		if err != nil {
			return err
		}
		targets = targets[:0]
		for _, id := range ids {
			targets = append(targets, UserTarget(id))
		}
	} else if err := w.mustKnow(t); err != nil {
		return err
	}
	roles, err := readRoles(&w.View)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(targets, func(t Target) bool { return roles[t.key.Learner].IsStaff() }) {
		if err := mayAuthor(w.Roster(), w.replica.Device(), KindRole); err != nil {
			return err
		}
	}
	now, err := readHidden(&w.View, roles)
	if err != nil {
		return err
	}
	for _, t := range targets {
		if now[t] == (hidden == Yes) {
			continue
		}
		body, _, err := own[Tombstone](w, t.tombstone())
		if err != nil {
			return err
		}
		body.Hidden.set(w.Clock(), hidden)
		if reason != "" {
			body.Reason.set(w.Clock(), reason)
		}
		if err := w.put(t.tombstone(), &body); err != nil {
			return err
		}
	}
	return nil
}
